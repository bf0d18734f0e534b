/**
 * What the event store promises when things go wrong: kills, slow and late subscribers, rivals. Real processes, real
 * signals. `CRASH_ROUNDS` makes the kill loop longer.
 */
import { execFile, execFileSync } from "node:child_process";
import { randomUUID } from "node:crypto";
import { stat } from "node:fs/promises";
import { setTimeout as delay } from "node:timers/promises";
import { promisify } from "node:util";
import {
  type AllStreamSubscription,
  type EventStoreDBClient,
  binaryEvent,
  END,
  jsonEvent,
  NO_STREAM,
  type ResolvedEvent,
  START,
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

const rounds = Number(process.env.CRASH_ROUNDS ?? 4);
/**
 * gRPC codes of a write that got no answer: the connection broke (unavailable), or the client was disposed of before it
 * noticed (cancelled).
 */
const unanswered = [1, 14];
const event = (id: string, data: Record<string, string | number | boolean>) =>
  jsonEvent({ id, type: "crash.Written.v1", data });

describe("event store under stress", () => {
  let folder: Awaited<ReturnType<typeof temporaryFolder>>;
  let server: EventStoreServer;
  let client: EventStoreDBClient;

  const start = async () => {
    server = await startEventStore(["--db", folder.path]);
    client = clientOf(server);
  };
  const stop = async (signal: NodeJS.Signals) => {
    await server.stop(signal);
    await client.dispose();
  };
  beforeEach(async () => {
    folder = await temporaryFolder();
    await start();
  });
  afterEach(async () => {
    await stop("SIGTERM");
    await folder.remove();
  });

  it("keeps every acknowledged write through kill -9, once and in order, and takes the unanswered again", async function () {
    this.timeout(120_000 + rounds * 15_000);
    /** What each writer wrote to its stream, in order: the ids that were acknowledged. */
    const ledger = new Map<string, string[]>();
    const streams = Array.from({ length: 8 }, (_, index) => `crash-${index}-${randomUUID()}`);
    for (const stream of streams) ledger.set(stream, []);

    /** The write that was under way when the server died, per stream: its outcome is unknown. */
    const unknown = new Map<string, { ids: string[]; expected: bigint | typeof NO_STREAM }>();
    const append = async (stream: string, ids: string[], expected: bigint | typeof NO_STREAM) => {
      unknown.set(stream, { ids, expected });
      const events = ids.map((id) => event(id, { stream }));
      const { nextExpectedRevision } = await client.appendToStream(stream, events, { expectedRevision: expected });
      unknown.delete(stream);
      const written = ledger.get(stream) as string[];
      written.push(...ids);
      expect(nextExpectedRevision).to.equal(BigInt(written.length - 1));
    };
    /** Writes to one stream, one append after the other, until the server is gone. */
    const write = async (stream: string) => {
      for (;;) {
        const count = (ledger.get(stream) as string[]).length;
        const ids = Array.from({ length: 1 + (count % 3) }, () => randomUUID());
        await append(stream, ids, count === 0 ? NO_STREAM : BigInt(count - 1));
      }
    };

    for (let round = 0; round < rounds; round++) {
      const writers = streams.map((stream) => write(stream).catch((error) => error));
      await delay(100 + Math.random() * 400);
      await stop("SIGKILL");
      for (const error of await Promise.all(writers)) expect(error.code, String(error)).to.be.oneOf(unanswered);
      await start();
      // The same ids at the same revision: written now, or recognised as written before.
      for (const [stream, { ids, expected }] of [...unknown]) await append(stream, ids, expected);
      for (const stream of streams) {
        const stored = await collect(client.readStream(stream));
        expect(stored.map(({ event: each }) => each?.id)).to.deep.equal(ledger.get(stream));
      }
    }
    const all = (await collect(client.readAll())).filter(({ event: each }) => each?.type === "crash.Written.v1");
    const written = [...ledger.values()].flat();
    expect(all).to.have.length(written.length);
    expect(new Set(all.map(({ event: each }) => each?.id))).to.deep.equal(new Set(written));
    expect(written.length).to.be.greaterThan(rounds * streams.length);
  });

  it("hands every event once and in order to subscribers that join at any moment", async () => {
    const run = randomUUID();
    const stream = (writer: number, n: number) => `join-${run}-${writer}-${n % 7}`;
    const filter = streamNameFilter({ prefixes: [`join-${run}`] });
    const id = ({ event: each }: ResolvedEvent) => each?.id as string;

    /** Reads until the very last event has come. */
    const follow = async (subscription: AllStreamSubscription): Promise<string[]> => {
      const seen: string[] = [];
      for await (const each of subscription) {
        seen.push(id(each));
        if ((each.event?.data as { last: boolean }).last) break;
      }
      return seen;
    };
    let isWriting = true;
    const write = async (writer: number) => {
      for (let n = 0; isWriting; n++)
        await client.appendToStream(stream(writer, n), event(randomUUID(), { last: false }));
    };
    const writing = Promise.all([0, 1, 2, 3].map(write));
    const joined: { position: bigint | undefined; seen: Promise<string[]> }[] = [];
    while (joined.length < 20) {
      // From the start, or right behind the newest event of this very moment: there catch-up meets live.
      const [newest] = await collect(client.readAll({ direction: "backwards", fromPosition: END, maxCount: 1 }));
      const at = joined.length % 3 === 0 ? undefined : newest?.event?.position;
      joined.push({
        position: at?.commit,
        seen: follow(client.subscribeToAll({ fromPosition: at ?? START, filter })),
      });
      await delay(Math.random() * 20);
    }
    isWriting = false;
    await writing;
    await client.appendToStream(stream(0, 0), event(randomUUID(), { last: true }));

    const stored = (await collect(client.readAll())).filter(({ event: each }) =>
      each?.streamId.startsWith(`join-${run}`),
    );
    for (const { position, seen } of joined) {
      const wanted = stored.filter(
        ({ event: each }) => position === undefined || (each?.position?.commit as bigint) > position,
      );
      expect(await seen).to.deep.equal(wanted.map(id));
    }
  });

  it("needs no memory for a subscriber that has stopped reading, and hands it everything once it reads again", async function () {
    if (process.platform === "win32") this.skip();
    const residentMegabytes = () => Number(execFileSync("ps", ["-o", "rss=", "-p", `${server.pid}`]).toString()) / 1024;
    const [count, size] = [800, 50_000];
    const stream = `stalled-${randomUUID()}`;
    const write = async (events: number) => {
      for (let n = 0; n < events; n += 8) {
        const batch = Array.from({ length: 8 }, () =>
          binaryEvent({ type: "crash.Large.v1", data: Buffer.alloc(size, 1) }),
        );
        await client.appendToStream(stream, batch);
      }
    };
    await write(200);
    const before = residentMegabytes();
    const subscriptions = Array.from({ length: 5 }, () => client.subscribeToStream(stream, { fromRevision: START }));
    for (const subscription of subscriptions) subscription.pause();
    await write(count - 200);
    expect(residentMegabytes() - before, "growth in MB, for 5 subscribers with 40 MB to come each").to.be.lessThan(100);
    for (const subscription of subscriptions) {
      expect((await collect(subscription, count)).map(({ event: each }) => Number(each?.revision))).to.deep.equal(
        Array.from({ length: count }, (_, index) => index),
      );
    }
  });

  it("lets exactly one of 64 writers win each revision of a stream", async () => {
    const stream = `contended-${randomUUID()}`;
    const revisions = 10;
    for (let revision = -1; revision < revisions - 1; revision++) {
      const expectedRevision = revision === -1 ? NO_STREAM : BigInt(revision);
      const attempts = Array.from({ length: 64 }, () => randomUUID());
      const outcomes = await Promise.allSettled(
        attempts.map((id) => client.appendToStream(stream, event(id, {}), { expectedRevision })),
      );
      const winners = attempts.filter((_, index) => outcomes[index]?.status === "fulfilled");
      expect(winners).to.have.length(1);
      for (const outcome of outcomes) {
        if (outcome.status === "rejected") expect(outcome.reason).to.include({ actualVersion: BigInt(revision + 1) });
      }
      const [last] = await collect(
        client.readStream(stream, { direction: "backwards", fromRevision: END, maxCount: 1 }),
      );
      expect(last?.event?.id).to.equal(winners[0]);
    }
    expect(await collect(client.readStream(stream))).to.have.length(revisions);
  });

  it("keeps its write-ahead log short through bursts of any length, and stops after none of them", async () => {
    const stream = `bursts-${randomUUID()}`;
    const large = () => binaryEvent({ type: "crash.Large.v1", data: Buffer.alloc(40_000, 1) });
    let count = 0;
    for (let burst = 0; burst < 60; burst++) {
      const appends = 10 + Math.floor(Math.random() * 40);
      await Promise.all(Array.from({ length: appends }, () => client.appendToStream(stream, large())));
      count += appends;
    }
    expect((count * 40_000) / 1_048_576, "MB written").to.be.greaterThan(50);
    const { size } = await stat(`${folder.path}/events.db-wal`);
    expect(size / 1_048_576, "MB").to.be.lessThan(48);
    const [last] = await collect(client.readStream(stream, { direction: "backwards", fromRevision: END, maxCount: 1 }));
    expect(last?.event?.revision).to.equal(BigInt(count - 1));
  });

  it("goes on writing, and loses nothing, while another process backs it up", async () => {
    const stream = `backup-${randomUUID()}`;
    for (let n = 0; n < 50; n++) await client.appendToStream(stream, event(randomUUID(), { n }));
    const copy = await temporaryFolder();
    const script = `
      const Database = require("libsql");
      const db = new Database(${JSON.stringify(`${folder.path}/events.db`)}, { readonly: true });
      db.exec("VACUUM INTO '${copy.path}/events.db'");`;
    let isRunning = true;
    const backup = promisify(execFile)(process.execPath, ["-e", script]).finally(() => {
      isRunning = false;
    });
    let count = 50;
    while (isRunning) await client.appendToStream(stream, event(randomUUID(), { n: count++ }));
    await backup;
    const restored = await startEventStore(["--db", copy.path]);
    const reader = clientOf(restored);
    try {
      const copied = await collect(reader.readStream(stream));
      expect(copied.length).to.be.within(50, count);
      expect(copied.map(({ event: each }) => (each?.data as { n: number }).n)).to.deep.equal([...copied.keys()]);
      expect(await collect(client.readStream(stream))).to.have.length(count);
    } finally {
      await reader.dispose();
      await restored.stop();
      await copy.remove();
    }
  });
});
