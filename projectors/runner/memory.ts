import type { OwnerKey } from "#domain/core/identifiers.js";
import { type LogPosition, logStart } from "#infrastructure/event-store.js";
import { type Entry, Fold, type LogEvent, newEntry, ownerOf } from "./fold.js";
import type { AnyProjection } from "./projection.js";

/**
 * A read model folded in memory, by the runner's own rules and without any store: for replays to a moment, and to
 * verify what is live.
 */
export class MemoryReadModel {
  readonly fold: Fold;
  readonly #entries = new Map<string, Entry>();
  /** Owners whose event could not be applied, and why; their later events are left out, as the runner parks them. */
  readonly faults = new Map<OwnerKey, unknown>();
  /** Owners whose key is destroyed. What that made unreadable may leave a gap that later events stumble over. */
  readonly #erased = new Set<OwnerKey>();

  constructor(projection: AnyProjection) {
    this.fold = new Fold(projection);
  }

  /** Folds one event; events must come in log order. Never throws: a fault is kept in {@link faults}. */
  apply(event: LogEvent): void {
    if (event.opened.kind === "erased") this.#erased.add(ownerOf(event.stored));
    const target = this.fold.target(event);
    if (target === null) return;
    if (target.kind === "erasure") {
      this.#erased.add(target.owner);
      // Whatever could not be applied was about somebody who is gone now.
      this.faults.delete(target.owner);
      for (const entry of this.#entriesOf(target.owner)) this.fold.erase(entry, event.stored.position);
      return;
    }
    if (this.faults.has(target.owner)) return;
    if (target.kind === "fault") {
      this.#noteFault(target.owner, target.error);
      return;
    }
    const entry = this.#entries.get(target.id) ?? newEntry();
    try {
      this.fold.apply(entry, target.event);
    } catch (error) {
      this.#noteFault(target.owner, error);
    }
    if (entry.position > logStart) this.#entries.set(target.id, entry);
  }

  /** As the runner does it, an erased owner's event that cannot be applied is passed over: no fault. */
  #noteFault(owner: OwnerKey, error: unknown): void {
    if (!this.#erased.has(owner)) this.faults.set(owner, error);
  }

  *#entriesOf(owner: OwnerKey): Iterable<Entry> {
    for (const [id, entry] of this.#entries) if (id.startsWith(`${owner}.`)) yield entry;
  }

  /** A document by its stored `_id`; null for a tombstone, undefined for none. */
  get(id: string): { readonly document: object | null; readonly position: LogPosition } | undefined {
    return this.#entries.get(id);
  }

  /** Documents that are there, by their stored `_id`, in the order of their first event. */
  *documents(): Iterable<{ readonly id: string; readonly document: object; readonly position: LogPosition }> {
    for (const [id, { document, position }] of this.#entries) if (document !== null) yield { id, document, position };
  }

  /** Documents there are, tombstones left out. */
  get size(): number {
    let size = 0;
    for (const { document } of this.#entries.values()) if (document !== null) size++;
    return size;
  }
}
