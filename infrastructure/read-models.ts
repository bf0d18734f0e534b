import { setTimeout as delay } from "node:timers/promises";
import type { ChangeStream, ChangeStreamDocument, ClientSession, Collection, Db, Timestamp } from "mongodb";
import type { Logger } from "pino";
import type { OwnerKey } from "#domain/core/identifiers.js";
import type { DocumentDefinition, Stored } from "#projectors/runner/projection.js";
import { type LogPosition, logStart } from "./event-store.js";

/** A read model in one shape: what a reader asks for, and what a live pointer belongs to. */
export type ReadModelKey = `${string}.v${number}`;

/** Names a definition's read model, `wishlist.v1`. */
export function readModelKey(definition: { readonly name: string; readonly version: number }): ReadModelKey {
  return `${definition.name}.v${definition.version}`;
}

/** Collection of one generation of a read model, `wishlist.v1.g3`. */
export function generationName(key: ReadModelKey, generation: number): string {
  return `${key}.g${generation}`;
}

/** Row of `generations`: which generation of a read model is read. One row per (projection, version). */
export type GenerationRow = {
  readonly _id: ReadModelKey;
  /** Null until the first one has caught up. */
  readonly live: number | null;
  readonly building: number | null;
  /** Kept for a way back, newest last, until dropped. */
  readonly retired: readonly { readonly generation: number; readonly at: Date }[];
  readonly flippedAt?: Date;
};

/** A generation of a read model that travels with a cursor. */
export type CursorMember = {
  readonly projection: string;
  readonly version: number;
  readonly generation: number;
  /** Owners whose events wait, because one of them could not be applied; few, or the projection stops. */
  readonly parked: readonly OwnerKey[];
};

/** Why a projection stopped, and at which event. */
export type StopRow = {
  readonly reason: string;
  readonly eventId: string;
  readonly eventType: string;
  readonly position: LogPosition;
  readonly at: Date;
};

/**
 * Row of `cursors`: how far its members are. The pack (all projections at one position) shares one row, so that a
 * batch costs one update and a reader one change event; whoever is behind has a row of its own.
 */
export type CursorRow = {
  readonly _id: string;
  readonly members: readonly CursorMember[];
  /** Everything up to here is applied. */
  readonly position: LogPosition;
  /** Last event applied: read back at start, to know the store again. */
  readonly event: { readonly id: string; readonly position: LogPosition } | null;
  /** Events handed out up to here; the difference between two rows is a lag in events. */
  readonly events: number;
  readonly storeEpoch: string;
  /** Epoch of the lease under which the row was last written; a compare-and-set on it fences off a former leader. */
  readonly leaseEpoch: number;
  readonly stopped?: StopRow;
};

export function generationRows(database: Db): Collection<GenerationRow> {
  return database.collection<GenerationRow>("generations");
}

export function cursorRows(database: Db): Collection<CursorRow> {
  return database.collection<CursorRow>("cursors");
}

/** Part of every filter on a read model's collection: leaves out tombstones. */
export const live = { _deletedAt: null } as const;

/** The read model's version has no finished generation yet: answer 503 with Retry-After. */
export class ReadModelNotBuilt extends Error {
  constructor(readonly key: ReadModelKey) {
    super(`the read model ${key} is still being built`);
    this.name = "ReadModelNotBuilt";
  }
}

export type ReadModels = {
  /**
   * The live generation's collection, from the cached pointer: no round trip. Filter with {@link live}.
   *
   * @throws ReadModelNotBuilt while the version has no live generation
   */
  collection<Document>(definition: DocumentDefinition<Document>): Collection<Stored<Document>>;
  /** Last position that read model has applied, as far as this process knows. */
  position(definition: DocumentDefinition<unknown>): LogPosition;
  /**
   * Waits until all of these read models have applied a position.
   *
   * @returns true when reached, false after `timeoutMs` or when `signal` aborts
   */
  waitFor(
    definitions: readonly DocumentDefinition<unknown>[],
    position: LogPosition,
    timeoutMs: number,
    signal?: AbortSignal,
  ): Promise<boolean>;
  /** Whether what an owner reads there is known to lag: the projection has stopped, or that owner is parked. */
  isStale(definition: DocumentDefinition<unknown>, owner: OwnerKey): boolean;
  /** Epoch of the event store the read models were built from; "" while unknown. */
  epoch(): string;
  /** Read models that cannot be read yet; empty means ready. */
  notBuilt(): readonly ReadModelKey[];
  close(): Promise<void>;
};

type Waiter = {
  readonly keys: readonly ReadModelKey[];
  readonly position: LogPosition;
  readonly reached: () => void;
};

