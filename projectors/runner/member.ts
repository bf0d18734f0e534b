import { type AnyBulkWriteOperation, type Collection, type Db, MongoBulkWriteError, MongoError } from "mongodb";
import type { OwnerKey } from "#domain/core/identifiers.js";
import type { LogPosition } from "#infrastructure/event-store.js";
import { isMongoUnavailable } from "#infrastructure/mongo.js";
import { type CursorMember, type ReadModelKey, readModelKey } from "#infrastructure/read-models.js";
import { memberName } from "./cursors.js";
import { type Entry, Fold, idRange, type LogEvent, newEntry, type Target } from "./fold.js";
import { describeError, mostParkedOwners, type ParkedRow, parkedRow } from "./parked.js";
import type { AnyProjection } from "./projection.js";

/** A document in the cache, and what the collection has of it. */
type Held = Entry & {
  readonly owner: OwnerKey;
  /** The collection has a version of it. */
  stored: boolean;
  /** Writes on their way; until they arrive, reading it back would give an older version. */
  inFlight: number;
};

type AnyDocument = any;

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

/** A document that MongoDB refuses (too large, say); its owner is parked when the batch is folded again. */
export class DocumentRefused extends Error {
  constructor(
    /** Name of the generation, `wishlist.v1.g2`. */
    readonly generation: string,
    readonly id: string,
    cause: unknown,
  ) {
    super(`the read model refuses a document: ${describeError(cause)}`, { cause });
    this.name = "DocumentRefused";
  }
}

