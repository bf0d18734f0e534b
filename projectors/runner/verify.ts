import { isDeepStrictEqual } from "node:util";
import type { Db, Document } from "mongodb";
import type { EventDefinition } from "#domain/core/event-definition.js";
import { type EventStore, type LogPosition, logStart, type StoredEvent } from "#infrastructure/event-store.js";
import { cursorRows, generationName, generationRows, packRow, readModelKey } from "#infrastructure/read-models.js";
import { type EventOpener, newestTypes } from "./fold.js";
import { MemoryReadModel } from "./memory.js";
import { openEvents } from "./opening.js";
import type { AnyProjection } from "./projection.js";

/** One place where a live document is not what the log says. */
export type Difference = {
  readonly projection: string;
  readonly id: string;
  /** JSON pointer into the document; "" for the whole one. */
  readonly path: string;
  readonly live: unknown;
  readonly expected: unknown;
};

export type Verification = {
  readonly projection: string;
  /** Up to here the two were compared. */
  readonly position: LogPosition;
  readonly documents: number;
  readonly differences: readonly Difference[];
  /** Owners that are parked: the log says more about them than the read model shows. */
  readonly parked: readonly string[];
};

export type VerifyOptions = {
  readonly database: Db;
  readonly eventStore: EventStore;
  readonly opener: EventOpener;
  readonly storedEvents: readonly EventDefinition[];
  /** Differences kept per projection at most; default 100. */
  readonly most?: number;
  readonly onProgress?: (events: number) => void;
};

/** Documents written while we read are compared again, against a later place in the log, so many times. */
const passes = 3;
const batchSize = 1_000;

/**
 * Folds the log in memory up to where each projection is, and compares with its live documents, field by field. What
 * the runner writes meanwhile is newer than the fold, so the fold goes on after it and those documents are compared
 * again.
 *
 * @throws Error when a document keeps changing through all passes, or a projection has no live generation
 */
export async function verifyProjections(
  projections: readonly AnyProjection[],
  options: VerifyOptions,
): Promise<Verification[]> {
  const { database, eventStore, opener, storedEvents, most = 100 } = options;
  const newest = newestTypes(storedEvents);
  const states = await Promise.all(projections.map((projection) => liveState(database, projection)));
  if (projections.length === 0) return [];
  const models = projections.map((projection) => new MemoryReadModel(projection));
  const kept = projections.map(() => ({ differences: new Map<string, Difference[]>(), documents: 0 }));
  let waiting: (ReadonlySet<string> | null)[] = projections.map(() => null);
  /** How far each model is folded; a stopped or late projection is compared where it stands. */
  const folded = projections.map(() => logStart);
  let seen = 0;

  for (let pass = 0; pass < passes; pass++) {
    const reached = (await Promise.all(projections.map((projection) => liveState(database, projection)))).map(
      ({ position }) => position,
    );
    const log = eventStore.readLog({ after: lowest(folded), until: highest(reached) });
    for await (const batch of batches(log)) {
      for (const event of await openEvents(batch, { opener, newest })) {
        const { position } = event.stored;
        for (const [index, model] of models.entries()) {
          if (position > at(folded, index) && position <= at(reached, index)) model.apply(event);
        }
      }
      seen += batch.length;
      options.onProgress?.(seen);
    }
    folded.splice(0, folded.length, ...reached);

    waiting = await Promise.all(
      models.map(async (model, index) => {
        const collection = database.collection(at(states, index).collection);
        const again = at(waiting, index);
        const found = await compare(collection, model, again, at(folded, index), most);
        const keep = at(kept, index);
        if (again === null) keep.documents = found.documents;
        for (const id of again ?? []) keep.differences.delete(id);
        for (const difference of found.differences) {
          keep.differences.set(difference.id, [...(keep.differences.get(difference.id) ?? []), difference]);
        }
        return found.newer;
      }),
    );
    if (waiting.every((ids) => ids?.size === 0)) {
      return projections.map(({ definition }, index) => ({
        projection: definition.name,
        position: at(folded, index),
        documents: at(kept, index).documents,
        differences: [...at(kept, index).differences.values()].flat(),
        parked: at(states, index).parked,
      }));
    }
  }
  throw new Error("documents keep changing faster than they can be compared: try again");
}

