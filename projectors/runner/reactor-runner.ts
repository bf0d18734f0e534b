import type { Collection, Db } from "mongodb";
import type { Logger } from "pino";
import type { EventStore, LogPosition, StoredEvent } from "#infrastructure/event-store.js";
import { jobId } from "#infrastructure/queue.js";
import { lead } from "./leading.js";
import { Lease, type LeaseTimes, pause } from "./lease.js";
import type { Reaction, Reactor } from "./reactor.js";
import { ForeignStore } from "./subscription.js";

/** Row of `reactor-cursors`: everything up to here has had its effects. */
export type ReactorCursor = { readonly _id: string; readonly position: LogPosition; readonly storeEpoch: string };

export function reactorCursors(database: Db): Collection<ReactorCursor> {
  return database.collection<ReactorCursor>("reactor-cursors");
}

/** The queue between reading the log and acting. Adding a job that is there already changes nothing. */
export type ReactionQueue = {
  add(id: string, purpose: string, reaction: Reaction): Promise<void>;
  /** Tells of each job that has been done, in whichever process. */
  onDone(listener: (id: string) => void): void;
};

export type ReactorRunnerOptions = {
  readonly database: Db;
  readonly eventStore: EventStore;
  readonly reactors: readonly Reactor[];
  readonly queue: ReactionQueue;
  /** Told twice a second how many effects are out. */
  readonly onTurn?: (open: number) => void;
  readonly log: Logger;
  readonly leaseTimes?: LeaseTimes;
  /** How long a job may be out before it is added again, default 10 s: the queue's memory may have been wiped. */
  readonly addAgainMs?: number;
};

const cursorId = "reactors";
/** Facts whose effects are still out; past it reading waits, so memory is bounded while an effect cannot be had. */
const mostPending = 1_000;
const reconnectAfterMs = 100;

type Pending = {
  readonly reaction: Reaction;
  readonly purpose: string;
  /** The place read before this fact: resuming from there gives it again. A store takes no place it did not name. */
  readonly after: LogPosition;
  addedAt: number;
};

/**
 * Turns facts into jobs, one leader at a time. The cursor stands before the oldest fact whose effect is not done, so
 * the queue needs no memory of its own: a wiped one is filled again, and a crash anywhere repeats what was open.
 */
export class ReactorRunner {
  readonly #options: ReactorRunnerOptions;
  readonly #lease: Lease;
  readonly #byType: ReadonlyMap<string, readonly Reactor[]>;
  /** Jobs that are out, in log order. */
  readonly #pending = new Map<string, Pending>();
  #read: LogPosition | undefined;
  #saved: LogPosition | undefined;
  #turnedAt = Date.now();
  #role: "leader" | "standby" = "standby";
  #problem: string | undefined;

