import { randomUUID } from "node:crypto";
import { setTimeout as sleep } from "node:timers/promises";
import { type AllStreamRecordedEvent, binaryEvent, EventStoreDBClient, jsonEvent } from "@eventstore/db-client";
import { expect } from "chai";
import {
  type EventStore,
  type EventToStore,
  logStart,
  type StoredEvent,
  StoreUnavailable,
  type SubscriptionItem,
  WrongExpectedRevision,
} from "#infrastructure/event-store.js";
import { createEventStore } from "#infrastructure/eventstoredb.js";
import { type BackingServices, startBackingServices } from "./support/stack.js";

const event = (data: object = {}): EventToStore => ({ id: randomUUID(), type: "test.Happened.v1", data, metadata: {} });
const uniqueStream = (prefix = "test") => `${prefix}-acme.${randomUUID()}`;

async function collect<T>(items: AsyncIterable<T>): Promise<T[]> {
  const all: T[] = [];
  for await (const item of items) all.push(item);
  return all;
}

/** Takes events from a subscription until enough came. */
async function take(items: AsyncIterable<SubscriptionItem>, count: number): Promise<StoredEvent[]> {
  const events: StoredEvent[] = [];
  if (count === 0) return events;
  for await (const item of items) {
    if (item.kind !== "event") continue;
    events.push(item.event);
    if (events.length === count) break;
  }
  return events;
}

