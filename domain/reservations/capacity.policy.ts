import { kept, type PromisedSlot, type Range } from "./opening-hours.js";

const minuteMs = 60_000;

/** Something that takes places for a while: a claim or a hold, with the buffer after it. */
export type Occupation = Range & { readonly partySize: number };

/** The instants a promised slot takes under the zone's rules as they are now, its buffer included. */
export function occupied(slot: PromisedSlot, bufferMinutes: number, partySize: number): Occupation {
  const { start, end } = kept(slot);
  return { start, end: end + bufferMinutes * minuteMs, partySize };
}

/**
 * The most places taken at any instant of a range.
 *
 * @param occupations in any order
 */
export function peak(range: Range, occupations: Iterable<Occupation>): number {
  const changes: { at: number; by: number }[] = [];
  for (const { start, end, partySize } of occupations) {
    if (start >= range.end || end <= range.start) continue;
    changes.push({ at: start, by: partySize }, { at: end, by: -partySize });
  }
  // What ends at an instant makes room for what begins then.
  changes.sort((one, other) => one.at - other.at || one.by - other.by);
  let taken = 0;
  let most = 0;
  for (const { by } of changes) {
    taken += by;
    if (taken > most) most = taken;
  }
  return most;
}

/**
 * Places left for a slot.
 *
 * @param wish the slot without its buffer
 * @param blocks ranges in which nothing may be booked; a buffer may reach into one, as it may beyond the closing time
 */
export function remaining(
  wish: Range & { readonly bufferMinutes: number },
  capacity: number,
  occupations: Iterable<Occupation>,
  blocks: Iterable<Range>,
): number {
  for (const block of blocks) if (block.start < wish.end && wish.start < block.end) return 0;
  const range = { start: wish.start, end: wish.end + wish.bufferMinutes * minuteMs };
  return Math.max(0, capacity - peak(range, occupations));
}
