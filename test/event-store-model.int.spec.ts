/**
 * The rules of appending and deleting, checked against a model: random histories of appends (fresh, repeated, partly
 * repeated, with every kind of expectation), deletions, tombstones and restarts run against the server and against a
 * few lines of code that keep everything in arrays. Both must end every step the same way.
 */
import { randomUUID } from "node:crypto";
import {
  ANY,
  type AppendExpectedRevision,
  type EventStoreDBClient,
  jsonEvent,
  NO_STREAM,
  STREAM_EXISTS,
} from "@eventstore/db-client";
import { expect } from "chai";
import fc from "fast-check";
import {
  clientOf,
  collect,
  type EventStoreServer,
  startEventStore,
  temporaryFolder,
} from "./support/event-store-server.js";

/** What a step ends in, comparable: a revision, or why not. */
type Ending = { revision: number } | { wrong: number } | "deleted";
type Expected = number | "any" | "no_stream" | "stream_exists";

/** A stream as the specification describes it. */
class ModelStream {
  ids: string[] = [];
  /** First revision that can be read. */
  truncateBefore = 0;
  isDeleted = false;
  isTombstoned = false;
  hasMetadata = false;
}

class Model {
  readonly streams = [new ModelStream(), new ModelStream(), new ModelStream()];
  /** The newest place of each event. */
  private readonly places = new Map<string, { stream: ModelStream; revision: number }>();

  append(stream: ModelStream, expected: Expected, ids: string[]): Ending {
    const refusal = this.check(stream, expected, ids);
    if (refusal) return refusal;
    if (ids.length > 0) {
      if (stream.isDeleted) {
        stream.isDeleted = false;
        stream.truncateBefore = stream.ids.length;
      }
      for (const id of ids) {
        this.places.set(id, { stream, revision: stream.ids.length });
        stream.ids.push(id);
      }
    }
    return { revision: stream.ids.length - 1 };
  }

  softDelete(stream: ModelStream, expected: Expected): "ok" | Ending {
    const refusal = this.check(stream, expected, [randomUUID()]);
    if (refusal) return refusal;
    if (stream.ids.length === 0 && !stream.hasMetadata) return { wrong: -1 };
    stream.isDeleted = true;
    stream.hasMetadata = true;
    return "ok";
  }

  tombstone(stream: ModelStream, expected: Expected): "ok" | Ending {
    const refusal = this.check(stream, expected, [randomUUID()]);
    if (refusal) return refusal;
    stream.isTombstoned = true;
    return "ok";
  }

  readable(stream: ModelStream): string[] | "missing" | "deleted" {
    if (stream.isTombstoned) return "deleted";
    if (stream.ids.length === 0 || stream.isDeleted) return "missing";
    return stream.ids.slice(stream.truncateBefore);
  }

  /** How the step ends without anything being written, if it does. */
  private check(stream: ModelStream, expected: Expected, ids: string[]): Ending | undefined {
    const last = stream.ids.length - 1;
    if (stream.isTombstoned) return "deleted";
    if (expected === "stream_exists" && stream.isDeleted) return "deleted";
    if (expected === "stream_exists" && last === -1 && !stream.hasMetadata) return { wrong: -1 };
    if (expected === "any" || expected === "stream_exists") {
      const known = ids
        .map((id) => this.places.get(id))
        .map((place) => (place?.stream === stream ? place.revision : -1));
      if (ids.length === 0 || known[0] === -1) return undefined;
      return known.includes(-1) ? { wrong: last } : { revision: known.at(-1) as number };
    }
    const revision = expected === "no_stream" ? -1 : expected;
    if (revision === last) return undefined;
    if (revision > last || ids.length === 0) return { wrong: last };
    const firstDifference = ids.findIndex((id, index) => stream.ids[revision + 1 + index] !== id);
    if (firstDifference === -1) return { revision: revision + ids.length };
    if (firstDifference === 0 && revision === -1 && stream.isDeleted) return undefined;
    return { wrong: last };
  }
}