  constructor(options: ReactorRunnerOptions) {
    this.#options = options;
    this.#lease = new Lease(options.database, "reactors", options.leaseTimes);
    this.#byType = reactorsByType(options.reactors);
    options.queue.onDone((id) => this.#pending.delete(id));
  }

  /** Heartbeat in epoch milliseconds, role, what is wrong, and how many effects are out. */
  health() {
    return { heartbeat: this.#turnedAt, role: this.#role, problem: this.#problem, pending: this.#pending.size };
  }

  /** Whether we lead, have read the log to its end, and every effect is done. */
  async isDone(): Promise<boolean> {
    if (this.#role !== "leader" || this.#read === undefined || this.#pending.size > 0) return false;
    const streamPrefixes = this.#streamPrefixes;
    // Nothing may have come between the two looks.
    return (await this.#options.eventStore.head({ streamPrefixes })) <= this.#read && this.#pending.size === 0;
  }

  get #streamPrefixes(): string[] {
    const categories = this.#options.reactors.flatMap(({ on }) => on.map(({ category }) => category));
    return [...new Set(categories)].map((category) => `${category}-`);
  }

  /**
   * Leads whenever the lease is free, until `signal` aborts.
   *
   * @throws ForeignStore when the log is not the one the cursor belongs to
   */
  async run(signal: AbortSignal): Promise<void> {
    await lead(signal, {
      lease: this.#lease,
      work: (held) => this.#work(held),
      standBy: async () => {
        this.#turnedAt = Date.now();
      },
      onFailure: (error, retryInMs) => {
        if (error instanceof ForeignStore) throw error;
        this.#turnedAt = Date.now();
        this.#problem = (error as Error).message;
        this.#options.log.warn({ err: error, retryInMs }, "reactors stand still, trying again");
      },
    });
  }

  async #work(signal: AbortSignal): Promise<void> {
    const stop = new AbortController();
    const abort = () => stop.abort();
    signal.addEventListener("abort", abort, { once: true });
    try {
      this.#turnedAt = Date.now();
      this.#pending.clear();
      this.#read = this.#saved = await this.#openCursor();
      this.#role = "leader";
      this.#problem = undefined;
      // Neither goes on without the other.
      await Promise.all([this.#readLog(stop.signal), this.#moveCursor(stop.signal)].map((part) => part.finally(abort)));
    } finally {
      this.#role = "standby";
      this.#options.onTurn?.(0);
      signal.removeEventListener("abort", abort);
    }
  }

  /** Our cursor; on the very first run the end of the log, kept before anything is read. */
  async #openCursor(): Promise<LogPosition> {
    const { database, eventStore } = this.#options;
    const rows = reactorCursors(database);
    const storeEpoch = await eventStore.epoch();
    const row = await rows.findOne({ _id: cursorId }, { readConcern: "majority" });
    if (row && row.storeEpoch !== storeEpoch) {
      throw new ForeignStore(
        `the reactors' cursor is of epoch ${row.storeEpoch}, the store's is ${storeEpoch}`,
        "reactors restart",
      );
    }
    if (row) return row.position;
    const position = await eventStore.head();
    await rows.insertOne({ _id: cursorId, position, storeEpoch });
    return position;
  }

  async #readLog(signal: AbortSignal): Promise<void> {
    const { eventStore, log } = this.#options;
    const streamPrefixes = this.#streamPrefixes;
    while (!signal.aborted && this.#read !== undefined) {
      try {
        for await (const item of eventStore.subscribe({ after: this.#read, streamPrefixes, signal })) {
          this.#turnedAt = Date.now();
          if (item.kind === "caught-up") continue;
          if (item.kind === "event") await this.#queue(item.event, signal);
          this.#read = item.kind === "event" ? item.event.position : item.position;
        }
        if (!signal.aborted) log.warn("the log ended, connecting again");
      } catch (error) {
        if (signal.aborted) return;
        log.warn({ err: error }, "reactors lost the log, connecting again");
      }
      await pause(reconnectAfterMs, signal);
    }
  }

  async #queue(event: StoredEvent, signal: AbortSignal): Promise<void> {
    for (const { purpose } of this.#byType.get(event.type) ?? []) {
      while (this.#pending.size >= mostPending && !signal.aborted) await pause(50, signal);
      const id = jobId(event.id, purpose);
      const reaction = { eventId: event.id, stream: event.stream, revision: event.revision };
      // Pending before it is added: a quick worker may be done before `add` answers.
      this.#pending.set(id, { reaction, purpose, after: this.#read as LogPosition, addedAt: performance.now() });
      await this.#add(id, { reaction, purpose });
    }
  }

  /** Redis being away loses nothing: what is pending is added again. */
  async #add(id: string, { reaction, purpose }: Pick<Pending, "reaction" | "purpose">): Promise<void> {
    try {
      await this.#options.queue.add(id, purpose, reaction);
      this.#problem = undefined;
    } catch (error) {
      this.#problem = `jobs cannot be queued: ${(error as Error).message}`;
    }
  }

  /** Twice a second: saves how far everything is done, and adds again what has been out for too long. */
  async #moveCursor(signal: AbortSignal): Promise<void> {
    const rows = reactorCursors(this.#options.database);
    const addAgainMs = this.#options.addAgainMs ?? 10_000;
    while (!signal.aborted) {
      await pause(500, signal);
      this.#turnedAt = Date.now();
      this.#options.onTurn?.(this.#pending.size);
      for (const [id, pending] of this.#pending) {
        if (performance.now() - pending.addedAt < addAgainMs) continue;
        pending.addedAt = performance.now();
        await this.#add(id, pending);
      }
      const [oldest] = this.#pending.values();
      const position = oldest ? oldest.after : this.#read;
      if (position === undefined || this.#saved === undefined || position <= this.#saved || !this.#lease.valid)
        continue;
      await rows.updateOne({ _id: cursorId, position: { $lt: position } }, { $set: { position } });
      this.#saved = position;
    }
  }
}

/** Reactors by every stored name that concerns them, older versions included. */
function reactorsByType(reactors: readonly Reactor[]): ReadonlyMap<string, readonly Reactor[]> {
  const byType = new Map<string, Reactor[]>();
  for (const reactor of reactors) {
    for (const newest of reactor.on) {
      for (let version: Reactor["on"][number] | undefined = newest; version; version = version.previous?.definition) {
        byType.set(version.type, [...(byType.get(version.type) ?? []), reactor]);
      }
    }
  }
  return byType;
}