describe("event store adapter", function () {
  this.timeout(120_000);
  let services: BackingServices;
  let store: EventStore;
  let url: string;

  before(async () => {
    services = await startBackingServices({ services: ["eventStore"] });
    url = services.env.EVENTSTORE_URL as string;
    store = createEventStore(url, { deadlineMs: 15_000 });
  });
  after(async () => {
    await store?.close();
    await services?.stop();
  });

  describe("appending and reading", () => {
    it("reads back what it appended", async () => {
      const stream = uniqueStream();
      const events = [event({ text: "Grüße 🎉" }), event({ n: 1 }), event()];
      const appended = await store.append(stream, "no-stream", events);
      const read = await store.readStream(stream);
      expect(read.map(({ id, type, data, metadata }) => ({ id, type, data, metadata }))).to.deep.equal(events);
      expect(read.map(({ revision }) => revision)).to.deep.equal([0, 1, 2]);
      expect(appended).to.deep.equal({ revision: 2, position: read[2]?.position });
      expect(Math.abs((read[0]?.created.getTime() ?? 0) - Date.now())).to.be.below(60_000);
    });

    it("reads a part of a stream, and nothing of one that is not there", async () => {
      const stream = uniqueStream();
      await store.append(
        stream,
        "no-stream",
        Array.from({ length: 5 }, () => event()),
      );
      const revisions = async (options: object) => (await store.readStream(stream, options)).map((e) => e.revision);
      expect(await revisions({ from: 3 })).to.deep.equal([3, 4]);
      expect(await revisions({ from: 1, limit: 2 })).to.deep.equal([1, 2]);
      expect(await revisions({ from: 5 })).to.deep.equal([]);
      expect(await store.readStream(uniqueStream())).to.deep.equal([]);
    });

    it("tells when another writer was first", async () => {
      const stream = uniqueStream();
      await store.append(stream, "no-stream", [event(), event()]);
      for (const expected of ["no-stream", 0, 7] as const) {
        const error = await store.append(stream, expected, [event()]).catch((caught) => caught);
        expect(error, String(expected)).to.be.instanceOf(WrongExpectedRevision);
      }
      expect(await store.readStream(stream)).to.have.length(2);
    });

    it("recognises its own re-send, also when the stream has grown since", async () => {
      const stream = uniqueStream();
      const first = [event(), event()];
      const appended = await store.append(stream, "no-stream", first);
      await store.append(stream, 1, [event()]);
      expect(await store.append(stream, "no-stream", first)).to.deep.equal(appended);
      expect(await store.readStream(stream)).to.have.length(3);
    });

    it("lets one of 64 writers win each revision", async () => {
      const stream = uniqueStream();
      const attempts = Array.from({ length: 64 }, () => store.append(stream, "no-stream", [event()]));
      const results = await Promise.allSettled(attempts);
      expect(results.filter(({ status }) => status === "fulfilled")).to.have.length(1);
      expect(await store.readStream(stream)).to.have.length(1);
    });

    it("passes large and small appends through together", async () => {
      const sizes = Array.from({ length: 60 }, (_, index) => (index % 3 === 0 ? 200_000 : 10));
      const appends = sizes.map((size) =>
        store.append(uniqueStream(), "no-stream", [event({ text: "x".repeat(size) })]),
      );
      expect(await Promise.all(appends)).to.have.length(60);
    });
  });

  describe("the log", () => {
    it("yields exactly what the driver yields", async () => {
      const driver = EventStoreDBClient.connectionString(url);
      const category = `bulk${Date.now()}`;
      const after = await store.head();
      for (let index = 0; index < 300; index++) {
        const data = { index, text: 'ä€😀\u0000"\\'.repeat(index % 7), nested: [{ a: null }, 1.5, true] };
        await driver.appendToStream(`${category}-acme.${index % 5}`, [
          jsonEvent({
            type: `bulk.Kind${index % 3}.v1`,
            data,
            ...(index % 2 ? { metadata: { $correlationId: "c" } } : {}),
          }),
          binaryEvent({ type: "bulk.Bytes.v1", data: Uint8Array.from([0, 255, index % 256]) }),
          binaryEvent({ type: "bulk.Raw.v1", data: new Uint8Array(), metadata: Uint8Array.from([255, 1]) }),
        ]);
      }
      const position = { commit: BigInt(after), prepare: BigInt(after) };
      const expected: StoredEvent[] = [];
      for await (const resolved of driver.readAll({ fromPosition: position })) {
        const recorded = resolved.event as AllStreamRecordedEvent;
        if (!recorded.streamId.startsWith(category)) continue;
        expected.push({
          id: recorded.id,
          stream: recorded.streamId,
          revision: Number(recorded.revision),
          position: recorded.position.commit.toString().padStart(20, "0"),
          type: recorded.type,
          data: recorded.isJson ? recorded.data : Uint8Array.from(recorded.data as Uint8Array),
          metadata:
            recorded.metadata instanceof Uint8Array
              ? Uint8Array.from(recorded.metadata)
              : (recorded.metadata as unknown),
          created: recorded.created,
        });
      }
      expect(expected).to.have.length(900);
      expect(await collect(store.readLog({ after, streamPrefixes: [`${category}-`] }))).to.deep.equal(expected);
      await driver.dispose();
    });

    it("filters by prefix on the server, stops at a position, and counts", async () => {
      const [one, other] = [uniqueStream("one"), uniqueStream("other")];
      const after = await store.head();
      const positions: string[] = [];
      for (let index = 0; index < 10; index++) {
        const stream = index % 2 ? one : other;
        const expected = index < 2 ? "no-stream" : Math.floor(index / 2) - 1;
        positions.push((await store.append(stream, expected, [event({ index })])).position);
      }
      const read = async (options: object) =>
        (await collect(store.readLog({ after, ...options }))).map(({ data }) => (data as { index: number }).index);
      expect(await read({})).to.deep.equal([0, 1, 2, 3, 4, 5, 6, 7, 8, 9]);
      expect(await read({ streamPrefixes: [one] })).to.deep.equal([1, 3, 5, 7, 9]);
      expect(await read({ until: positions[4] })).to.deep.equal([0, 1, 2, 3, 4]);
      expect(await read({ limit: 3 })).to.deep.equal([0, 1, 2]);
      expect(await read({ after: positions[6] })).to.deep.equal([7, 8, 9]);
      expect(await store.head()).to.equal(positions[9]);
      expect(await store.head({ streamPrefixes: [other] })).to.equal(positions[8]);
      expect(await store.head({ streamPrefixes: ["nobody-"] })).to.equal(logStart);
    });

    it("shows no system stream", async () => {
      const all = await collect(store.readLog({ after: logStart }));
      expect(all.filter(({ stream }) => stream.startsWith("$"))).to.deep.equal([]);
    });

    it("finds the event at a position, and none beside it", async () => {
      const { position } = await store.append(uniqueStream(), "no-stream", [event({ here: true })]);
      expect((await store.eventAt(position))?.data).to.deep.equal({ here: true });
      const beside = (BigInt(position) - 1n).toString().padStart(20, "0");
      expect(await store.eventAt(beside)).to.equal(null);
      expect(await store.eventAt("99999999999999999999".slice(0, 20).replace(/^9/, "0"))).to.equal(null);
      expect(await store.eventAt(logStart)).to.equal(null);
    });

    it("keeps one epoch, whoever asks first", async () => {
      const other = createEventStore(url);
      const [mine, theirs] = await Promise.all([store.epoch(), other.epoch()]);
      expect(mine)
        .to.match(/^[0-9a-f]{12}$/)
        .and.equal(theirs);
      await other.close();
    });
  });

  describe("following the log", () => {
    it("yields what was there, says when it has caught up, and goes on", async () => {
      const stream = uniqueStream("follow");
      const after = await store.head();
      await store.append(stream, "no-stream", [event({ n: 0 }), event({ n: 1 })]);
      const seen: unknown[] = [];
      for await (const item of store.subscribe({
        after,
        streamPrefixes: [stream],
        signal: new AbortController().signal,
      })) {
        if (item.kind === "event") seen.push((item.event.data as { n: number }).n);
        if (item.kind === "caught-up") {
          seen.push("caught-up");
          await store.append(stream, 1, [event({ n: 2 })]);
        }
        if (seen.includes(2)) break;
      }
      expect(seen).to.deep.equal([0, 1, "caught-up", 2]);
    });

    it("moves on over foreign events by checkpoints", async () => {
      const after = await store.head();
      const foreign = uniqueStream("foreign");
      await store.append(
        foreign,
        "no-stream",
        Array.from({ length: 50 }, () => event()),
      );
      const head = await store.head();
      for await (const item of store.subscribe({
        after,
        streamPrefixes: ["none-"],
        signal: new AbortController().signal,
      })) {
        if (item.kind === "checkpoint" && item.position >= head) break;
        expect(item.kind).not.to.equal("event");
      }
    });

    it("ends by throwing when the consumer aborts", async () => {
      const abort = new AbortController();
      const following = collect(store.subscribe({ after: logStart, streamPrefixes: ["x-"], signal: abort.signal }));
      setTimeout(() => abort.abort(new Error("stopping")), 50);
      expect(await following.catch((error) => error)).to.have.property("message", "stopping");
    });

    it("has no gap and no repeat when its consumer resumes from its own cursor, over kills of the store", async () => {
      const stream = uniqueStream("resume");
      const total = 400;
      let cursor = await store.head();
      const writing = (async () => {
        for (let n = 0; n < total; n++) await store.append(stream, n === 0 ? "no-stream" : n - 1, [event({ n })]);
      })();
      const seen: number[] = [];
      let failures = 0;
      while (seen.length < total) {
        const goal = seen.length + 100;
        try {
          for await (const item of store.subscribe({
            after: cursor,
            streamPrefixes: [stream],
            signal: AbortSignal.timeout(30_000),
          })) {
            if (item.kind === "checkpoint") cursor = item.position;
            if (item.kind !== "event") continue;
            cursor = item.event.position;
            seen.push((item.event.data as { n: number }).n);
            if (seen.length === total) break;
            if (seen.length === goal && failures < 3) services.kill("eventStore");
          }
        } catch (error) {
          expect(error).to.be.instanceOf(StoreUnavailable);
          failures += 1;
          await sleep(20);
        }
      }
      await writing;
      expect(seen).to.deep.equal(Array.from({ length: total }, (_, n) => n));
      expect(failures).to.be.at.least(1);
    });
  });

  describe("when the store is away", () => {
    it("stores each append once when the store is killed with many on their way", async () => {
      for (let round = 0; round < 3; round++) {
        const names = Array.from({ length: 200 }, () => uniqueStream("killed"));
        const appends = names.map((name, n) => store.append(name, "no-stream", [event({ n, pad: "x".repeat(2_000) })]));
        // Some are confirmed, some on their way, some not yet sent.
        await appends[20];
        services.kill("eventStore");
        await Promise.all(appends);
        for (const name of names) expect(await store.readStream(name)).to.have.length(1);
      }
    });

    it("gives up on a store that hangs, in bounded time, and recovers with it", async () => {
      const impatient = createEventStore(url, { deadlineMs: 3_000, attemptMs: 1_000, silenceMs: 1_000 });
      const stream = uniqueStream("hung");
      await impatient.append(stream, "no-stream", [event()]);
      const following = take(
        impatient.subscribe({
          after: await impatient.head(),
          streamPrefixes: [stream],
          signal: AbortSignal.timeout(20_000),
        }),
        1,
      ).catch((error) => error);
      services.kill("eventStore", "SIGSTOP");
      const started = performance.now();
      const lost = event({ lost: true });
      const failures = await Promise.all([
        impatient.append(stream, 0, [lost]).catch((error) => error),
        impatient.readStream(stream).catch((error) => error),
        collect(impatient.readLog({ after: logStart })).catch((error) => error),
        following,
      ]);
      expect(performance.now() - started).to.be.below(12_000);
      services.kill("eventStore", "SIGCONT");
      for (const failure of failures) expect(failure).to.be.instanceOf(StoreUnavailable);

      // What happened to the lost one is unknown; asking again with the same id settles it.
      expect(await store.append(stream, 0, [lost])).to.have.property("revision", 1);
      expect(await impatient.readStream(stream)).to.have.length(2);
      await impatient.append(stream, 1, [event()]);
      await impatient.close();
    });

    it("can be made, and answers in bounded time, before the store is there", async () => {
      const nowhere = createEventStore("esdb://127.0.0.1:9?tls=false", { deadlineMs: 300 });
      const attempts = await Promise.allSettled([
        nowhere.append(uniqueStream(), "no-stream", [event()]),
        nowhere.readStream("x-y.z"),
        nowhere.head(),
        nowhere.epoch(),
        take(nowhere.subscribe({ after: logStart, streamPrefixes: ["x-"], signal: AbortSignal.timeout(5_000) }), 1),
      ]);
      for (const attempt of attempts) {
        expect(attempt).to.have.property("reason").that.is.instanceOf(StoreUnavailable);
      }
      await nowhere.close();
    });
  });
});
