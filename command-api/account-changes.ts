import { setTimeout as delay } from "node:timers/promises";
import { LRUCache } from "lru-cache";
import type { Logger } from "pino";
import { AccountLocked } from "#domain/core/account-standing.js";
import type { EventStore, LogPosition } from "#infrastructure/event-store.js";

/** What was read of an account is good for so long while nobody tells us of changes. */
const unheardMs = 10_000;
/** And for so long while somebody does. */
const heardMs = 60_000;
const mostStreams = 20_000;
const reconnectAfterMs = 500;

/** Locks and erasures lie in the streams of profiles. */
const streamPrefixes = [`${AccountLocked.category}-`];

/**
 * Hears from the log of every account that changes, whichever process changed it. So what was read of an account need
 * not be read again for each command, and a lock is noticed as soon as the log tells of it.
 */
export class AccountChanges {
  readonly #eventStore: Pick<EventStore, "head" | "subscribe">;
  readonly #log: Pick<Logger, "warn">;
  /** Newest revision heard of, by stream. */
  readonly #revisions = new LRUCache<string, number>({ max: mostStreams });
  #listeningSince: number | undefined;

  constructor(eventStore: Pick<EventStore, "head" | "subscribe">, log: Pick<Logger, "warn">) {
    this.#eventStore = eventStore;
    this.#log = log;
  }

  /** How old what was read of an account may be: back to when we began to listen. */
  get maxAgeMs(): number {
    if (this.#listeningSince === undefined) return unheardMs;
    return Math.max(unheardMs, Math.min(heardMs, performance.now() - this.#listeningSince));
  }

  /** Whether a stream is known to have gone on since it was read up to a revision. */
  hasChanged(stream: string, since: number): boolean {
    return (this.#revisions.get(stream) ?? -1) > since;
  }

  /** Listens until `signal` aborts; without the store, we are as if nobody told us. */
  async follow(signal: AbortSignal): Promise<void> {
    let after: LogPosition | undefined;
    while (!signal.aborted) {
      try {
        after ??= await this.#eventStore.head();
        for await (const item of this.#eventStore.subscribe({ after, streamPrefixes, signal })) {
          if (item.kind === "caught-up") this.#listeningSince ??= performance.now();
          else if (item.kind === "checkpoint") after = item.position;
          else {
            this.#revisions.set(item.event.stream, item.event.revision);
            after = item.event.position;
          }
        }
      } catch (err) {
        if (!signal.aborted) this.#log.warn({ err }, "nobody tells of accounts' changes, listening again");
      }
      this.#listeningSince = undefined;
      await delay(reconnectAfterMs, undefined, { signal }).catch(() => {});
    }
  }
}