/** Documents kept in memory per projection; a miss costs one `find` per batch. */
export const cacheSizes = { live: 5_000, filling: 40_000 };

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
  readonly collection: Collection<AnyDocument>;
  readonly parked: Set<OwnerKey>;
  readonly #isErased: (owner: OwnerKey) => Promise<boolean>;
  #cache = new Map<string, Held>();
  /** Whatever is not in the cache does not exist: the generation was begun in this process and nothing was evicted. */
  #complete = false;
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
    this.collection = database.collection<AnyDocument>(this.name);
    this.parked = new Set(row.parked);
    this.#isErased = isErased;
  }

  get row(): CursorMember {
    const { name, version } = this.fold.projection.definition;
    return { projection: name, version, generation: this.generation, parked: [...this.parked] };
  }

  /** Forgets what it holds, and reads it again as needed; `parked` is what the cursor's row says. */
  async reset(parked: readonly OwnerKey[], fromStart: boolean): Promise<void> {
    this.#cache = new Map();
    this.parked.clear();
    for (const owner of parked) this.parked.add(owner);
    this.#complete = fromStart && (await this.collection.findOne({}, { projection: { _id: 1 } })) === null;
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
    for (const event of events) {
      const target = this.fold.target(event);
      if (target === null) continue;
      steps.push({ event, target });
      if (target.kind === "document" && !this.#cache.has(target.id)) missing.add(target.id);
    }
    if (missing.size > 0) await this.#load({ _id: { $in: [...missing] } }, missing);

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
    this.#evict();
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
    if (held) this.#cache.delete(target.id);
    else held = { ...newEntry(), owner: target.owner, stored: false, inFlight: 0 };
    this.#cache.set(target.id, held);
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
    if (!this.#complete) await this.#load({ _id: idRange(owner) });
    const { $gte, $lt } = idRange(owner);
    for (const [id, held] of this.#cache) {
      if (id >= $gte && id < $lt && this.fold.erase(held, position)) touched.set(id, held);
    }
  }

  /** Reads documents that the cache lacks; what it holds is as new or newer. */
  async #load(filter: object, wanted: Iterable<string> = []): Promise<void> {
    if (!this.#complete) {
      for await (const stored of this.collection.find(filter, { batchSize: 5_000 })) {
        const { _id, owner, _pos, _deletedAt, ...document } = stored;
        if (this.#cache.has(_id)) continue;
        const removed = _deletedAt !== undefined;
        this.#cache.set(_id, { document: removed ? null : document, position: _pos, owner, stored: true, inFlight: 0 });
      }
    }
  }

  #evict(): void {
    const most = this.#complete ? cacheSizes.filling : cacheSizes.live;
    if (this.#cache.size <= most) return;
    for (const [id, held] of this.#cache) {
      if (held.inFlight > 0) continue;
      this.#cache.delete(id);
      this.#complete = false;
      if (this.#cache.size <= most) return;
    }
  }

  /** The writes of a batch's documents, as they are now. */
  #prepareWrite(touched: ReadonlyMap<string, Held>): () => Promise<void> {
    const operations: AnyBulkWriteOperation<AnyDocument>[] = [];
    for (const [id, held] of touched) {
      const fields = { _id: id, owner: held.owner, _pos: held.position };
      const document = held.document === null ? { ...fields, _deletedAt: new Date() } : { ...held.document, ...fields };
      operations.push(
        held.stored || held.inFlight > 0
          ? { replaceOne: { filter: olderThan(id, held.position), replacement: document, upsert: true } }
          : { insertOne: { document } },
      );
      held.inFlight++;
    }
    return async () => {
      if (operations.length === 0) return;
      await this.#write(operations);
      for (const held of touched.values()) {
        held.stored = true;
        held.inFlight--;
      }
    };
  }

  /**
   * @throws DocumentRefused for a document that MongoDB does not take
   * @throws the driver's error when it is away
   */
  async #write(operations: readonly AnyBulkWriteOperation<AnyDocument>[]): Promise<void> {
    try {
      await this.collection.bulkWrite(operations, { ordered: false });
    } catch (error) {
      if (isInfrastructureError(error)) throw error;
      const failed = error instanceof MongoBulkWriteError ? [error.writeErrors].flat() : [];
      const onlyDuplicates = failed.length > 0 && failed.every(({ code }) => code === 11000);
      // A duplicate key: somebody was there first, with an older version or with one as new. Never ours to insert.
      const rest = onlyDuplicates ? failed.map(({ index }) => operations[index] as object) : operations;
      for (const operation of rest) await this.#writeOne(operation as AnyBulkWriteOperation<AnyDocument>);
    }
  }

  async #writeOne(operation: AnyBulkWriteOperation<AnyDocument>): Promise<void> {
    const document =
      "insertOne" in operation
        ? operation.insertOne.document
        : "replaceOne" in operation && operation.replaceOne.replacement;
    const { _id, ...replacement } = document;
    try {
      const { matchedCount } = await this.collection.replaceOne(olderThan(_id, document._pos), replacement);
      if (matchedCount === 0) await this.collection.insertOne(document);
    } catch (error) {
      if ((error as { code?: unknown }).code === 11000) return; // as new as ours, or newer
      if (isInfrastructureError(error)) throw error;
      throw new DocumentRefused(this.name, _id, error);
    }
  }
}

/** Only a document that lacks our events is replaced. */
function olderThan(id: string, position: LogPosition) {
  return { _id: id, _pos: { $lt: position } };
}

/** Whether an error is MongoDB's state and not the document's: to be tried again. */
function isInfrastructureError(error: unknown): boolean {
  if (isMongoUnavailable(error)) return true;
  if (error instanceof MongoBulkWriteError) {
    // Nothing said about single documents: the whole command failed (write concern, stepdown, shutdown).
    return [error.writeErrors].flat().length === 0;
  }
  return error instanceof MongoError && (error.hasErrorLabel("RetryableWriteError") || isServerState(error.code));
}

/** Server codes that name a state of the server: stepped down, shutting down, interrupted, time limits, write concern. */
function isServerState(code: unknown): boolean {
  return [6, 7, 50, 64, 89, 91, 100, 112, 189, 262, 9001, 10107, 11600, 11602, 13435, 13436].includes(code as number);
}