const lowest = (positions: readonly LogPosition[]) => positions.reduce((a, b) => (a < b ? a : b));
const highest = (positions: readonly LogPosition[]) => positions.reduce((a, b) => (a > b ? a : b));

/** The arrays here run in step with the projections. */
function at<Value>(values: readonly Value[], index: number): Value {
  return values[index] as Value;
}

/** Collection, place and parked owners of a projection's live generation. */
async function liveState(database: Db, { definition }: AnyProjection) {
  const key = readModelKey(definition);
  const row = await generationRows(database).findOne({ _id: key }, { readConcern: "majority" });
  const generation = row?.live ?? null;
  if (generation === null) throw new Error(`${definition.name} has no live generation yet`);
  const cursors = await cursorRows(database).find({}, { readConcern: "majority" }).toArray();
  const isMember = ({ members }: (typeof cursors)[number]) =>
    members.some((one) => one.projection === definition.name && one.generation === generation);
  const cursor = cursors.find((one) => one._id === packRow && isMember(one)) ?? cursors.find(isMember);
  if (!cursor) throw new Error(`${definition.name} has no cursor`);
  const parked = cursor.members.find((one) => one.projection === definition.name)?.parked ?? [];
  return { collection: generationName(key, generation), position: cursor.position, parked };
}

/** Both sides in the order of `_id`; documents newer than the fold are named, to be compared later. */
async function compare(
  collection: ReturnType<Db["collection"]>,
  model: MemoryReadModel,
  only: ReadonlySet<string> | null,
  position: LogPosition,
  most: number,
) {
  const projection = model.fold.projection.definition.name;
  const differences: Difference[] = [];
  const newer = new Set<string>();
  const seen = new Set<string>();
  let documents = 0;
  const filter = only === null ? {} : { _id: { $in: [...only] as never[] } };
  for await (const stored of collection.find(filter, { readConcern: { level: "majority" } })) {
    const { _id, owner: _owner, _pos, _deletedAt, ...live } = stored as Document;
    const id = String(_id);
    seen.add(id);
    if (_pos > position) {
      newer.add(id);
      continue;
    }
    const expected = model.get(id);
    if (_deletedAt !== undefined) {
      if (expected?.document) report(id, null, expected.document);
      continue;
    }
    documents++;
    if (!expected?.document) report(id, live, null);
    else if (!isDeepStrictEqual(plain(live), plain(expected.document))) report(id, live, expected.document);
    else if (expected.position !== _pos)
      differences.push({ projection, id, path: "/_pos", live: _pos, expected: expected.position });
  }
  for (const { id, document } of model.documents()) {
    if (!seen.has(id) && (only === null || only.has(id))) report(id, null, document);
  }
  return { differences: differences.slice(0, most), documents, newer };

  function report(id: string, live: unknown, expected: unknown): void {
    if (differences.length < most) differences.push(...describe(projection, id, plain(live), plain(expected)));
  }
}

/** As MongoDB gives it back: no `undefined`, no prototypes. */
function plain(value: unknown): unknown {
  return JSON.parse(JSON.stringify(value));
}

function* describe(projection: string, id: string, live: unknown, expected: unknown, path = ""): Generator<Difference> {
  const isObject = (value: unknown) => typeof value === "object" && value !== null;
  if (isObject(live) && isObject(expected)) {
    const [a, b] = [live as Record<string, unknown>, expected as Record<string, unknown>];
    for (const key of new Set([...Object.keys(a), ...Object.keys(b)])) {
      yield* describe(projection, id, a[key], b[key], `${path}/${key.replaceAll("~", "~0").replaceAll("/", "~1")}`);
    }
  } else if (!isDeepStrictEqual(live, expected)) yield { projection, id, path, live, expected };
}

async function* batches(log: AsyncIterable<StoredEvent>): AsyncGenerator<StoredEvent[]> {
  let batch: StoredEvent[] = [];
  for await (const event of log) {
    batch.push(event);
    if (batch.length < batchSize) continue;
    yield batch;
    batch = [];
  }
  if (batch.length > 0) yield batch;
}
