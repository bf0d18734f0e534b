import type { Collection, Db, Document } from "mongodb";
import type { OwnerKey } from "#domain/core/identifiers.js";
import type { LogPosition } from "#infrastructure/event-store.js";
import { type CursorMember, type ReadModelKey, readModelKey } from "#infrastructure/read-models.js";
import { memberName } from "./cursors.js";
import { DocumentCache, type Held, MetIds } from "./document-cache.js";
import { type DocumentRefused, type DocumentWrite, writeDocuments } from "./document-writer.js";
import { Fold, idRange, type LogEvent, newEntry, type Target } from "./fold.js";
import { describeError, mostParkedOwners, type ParkedRow, parkedRow } from "./parked.js";
import type { AnyProjection } from "./projection.js";

/** What folding a batch gives: effects to be stored before the cursor may pass the batch. */
export type FoldedBatch = {
  readonly write: () => Promise<void>;
  /** Events put aside, in order; to be stored with the rest. */
  readonly parked: readonly ParkedRow[];
  /** Owners whose parked events are moot, because an erasure took all. */
  readonly released: readonly OwnerKey[];
  /** The set of parked owners changed. */
  readonly parkingChanged: boolean;
};

/** The projection itself is at fault: it stops where it is, the others go on. */
export class ProjectionStopped extends Error {
  constructor(
    readonly member: Member,
    readonly event: LogEvent,
    reason: string,
  ) {
    super(reason);
    this.name = "ProjectionStopped";
  }
}

/** Documents kept in memory per projection; a miss costs one `find` per batch. */
const cacheSize = 4_000;

/** This many owners failing on a type, and not one event of it applied: every event of the type is at fault. */
const everyEventFails = 5;

/**
 * One generation of one projection: folds batches into its documents and writes them.
 *
 * Every document carries the position of the last event in it and is a pure function of that position. So a write that
 * is conditional on an older position may be repeated, overtaken or raced by another process, and the newest wins; it
 * need not wait for the write before it either, as long as documents on their way are kept in memory.
 */
export class Member {
  readonly name: string;
  readonly key: ReadModelKey;
  readonly generation: number;
  readonly fold: Fold;
  readonly collection: Collection<Document>;
  readonly parked: Set<OwnerKey>;
  readonly #isErased: (owner: OwnerKey) => Promise<boolean>;
  #cache = new DocumentCache(cacheSize);
  /** Given while the generation was begun empty, under this very leader: whatever is not met does not exist. */
  #met: MetIds | undefined;
  #refused = new Map<string, DocumentRefused>();
  /** Per type: events applied, and owners whose event failed. */
  #tally = new Map<string, { applied: number; failed: Set<OwnerKey> }>();

  constructor(
    database: Db,
    projection: AnyProjection,
    row: Pick<CursorMember, "generation" | "parked">,
    isErased: (owner: OwnerKey) => Promise<boolean>,
  ) {
    const { name, version } = projection.definition;
    this.name = memberName({ projection: name, version, generation: row.generation });
    this.key = readModelKey(projection.definition);
    this.generation = row.generation;
    this.fold = new Fold(projection);
    this.collection = database.collection(this.name);
    this.parked = new Set(row.parked);
    this.#isErased = isErased;
  }

  get row(): CursorMember {
    const { name, version } = this.fold.projection.definition;
    return { projection: name, version, generation: this.generation, parked: [...this.parked] };
  }

  /** Forgets what it holds, and reads it again as needed; `parked` is what the cursor's row says. */
  async reset(parked: readonly OwnerKey[], fromStart: boolean): Promise<void> {
    this.#cache = new DocumentCache(cacheSize);
    this.parked.clear();
    for (const owner of parked) this.parked.add(owner);
    const empty = fromStart && (await this.collection.findOne({}, { projection: { _id: 1 } })) === null;
    this.#met = empty ? new MetIds() : undefined;
  }

  /** Marks a document that MongoDB refused, so that folding its next event counts as a fault. */
  refuse(error: DocumentRefused): void {
    this.#refused.set(error.id, error);
  }

