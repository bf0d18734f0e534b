import type { Db } from "mongodb";
import type { Logger } from "pino";
import type { LogPosition } from "#infrastructure/event-store.js";
import { jobId } from "#infrastructure/queue.js";
import { live, type ReadModels } from "#infrastructure/read-models.js";
import { dueWorkDocument } from "../due-work.document.js";
import { systemCommandId } from "./command-context.js";
import { lead } from "./leading.js";
import { Lease, type LeaseTimes, pause } from "./lease.js";

/** What a job of a due duty carries: ids only, whoever performs it looks at the row again. */
export type DutyJob = { readonly rowId: string; readonly duty: string; readonly position: LogPosition };

export type DutyPollerOptions = {
  readonly database: Db;
  readonly readModels: Pick<ReadModels, "collection">;
  readonly clock: () => Date;
  /** Adding a job that is there already changes nothing. */
  readonly add: (id: string, job: DutyJob) => Promise<void>;
  /** Told with every look how long the oldest duty has been due, 0 for none. */
  readonly onLook?: (oldestSeconds: number) => void;
  readonly log: Logger;
  readonly leaseTimes?: LeaseTimes;
  /** How often rows are looked at, default 1 s. */
  readonly pollMs?: number;
  /** How long a row may stay due before its job is added again, default 10 s: the queue may have been wiped. */
  readonly addAgainMs?: number;
};

type Row = { readonly _id: string; readonly duty: string; readonly dueAt: string; readonly _pos: LogPosition };

/** Rows read at once. */
const pageSize = 500;
const backOffMs = { first: 100, most: 5_000 };

/**
 * Looks for duties that are due and queues them, one leader at a time. The rows are the memory: the queue may be
 * wiped at any moment, because a row stays due until the event that fulfils it is projected.
 *
 * Looking goes on from the row looked at last, in the order of due times, so that rows nobody can get done never hide
 * the ones behind them; every few seconds it begins again from the oldest, for what is still due and what came late.
 */
export class DutyPoller {
  readonly #options: DutyPollerOptions;
  readonly #lease: Lease;
  /** The last row queued in this round; undefined at its start. */
  #place: Row | undefined;
  #roundAt = Number.NEGATIVE_INFINITY;
  /** Whether this round has seen the newest row. */
  #ended = true;
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
    await lead(signal, {
      lease: this.#lease,
      work: (held) => this.#lookAgainAndAgain(held),
      standBy: async () => {
        this.#turnedAt = Date.now();
        this.#problem = undefined;
      },
      onFailure: (error, retryInMs) => this.#failed(error, retryInMs),
    });
  }

  /** What fails is tried again from where it stood: a flaky queue must not hide the last rows. */
  async #lookAgainAndAgain(signal: AbortSignal): Promise<void> {
    let wait = backOffMs.first;
    this.#roundAt = Number.NEGATIVE_INFINITY;
    this.#ended = true;
    try {
      while (!signal.aborted && this.#lease.valid) {
        this.#turnedAt = Date.now();
        try {
          await this.#look(signal);
          this.#problem = undefined;
          wait = backOffMs.first;
          await pause(this.#options.pollMs ?? 1_000, signal);
        } catch (error) {
          this.#failed(error, wait);
          await pause(wait, signal);
          wait = Math.min(wait * 2, backOffMs.most);
        }
      }
    } finally {
      // Only who leads knows; nobody is to believe in what we saw last.
      this.#oldestDueAt = undefined;
      this.#options.onLook?.(0);
    }
  }

  #failed(error: unknown, retryInMs: number): void {
    this.#turnedAt = Date.now();
    this.#problem = (error as Error).message;
    this.#options.log.warn({ err: error, retryInMs }, "due work stands still, trying again");
  }

  /** Queues every row that has become due behind the place reached. */
  async #look(signal: AbortSignal): Promise<void> {
    const { clock, onLook, addAgainMs = 10_000 } = this.#options;
    const now = clock();
    const [oldest] = await this.#due(now, undefined, 1);
    this.#oldestDueAt = oldest?.dueAt;
    onLook?.(oldest ? Math.max(0, now.getTime() - Date.parse(oldest.dueAt)) / 1_000 : 0);
    if (this.#ended && performance.now() - this.#roundAt >= addAgainMs) {
      this.#roundAt = performance.now();
      this.#place = undefined;
      this.#ended = false;
    }
    while (oldest && !signal.aborted && this.#lease.valid) {
      const page = await this.#due(now, this.#place, pageSize);
      for (const row of page) {
        await this.#queue(row);
        this.#place = row;
      }
      this.#turnedAt = Date.now();
      if (page.length === pageSize) continue;
      this.#ended = true;
      return;
    }
    this.#ended ||= !oldest;
  }

  /** @throws where the queue is away: the round goes on from this row */
  async #queue({ _id: rowId, duty, _pos: position }: Row): Promise<void> {
    let id: string;
    try {
      id = jobId(systemCommandId(rowId, position), duty);
    } catch (err) {
      // A name that no queue takes must not stand in the way of the others.
      this.#options.log.error({ err, rowId }, "a duty without a proper name is passed over");
      return;
    }
    await this.#options.add(id, { rowId, duty, position });
  }

  #due(now: Date, after: Row | undefined, most: number): Promise<Row[]> {
    const due = { dueAt: { ...(after && { $gte: after.dueAt }), $lte: now.toISOString() } };
    const behind = after && { $or: [{ dueAt: { $gt: after.dueAt } }, { _id: { $gt: after._id } }] };
    return this.#options.readModels
      .collection(dueWorkDocument)
      .find({ ...due, ...live, ...behind })
      .sort({ dueAt: 1, _id: 1 })
      .limit(most)
      .project<Row>({ duty: 1, dueAt: 1, _pos: 1 })
      .toArray();
  }
}