/** A step as drawn: streams, revisions and ids are chosen from what exists when the step is taken. */
type Expectation = Exclude<Expected, number> | { readonly fromEnd: number };
type Step =
  | {
      readonly kind: "append";
      readonly stream: number;
      readonly expected: Expectation;
      readonly ids: ("fresh" | number)[];
    }
  /** An append of before sent again: whole, cut short or with more behind it, to the same stream or to another. */
  | {
      readonly kind: "resend";
      readonly which: number;
      readonly stream: number | null;
      readonly change: number;
      readonly expectAny: boolean;
    }
  | { readonly kind: "delete" | "tombstone"; readonly stream: number; readonly expected: Expectation }
  | { readonly kind: "metadata"; readonly stream: number };

const stream = fc.nat({ max: 2 });
const fromEnd = fc.record({ fromEnd: fc.integer({ min: -3, max: 1 }) });
/** The client cannot send stream_exists with a deletion. */
const deletable: fc.Arbitrary<Expectation> = fc.oneof(fc.constantFrom("any", "no_stream"), fromEnd);
const appendable: fc.Arbitrary<Expectation> = fc.oneof(fc.constantFrom("any", "no_stream", "stream_exists"), fromEnd);
const ids = fc.array(fc.oneof(fc.constant("fresh" as const), fc.constant("fresh" as const), fc.nat()), {
  maxLength: 4,
});
const step: fc.Arbitrary<Step> = fc.oneof(
  { weight: 8, arbitrary: fc.record({ kind: fc.constant("append" as const), stream, expected: appendable, ids }) },
  {
    weight: 5,
    arbitrary: fc.record({
      kind: fc.constant("resend" as const),
      which: fc.nat(),
      stream: fc.option(stream),
      change: fc.integer({ min: -1, max: 1 }),
      expectAny: fc.boolean(),
    }),
  },
  { weight: 2, arbitrary: fc.record({ kind: fc.constant("delete" as const), stream, expected: deletable }) },
  { weight: 1, arbitrary: fc.record({ kind: fc.constant("tombstone" as const), stream, expected: deletable }) },
  { weight: 1, arbitrary: fc.record({ kind: fc.constant("metadata" as const), stream }) },
);

