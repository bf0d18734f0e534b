import type { Collection, Db, IndexDescription } from "mongodb";
import {
  type GenerationRow,
  generationName,
  generationRows,
  type ReadModelKey,
  readModelKey,
} from "#infrastructure/read-models.js";
import type { AnyProjection, DocumentDefinition } from "./projection.js";

/** How long a tombstone stays: longer than any outage after which a runner picks its cursor up again. */
const tombstoneDays = 30;

/** Indexing a large collection keeps the server silent for so long at most. */
const indexingMs = 30 * 60_000;

/** Retired generations kept for a way back; older ones are dropped when the next one retires. */
const mostRetired = 1;

/**
 * The generations of each read model's version: one is live, another may fill beside it, then the live pointer flips.
 * Readers never see a hole; old code goes on reading its own version.
 */
export class Generations {
  readonly #database: Db;
  readonly #rows: Collection<GenerationRow>;

  constructor(database: Db) {
    this.#database = database;
    this.#rows = generationRows(database);
  }

  /** Rows of these projections' versions, made where there are none. */
  async load(projections: readonly AnyProjection[]): Promise<Map<ReadModelKey, GenerationRow>> {
    const keys = projections.map((projection) => readModelKey(projection.definition));
    await this.#rows.bulkWrite(
      keys.map((_id) => ({
        updateOne: {
          filter: { _id },
          update: { $setOnInsert: { live: null, building: 1, retired: [] } },
          upsert: true,
        },
      })),
      { ordered: false },
    );
    const rows = await this.#rows.find({ _id: { $in: keys } }, { readConcern: "majority" }).toArray();
    return new Map(rows.map((row) => [row._id, row]));
  }

  /**
   * Names the next generation and begins it empty.
   *
   * @returns its number; that of the one being built, which begins again, where there is one
   */
  async begin(key: ReadModelKey): Promise<number> {
    const row = await this.#rows.findOne({ _id: key }, { readConcern: "majority" });
    const known = [row?.live ?? 0, ...(row?.retired ?? []).map((one) => one.generation)];
    const generation = row?.building ?? Math.max(...known) + 1;
    // What an attempt that never got a cursor may have left.
    await this.#database.collection(generationName(key, generation)).drop();
    await this.#rows.updateOne({ _id: key }, { $set: { building: generation } }, { upsert: true });
    return generation;
  }

  /** Gives up the generation being built, if there is one. */
  async abandon(key: ReadModelKey): Promise<void> {
    const row = await this.#rows.findOneAndUpdate({ _id: key }, { $set: { building: null } });
    if (row?.building) await this.#database.collection(generationName(key, row.building)).drop();
  }

  /** Makes the indexes of a generation. Filled first, a collection is indexed in one sorted pass, at a fraction. */
  async index(definition: DocumentDefinition<unknown>, generation: number): Promise<void> {
    const collection = this.#database.collection(generationName(readModelKey(definition), generation));
    const indexes = [
      { key: { owner: 1, _id: 1 }, name: "owner_id" },
      { key: { owner: 1, _pos: 1 }, name: "owner_position" },
      { key: { _deletedAt: 1 }, name: "tombstones", expireAfterSeconds: tombstoneDays * 86_400, sparse: true },
      ...definition.indexes.map(({ key, acrossOwners }) => ({
        key: acrossOwners ? { ...key } : { owner: 1 as const, ...key },
      })),
    ];
    // The driver has this option for every command, though its types do not name it.
    const patience: object = { socketTimeoutMS: indexingMs };
    await collection.createIndexes(indexes as IndexDescription[], patience);
  }

  /**
   * Makes the generation that was built the live one.
   *
   * @returns the generations that are to be dropped now
   */
  async flip(key: ReadModelKey, generation: number): Promise<readonly number[]> {
    const row = await this.#rows.findOne({ _id: key }, { readConcern: "majority" });
    if (!row || row.live === generation) return [];
    const now = new Date();
    const retired = row.retired.filter((one) => one.generation !== generation);
    if (row.live !== null) retired.push({ generation: row.live, at: now });
    const dropped = retired.splice(0, Math.max(0, retired.length - mostRetired));
    await this.#rows.updateOne(
      { _id: key, live: row.live },
      { $set: { live: generation, building: null, retired, flippedAt: now } },
    );
    return dropped.map((one) => one.generation);
  }

  /** Brings a retired generation back as one being built; it catches up and flips like a new one. */
  async revive(key: ReadModelKey, generation: number): Promise<boolean> {
    const { matchedCount } = await this.#rows.updateOne(
      { _id: key, building: null, "retired.generation": generation },
      { $set: { building: generation }, $pull: { retired: { generation } } },
    );
    return matchedCount === 1;
  }

  /** Forgets a retired generation and drops its collection. The live one and the one being built are refused. */
  async drop(key: ReadModelKey, generation: number): Promise<boolean> {
    const row = await this.#rows.findOne({ _id: key }, { readConcern: "majority" });
    if (!row || row.live === generation || row.building === generation) return false;
    await this.#rows.updateOne({ _id: key }, { $pull: { retired: { generation } } });
    await this.#database.collection(generationName(key, generation)).drop();
    return true;
  }
}
