/**
 * Whether an append may be written: the optimistic concurrency check, and the recognition of an append that was
 * already written by an earlier try whose answer got lost. Pure; the heart of the store's promises.
 */

import type { ExpectedRevision } from "./events.js";
import { NO_REVISION } from "./events.js";

/** The stream as the check sees it. */
export interface StreamState {
  /** Revision of the last event, `NO_REVISION` if there is none. */
  readonly last: number;
  readonly isTombstoned: boolean;
  readonly isSoftDeleted: boolean;
}

/** What is known of events already stored. */
export interface StoredEvents {
  /** Revision at which the event was written to this stream lately; undefined if unknown or in another stream. */
  findRecent(id: string): number | undefined;
  /** Id of this stream's event at the revision; undefined past the end. */
  idAt(revision: number): string | undefined;
  /** Whether the stream's metadata stream holds any event. */
  hasMetadata(): boolean;
}

export type AppendVerdict =
  | { readonly kind: "write" }
  /** All events are there already; `revision` is that of the last of them. */
  | { readonly kind: "repeated"; readonly revision: number }
  | { readonly kind: "wrong-expected-revision" }
  | { readonly kind: "stream-deleted" };

const WRITE: AppendVerdict = { kind: "write" };
const WRONG: AppendVerdict = { kind: "wrong-expected-revision" };
const DELETED: AppendVerdict = { kind: "stream-deleted" };

/**
 * Judges an append of the events with these ids, in this order. An empty append is judged too: it writes nothing, but
 * still states an expectation.
 */
export function checkAppend(
  expected: ExpectedRevision,
  ids: readonly string[],
  state: StreamState,
  stored: StoredEvents,
): AppendVerdict {
  if (state.isTombstoned) return DELETED;
  if (expected === "stream_exists") {
    if (state.isSoftDeleted) return DELETED;
    // A stream that has only metadata counts as existing.
    if (state.last === NO_REVISION && !stored.hasMetadata()) return WRONG;
  }
  if (expected === "any" || expected === "stream_exists") return checkAgainstRecent(ids, stored);

  const revision = expected === "no_stream" ? NO_REVISION : expected;
  if (revision === state.last) return WRITE;
  if (revision > state.last) return WRONG;
  return checkAgainstStored(revision, ids, state, stored);
}

/**
 * Without an expected revision the only trace of an earlier try is the recently seen ids. An unknown first id means a
 * new append, whatever follows; a known first id means a repeat, which must then be complete.
 */
function checkAgainstRecent(ids: readonly string[], stored: StoredEvents): AppendVerdict {
  let revision: number | undefined;
  for (const [index, id] of ids.entries()) {
    revision = stored.findRecent(id);
    if (revision === undefined) return index === 0 ? WRITE : WRONG;
  }
  return revision === undefined ? WRITE : { kind: "repeated", revision };
}

/** The stream has moved on: that is a conflict, unless these very events are what moved it. Exact, and for ever. */
function checkAgainstStored(
  expected: number,
  ids: readonly string[],
  state: StreamState,
  stored: StoredEvents,
): AppendVerdict {
  for (const [index, id] of ids.entries()) {
    if (stored.idAt(expected + 1 + index) === id) continue;
    // A soft-deleted stream may be begun anew as if it did not exist.
    return index === 0 && expected === NO_REVISION && state.isSoftDeleted ? WRITE : WRONG;
  }
  return ids.length === 0 ? WRONG : { kind: "repeated", revision: expected + ids.length };
}