describe("event store against a model", () => {
  let server: EventStoreServer;
  let client: EventStoreDBClient;
  let folder: Awaited<ReturnType<typeof temporaryFolder>>;

  const start = async () => {
    server = await startEventStore(["--db", folder.path]);
    client = clientOf(server);
  };
  const stop = async (signal: NodeJS.Signals = "SIGTERM") => {
    await client.dispose();
    await server.stop(signal);
  };
  before(async () => {
    folder = await temporaryFolder();
    await start();
  });
  after(async () => {
    await stop();
    await folder.remove();
  });

  const toWire = (expected: Expected): AppendExpectedRevision =>
    typeof expected === "number"
      ? BigInt(expected)
      : ({ any: ANY, no_stream: NO_STREAM, stream_exists: STREAM_EXISTS } as const)[expected];
  const endingOf = (error: { type?: string; actualVersion?: bigint | string }): Ending => {
    if (error.type === "stream-deleted") return "deleted";
    if (error.type !== "wrong-expected-version") throw error;
    return { wrong: error.actualVersion === NO_STREAM ? -1 : Number(error.actualVersion) };
  };

  /** Takes one history, comparing after every step. */
  async function follow(steps: readonly Step[], killBefore: number | undefined): Promise<void> {
    const model = new Model();
    const run = randomUUID();
    const name = (index: number) => `model-${run}-${index}`;
    const modelOf = (index: number) => model.streams[index] as ModelStream;
    const resolve = (index: number, expected: Expectation): Expected =>
      typeof expected === "string" ? expected : Math.max(0, modelOf(index).ids.length - 1 + expected.fromEnd);
    const sent: { index: number; expected: Expected; ids: string[] }[] = [];
    const sentIds: string[] = [];

    const append = async (index: number, expected: Expected, ids: string[]) => {
      const events = ids.map((id) => jsonEvent({ id, type: "model.Event.v1", data: {} }));
      const actual = await client
        .appendToStream(name(index), events, { expectedRevision: toWire(expected) })
        .then(({ nextExpectedRevision }): Ending => ({ revision: Number(nextExpectedRevision) }), endingOf);
      const wanted = model.append(modelOf(index), expected, ids);
      // The client shows "no stream", the answer to an append of nothing to nothing, as revision 0.
      const shown =
        typeof wanted === "object" && "revision" in wanted ? { revision: Math.max(0, wanted.revision) } : wanted;
      expect(actual).to.deep.equal(shown);
    };

    const take = async (drawn: Step) => {
      switch (drawn.kind) {
        case "append": {
          const expected = resolve(drawn.stream, drawn.expected);
          const ids = drawn.ids.map(
            (id) => (id === "fresh" ? undefined : sentIds[id % sentIds.length]) ?? randomUUID(),
          );
          sent.push({ index: drawn.stream, expected, ids });
          sentIds.push(...ids);
          return append(drawn.stream, expected, ids);
        }
        case "resend": {
          const before = sent[drawn.which % sent.length];
          if (before === undefined) return;
          const ids =
            drawn.change === 1 ? [...before.ids, randomUUID()] : before.ids.slice(0, before.ids.length + drawn.change);
          return append(drawn.stream ?? before.index, drawn.expectAny ? "any" : before.expected, ids);
        }
        case "metadata": {
          const target = modelOf(drawn.stream);
          if (target.isTombstoned || target.isDeleted) return;
          await client.setStreamMetadata(name(drawn.stream), { truncateBefore: target.truncateBefore });
          target.hasMetadata = true;
          return;
        }
        case "delete":
        case "tombstone": {
          const expected = resolve(drawn.stream, drawn.expected);
          const options = {
            expectedRevision: toWire(expected) as Exclude<AppendExpectedRevision, typeof STREAM_EXISTS>,
          };
          const target = name(drawn.stream);
          const request =
            drawn.kind === "delete" ? client.deleteStream(target, options) : client.tombstoneStream(target, options);
          const actual = await request.then(() => "ok" as const, endingOf);
          const wanted =
            drawn.kind === "delete"
              ? model.softDelete(modelOf(drawn.stream), expected)
              : model.tombstone(modelOf(drawn.stream), expected);
          expect(actual).to.deep.equal(wanted);
        }
      }
    };

    const compare = async (index: number, when: string) => {
      const readable = await collect(client.readStream(name(index))).then(
        (events) => events.map(({ event }) => event?.id),
        (error) => (error.type === "stream-not-found" ? "missing" : endingOf(error)),
      );
      expect(readable, `stream ${index} ${when}`).to.deep.equal(model.readable(modelOf(index)));
    };

    for (const [count, drawn] of steps.entries()) {
      if (count === killBefore) {
        await stop("SIGKILL");
        await start();
      }
      await take(drawn);
      await compare(drawn.stream ?? 0, `after step ${count}`);
    }
    for (const index of model.streams.keys()) await compare(index, "in the end");
  }

  it("ends every append, deletion and tombstone as the model does", async function () {
    this.timeout(120_000);
    await fc.assert(
      fc.asyncProperty(fc.array(step, { minLength: 5, maxLength: 30 }), (steps) => follow(steps, undefined)),
      { numRuns: Number(process.env.MODEL_RUNS ?? 100) },
    );
  });

  it("still does after being killed in the middle", async function () {
    this.timeout(120_000);
    await fc.assert(
      fc.asyncProperty(fc.array(step, { minLength: 10, maxLength: 30 }), fc.integer({ min: 2, max: 9 }), follow),
      { numRuns: 5 },
    );
  });
});