  /**
   * Folds a batch in memory. Batches must be folded one after the other; their writes may overlap.
   *
   * @param events in log order
   * @param retried an owner whose parked events these are
   * @throws ProjectionStopped
   */
  async foldBatch(events: readonly LogEvent[], retried?: OwnerKey): Promise<FoldedBatch> {
    if (retried !== undefined) this.#refused.clear();
    const steps: { readonly event: LogEvent; readonly target: Target }[] = [];
    const missing = new Set<string>();
    const looked = new Set<string>();
    for (const event of events) {
      const target = this.fold.target(event);
      if (target === null) continue;
      steps.push({ event, target });
      if (target.kind !== "document" || looked.has(target.id) || this.#cache.get(target.id)) continue;
      looked.add(target.id);
      if (!this.#met || this.#met.meet(target.id)) missing.add(target.id);
    }
    if (missing.size > 0) await this.#load({ _id: { $in: [...missing] } });

    const touched = new Map<string, Held>();
    const parked: ParkedRow[] = [];
    const released: OwnerKey[] = [];
    const parkedBefore = this.parked.size;
    for (const { event, target } of steps) {
      if (target.kind === "erasure") {
        await this.#erase(target.owner, event.stored.position, touched);
        if (this.parked.delete(target.owner)) released.push(target.owner);
      } else if (this.parked.has(target.owner) && target.owner !== retried) {
        parked.push(parkedRow(this.name, target.owner, event));
      } else {
        const error = this.#apply(event, target, touched);
        // What an erasure made unreadable may leave a gap that a later event stumbles over: no fault.
        if (error === undefined || (await this.#isErased(target.owner))) continue;
        this.#park(target.owner, event, error);
        parked.push(parkedRow(this.name, target.owner, event, error));
      }
    }
    // Built now, before the next batch changes the entries.
    const write = this.#prepareWrite(touched);
    this.#cache.trim();
    const parkingChanged = released.length > 0 || this.parked.size !== parkedBefore;
    return { write, parked, released, parkingChanged };
  }

  /** Folds one event; gives the error that makes it a fault. */
  #apply(event: LogEvent, target: Exclude<Target, { kind: "erasure" }>, touched: Map<string, Held>): unknown {
    if (target.kind === "fault") return target.error ?? new Error("unknown fault");
    let tally = this.#tally.get(event.type);
    if (!tally) {
      tally = { applied: 0, failed: new Set() };
      this.#tally.set(event.type, tally);
    }
    const refused = this.#refused.get(target.id);
    if (refused) return refused;
    let held = this.#cache.get(target.id);
    if (!held) {
      held = { ...newEntry(), owner: target.owner, stored: false, inFlight: 0 };
      this.#cache.set(target.id, held);
    }
    try {
      if (this.fold.apply(held, target.event)) touched.set(target.id, held);
      tally.applied++;
      return undefined;
    } catch (error) {
      return error ?? new Error("unknown fault");
    }
  }

  #park(owner: OwnerKey, event: LogEvent, error: unknown): void {
    this.parked.add(owner);
    if (this.parked.size > mostParkedOwners) {
      throw new ProjectionStopped(this, event, `more than ${mostParkedOwners} owners parked: ${describeError(error)}`);
    }
    const tally = this.#tally.get(event.type) ?? { applied: 0, failed: new Set<OwnerKey>() };
    this.#tally.set(event.type, tally);
    tally.failed.add(owner);
    if (tally.applied === 0 && tally.failed.size >= everyEventFails) {
      throw new ProjectionStopped(this, event, `every event of type ${event.type} fails: ${describeError(error)}`);
    }
  }

  async #erase(owner: OwnerKey, position: LogPosition, touched: Map<string, Held>): Promise<void> {
    const range = idRange(owner);
    await this.#load({ _id: range });
    for (const [id, held] of this.#cache.between(range.$gte, range.$lt)) {
      if (this.fold.erase(held, position)) touched.set(id, held);
    }
  }

  /** Reads documents that the cache lacks; what it holds is as new or newer. */
  async #load(filter: Document): Promise<void> {
    for await (const stored of this.collection.find(filter, { batchSize: 5_000 })) {
      const { _id, owner, _pos, _deletedAt, ...document } = stored;
      const id = String(_id);
      if (this.#cache.get(id)) continue;
      const removed = _deletedAt !== undefined;
      this.#cache.set(id, { document: removed ? null : document, position: _pos, owner, stored: true, inFlight: 0 });
    }
  }

  /** The writes of a batch's documents, as they are now. */
  #prepareWrite(touched: ReadonlyMap<string, Held>): () => Promise<void> {
    const writes: DocumentWrite[] = [];
    for (const [id, held] of touched) {
      const fields = { _id: id, owner: held.owner, _pos: held.position };
      const document = held.document === null ? { ...fields, _deletedAt: new Date() } : { ...held.document, ...fields };
      writes.push({ document, isNew: !held.stored && held.inFlight === 0 });
      held.inFlight++;
    }
    return async () => {
      if (writes.length === 0) return;
      await writeDocuments(this.collection, writes);
      for (const held of touched.values()) {
        held.stored = true;
        held.inFlight--;
      }
    };
  }
}
