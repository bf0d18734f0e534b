/**
 * The event store's contract, seen through the official client. `EVENTSTORE_URL=esdb://...` runs the same suite against
 * another server; it leaves streams behind there and assumes nothing about what else is in the log.
 */
import { randomUUID } from "node:crypto";
import {
  ANY,
  BACKWARDS,
  binaryEvent,
  END,
  EventStoreDBClient,
  eventTypeFilter,
  FORWARDS,
  type JSONEventOptions,
  type JSONEventType,
  jsonEvent,
  NO_STREAM,
  type ResolvedEvent,
  START,
  STREAM_EXISTS,
  streamNameFilter,
} from "@eventstore/db-client";
import { expect } from "chai";
import {
  clientOf,
  collect,
  type EventStoreServer,
  startEventStore,
  temporaryFolder,
} from "./support/event-store-server.js";
import { field, rawCall } from "./support/raw-call.js";

type Numbered = JSONEventType<"contract.Numbered.v1", { n: number }>;

const numbered = (n: number, options: Partial<JSONEventOptions<Numbered>> = {}) =>
  jsonEvent<Numbered>({ type: "contract.Numbered.v1", data: { n }, ...options });
const numberedFrom = (first: number, count: number) =>
  Array.from({ length: count }, (_, index) => numbered(first + index));

const newStream = (kind = "contract") => `${kind}-${randomUUID()}`;
const numbers = (events: readonly ResolvedEvent[]) => events.map(({ event }) => (event?.data as { n: number }).n);
const revisions = (events: readonly ResolvedEvent[]) => events.map(({ event }) => Number(event?.revision));
const failure = (action: Promise<unknown>): Promise<Record<string, unknown>> =>
  action.then(
    () => expect.fail("it should have failed"),
    (error) => error,
  );
const position = (event: ResolvedEvent | undefined) => {
  const at = event?.event?.position;
  if (!at) throw new Error("the event has no position");
  return at;
};

