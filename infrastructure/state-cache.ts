import { serialize } from "node:v8";
import { LRUCache } from "lru-cache";
import type { LogPosition } from "./event-store.js";

/**
 * Which commands wrote to a stream, as 32-bit fingerprints in an open-addressed table: about 6 bytes a command, where
 * a map of strings takes a hundred. May say yes wrongly (about one in 400,000 at 10,000 commands), never no: the
 * caller settles a yes by reading the stream.
 */
export class CommandIds {
  private table = new Uint32Array(8);
  private count = 0;

  add(commandId: string): void {
    if (this.insert(fingerprint(commandId))) this.count += 1;
    if (this.count * 4 > this.table.length * 3) this.grow();
  }

  mayHave(commandId: string): boolean {
    const wanted = fingerprint(commandId);
    const mask = this.table.length - 1;
    for (let index = wanted & mask; this.table[index] !== 0; index = (index + 1) & mask) {
      if (this.table[index] === wanted) return true;
    }
    return false;
  }

  get bytes(): number {
    return this.table.byteLength;
  }

  private insert(value: number): boolean {
    const mask = this.table.length - 1;
    let index = value & mask;
    for (; this.table[index] !== 0; index = (index + 1) & mask) {
      if (this.table[index] === value) return false;
    }
    this.table[index] = value;
    return true;
  }

  private grow(): void {
    const old = this.table;
    this.table = new Uint32Array(old.length * 2);
    for (const value of old) if (value !== 0) this.insert(value);
  }
}

/** FNV-1a, 32 bits; never 0, which marks an empty slot. */
function fingerprint(text: string): number {
  let hash = 0x811c9dc5;
  for (let index = 0; index < text.length; index++) hash = Math.imul(hash ^ text.charCodeAt(index), 0x01000193);
  return hash >>> 0 || 1;
}

/** A folded stream as this process last saw it. */
export type FoldedStream = {
  readonly state: unknown;
  /** -1 for a stream that does not exist. */
  readonly revision: number;
  readonly commandIds: CommandIds;
  /** When the store last confirmed that this was the newest state, by `performance.now()`. */
  readonly confirmedAt: number;
  /** Bytes of the state when it was last measured, and of the events folded since. */
  readonly measured: number;
  readonly sinceMeasured: number;
};

const maxAgeMs = 5 * 60_000;

/**
 * Folded states, least recently used out first, bounded in bytes and kept five minutes at most: they hold opened
 * personal data. States are immutable and shared.
 */
export class StateCache {
  private readonly folded: LRUCache<string, FoldedStream>;

  constructor(maxBytes: number) {
    this.folded = new LRUCache({ maxSize: maxBytes, maxEntrySize: Math.ceil(maxBytes / 8), ttl: maxAgeMs });
  }

  get(key: string): FoldedStream | undefined {
    return this.folded.get(key);
  }

  /**
   * Keeps a state unless a newer one of the same stream is there.
   *
   * @param foldedBytes size of the events folded since the state before this one
   */
  keep(
    key: string,
    next: Pick<FoldedStream, "state" | "revision" | "commandIds">,
    before: FoldedStream | undefined,
    foldedBytes: number,
  ): FoldedStream {
    let measured = before?.measured ?? 0;
    let sinceMeasured = (before?.sinceMeasured ?? 0) + foldedBytes;
    // Measuring costs as much as the state is large, so it is done when that much has been folded.
    if (before === undefined || sinceMeasured > Math.max(measured, 4_096)) {
      measured = foldedBytes === 0 ? 0 : 2 * serialize(next.state).byteLength;
      sinceMeasured = 0;
    }
    const folded = { ...next, confirmedAt: performance.now(), measured, sinceMeasured };
    const kept = this.folded.peek(key);
    if (kept === undefined || kept.revision <= next.revision) {
      const size = 512 + 2 * key.length + measured + sinceMeasured + next.commandIds.bytes;
      this.folded.set(key, folded, { size });
    }
    return folded;
  }

  drop(key: string): void {
    this.folded.delete(key);
  }

  /** Drops every state whose key matches. */
  dropWhere(matches: (key: string) => boolean): void {
    for (const key of [...this.folded.keys()]) if (matches(key)) this.folded.delete(key);
  }
}