const reopenAfterMs = { first: 100, most: 5_000 };
const askEveryMs = 20;

export type ReadModelsOptions = {
  /**
   * How positions become known. `followed`, the default: as they move, for who answers reads. `asked`: only while
   * somebody waits for one, for who seldom does; moving cursors then wake nobody.
   */
  readonly positions?: "followed" | "asked";
};

/**
 * Follows the cursors and live pointers of read models with ONE change stream, whatever the number of waiting
 * requests. Change streams deliver what a majority has journaled, so a position seen here cannot be rolled back.
 * MongoDB being away is no failure: the view stands still and is read anew afterwards.
 *
 * @param database the read models' database
 * @param definitions the read models this process reads
 */
export async function openReadModels(
  database: Db,
  definitions: readonly DocumentDefinition<unknown>[],
  log: Pick<Logger, "warn">,
  { positions = "followed" }: ReadModelsOptions = {},
): Promise<ReadModels> {
  const view = new ReadModelView(database, definitions, log, positions);
  await view.open();
  return view;
}

class ReadModelView implements ReadModels {
  readonly #database: Db;
  readonly #keys: readonly ReadModelKey[];
  readonly #log: Pick<Logger, "warn">;
  readonly #positions: "followed" | "asked";
  readonly #collections = new Map<string, Collection<never>>();
  readonly #waiters = new Set<Waiter>();
  #generations = new Map<ReadModelKey, number>();
  #cursors = new Map<string, CursorRow>();
  /** Cursor row of each read model's live generation. */
  #rowOf = new Map<ReadModelKey, string>();
  #changes: ChangeStream | undefined;
  #asking = false;
  readonly #closing = new AbortController();

  constructor(
    database: Db,
    definitions: readonly DocumentDefinition<unknown>[],
    log: Pick<Logger, "warn">,
    positions: "followed" | "asked",
  ) {
    this.#database = database;
    this.#keys = definitions.map(readModelKey);
    this.#log = log;
    this.#positions = positions;
  }

  /** Starts following; resolves after the first attempt, successful or not. */
  open(): Promise<void> {
    return new Promise((resolve) => {
      void this.#follow(resolve);
    });
  }

  collection<Document>(definition: DocumentDefinition<Document>): Collection<Stored<Document>> {
    const key = readModelKey(definition);
    const generation = this.#generations.get(key);
    if (generation === undefined) throw new ReadModelNotBuilt(key);
    const name = generationName(key, generation);
    let collection = this.#collections.get(name);
    if (!collection) {
      collection = this.#database.collection<never>(name);
      this.#collections.set(name, collection);
    }
    return collection as unknown as Collection<Stored<Document>>;
  }

  position(definition: DocumentDefinition<unknown>): LogPosition {
    return this.#positionOf(readModelKey(definition));
  }

