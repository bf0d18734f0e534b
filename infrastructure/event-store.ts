/**
 * The event store as the product sees it. One implementation: `eventstoredb.ts`, over the EventStoreDB protocol.
 */

/**
 * A place in the log: 20 decimal digits, so that string order is log order in JavaScript and in MongoDB alike.
 * Opaque otherwise: increasing with gaps, comparable only within one store epoch.
 */
export type LogPosition = string & { readonly __brand?: "LogPosition" };

/** Before every event. */
export const logStart: LogPosition = "0".repeat(20);

/** An event as it lies in the store: data and metadata are parsed JSON, personal fields still sealed. */
export type StoredEvent = {
  readonly id: string;
  readonly stream: string;
  /** Revision in its stream, 0 for the first. */
  readonly revision: number;
  readonly position: LogPosition;
  readonly type: string;
  readonly data: unknown;
  readonly metadata: unknown;
  /** Commit time by the store's clock. */
  readonly created: Date;
};

/** An event on its way into the store. The id is drawn once per handling and kept over every re-send. */
export type EventToStore = {
  readonly id: string;
  readonly type: string;
  readonly data: unknown;
  readonly metadata: unknown;
};

/** The revision a decision was made at; `no-stream` when nothing was there. */
export type ExpectedRevision = number | "no-stream";

export type Appended = {
  /** Revision of the last event appended. */
  readonly revision: number;
  readonly position: LogPosition;
};

/** What a subscription yields: events in log order, and places reached where nothing matched. */
export type SubscriptionItem =
  | { readonly kind: "event"; readonly event: StoredEvent }
  | { readonly kind: "checkpoint"; readonly position: LogPosition }
  | { readonly kind: "caught-up" };

export type EventStore = {
  /**
   * Reads one stream forwards.
   *
   * @param from first revision wanted, default 0
   * @returns the events; empty for a stream that does not exist
   * @throws StoreUnavailable
   */
  readStream(stream: string, options?: { from?: number; limit?: number }): Promise<StoredEvent[]>;

  /**
   * Appends at the revision read. An unknown outcome is settled here: re-sent with the same ids at the same revision
   * until the store answers or the deadline passes.
   *
   * @throws WrongExpectedRevision when another writer was first
   * @throws StoreUnavailable when no answer came in time; the outcome is then unknown
   */
  append(stream: string, expected: ExpectedRevision, events: readonly EventToStore[]): Promise<Appended>;

  /**
   * Reads the log forwards, strictly after a position, through the bulk reader.
   *
   * @param streamPrefixes server-side filter; absent means every stream but system streams
   * @param until stop after this position (inclusive)
   */
  readLog(options: {
    after: LogPosition;
    until?: LogPosition;
    streamPrefixes?: readonly string[];
    limit?: number;
    signal?: AbortSignal;
  }): AsyncIterable<StoredEvent>;

  /**
   * Follows the log, strictly after a position. The iterator ends only by throwing (connection lost, consumer
   * aborted): resuming is the caller's, from its own cursor.
   */
  subscribe(options: {
    after: LogPosition;
    streamPrefixes: readonly string[];
    signal: AbortSignal;
  }): AsyncIterable<SubscriptionItem>;

  /**
   * Position of the last event in the log that the filter lets through; `logStart` when it holds none. Compare a
   * filtered reader's cursor only with a head under the same filter.
   *
   * @param streamPrefixes absent means every stream but system streams
   */
  head(options?: { streamPrefixes?: readonly string[] }): Promise<LogPosition>;

  /** Reads the event at exactly this position; null when there is none (another or a restored store). */
  eventAt(position: LogPosition): Promise<StoredEvent | null>;

  /** Identity of this incarnation of the store, kept in the store itself; made on first use. */
  epoch(): Promise<string>;

  close(): Promise<void>;
};

/** Another writer appended first. */
export class WrongExpectedRevision extends Error {
  constructor(readonly stream: string) {
    super("the stream moved on");
    this.name = "WrongExpectedRevision";
  }
}

/** The store did not answer in time, or is not reachable; surfaces as 503 with Retry-After. */
export class StoreUnavailable extends Error {
  constructor(cause?: unknown) {
    super("the event store is not available", { cause });
    this.name = "StoreUnavailable";
  }
}
