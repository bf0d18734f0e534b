/** The vocabulary of the store: what comes in, what is kept, what an append can end in. */

/** An event as a client sends it. `data` and `metadata` are views of the request: copy them to keep them. */
export interface ProposedEvent {
  /** UUID in its text form, lower case. */
  readonly id: string;
  readonly type: string;
  /** True for content type `application/json`, false for `application/octet-stream`; there is no third. */
  readonly isJson: boolean;
  readonly data: Buffer;
  readonly metadata: Buffer;
}

/** An event as it is stored. */
export interface LogRecord {
  /** Place in the log, as the protocol's commit and prepare position: increasing, with gaps, opaque. */
  readonly position: number;
  /** The store's own number for the stream. */
  readonly stream: number;
  /** 0, 1, 2 … in the stream; `TOMBSTONE_REVISION` for the last one of a tombstoned stream. */
  readonly revision: number;
  readonly type: string;
  /** Commit time, milliseconds since the Unix epoch. */
  readonly created: number;
  /** The protocol's RecordedEvent message, ready to send: see `recorded-event.ts`. */
  readonly record: Buffer;
}

/** What the client requires of the stream's last revision: a number means exactly that one. */
export type ExpectedRevision = number | "any" | "no_stream" | "stream_exists";

/** No event was ever written to the stream. */
export const NO_REVISION = -1;

/**
 * The revision of the event that tombstones a stream. On the wire it is 2^63-1; here it is the largest number that
 * JavaScript counts exactly, which no real stream can reach.
 */
export const TOMBSTONE_REVISION = Number.MAX_SAFE_INTEGER;

/** How a write ended. Positions and revisions are those of the last event concerned. */
export type WriteOutcome =
  | {
      readonly kind: "success";
      /** The stream's revision after the write, `NO_REVISION` if it still has none. */
      readonly revision: number;
      /** Absent if nothing was ever written (an append of no events). */
      readonly position: number | undefined;
    }
  | { readonly kind: "wrong-expected-revision"; readonly current: number }
  | { readonly kind: "stream-deleted" };

/** Names of the events and streams that the protocol gives a meaning to. */
export const METADATA_EVENT_TYPE = "$metadata";
export const TOMBSTONE_EVENT_TYPE = "$streamDeleted";
export const LINK_EVENT_TYPE = "$>";
export const METADATA_STREAM_PREFIX = "$$";

/** `$$name` carries the metadata of `name`. */
export function metadataStreamOf(stream: string): string {
  return METADATA_STREAM_PREFIX + stream;
}

export function isMetadataStream(stream: string): boolean {
  return stream.startsWith(METADATA_STREAM_PREFIX);
}

/** The stream that a metadata stream speaks about. */
export function streamDescribedBy(metadataStream: string): string {
  return metadataStream.slice(METADATA_STREAM_PREFIX.length);
}