  waitFor(
    definitions: readonly DocumentDefinition<unknown>[],
    position: LogPosition,
    timeoutMs: number,
    signal?: AbortSignal,
  ): Promise<boolean> {
    const keys = definitions.map(readModelKey);
    if (this.#hasReached(keys, position)) return Promise.resolve(true);
    if (signal?.aborted || timeoutMs <= 0) return Promise.resolve(false);
    return new Promise((resolve) => {
      const settle = (reached: boolean) => {
        this.#waiters.delete(waiter);
        clearTimeout(timer);
        signal?.removeEventListener("abort", abort);
        resolve(reached);
      };
      const abort = () => settle(false);
      const waiter: Waiter = { keys, position, reached: () => settle(true) };
      const timer = setTimeout(abort, timeoutMs);
      signal?.addEventListener("abort", abort);
      this.#waiters.add(waiter);
      if (this.#positions === "asked") void this.#ask();
    });
  }

  isStale(definition: DocumentDefinition<unknown>, owner: OwnerKey): boolean {
    const key = readModelKey(definition);
    const row = this.#cursors.get(this.#rowOf.get(key) ?? "");
    if (!row) return false;
    if (row.stopped) return true;
    return row.members.some((member) => isMember(member, key) && member.parked.includes(owner));
  }

  epoch(): string {
    for (const key of this.#keys) {
      const row = this.#cursors.get(this.#rowOf.get(key) ?? "");
      if (row) return row.storeEpoch;
    }
    return "";
  }

  notBuilt(): readonly ReadModelKey[] {
    return this.#keys.filter((key) => !this.#generations.has(key));
  }

  async close(): Promise<void> {
    this.#closing.abort();
    // It tells of no change any more; that the server answers the last question up to a second later is not waited for.
    await this.#changes?.close().catch(() => {});
  }

  /** Reads all rows, then applies changes since; over again when the stream breaks. */
  async #follow(firstAttempt: () => void): Promise<void> {
    let pause = reopenAfterMs.first;
    while (!this.#closing.signal.aborted) {
      try {
        this.#changes = await this.#begin();
        firstAttempt();
        pause = reopenAfterMs.first;
        while (!this.#closing.signal.aborted) await this.#apply(await this.#changes.next());
      } catch (error) {
        await this.#changes?.close().catch(() => {});
        firstAttempt();
        if (this.#closing.signal.aborted) return;
        this.#log.warn({ err: error }, "following the read models' cursors broke off, opening again");
        await delay(pause, undefined, { signal: this.#closing.signal }).catch(() => {});
        pause = Math.min(pause * 2, reopenAfterMs.most);
      }
    }
  }

  /** The stream of changes since a moment; the rows are read as of that moment or a later one, so none is missed. */
  #begin(): Promise<ChangeStream> {
    return this.#database.client.withSession({ causalConsistency: true }, async (session) => {
      const { operationTime } = await this.#database.command({ ping: 1 }, { session });
      await this.#load(session);
      const rows = this.#positions === "followed" ? [cursorRows, generationRows] : [generationRows];
      const names = rows.map((of) => of(this.#database).collectionName);
      const changes = [{ $match: { "ns.coll": { $in: names } } }];
      return this.#database.watch(changes, { startAtOperationTime: operationTime as Timestamp });
    });
  }

  /** Reads the rows again and again for as long as somebody waits. */
  async #ask(): Promise<void> {
    if (this.#asking) return;
    this.#asking = true;
    while (this.#waiters.size > 0 && !this.#closing.signal.aborted) {
      // MongoDB being away: the wait goes on, to its limit.
      await this.#load().catch(() => {});
      if (this.#waiters.size > 0) await delay(askEveryMs, undefined, { signal: this.#closing.signal }).catch(() => {});
    }
    this.#asking = false;
  }

  async #load(session?: ClientSession): Promise<void> {
    const reading = { readConcern: "majority", ...(session && { session }) } as const;
    const [generations, cursors] = await Promise.all([
      generationRows(this.#database).find({}, reading).toArray(),
      cursorRows(this.#database).find({}, reading).toArray(),
    ]);
    this.#generations = new Map();
    for (const row of generations) if (row.live !== null) this.#generations.set(row._id, row.live);
    this.#cursors = new Map(cursors.map((row) => [row._id, row]));
    this.#rowOf = new Map();
    for (const row of cursors) {
      for (const member of row.members) {
        const key = readModelKey({ name: member.projection, version: member.version });
        // A generation stands in two rows for the moment in which it joins the pack: the pack's row counts.
        if (isLive(member, this.#generations) && !(this.#rowOf.get(key) === packRow)) this.#rowOf.set(key, row._id);
      }
    }
    this.#wake();
  }

  async #apply(change: ChangeStreamDocument): Promise<void> {
    if (change.operationType === "update") {
      const changed = change.updateDescription.updatedFields as Partial<CursorRow> | undefined;
      const row = this.#cursors.get(String(change.documentKey._id));
      const onlyProgress = Object.keys(changed ?? {}).every((field) => /^(position|event|events)(\.|$)/.test(field));
      if (change.ns.coll === cursorRows(this.#database).collectionName && onlyProgress && row && changed?.position) {
        if (changed.position > row.position) this.#cursors.set(row._id, { ...row, position: changed.position });
        this.#wake();
        return;
      }
    }
    await this.#load();
  }

  #positionOf(key: ReadModelKey): LogPosition {
    return this.#cursors.get(this.#rowOf.get(key) ?? "")?.position ?? logStart;
  }

  #hasReached(keys: readonly ReadModelKey[], position: LogPosition): boolean {
    return keys.every((key) => this.#generations.has(key) && this.#positionOf(key) >= position);
  }

  #wake(): void {
    for (const waiter of this.#waiters) if (this.#hasReached(waiter.keys, waiter.position)) waiter.reached();
  }
}

/** `_id` of the row that all projections at the live position share. */
export const packRow = "pack";

function isMember(member: CursorMember, key: ReadModelKey): boolean {
  return readModelKey({ name: member.projection, version: member.version }) === key;
}

function isLive(member: CursorMember, generations: ReadonlyMap<ReadModelKey, number>): boolean {
  return generations.get(readModelKey({ name: member.projection, version: member.version })) === member.generation;
}
