import { type ChildProcess, fork } from "node:child_process";
import { randomUUID } from "node:crypto";
import { fileURLToPath } from "node:url";
import type { Db } from "mongodb";
import { z } from "zod";
import { type Owner, type OwnerKey, ownerKey } from "#domain/core/identifiers.js";
import { defineEvent, type EventDefinition, type EventOf } from "#domain/core/event-definition.js";
import { CustomerErased } from "#domain/privacy/privacy.events.js";
import { createEventSerializer, type EventSerializer } from "#infrastructure/event-serializer.js";
import type { EventStore, LogPosition } from "#infrastructure/event-store.js";
import { createEventStore } from "#infrastructure/eventstoredb.js";
import { createLogger } from "#infrastructure/log.js";
import { createRegistry, runnerMetrics } from "#infrastructure/metrics.js";
import { createMongoClient } from "#infrastructure/mongo.js";
import { createPersonalDataKeys, type PersonalDataKeys } from "#infrastructure/personal-data-keys.js";
import {
  cursorRows,
  generationName,
  generationRows,
  openReadModels,
  readModelKey,
} from "#infrastructure/read-models.js";
import { settleRows } from "#projectors/runner/cursors.js";
import { type AnyProjection, defineDocument, type Projection } from "#projectors/runner/projection.js";
import { Runner, type RunnerOptions } from "#projectors/runner/runner.js";
import { verifyProjections } from "#projectors/runner/verify.js";

/** Something was counted; a negative number is what the tally cannot apply while it is broken. */
export const Counted = defineEvent("tally.Counted.v1", { category: "wishlist", schema: z.object({ n: z.int() }) });
/** The same, in secret: sealed under the customer's key. */
export const Whispered = defineEvent("tally.Whispered.v1", {
  category: "wishlist",
  schema: z.object({ text: z.string() }),
  personal: ["text"],
});
export const NoteWritten = defineEvent("note.Written.v1", {
  category: "addresses",
  schema: z.object({ id: z.string(), text: z.string() }),
});
export const NoteRemoved = defineEvent("note.Removed.v1", {
  category: "addresses",
  schema: z.object({ id: z.string() }),
});

type TallyEvent = EventOf<typeof Counted> | EventOf<typeof Whispered>;
type NoteEvent = EventOf<typeof NoteWritten> | EventOf<typeof NoteRemoved>;

export const testEvents = [
  CustomerErased,
  Counted,
  Whispered,
  NoteWritten,
  NoteRemoved,
] as unknown as readonly EventDefinition[];

/** Every number in the order it came, so that a lost, repeated or overtaken event shows. */
export type Tally = { readonly seen: readonly number[]; readonly whispers: number };
export type Note = { readonly id: string; readonly text: string; readonly changes: number; readonly anonymous?: true };

export type TallyOptions = {
  readonly version?: number;
  /** Whether a negative number of this owner cannot be applied; default: it can. */
  readonly broken?: (owner: OwnerKey) => boolean;
};

/** One document per owner. */
export function tallyProjection({
  version = 1,
  broken = () => false,
}: TallyOptions = {}): Projection<Tally, TallyEvent> {
  return {
    definition: defineDocument<Tally>({ name: "tally", version, indexes: [{ key: { whispers: -1 } }] }),
    idOf: () => "tally",
    on: {
      "tally.Counted.v1": (document, { data: { n }, owner }) => {
        if (n < 0 && broken(owner)) throw new RangeError("cannot count below zero");
        return { seen: [...(document?.seen ?? []), n], whispers: document?.whispers ?? 0 };
      },
      "tally.Whispered.v1": (document) => ({ seen: document?.seen ?? [], whispers: (document?.whispers ?? 0) + 1 }),
    },
  };
}

