import type { Request } from "express";
import type { LogPosition } from "../event-store.js";
import { invalidField } from "./problem-details.js";

/** A place in the log as it travels: `<storeEpoch>.<position>`, opaque to clients. */
export function wirePosition(epoch: string, position: LogPosition): string {
  return `${epoch}.${position.replace(/^0+(?=\d)/, "")}`;
}

/** How long a read may wait for what the client has already seen, and what to do when that is not enough. */
export type Freshness = {
  /** The highest position asked for within this store; undefined when nothing is asked. */
  readonly position: LogPosition | undefined;
  /** A position of another store (restored, replaced) was named: nothing can be said about it. */
  readonly foreign: boolean;
  readonly waitMs: number;
  /** Answer what there is, marked stale, instead of 503. */
  readonly lenient: boolean;
};

const defaultWaitSeconds = 2;
const longestWaitSeconds = 10;

/**
 * Reads `X-Min-Log-Position` (one position or a list of at most ten, for clients cannot compare them) and `Prefer`
 * (RFC 7240 `wait`, `handling`; what is not understood there is passed over, as that RFC wants).
 *
 * @param epoch of the store the read models come from; "" while unknown
 * @throws Problem 400 for something that is no position
 */
export function freshnessOf(req: Request, epoch: string): Freshness | undefined {
  const header = req.headers["x-min-log-position"];
  if (header === undefined) return undefined;
  const wanted = String(header).split(",", 12);
  if (wanted.length > 10) throw invalidField("X-Min-Log-Position", "TOO_LONG", "must name at most 10 positions");
  let position: LogPosition | undefined;
  let foreign = false;
  for (const entry of wanted) {
    const [, itsEpoch, digits] = /^\s*([A-Za-z0-9_-]{1,64})\.(\d{1,20})\s*$/.exec(entry) ?? [];
    if (itsEpoch === undefined || digits === undefined) {
      throw invalidField("X-Min-Log-Position", "PATTERN", "must be a position from an X-Log-Position header");
    }
    if (epoch !== "" && itsEpoch !== epoch) foreign = true;
    else {
      const padded = digits.padStart(20, "0");
      if (position === undefined || padded > position) position = padded;
    }
  }
  return { position, foreign, ...preferenceOf(req.headers.prefer) };
}

function preferenceOf(header: string | string[] | undefined): { waitMs: number; lenient: boolean } {
  let seconds = defaultWaitSeconds;
  let lenient = false;
  for (const preference of String(header ?? "")
    .slice(0, 500)
    .split(/[,;]/)) {
    const [, wait] = /^\s*wait\s*=\s*"?(\d{1,6})"?\s*$/i.exec(preference) ?? [];
    if (wait !== undefined) seconds = Math.min(Number(wait), longestWaitSeconds);
    if (/^\s*handling\s*=\s*"?lenient"?\s*$/i.test(preference)) lenient = true;
  }
  return { waitMs: seconds * 1_000, lenient };
}
