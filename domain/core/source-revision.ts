import { z } from "zod";

/**
 * The platform's own revision of a thing it feeds us: a counter that only grows, or the time of its last change with
 * any number of decimals. It orders the platform's messages, which may come twice or in the wrong order.
 */
export type SourceRevision = number | string;

/** As the platform sends it and as it is stored: a time keeps its decimals and its offset. */
export const sourceRevisionSchema = z.union([z.int().nonnegative(), z.iso.datetime({ offset: true }).max(48)]);

/**
 * Whether a message is newer than what was applied last. A counter counts as milliseconds since 1970, so a platform
 * may turn from counters to times (not back).
 *
 * @param last revision applied last, null when there was none
 */
export function isNewer(revision: SourceRevision, last: SourceRevision | null): boolean {
  if (last === null) return true;
  if (typeof revision === "number" && typeof last === "number") return revision > last;
  return nanoseconds(revision) > nanoseconds(last);
}

/** Two changes within one millisecond stay apart: databases keep six decimals of a time, or nine. */
function nanoseconds(revision: SourceRevision): bigint {
  if (typeof revision === "number") return BigInt(revision) * 1_000_000n;
  const fraction = /\.(\d+)/.exec(revision)?.[1] ?? "";
  const seconds = BigInt(Date.parse(revision.replace(/\.\d+/, "")) / 1000);
  return seconds * 1_000_000_000n + BigInt(fraction.slice(0, 9).padEnd(9, "0"));
}
