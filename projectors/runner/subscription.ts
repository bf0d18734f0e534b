import type { Logger } from "pino";
import type { EventStore, LogPosition, StoredEvent } from "#infrastructure/event-store.js";
import { pause } from "./lease.js";

/** The store is not the one the cursors belong to: restored from a backup, replaced, or a wrong address. */
export class ForeignStore extends Error {
  /** @param cure the operator's command that goes on with this store */
  constructor(detail: string, cure = "projections rebuild --all") {
    super(`${detail}: this is another event store, or a restored one; to go on with it: npm run cli -- ${cure}`);
    this.name = "ForeignStore";
  }
}

/** Where a cursor stands, and what must be there for the store to be the one we know. */
export type KnownPlace = {
  readonly storeEpoch: string;
  readonly event: { readonly id: string; readonly position: LogPosition } | null;
};

/**
 * Reads the event at a cursor back.
 *
 * @throws ForeignStore when another one, or none, is there
 * @throws StoreUnavailable
 */
export async function checkStore(eventStore: EventStore, place: KnownPlace): Promise<void> {
  const epoch = await eventStore.epoch();
  if (epoch !== place.storeEpoch) throw new ForeignStore(`the store's epoch is ${epoch}, not ${place.storeEpoch}`);
  if (!place.event) return;
  const there = await eventStore.eventAt(place.event.position);
  if (there?.id === place.event.id) return;
  throw new ForeignStore(`event ${place.event.id} is not at position ${place.event.position}`);
}

/** What {@link LogFeed.take} hands out. */
export type FeedBatch = {
  readonly events: readonly StoredEvent[];
  /** Everything up to here has been handed out, this batch included. */
  readonly position: LogPosition;
  /** Nothing was waiting in the store when this was read. */
  readonly caughtUp: boolean;
};

export type FeedOptions = {
  readonly eventStore: EventStore;
  readonly from: KnownPlace & { readonly position: LogPosition };
  readonly streamPrefixes: readonly string[];
  readonly log: Pick<Logger, "warn">;
  /** Told at each reconnect. */
  readonly onReconnect?: () => void;
};

/** Events read ahead at most. */
const readAhead = 4_096;
/** Longest wait for a batch to fill while catching up. */
const gatherMs = 100;
const backOffMs = { first: 100, most: 5_000 };

/**
 * The log after a position, as a queue: the bulk reader up to the end, then a subscription, over again from the last
 * event handed over whenever the connection breaks or the subscription ends (which is a failure too: a driver may end
 * one without a word). One `for await` at a time, so events stay in order; it stands still while the queue is full.
 */
export class LogFeed {
  readonly #options: FeedOptions;
  #queue: StoredEvent[] = [];
  /** Everything up to here is in the queue or taken. */
  #position: LogPosition;
  #last: KnownPlace["event"];
  #caughtUp = false;
  /** Reading what is there already, not yet waiting for what comes. */
  #catchingUp = false;
  #failure: unknown;
  /** Something happened since the last `take`. */
  #news = false;
  #onNews: (() => void) | undefined;
  #onRoom: (() => void) | undefined;
  #connection = new AbortController();
  readonly #stopping = new AbortController();
  readonly #running: Promise<void>;

  constructor(options: FeedOptions) {
    this.#options = options;
    this.#position = options.from.position;
    this.#last = options.from.event;
    this.#running = this.#run();
  }

  /** Commit time of the oldest event that waits to be taken. */
  get oldestWaiting(): Date | undefined {
    return this.#queue[0]?.created;
  }

  get waiting(): number {
    return this.#queue.length;
  }

  /**
   * Gives what has come since the last call, at once and never empty-handed for long: with nothing new it waits for
   * an event, a place reached, the end of the log, or {@link wake}.
   *
   * @param most events at most
   * @throws ForeignStore when the store turned out to be another one
   */
  async take(most: number): Promise<FeedBatch> {
    while (!this.#news) await this.#untilNews();
    // Far behind, a full batch costs much less than several small ones; at the end of the log nothing waits.
    if (this.#catchingUp && this.#queue.length < most) await this.#gather(most);
    if (this.#failure) throw this.#failure;
    const events = this.#queue.length <= most ? this.#queue : this.#queue.slice(0, most);
    this.#queue = this.#queue.slice(events.length);
    this.#news = this.#queue.length > 0;
    this.#onRoom?.();
    const last = events.at(-1);
    const position = last && this.#news ? last.position : this.#position;
    return { events, position, caughtUp: this.#caughtUp && !this.#news };
  }

  #untilNews(): Promise<void> {
    return new Promise((resolve) => {
      this.#onNews = resolve;
    });
  }

  async #gather(most: number): Promise<void> {
    const deadline = performance.now() + gatherMs;
    const timer = setTimeout(() => this.wake(), gatherMs);
    while (this.#catchingUp && !this.#stopped && !this.#failure && this.#queue.length < most) {
      if (performance.now() >= deadline) break;
      await this.#untilNews();
    }
    clearTimeout(timer);
  }

  /** Ends a `take` that waits. */
  wake(): void {
    this.#news = true;
    this.#onNews?.();
  }

  async stop(): Promise<void> {
    this.#stopping.abort();
    this.#connection.abort();
    this.#onRoom?.();
    this.wake();
    await this.#running;
  }

  get #stopped(): boolean {
    return this.#stopping.signal.aborted;
  }

  async #run(): Promise<void> {
    let wait = backOffMs.first;
    for (let attempt = 0; !this.#stopped; attempt++) {
      this.#connection = new AbortController();
      const started = this.#position;
      try {
        if (attempt > 0) {
          this.#options.onReconnect?.();
          // The store may have been restored or replaced while it was away.
          await checkStore(this.#options.eventStore, { ...this.#options.from, event: this.#last });
        }
        await this.#follow(this.#connection.signal);
        throw new Error("the subscription ended");
      } catch (error) {
        if (this.#stopped) return;
        if (error instanceof ForeignStore) {
          this.#failure = error;
          this.wake();
          return;
        }
        if (this.#position !== started) wait = backOffMs.first;
        this.#options.log.warn({ err: error, retryInMs: wait }, "reading the log broke off, connecting again");
        await pause(wait * (0.5 + Math.random()), this.#stopping.signal);
        wait = Math.min(wait * 2, backOffMs.most);
      }
    }
  }

  async #follow(signal: AbortSignal): Promise<void> {
    const { eventStore, streamPrefixes } = this.#options;
    this.#caughtUp = false;
    this.#catchingUp = true;
    try {
      for await (const event of eventStore.readLog({ after: this.#position, streamPrefixes, signal })) {
        await this.#push(event);
      }
    } finally {
      this.#catchingUp = false;
      if (this.#queue.length > 0) this.wake();
    }
    for await (const item of eventStore.subscribe({ after: this.#position, streamPrefixes, signal })) {
      if (item.kind === "event") await this.#push(item.event);
      else {
        // Queued behind the events already handed over: the place counts once those are taken.
        if (item.kind === "caught-up") this.#caughtUp = true;
        else if (item.position > this.#position) this.#position = item.position;
        this.wake();
      }
    }
  }

  async #push(event: StoredEvent): Promise<void> {
    this.#queue.push(event);
    this.#position = event.position;
    this.#last = event;
    if (!this.#news || this.#queue.length % 1_024 === 0) this.wake();
    while (this.#queue.length >= readAhead && !this.#stopped) {
      await new Promise<void>((resolve) => {
        this.#onRoom = resolve;
      });
    }
  }
}