/** One document per note; an erasure leaves it without its text. */
export const noteProjection: Projection<Note, NoteEvent> = {
  definition: defineDocument<Note>({ name: "notes", version: 1, indexes: [] }),
  idOf: (event) => event.data.id,
  on: {
    "note.Written.v1": (document, { data }) => ({
      id: data.id,
      text: data.text,
      changes: (document?.changes ?? 0) + 1,
    }),
    "note.Removed.v1": () => null,
  },
  onErased: ({ id, changes }) => ({ id, text: "", changes, anonymous: true }),
};

/** Short enough for a test to see a lease run out. */
export const testLease = { ttlMs: 3_000, renewMs: 500 };

/** The runner on real servers, with a database of its own and projections of the test's own. */
export type RunnerFixture = {
  readonly env: Readonly<Record<string, string>>;
  readonly database: Db;
  readonly eventStore: EventStore;
  readonly serializer: EventSerializer;
  readonly keys: PersonalDataKeys;
  /** What runners have logged. */
  readonly logLines: string[];
  /** A customer of this fixture's own org. */
  owner(customer: string): Owner;
  count(owner: Owner, ...numbers: number[]): Promise<LogPosition>;
  whisper(owner: Owner, text: string): Promise<LogPosition>;
  note(owner: Owner, id: string, text: string | null): Promise<LogPosition>;
  erase(owner: Owner): Promise<LogPosition>;
  /** Starts a runner in this process; `stop` and `ended` reject with what ended it. */
  run(
    projections: readonly AnyProjection[],
    options?: Partial<RunnerOptions>,
  ): { readonly runner: Runner; readonly ended: Promise<void>; stop(): Promise<void> };
  /** Starts a runner with the test projections in a process of its own. */
  fork(env?: Readonly<Record<string, string>>): ChildProcess;
  /** Waits until EVERY one of the projections has a live generation that has applied the whole log. */
  caughtUp(projections: readonly AnyProjection[], timeoutMs?: number): Promise<void>;
  /** A live document as it is stored. */
  document<Document>(projection: Projection<Document, never> | AnyProjection, owner: Owner, id: string): Promise<any>;
  /** Compares every live document with a fold of the log in memory. */
  differences(projections: readonly AnyProjection[]): Promise<readonly unknown[]>;
  close(): Promise<void>;
};

/** The categories that the test events live in. */
export const streamPrefixes = [...new Set(testEvents.map(({ category }) => `${category}-`))];

