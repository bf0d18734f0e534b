import type { Db } from "mongodb";
import type { Logger } from "pino";
import { jobId } from "#infrastructure/queue.js";
import { live, type ReadModels } from "#infrastructure/read-models.js";
import { dueWorkDocument } from "../due-work.document.js";
import { systemCommandId } from "./command-context.js";
import { Lease, type LeaseTimes, pause } from "./lease.js";

/** What a job of a due duty carries: ids only, whoever performs it looks at the row again. */
export type DutyJob = { readonly rowId: string; readonly duty: string; readonly dueAt: string };

export type DutyPollerOptions = {
  readonly database: Db;
  readonly readModels: ReadModels;
  readonly clock: () => Date;
  /** Adding a job that is there already changes nothing. */
  readonly add: (id: string, job: DutyJob) => Promise<void>;
  readonly log: Logger;
  readonly leaseTimes?: LeaseTimes;
  /** How often rows are looked at, default 1 s. */
  readonly pollMs?: number;
  /** How long a row may stay due before its job is added again, default 10 s: the queue may have been wiped. */
  readonly addAgainMs?: number;
};

/** Rows looked at in one turn; the oldest first, so that a flood is worked off in order. */
const mostAtOnce = 500;
const backOffMs = { first: 100, most: 5_000 };

/**
 * Looks for duties that are due and queues them, one leader at a time. The rows are the memory: the queue may be
 * wiped at any moment, because a row stays due until the event that fulfils it is projected.
 */
export class DutyPoller {
  readonly #options: DutyPollerOptions;
  readonly #lease: Lease;
  /** When each due row's job was added last. */
  readonly #addedAt = new Map<string, number>();
  #turnedAt = Date.now();
  #problem: string | undefined;
  #oldestDueAt: string | undefined;

  constructor(options: DutyPollerOptions) {
    this.#options = options;
    this.#lease = new Lease(options.database, "due-work", options.leaseTimes);
  }

  /** Heartbeat in epoch milliseconds, what is wrong, and since when the oldest duty is due. */
  health() {
    return { heartbeat: this.#turnedAt, problem: this.#problem, oldestDueAt: this.#oldestDueAt };
  }

  /** Leads whenever the lease is free, until `signal` aborts. */
  async run(signal: AbortSignal): Promise<void> {
    let wait = backOffMs.first;
    while (!signal.aborted) {
      this.#turnedAt = Date.now();
      try {
        if (await this.#lease.acquire()) {
          wait = backOffMs.first;
          await this.#lead(signal);
        }
        await pause(1_000, signal);
      } catch (error) {
        this.#problem = (error as Error).message;
        this.#options.log.warn({ err: error, retryInMs: wait }, "due work stands still, trying again");
        await pause(wait, signal);
        wait = Math.min(wait * 2, backOffMs.most);
      }
    }
    await this.#lease.release().catch(() => {}); // MongoDB is away: it runs out by itself
  }

  async #lead(signal: AbortSignal): Promise<void> {
    const stop = new AbortController();
    const abort = () => stop.abort();
    signal.addEventListener("abort", abort, { once: true });
    const keeping = this.#lease.keep(stop.signal).finally(abort);
    try {
      this.#addedAt.clear();
      while (!stop.signal.aborted && this.#lease.valid) {
        this.#turnedAt = Date.now();
        await this.#poll();
        this.#problem = undefined;
        await pause(this.#options.pollMs ?? 1_000, stop.signal);
      }
    } finally {
      abort();
      signal.removeEventListener("abort", abort);
      await keeping;
    }
  }

  async #poll(): Promise<void> {
    const { readModels, clock, add, addAgainMs = 10_000 } = this.#options;
    const due = await readModels
      .collection(dueWorkDocument)
      .find({ dueAt: { $lte: clock().toISOString() }, ...live })
      .sort({ dueAt: 1 })
      .limit(mostAtOnce)
      .project<{ _id: string; duty: string; dueAt: string }>({ duty: 1, dueAt: 1 })
      .toArray();
    this.#oldestDueAt = due[0]?.dueAt;
    const now = performance.now();
    const seen = new Set<string>();
    for (const { _id: rowId, duty, dueAt } of due) {
      const id = jobId(systemCommandId(rowId, dueAt), duty);
      seen.add(id);
      if (now - (this.#addedAt.get(id) ?? Number.NEGATIVE_INFINITY) < addAgainMs) continue;
      await add(id, { rowId, duty, dueAt });
      this.#addedAt.set(id, now);
    }
    for (const id of this.#addedAt.keys()) if (!seen.has(id)) this.#addedAt.delete(id);
  }
}
