const bucketCount = 64;

type Bucket<Value> = readonly (readonly [key: string, value: Value])[];

/**
 * An immutable map from strings for the state of a decider: each change gives a new map that shares almost everything
 * with the old one. Made for up to a few hundred entries, where copying a plain `Map` at every event of a long stream
 * would make folding quadratic.
 */
export class PersistentMap<Value> {
  private constructor(
    private readonly buckets: readonly Bucket<Value>[],
    readonly size: number,
  ) {}

  static empty<Value>(): PersistentMap<Value> {
    return new PersistentMap<Value>(new Array<Bucket<Value>>(bucketCount).fill([]), 0);
  }

  get(key: string): Value | undefined {
    return this.buckets[bucketOf(key)]?.find(([candidate]) => candidate === key)?.[1];
  }

  has(key: string): boolean {
    return this.get(key) !== undefined;
  }

  /** This map with one entry added or replaced. */
  set(key: string, value: Value): PersistentMap<Value> {
    const index = bucketOf(key);
    const bucket = this.buckets[index] ?? [];
    const others = bucket.filter(([candidate]) => candidate !== key);
    const added = others.length === bucket.length ? 1 : 0;
    others.push([key, value]);
    return new PersistentMap(replaced(this.buckets, index, others), this.size + added);
  }

  /** This map without one entry; the same map when it was not there. */
  delete(key: string): PersistentMap<Value> {
    if (!this.has(key)) return this;
    const index = bucketOf(key);
    const others = (this.buckets[index] ?? []).filter(([candidate]) => candidate !== key);
    return new PersistentMap(replaced(this.buckets, index, others), this.size - 1);
  }

  /** All values, in no particular order. */
  *values(): IterableIterator<Value> {
    for (const bucket of this.buckets) for (const [, value] of bucket) yield value;
  }
}

/** `buckets.with(index, bucket)`, with which a fold of 10 000 events took half as long again on Node 20. */
function replaced<Value>(buckets: readonly Bucket<Value>[], index: number, bucket: Bucket<Value>) {
  const copy = buckets.slice();
  copy[index] = bucket;
  return copy;
}

function bucketOf(key: string): number {
  let hash = 0;
  for (let index = 0; index < key.length; index++) hash = (Math.imul(hash, 31) + key.charCodeAt(index)) | 0;
  // The low bits alone repeat for ids that differ in their first characters only.
  return (hash ^ (hash >>> 15)) & (bucketCount - 1);
}