/** @param env addresses of an event store and a MongoDB */
export function createRunnerFixture(env: Readonly<Record<string, string>>): RunnerFixture {
  const name = `runner-${randomUUID().slice(0, 8)}`;
  const mongo = createMongoClient(env.MONGODB_URL ?? "");
  const database = mongo.db(env.MONGODB_DATABASE ?? name);
  const keys = createPersonalDataKeys(mongo, `${database.databaseName}-keys`, [testMasterKey]);
  const eventStore = createEventStore(env.EVENTSTORE_URL ?? "");
  const serializer = createEventSerializer(testEvents, keys);
  const logLines: string[] = [];
  const log = createLogger({ service: "runner-test", destination: { write: (line) => void logLines.push(line) } });
  const stops: (() => Promise<void>)[] = [];
  const isErased = async (owner: string) => (await keys.find(owner))?.customer === null;

  async function append(owner: Owner, category: string, events: readonly { type: string; data: unknown }[]) {
    const stream = `${category}-${ownerKey(owner)}`;
    const id = randomUUID();
    const metadata = {
      orgId: owner.org,
      customerId: owner.customer,
      actor: { type: "system", id: "test" },
      commandId: id,
      step: 0,
      $correlationId: id,
      $causationId: id,
      occurredAt: "2026-01-02T03:04:05.678Z",
    } as const;
    const stored = await Promise.all(events.map((event) => serializer.serialize(event, metadata, stream)));
    const last = (await eventStore.readStream(stream)).at(-1);
    return (await eventStore.append(stream, last?.revision ?? "no-stream", stored)).position;
  }

  const fixture: RunnerFixture = {
    env: { ...env, MONGODB_DATABASE: database.databaseName },
    database,
    eventStore,
    serializer,
    keys,
    logLines,
    owner: (customer) => ({ org: name, customer }),
    count: (owner, ...numbers) =>
      append(
        owner,
        "wishlist",
        numbers.map((n) => Counted.create({ n })),
      ),
    whisper: (owner, text) => append(owner, "wishlist", [Whispered.create({ text })]),
    note: (owner, id, text) =>
      append(owner, "addresses", [text === null ? NoteRemoved.create({ id }) : NoteWritten.create({ id, text })]),
    erase: (owner) => append(owner, "profile", [CustomerErased.create({})]),
    run(projections, options = {}) {
      const stopping = new AbortController();
      const metrics = runnerMetrics(createRegistry("runner-test", "test"));
      const common = { database, eventStore, opener: serializer, isErased, storedEvents: testEvents, log, metrics };
      const runner = new Runner({ ...common, leaseTimes: testLease, projections, ...options });
      const running = runner.run(stopping.signal);
      running.catch(() => {}); // told by `stop`
      const stop = () => {
        stopping.abort();
        return running;
      };
      stops.push(() => stop().catch(() => {}));
      return { runner, stop, ended: running };
    },
    fork(extra = {}) {
      const child = fork(fileURLToPath(new URL("./runner-process.js", import.meta.url)), {
        env: { ...process.env, ...fixture.env, ...extra },
        execArgv: ["--enable-source-maps"],
      });
      stops.push(
        () =>
          new Promise((resolve) => {
            if (child.exitCode !== null || child.signalCode !== null) return resolve();
            child.once("exit", () => resolve());
            child.kill("SIGKILL");
          }),
      );
      return child;
    },
    async caughtUp(projections, timeoutMs = 60_000) {
      const head = await eventStore.head({ streamPrefixes });
      const definitions = projections.map(({ definition }) => definition);
      const readModels = await openReadModels(database, definitions, log);
      try {
        if (await readModels.waitFor(definitions, head, timeoutMs)) return;
        const rows = await cursorRows(database).find().toArray();
        throw new Error(`not caught up with ${head}: ${JSON.stringify(rows)}\n${logLines.slice(-5).join("")}`);
      } finally {
        await readModels.close();
      }
    },
    async document({ definition }, owner, id) {
      const key = readModelKey(definition);
      const row = await generationRows(database).findOne({ _id: key });
      const _id = `${ownerKey(owner)}.${id}`;
      return database.collection<any>(generationName(key, row?.live ?? 0)).findOne({ _id });
    },
    async differences(projections) {
      const found = await verifyProjections(projections, {
        database,
        eventStore,
        opener: serializer,
        storedEvents: testEvents,
      });
      return found.flatMap((one) => one.differences);
    },
    async close() {
      await Promise.all(stops.map((stop) => stop()));
      await eventStore.close();
      await database.dropDatabase().catch(() => {});
      await mongo
        .db(`${database.databaseName}-keys`)
        .dropDatabase()
        .catch(() => {});
      await mongo.close();
    },
  };
  return fixture;
}

export const testMasterKey = { id: "test", key: Buffer.alloc(32, 7) };

/** Waits for something to become true. */
export async function until(what: string, holds: () => boolean | Promise<boolean>, timeoutMs = 60_000): Promise<void> {
  const deadline = Date.now() + timeoutMs;
  while (!(await holds())) {
    if (Date.now() > deadline) throw new Error(`timed out waiting until ${what}`);
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
}

/** Row of a projection's cursor, as a reader would choose it. */
export async function cursorOf(database: Db, projection: AnyProjection) {
  const { name, version } = projection.definition;
  const rows = settleRows(await cursorRows(database).find().toArray());
  return rows.find(({ members }) => members.some((one) => one.projection === name && one.version === version));
}
