import type { OwnerKey } from "#domain/core/identifiers.js";
import type { Entry } from "./fold.js";

/** A document in memory, and what the collection has of it. */
export type Held = Entry & {
  readonly owner: OwnerKey;
  /** The collection has a version of it. */
  stored: boolean;
  /** Writes on their way; until they arrive, reading it back would give an older version. */
  inFlight: number;
};

/**
 * Documents used lately. Two halves: what is used goes to the young one, and when that is full the old one is let go.
 * A document on its way to the collection is never let go.
 */
export class DocumentCache {
  readonly #half: number;
  #young = new Map<string, Held>();
  #old = new Map<string, Held>();

  /** @param size documents kept, about */
  constructor(size: number) {
    this.#half = size / 2;
  }

  get(id: string): Held | undefined {
    const held = this.#young.get(id);
    if (held) return held;
    const older = this.#old.get(id);
    if (older) this.#young.set(id, older);
    return older;
  }

  set(id: string, held: Held): void {
    this.#young.set(id, held);
  }

  /** Lets old documents go; between batches, so that no batch loses what it has loaded. */
  trim(): void {
    if (this.#young.size < this.#half) return;
    const let_go = this.#old;
    this.#old = this.#young;
    this.#young = new Map();
    for (const [id, held] of let_go) if (held.inFlight > 0 && !this.#old.has(id)) this.#old.set(id, held);
  }

  /** Every document whose id lies between two. */
  *between(from: string, to: string): Generator<[string, Held]> {
    for (const entry of this.#young) if (entry[0] >= from && entry[0] < to) yield entry;
    for (const entry of this.#old) {
      if (entry[0] >= from && entry[0] < to && !this.#young.has(entry[0])) yield entry;
    }
  }
}

/** 16 MiB of bits would keep a million ids apart well; an eighth of it is enough to spare nearly all look-ups. */
const bits = 2 ** 24;
const probes = 4;

/**
 * Ids met since a collection was begun empty (a Bloom filter): says for certain that an id is new, so that a rebuild
 * need not look for documents that cannot be there. Rarely takes a new id for a known one, which costs a look.
 */
export class MetIds {
  readonly #words = new Uint32Array(bits / 32);

  /** Notes an id; false when it is new for certain. */
  meet(id: string): boolean {
    let first = 0x811c9dc5;
    let second = 0x9747b28c;
    for (let index = 0; index < id.length; index++) {
      const code = id.charCodeAt(index);
      first = Math.imul(first ^ code, 0x01000193);
      second = Math.imul(second ^ code, 0x5bd1e995);
    }
    second = (second ^ (second >>> 15)) | 1;
    let met = true;
    for (let probe = 0; probe < probes; probe++) {
      const bit = (first + Math.imul(probe, second)) & (bits - 1);
      const mask = 1 << (bit & 31);
      const word = this.#words[bit >>> 5] as number;
      if ((word & mask) !== 0) continue;
      met = false;
      this.#words[bit >>> 5] = word | mask;
    }
    return met;
  }
}
