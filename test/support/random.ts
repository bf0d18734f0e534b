/** A small seeded generator (mulberry32): the same seed gives the same run. */
export type Random = {
  /** 0 (inclusive) to 1 (exclusive). */
  next(): number;
  /** 0 (inclusive) to `bound` (exclusive), whole. */
  below(bound: number): number;
  pick<T>(values: readonly T[]): T;
};

/** Makes a generator of 2^32 different sequences. */
export function seededRandom(seed: number): Random {
  let state = seed | 0;
  const next = () => {
    state = (state + 0x6d2b79f5) | 0;
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state);
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed;
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 4_294_967_296;
  };
  const below = (bound: number) => Math.floor(next() * bound);
  return { next, below, pick: (values) => values[below(values.length)] as (typeof values)[number] };
}
