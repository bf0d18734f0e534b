import { kept, type PromisedSlot, type Range } from "./opening-hours.js";

const minuteMs = 60_000;

/** Something that takes places for a while: a claim or a hold, with the buffer after it. */
export type Occupation = Range & { readonly partySize: number };

/** The instants a promised slot takes under the zone's rules as they are now, its buffer included. */
export function occupied(slot: PromisedSlot, bufferMinutes: number, partySize: number): Occupation {
  const { start, end } = kept(slot);
  return { start, end: end + bufferMinutes * minuteMs, partySize };
}

/** How many places are taken from which instant on: made once, asked for every slot of a day. */
export type Occupancy = {
  /** Instants at which it changes, ascending. */
  readonly at: readonly number[];
  readonly taken: readonly number[];
  readonly blocks: readonly Range[];
};

/**
 * What is taken of a resource on a day.
 *
 * @param blocks ranges in which nothing may be booked
 */
export function occupancyOf(occupations: Iterable<Occupation>, blocks: Iterable<Range>): Occupancy {
  const changes: { at: number; by: number }[] = [];
  for (const { start, end, partySize } of occupations) {
    changes.push({ at: start, by: partySize }, { at: end, by: -partySize });
  }
  changes.sort((one, other) => one.at - other.at);
  const at: number[] = [];
  const taken: number[] = [];
  let sum = 0;
  for (const change of changes) {
    sum += change.by;
    // Whatever happens at one instant counts together: what ends makes room for what begins then.
    if (at.at(-1) === change.at) taken[taken.length - 1] = sum;
    else {
      at.push(change.at);
      taken.push(sum);
    }
  }
  return { at, taken, blocks: [...blocks] };
}

/**
 * Places left for a slot.
 *
 * @param slot without its buffer, which may reach into a block as it may reach beyond the closing time
 */
export function remaining(
  { at, taken, blocks }: Occupancy,
  capacity: number,
  slot: Range & { readonly bufferMinutes: number },
): number {
  for (const block of blocks) if (block.start < slot.end && slot.start < block.end) return 0;
  const end = slot.end + slot.bufferMinutes * minuteMs;
  let low = 0;
  let high = at.length;
  while (low < high) {
    const middle = (low + high) >> 1;
    if ((at[middle] as number) <= slot.start) low = middle + 1;
    else high = middle;
  }
  let most = low === 0 ? 0 : (taken[low - 1] as number);
  for (let index = low; index < at.length && (at[index] as number) < end; index++) {
    most = Math.max(most, taken[index] as number);
  }
  return Math.max(0, capacity - most);
}
