import { z } from "zod";

/**
 * The platform's own revision of a thing it feeds us: a counter, or the time of its last change (RFC 3339 UTC with
 * milliseconds). It orders the platform's messages, which may come twice or in the wrong order.
 */
export type SourceRevision = number | string;

/** The stored form: a non-negative integer, or an instant already brought to UTC with milliseconds. */
export const sourceRevisionSchema = z.union([z.int().nonnegative(), z.iso.datetime({ precision: 3 })]);

/**
 * Whether a message is newer than what was applied last. A time counts as milliseconds since 1970, so a platform may
 * turn from counters to times (not back).
 *
 * @param last revision applied last, null when there was none
 */
export function isNewer(revision: SourceRevision, last: SourceRevision | null): boolean {
  return last === null || comparable(revision) > comparable(last);
}

function comparable(revision: SourceRevision): number {
  return typeof revision === "number" ? revision : Date.parse(revision);
}