describe("event store contract", () => {
  let server: EventStoreServer | undefined;
  let folder: Awaited<ReturnType<typeof temporaryFolder>> | undefined;
  let client: EventStoreDBClient;

  before(async () => {
    if (process.env.EVENTSTORE_URL) {
      client = EventStoreDBClient.connectionString(process.env.EVENTSTORE_URL);
    } else {
      folder = await temporaryFolder();
      server = await startEventStore(["--db", folder.path]);
      client = clientOf(server);
    }
  });
  after(async () => {
    await client?.dispose();
    await server?.stop();
    await folder?.remove();
  });

  /** Both ways to append: batched, and (with credentials for the call alone) one call per append. */
  const ways = [
    { name: "BatchAppend", options: {} },
    { name: "Append", options: { credentials: { username: "admin", password: "changeit" } } },
  ];

  for (const { name, options } of ways) {
    describe(`appending with ${name}`, () => {
      const append = (stream: string, events: ReturnType<typeof numbered>[], expectedRevision: bigint | typeof ANY) =>
        client.appendToStream(stream, events, { expectedRevision, ...options });

      it("keeps id, type, data, metadata, revision, position and time of every event", async () => {
        const stream = newStream();
        const before = Date.now();
        const id = randomUUID();
        const event = jsonEvent({ id, type: "contract.Söme.v1", data: { text: "äß😀" }, metadata: { by: "me" } });
        const result = await client.appendToStream(stream, [numbered(0), event], {
          expectedRevision: NO_STREAM,
          ...options,
        });
        expect(result).to.include({ success: true, nextExpectedRevision: 1n });
        const [, stored] = await collect(client.readStream(stream));
        expect(stored?.event).to.deep.include({
          id,
          type: "contract.Söme.v1",
          streamId: stream,
          revision: 1n,
          isJson: true,
          data: { text: "äß😀" },
          metadata: { by: "me" },
          position: result.position,
        });
        expect(stored?.commitPosition).to.equal(result.position?.commit);
        expect(stored?.event?.created.getTime()).to.be.within(before - 1000, Date.now() + 1000);
      });

      it("keeps bytes as they are", async () => {
        const stream = newStream();
        const bytes = Uint8Array.from({ length: 256 }, (_, index) => index);
        const event = binaryEvent({ type: "contract.Bytes.v1", data: bytes, metadata: bytes });
        await client.appendToStream(stream, event, options);
        const [stored] = await collect(client.readStream(stream));
        expect(stored?.event?.isJson).to.equal(false);
        expect(Buffer.from(stored?.event?.data as Uint8Array).equals(bytes)).to.equal(true);
        expect(Buffer.from(stored?.event?.metadata as Uint8Array).equals(bytes)).to.equal(true);
      });

      it("refuses a stream that is not at the expected revision, naming both", async () => {
        const stream = newStream();
        await append(stream, [numbered(0), numbered(1)], ANY);
        for (const [expectedRevision, actual] of [
          [0n, 1n],
          [2n, 1n],
          [NO_STREAM, 1n],
        ] as const) {
          const error = await failure(client.appendToStream(stream, [numbered(9)], { expectedRevision, ...options }));
          expect(error.type, `${expectedRevision}`).to.equal("wrong-expected-version");
          expect(error).to.include({ streamName: stream, expectedVersion: expectedRevision, actualVersion: actual });
        }
        expect(numbers(await collect(client.readStream(stream)))).to.deep.equal([0, 1]);
      });

      it("refuses an exact revision and stream_exists for a stream that was never written", async () => {
        for (const expectedRevision of [0n, 5n, STREAM_EXISTS] as const) {
          const error = await failure(
            client.appendToStream(newStream(), [numbered(0)], { expectedRevision, ...options }),
          );
          expect(error).to.include({ type: "wrong-expected-version", actualVersion: NO_STREAM });
        }
      });

      it("recognises an append that is sent again, at its old revision, after the stream moved on", async () => {
        const stream = newStream();
        const events = numberedFrom(0, 3);
        const first = await append(stream, events, ANY);
        await append(stream, [numbered(3)], 2n);
        const again = await client.appendToStream(stream, events, { expectedRevision: NO_STREAM, ...options });
        expect(again).to.deep.include({ nextExpectedRevision: 2n, position: first.position });
        expect(numbers(await collect(client.readStream(stream)))).to.deep.equal([0, 1, 2, 3]);
      });

      it("recognises an append that is sent again without an expected revision", async () => {
        const stream = newStream();
        const events = numberedFrom(0, 2);
        const first = await append(stream, events, ANY);
        expect(await append(stream, events, ANY)).to.deep.equal(first);
        const error = await failure(append(stream, [...events, numbered(2)], ANY));
        expect(error.type).to.equal("wrong-expected-version");
        expect(revisions(await collect(client.readStream(stream)))).to.deep.equal([0, 1]);
      });

      it("answers an append of nothing with the current revision", async () => {
        const stream = newStream();
        await append(stream, [numbered(0), numbered(1)], ANY);
        expect((await append(stream, [], 1n)).nextExpectedRevision).to.equal(1n);
      });

      it("refuses an append of more than a mebibyte, and writes one just below", async () => {
        const stream = newStream();
        const large = (size: number) => binaryEvent({ type: "contract.Large.v1", data: new Uint8Array(size) });
        const error = await failure(client.appendToStream(stream, [large(1_048_576)], options));
        expect(error).to.include({ type: "maximum-append-size-exceeded", maxAppendSize: 1_048_576 });
        const halves = [large(524_288), large(524_288)];
        expect((await failure(client.appendToStream(stream, halves, options))).type).to.equal(
          "maximum-append-size-exceeded",
        );
        await client.appendToStream(stream, [large(1_000_000)], options);
        expect(await collect(client.readStream(stream))).to.have.length(1);
      });

      it("takes one of many concurrent appends per revision, refuses the others", async () => {
        const stream = newStream();
        for (let revision = -1; revision < 4; revision++) {
          const expectedRevision = revision === -1 ? NO_STREAM : BigInt(revision);
          const outcomes = await Promise.allSettled(
            numberedFrom(0, 16).map((event) => client.appendToStream(stream, event, { expectedRevision, ...options })),
          );
          expect(outcomes.filter(({ status }) => status === "fulfilled")).to.have.length(1);
        }
        expect(revisions(await collect(client.readStream(stream)))).to.deep.equal([0, 1, 2, 3, 4]);
      });
    });
  }

  it("answers a batched append that makes no sense, and goes on with the others", async () => {
    const stream = newStream();
    const appends = [
      client.appendToStream("", numbered(0)),
      client.appendToStream("x".repeat(5000), numbered(0)),
      client.appendToStream(stream, jsonEvent({ type: "", data: {} })),
      client.appendToStream(stream, numbered(1)),
    ];
    const outcomes = await Promise.allSettled(appends);
    expect(outcomes.map(({ status }) => status)).to.deep.equal(["rejected", "rejected", "rejected", "fulfilled"]);
    expect(numbers(await collect(client.readStream(stream)))).to.deep.equal([1]);
  });

  describe("deadlines", () => {
    it("fails a delete whose time has passed, and does not delete", async () => {
      const stream = newStream();
      await client.appendToStream(stream, numbered(0));
      const error = await failure(client.deleteStream(stream, { deadline: 0 }));
      expect(error.type).to.equal("deadline-exceeded");
      expect(await collect(client.readStream(stream))).to.have.length(1);
    });

    it("fails a batched append whose time has passed, and does not write", async () => {
      const stream = newStream();
      const error = await failure(client.appendToStream(stream, numbered(0), { deadline: 0 }));
      expect(error.type).to.equal("deadline-exceeded");
      expect((await failure(collect(client.readStream(stream)))).type).to.equal("stream-not-found");
    });
  });

  describe("reading a stream", () => {
    const stream = newStream();
    before(() => client.appendToStream(stream, numberedFrom(0, 300), { expectedRevision: NO_STREAM }));

    const read = async (options: Parameters<EventStoreDBClient["readStream"]>[1]) =>
      numbers(await collect(client.readStream(stream, options)));

    it("is whole and in order, both ways", async () => {
      const all = Array.from({ length: 300 }, (_, index) => index);
      expect(await read({ direction: FORWARDS, fromRevision: START })).to.deep.equal(all);
      expect(await read({ direction: BACKWARDS, fromRevision: END })).to.deep.equal(all.reverse());
    });

    it("includes the revision it starts from, both ways, and stops at the count", async () => {
      expect(await read({ fromRevision: 290n, maxCount: 3 })).to.deep.equal([290, 291, 292]);
      expect(await read({ direction: BACKWARDS, fromRevision: 2n })).to.deep.equal([2, 1, 0]);
      expect(await read({ direction: BACKWARDS, fromRevision: END, maxCount: 1 })).to.deep.equal([299]);
    });

    it("finds nothing beyond the end forwards, the last event backwards, at most the first from the start backwards", async () => {
      expect(await read({ fromRevision: 300n })).to.deep.equal([]);
      expect(await read({ direction: BACKWARDS, fromRevision: 1000n, maxCount: 2 })).to.deep.equal([299, 298]);
      expect(await read({ direction: BACKWARDS, fromRevision: START })).to.deep.equal([0]);
    });

    it("fails for a stream that was never written", async () => {
      const missing = newStream();
      expect(await failure(collect(client.readStream(missing)))).to.include({
        type: "stream-not-found",
        streamName: missing,
      });
    });
  });

  describe("reading $all", () => {
    const prefix = `all${randomUUID().replaceAll("-", "")}`;
    let written: ResolvedEvent[];

    before(async () => {
      for (let n = 0; n < 40; n++) await client.appendToStream(`${prefix}-${n % 4}`, numbered(n));
      written = (await collect(client.readAll())).filter(({ event }) => event?.streamId.startsWith(prefix));
    });

    it("shows the events of all streams in the order in which they were written, with growing positions", () => {
      expect(numbers(written)).to.deep.equal(Array.from({ length: 40 }, (_, index) => index));
      const positions = written.map((event) => position(event).commit);
      expect(positions).to.deep.equal([...positions].sort((a, b) => (a < b ? -1 : 1)));
      expect(new Set(positions).size).to.equal(40);
    });

    it("includes the position it starts from forwards, excludes it backwards", async () => {
      const fromPosition = position(written[20]);
      const forwards = await collect(client.readAll({ fromPosition, maxCount: 2 }));
      expect(numbers(forwards)).to.deep.equal([20, 21]);
      const backwards = await collect(client.readAll({ direction: BACKWARDS, fromPosition, maxCount: 2 }));
      expect(numbers(backwards)).to.deep.equal([19, 18]);
    });

    it("begins with the last event backwards from the end", async () => {
      const [last] = await collect(client.readAll({ direction: BACKWARDS, fromPosition: END, maxCount: 1 }));
      expect(numbers([last as ResolvedEvent])).to.deep.equal([39]);
    });

    it("holds more than what users wrote", async () => {
      const system = (await collect(client.readAll())).filter(({ event }) => event?.type.startsWith("$"));
      expect(system).to.not.have.length(0);
    });
  });

  describe("deleting", () => {
    const reading = (stream: string) => failure(collect(client.readStream(stream)));

    it("hides the events, and an append continues the numbering", async () => {
      const stream = newStream();
      await client.appendToStream(stream, numberedFrom(0, 3));
      await client.deleteStream(stream, { expectedRevision: 2n });
      expect((await reading(stream)).type).to.equal("stream-not-found");
      const result = await client.appendToStream(stream, [numbered(3)], { expectedRevision: NO_STREAM });
      expect(result.nextExpectedRevision).to.equal(3n);
      expect(numbers(await collect(client.readStream(stream)))).to.deep.equal([3]);
      const { metadata } = await client.getStreamMetadata(stream);
      expect(metadata).to.deep.equal({ truncateBefore: 3 });
    });

    it("takes an exact revision after a deletion, and refuses stream_exists", async () => {
      const stream = newStream();
      await client.appendToStream(stream, numberedFrom(0, 2));
      await client.deleteStream(stream);
      const exists = client.appendToStream(stream, numbered(2), { expectedRevision: STREAM_EXISTS });
      expect((await failure(exists)).type).to.equal("stream-deleted");
      await client.appendToStream(stream, numbered(2), { expectedRevision: 1n });
      expect(revisions(await collect(client.readStream(stream)))).to.deep.equal([2]);
    });

    it("can be repeated with any revision", async () => {
      const stream = newStream();
      await client.appendToStream(stream, numbered(0));
      await client.deleteStream(stream);
      await client.deleteStream(stream);
      expect((await reading(stream)).type).to.equal("stream-not-found");
    });

    it("refuses what does not meet the expectation", async () => {
      const stream = newStream();
      await client.appendToStream(stream, numbered(0));
      const wrong = await failure(client.deleteStream(stream, { expectedRevision: 7n }));
      expect(wrong).to.include({ type: "wrong-expected-version", expectedVersion: 7n, actualVersion: 0n });
      expect((await failure(client.deleteStream(stream, { expectedRevision: NO_STREAM }))).type).to.equal(
        "wrong-expected-version",
      );
      const missing = await failure(client.deleteStream(newStream()));
      expect(missing).to.include({ type: "wrong-expected-version", actualVersion: -1n });
      expect(await collect(client.readStream(stream))).to.have.length(1);
    });

    it("takes no_stream where there is only metadata", async () => {
      const stream = newStream();
      await client.setStreamMetadata(stream, { maxCount: 3 });
      await client.deleteStream(stream, { expectedRevision: NO_STREAM });
    });

    it("keeps the events in $all", async () => {
      const stream = newStream();
      const { position: at } = await client.appendToStream(stream, numbered(0));
      await client.deleteStream(stream);
      const [event] = await collect(client.readAll({ fromPosition: at ?? START, maxCount: 1 }));
      expect(event?.event?.streamId).to.equal(stream);
    });

    it("brings the stream back when metadata is set, its old events still hidden", async () => {
      const stream = newStream();
      await client.appendToStream(stream, numberedFrom(0, 2));
      await client.deleteStream(stream);
      await client.setStreamMetadata(stream, { maxCount: 10 });
      const { metadata } = await client.getStreamMetadata(stream);
      expect(metadata).to.deep.equal({ maxCount: 10, truncateBefore: 2 });
      expect(await collect(client.readStream(stream))).to.deep.equal([]);
      await client.appendToStream(stream, numbered(2), { expectedRevision: 1n });
      expect(numbers(await collect(client.readStream(stream)))).to.deep.equal([2]);
    });

    it("is final with a tombstone, for a stream that never was as well", async () => {
      const written = newStream();
      await client.appendToStream(written, numbered(0));
      await client.tombstoneStream(written, { expectedRevision: 0n });
      const never = newStream();
      await client.tombstoneStream(never, { expectedRevision: NO_STREAM });
      for (const stream of [written, never]) {
        const attempts = [
          () => collect(client.readStream(stream)),
          () => client.appendToStream(stream, numbered(1)),
          () =>
            client.appendToStream(stream, numbered(1), {
              expectedRevision: 5n,
              credentials: { username: "admin", password: "changeit" },
            }),
          () => client.deleteStream(stream),
          () => client.tombstoneStream(stream),
          () => client.getStreamMetadata(stream),
          () => client.setStreamMetadata(stream, { maxCount: 1 }),
          () => collect(client.subscribeToStream(stream)),
        ];
        for (const attempt of attempts) {
          expect(await failure(attempt())).to.include({ type: "stream-deleted" });
        }
      }
    });
  });

  describe("metadata", () => {
    it("limits what can be read by count, and follows the stream", async () => {
      const stream = newStream();
      await client.appendToStream(stream, numberedFrom(0, 5));
      await client.setStreamMetadata(stream, { maxCount: 2 });
      expect(numbers(await collect(client.readStream(stream)))).to.deep.equal([3, 4]);
      expect(
        numbers(await collect(client.readStream(stream, { direction: BACKWARDS, fromRevision: END }))),
      ).to.deep.equal([4, 3]);
      await client.appendToStream(stream, numbered(5), { expectedRevision: 4n });
      expect(numbers(await collect(client.readStream(stream)))).to.deep.equal([4, 5]);
    });

    it("hides everything before $tb, also all of it, which is not the same as deleted", async () => {
      const stream = newStream();
      await client.appendToStream(stream, numberedFrom(0, 3));
      await client.setStreamMetadata(stream, { truncateBefore: 2 });
      expect(numbers(await collect(client.readStream(stream)))).to.deep.equal([2]);
      await client.setStreamMetadata(stream, { truncateBefore: 3 });
      expect(await collect(client.readStream(stream))).to.deep.equal([]);
      const next = await client.appendToStream(stream, numbered(3), { expectedRevision: 2n });
      expect(next.nextExpectedRevision).to.equal(3n);
    });

    it("keeps young events with $maxAge", async () => {
      const stream = newStream();
      await client.appendToStream(stream, numberedFrom(0, 2));
      await client.setStreamMetadata(stream, { maxAge: 3600 });
      expect(await collect(client.readStream(stream))).to.have.length(2);
    });

    it("keeps access lists and the application's own keys; only the newest document counts", async () => {
      const stream = newStream();
      expect((await client.getStreamMetadata(stream)).metadata).to.equal(undefined);
      await client.setStreamMetadata(stream, { maxAge: 5 });
      const metadata = { maxCount: 4, acl: { readRoles: ["$admins"], writeRoles: ["$all"] }, mine: "yes" };
      await client.setStreamMetadata(stream, metadata, { expectedRevision: 0n });
      expect((await client.getStreamMetadata(stream)).metadata).to.deep.equal(metadata);
      expect(revisions(await collect(client.readStream(`$$${stream}`)))).to.deep.equal([1]);
    });

    it("counts as an existing stream for stream_exists", async () => {
      const stream = newStream();
      await client.setStreamMetadata(stream, { maxCount: 4 });
      const result = await client.appendToStream(stream, numbered(0), { expectedRevision: STREAM_EXISTS });
      expect(result.nextExpectedRevision).to.equal(0n);
    });

    it("that is no valid document limits nothing", async () => {
      const stream = newStream();
      await client.appendToStream(stream, numberedFrom(0, 3));
      for (const data of [{ $maxCount: "1" }, { $maxCount: 1, $acl: 5 }, { $maxCount: 0 }]) {
        await client.appendToStream(`$$${stream}`, jsonEvent({ type: "$metadata", data }));
        expect(await collect(client.readStream(stream)), JSON.stringify(data)).to.have.length(3);
      }
    });
  });

  describe("links", () => {
    const link = (target: string) => binaryEvent({ type: "$>", data: Buffer.from(target) });

    it("lead to their targets when resolved, and are plain events otherwise", async () => {
      const [target, truncated, deleted, links] = [newStream(), newStream(), newStream(), newStream("links")];
      await client.appendToStream(target, numberedFrom(0, 2));
      await client.appendToStream(truncated, numberedFrom(0, 2));
      await client.setStreamMetadata(truncated, { truncateBefore: 1 });
      await client.appendToStream(deleted, numbered(0));
      await client.deleteStream(deleted);
      await client.appendToStream(links, [
        link(`1@${target}`),
        link(`0@${truncated}`),
        link(`0@${deleted}`),
        link("nonsense"),
        numbered(7),
      ]);

      const resolved = await collect(client.readStream(links, { resolveLinkTos: true }));
      expect(resolved.map(({ event, link: by }) => [event?.streamId, by?.streamId])).to.deep.equal([
        [target, links],
        [undefined, links],
        [undefined, links],
        [links, undefined],
        [links, undefined],
      ]);
      expect(resolved[0]?.event?.data).to.deep.equal({ n: 1 });
      expect(resolved[0]?.commitPosition).to.equal(resolved[0]?.link?.position?.commit);

      const plain = await collect(client.readStream(links));
      expect(plain.map(({ event }) => event?.type)).to.deep.equal(["$>", "$>", "$>", "$>", "contract.Numbered.v1"]);
      const live = await collect(client.subscribeToStream(links, { resolveLinkTos: true, fromRevision: START }), 1);
      expect(live[0]?.event?.streamId).to.equal(target);
    });
  });

  describe("subscribing to a stream", () => {
    it("delivers what is there and what comes, after the revision it starts from", async () => {
      const stream = newStream();
      await client.appendToStream(stream, numberedFrom(0, 100));
      const subscription = client.subscribeToStream(stream, { fromRevision: 49n });
      const delivered = collect(subscription, 60);
      await new Promise((resolve) => subscription.once("caughtUp", resolve));
      await client.appendToStream(stream, numberedFrom(100, 10));
      expect(numbers(await delivered)).to.deep.equal(Array.from({ length: 60 }, (_, index) => 50 + index));
    });

    it("from the end delivers only what comes; on a stream that does not exist yet, all of it", async () => {
      const [written, missing] = [newStream(), newStream()];
      await client.appendToStream(written, numberedFrom(0, 5));
      for (const [stream, fromRevision, first] of [
        [written, END, 5],
        [missing, START, 0],
      ] as const) {
        const subscription = client.subscribeToStream(stream, { fromRevision });
        const delivered = collect(subscription, 2);
        await new Promise((resolve) => subscription.once("caughtUp", resolve));
        await client.appendToStream(stream, numberedFrom(first, 2));
        expect(numbers(await delivered)).to.deep.equal([first, first + 1]);
      }
    });

    it("ends with the tombstone, which is delivered", async () => {
      const stream = newStream();
      await client.appendToStream(stream, numbered(0));
      const subscription = client.subscribeToStream(stream, { fromRevision: START });
      const types: (string | undefined)[] = [];
      subscription.on("data", ({ event }) => types.push(event?.type));
      const ended = new Promise<Record<string, unknown>>((resolve) => subscription.once("error", resolve as never));
      await new Promise((resolve) => subscription.once("caughtUp", resolve));
      await client.tombstoneStream(stream);
      expect((await ended).type).to.equal("stream-deleted");
      expect(types).to.deep.equal(["contract.Numbered.v1", "$streamDeleted"]);
    });
  });

  describe("subscribing to $all", () => {
    it("delivers everything after the position it starts from", async () => {
      const prefix = newStream("tail");
      const { position: at } = await client.appendToStream(`${prefix}-a`, numbered(0));
      const subscription = client.subscribeToAll({ fromPosition: at ?? START });
      const mine = (async () => {
        const seen: number[] = [];
        for await (const { event } of subscription) {
          if (event?.streamId.startsWith(prefix)) seen.push((event.data as { n: number }).n);
          if (seen.length === 20) break;
        }
        return seen;
      })();
      for (let n = 1; n <= 20; n++) await client.appendToStream(`${prefix}-${n % 3}`, numbered(n));
      expect(await mine).to.deep.equal(Array.from({ length: 20 }, (_, index) => index + 1));
    });

    const filters = [
      { name: "stream prefixes", make: (tag: string) => streamNameFilter({ prefixes: ["nobody-", `${tag}-wanted`] }) },
      { name: "a stream pattern", make: (tag: string) => streamNameFilter({ regex: `^${tag}-wanted-\\d+$` }) },
      { name: "type prefixes", make: (tag: string) => eventTypeFilter({ prefixes: [`${tag}-wanted`] }) },
      { name: "a type pattern", make: (tag: string) => eventTypeFilter({ regex: `^${tag}-wanted-\\d+$` }) },
    ];
    for (const { name, make } of filters) {
      it(`with a filter by ${name} delivers those alone, in catch-up and live, with growing checkpoints`, async () => {
        const tag = newStream("filter").replace("-", "");
        const write = async (first: number) => {
          for (let n = first; n < first + 30; n++) {
            const kind = `${tag}-${n % 3 === 0 ? "wanted" : "other"}-${n}`;
            await client.appendToStream(kind, jsonEvent({ type: kind, data: { n } }));
          }
        };
        await write(0);
        const checkpoints: bigint[] = [];
        const filter = {
          ...make(tag),
          maxSearchWindow: 4,
          checkpointInterval: 1,
          checkpointReached: (_: unknown, { commit }: { commit: bigint }) => void checkpoints.push(commit),
        };
        const subscription = client.subscribeToAll({ fromPosition: START, filter });
        const delivered = collect(subscription, 20);
        await new Promise((resolve) => subscription.once("caughtUp", resolve));
        expect(checkpoints).to.not.have.length(0);
        await write(30);
        const events = await delivered;
        expect(numbers(events)).to.deep.equal(Array.from({ length: 20 }, (_, index) => index * 3));
        expect(checkpoints).to.deep.equal([...new Set(checkpoints)].sort((a, b) => (a < b ? -1 : 1)));

        const [read] = await collect(
          client.readAll({
            fromPosition: checkpoints[0] ? { commit: checkpoints[0], prepare: checkpoints[0] } : START,
            maxCount: 1,
          }),
        );
        expect(read?.event?.position?.commit).to.equal(checkpoints[0]);
      });
    }

    it("refuses a pattern that is no pattern, or could take for ever", async () => {
      for (const regex of ["(", "^(a+)+$"]) {
        const error = await failure(collect(client.subscribeToAll({ filter: streamNameFilter({ regex }) })));
        expect(error.code, regex).to.equal(3);
      }
    });

    it("without system events delivers none", async () => {
      const stream = newStream();
      const subscription = client.subscribeToAll({ fromPosition: START, filter: streamNameFilter({ regex: "^[^$]" }) });
      await client.setStreamMetadata(stream, { maxCount: 1 });
      await client.appendToStream(stream, numbered(0));
      for await (const { event } of subscription) {
        expect(event?.streamId.startsWith("$")).to.equal(false);
        if (event?.streamId === stream) break;
      }
    });
  });

  describe("what clients in other languages rely on", () => {
    /** Delete or Tombstone, over the wire; without a revision, any will do. */
    const deletion = (method: string, stream: string, revision?: number, headers: Record<string, string> = {}) => {
      const name = field(1, field(3, Buffer.from(stream)));
      const expected = Buffer.from(revision === undefined ? [0x22, 0] : [0x10, revision]);
      const path = `/event_store.client.streams.Streams/${method}`;
      return rawCall(`http://127.0.0.1:${server?.port}`, path, field(1, Buffer.concat([name, expected])), headers);
    };
    before(function () {
      if (server === undefined) this.skip();
    });

    it("a wrong revision is told in words that can be taken apart", async () => {
      const stream = newStream();
      await client.appendToStream(stream, numbered(0));
      const { trailers } = await deletion("Delete", stream, 9);
      expect(decodeURI(trailers["grpc-message"] as string)).to.equal(
        `Delete failed due to WrongExpectedVersion. Stream: ${stream}, Expected version: 9, Actual version: 0`,
      );
      const missing = newStream();
      expect((await deletion("Tombstone", missing, 9)).trailers["grpc-message"]).to.match(/Actual%20version:%20-1$/);
    });

    it("trailers stay below 8 KiB, however long the name", async () => {
      const stream = newStream("\u{1f600}\u00e9".repeat(1000));
      await client.appendToStream(stream, numbered(0));
      for (const { trailers } of [
        await deletion("Delete", stream, 9),
        await deletion("Tombstone", stream).then(() => deletion("Tombstone", stream)),
      ]) {
        expect(trailers["grpc-status"]).to.equal("9");
        expect(trailers["stream-name"]).to.match(/^%F0%9F%98%80/);
        const size = Object.entries(trailers).reduce(
          (sum, [name, value]) => sum + name.length + `${value}`.length + 32,
          0,
        );
        expect(size).to.be.lessThan(8192);
      }
      expect((await failure(collect(client.readStream(stream)))).type).to.equal("stream-deleted");
    });

    it("a time-out of a millisecond or less has passed", async () => {
      const stream = newStream();
      await client.appendToStream(stream, numbered(0));
      for (const timeout of ["1n", "999u", "0m", "1m"]) {
        const { trailers } = await deletion("Delete", stream, undefined, { "grpc-timeout": timeout });
        expect(trailers["grpc-status"], timeout).to.equal("4");
      }
      expect(await collect(client.readStream(stream))).to.have.length(1);
    });
  });

  it("answers what it does not offer with unsupported, and keeps the connection", async () => {
    if (process.env.EVENTSTORE_URL) return;
    const create = client.createProjection("contract", "fromAll()");
    expect((await failure(create)).code).to.equal(12);
    await client.appendToStream(newStream(), numbered(0));
  });
});
