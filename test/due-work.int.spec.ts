import { type ChildProcess, fork } from "node:child_process";
import { randomUUID } from "node:crypto";
import { once } from "node:events";
import { setTimeout as delay } from "node:timers/promises";
import { fileURLToPath } from "node:url";
import { expect } from "chai";
import { Redis } from "ioredis";
import { MongoClient } from "mongodb";
import { ownerKey, streams } from "#domain/core/identifiers.js";
import type { RecordedEvent } from "#domain/core/recorded-event.js";
import { createLogger } from "#infrastructure/log.js";
import { failFastConnection, workerConnection } from "#infrastructure/queue.js";
import { live, openReadModels, type ReadModels } from "#infrastructure/read-models.js";
import { dueWorkDocument } from "#projectors/due-work.document.js";
import { type DutyJob, DutyPoller, type DutyPollerOptions } from "#projectors/runner/duty-poller.js";
import { type JobQueue, type JobTimes, openQueue, openWorkedQueue } from "#projectors/runner/job-queue.js";
import { startApi, type TestApi } from "./support/api.js";
import { type Control, controlOf } from "./support/control.js";
import { seededRandom } from "./support/random.js";
import { type BackingServices, backingServices, startBackingServices } from "./support/stack.js";

const log = createLogger({ service: "test", level: "silent" });
const support = (file: string) => fileURLToPath(new URL(`./support/${file}`, import.meta.url));

async function until(what: string, holds: () => boolean | Promise<boolean>, withinMs = 60_000): Promise<void> {
  const deadline = performance.now() + withinMs;
  while (!(await holds())) {
    if (performance.now() > deadline) throw new Error(`not within ${withinMs} ms: ${what}`);
    await delay(20);
  }
}

describe("looking for what is due", () => {
  let services: Awaited<ReturnType<typeof backingServices>>;
  let mongo: MongoClient;
  let stopping: AbortController;
  let running: Promise<unknown>[] = [];
  let added: string[];
  /** The queue is away once it has got so many. */
  let roomFor: number;
  let refused = 0;
  const name = `test-${randomUUID().slice(0, 8)}`;
  const lease = { ttlMs: 1_000, renewMs: 200 };
  const now = new Date("2026-03-01T12:00:00.000Z");
  const at = (minutes: number) => new Date(now.getTime() + minutes * 60_000).toISOString();

  before(async () => {
    services = await backingServices();
    mongo = new MongoClient(services.env.MONGODB_URL as string);
  });
  after(async () => {
    await mongo?.db(name).dropDatabase();
    await mongo?.close();
    await services?.stop();
  });
  beforeEach(async () => {
    await mongo.db(name).dropDatabase();
    stopping = new AbortController();
    added = [];
    roomFor = Number.POSITIVE_INFINITY;
  });
  afterEach(async () => {
    stopping.abort();
    await Promise.all(running.splice(0));
  });

  type Row = { _id: string; duty: string; dueAt: string; owner: string; _pos: string; _deletedAt?: Date };
  const rows = () => mongo.db(name).collection<Row>("rows");
  const row = (_id: string, dueAt: string, duty = "chairs-expire"): Row => ({
    _id,
    duty,
    dueAt,
    owner: "acme.ada",
    _pos: dueAt,
  });
  const look = (more: Partial<DutyPollerOptions> = {}, signal = stopping.signal) => {
    const poller = new DutyPoller({
      database: mongo.db(name),
      readModels: { collection: () => rows() } as unknown as Pick<ReadModels, "collection">,
      clock: () => now,
      add: async (_: string, { rowId }: DutyJob) => {
        if (added.length >= roomFor) {
          refused++;
          throw new Error("no queue");
        }
        added.push(rowId);
      },
      log,
      leaseTimes: lease,
      pollMs: 20,
      addAgainMs: 1_000_000,
      ...more,
    });
    running.push(poller.run(signal));
    return poller;
  };

  it("queues what is due, the oldest first, and nothing that is not, nor what was done", async () => {
    await rows().insertMany([
      row("later", at(1)),
      row("second", at(0)),
      row("first", at(-5)),
      { ...row("done", at(-9)), _deletedAt: new Date() },
    ]);
    let oldest = -1;
    look({ onLook: (seconds) => (oldest = seconds) });
    await until("both are queued", () => added.length === 2);
    expect(added).to.deep.equal(["first", "second"]);
    expect(oldest).to.equal(300);
  });

  it("does not let rows that nobody gets done hide the ones behind them", async () => {
    const stuck = Array.from({ length: 1_300 }, (_, index) => row(`stuck-${String(index).padStart(4, "0")}`, at(-60)));
    await rows().insertMany(stuck);
    look();
    await until("all are queued", () => added.length === 1_300);
    await rows().insertOne(row("new", at(-1)));
    await until("the new one is queued", () => added.includes("new"));
    expect(added).to.have.length(1_301);
    expect(new Set(added).size).to.equal(1_301);
  });

  it("finds again what is still due, and what came late with an older time", async () => {
    await rows().insertOne(row("still", at(-1)));
    look({ addAgainMs: 100 });
    await until("it is queued", () => added.includes("still"));
    await rows().insertOne(row("late", at(-100)));
    await until("the late one is queued", () => added.includes("late"));
    await until("the other again", () => added.filter((id) => id === "still").length > 2);
  });

  it("goes on where it was when the queue comes back, and says meanwhile what is wrong", async () => {
    await rows().insertMany(Array.from({ length: 5 }, (_, index) => row(`r${index}`, at(-9 + index))));
    // Time for the next round comes soon, and still this one is gone through first.
    roomFor = 2;
    const poller = look({ addAgainMs: 300 });
    await until("the problem is known", () => poller.health().problem === "no queue");
    roomFor = 3;
    await until("one more is queued", () => added.length === 3);
    const before = refused;
    await until("it has been tried a few times more", () => refused > before + 2);
    roomFor = Number.POSITIVE_INFINITY;
    await until("all are queued", () => added.length >= 5);
    expect(added.slice(0, 5)).to.deep.equal(["r0", "r1", "r2", "r3", "r4"]);
    await until("all is well", () => poller.health().problem === undefined);
  });

  it("passes over a row whose duty has no proper name", async () => {
    await rows().insertMany([row("bad", at(-9), "Not A Name"), row("good", at(-1))]);
    look();
    await until("the good one is queued", () => added.includes("good"));
    expect(added).to.deep.equal(["good"]);
  });

  it("is led by one at a time; another takes over when the first is gone", async () => {
    await rows().insertOne(row("r", at(-1)));
    const first = new AbortController();
    const seen: string[] = [];
    const told = (who: string) => ({ add: async (_: string, { rowId }: DutyJob) => void seen.push(`${who} ${rowId}`) });
    look(told("first"), first.signal);
    await until("the first leads", () => seen.length > 0);
    look(told("second"));
    await rows().insertOne(row("s", at(0)));
    await until("the first finds the next", () => seen.includes("first s"));
    first.abort();
    await until("the second leads", () => seen.includes("second s"));
    expect(seen.filter((one) => one.startsWith("first"))).to.deep.equal(["first r", "first s"]);
  });

  it("uses an index, whatever the number of rows", async () => {
    const database = mongo.db(name);
    const readModels = await openReadModels(database, [dueWorkDocument], log);
    await readModels.close();
    const [index] = dueWorkDocument.indexes;
    await rows().createIndex(index?.key as never);
    await rows().insertMany(Array.from({ length: 2_000 }, (_, n) => row(`r${n}`, at(n))));
    const plan = await rows()
      .find({ dueAt: { $gte: at(-9), $lte: now.toISOString() }, _deletedAt: null as never })
      .sort({ dueAt: 1, _id: 1 })
      .limit(500)
      .explain("executionStats");
    expect(plan.executionStats.totalDocsExamined).to.be.at.most(2);
  });
});

describe("jobs of effects", () => {
  let valkey: BackingServices;
  let redis: Redis;
  let closing: (() => unknown)[] = [];
  before(async () => {
    valkey = await startBackingServices({ services: ["redis"] });
    redis = new Redis(valkey.env.REDIS_URL as string);
  });
  after(async () => {
    redis?.disconnect();
    await valkey?.stop();
  });
  beforeEach(() => redis.flushall());
  afterEach(async () => {
    for (const close of closing.splice(0).reverse()) await close();
  });

  const open = (
    name: string,
    work: (kind: string, job: { name: string }) => Promise<void>,
    times: JobTimes = {},
  ): JobQueue<{ name: string }> => {
    const url = valkey.env.REDIS_URL as string;
    const [adding, working] = [failFastConnection(url, () => {}), workerConnection(url, () => {})];
    closing.push(() => [adding, working].map((one) => one.disconnect()));
    const queue = openWorkedQueue({
      ...{ name, work, adding, working, times, log },
      onFailure: () => {},
      onRedisError: () => {},
    });
    closing.push(() => Promise.race([queue.close(), delay(1_000)]));
    return queue;
  };
  const added = async (queue: JobQueue<{ name: string }>, id: string) => {
    await until("Redis takes a job", () =>
      queue.add(id, "chairs-expire", { name: id }).then(
        () => true,
        () => false,
      ),
    );
  };

  it("that fail are done again, and hold up neither their own kind nor another", async () => {
    const done: string[] = [];
    const failing = open("failing", async (_, { name }) => {
      if (name.startsWith("bad")) throw new Error("always");
      done.push(name);
    });
    let release = () => {};
    const forEver = new Promise<void>((resolve) => {
      release = resolve;
    });
    const hanging = open("hanging", (_, { name }) => {
      done.push(name);
      return forEver;
    });
    closing.push(release);
    const other = open("other", async (_, { name }) => void done.push(name));
    for (let index = 0; index < 30; index++) {
      await added(failing, `bad-${index}`);
      await added(hanging, `hang-${index}`);
    }
    await added(failing, "good");
    await added(other, "elsewhere");
    await until("the good ones are done", () => done.includes("good") && done.includes("elsewhere"));
    // Eight places of that kind are taken, and no place of any other.
    expect(done.filter((name) => name.startsWith("hang"))).to.have.length(8);
  });

  it("that never end give their place to others after a while, and are begun again", async () => {
    const begun: string[] = [];
    const queue = open(
      "endless",
      (_, { name }) => {
        begun.push(name);
        return name.startsWith("endless") ? new Promise(() => {}) : Promise.resolve();
      },
      { mostMs: 200 },
    );
    for (let index = 0; index < 8; index++) await added(queue, `endless-${index}`);
    await added(queue, "short");
    await until("the short one is done", () => begun.includes("short"));
    await until("an endless one is begun again", () => begun.filter((name) => name === "endless-0").length > 1);
  });

  it("whose process is killed in the middle of them are done, however often that happens", async function () {
    this.timeout(60_000);
    const env = { ...process.env, REDIS_URL: valkey.env.REDIS_URL, QUEUE: "deadly" };
    const adding = failFastConnection(valkey.env.REDIS_URL as string, () => {});
    closing.push(() => adding.disconnect());
    const queue = openQueue<{ name: string }>({ name: "deadly", adding, prefix: undefined, onRedisError: () => {} });
    await added(queue, "job");
    for (let deaths = 0; deaths < 4; deaths++) {
      const child = fork(support("job-process.js"), { env: { ...env, DIE: "1" } });
      expect((await once(child, "exit"))[1]).to.equal("SIGKILL");
    }
    const survivor = fork(support("job-process.js"), { env });
    closing.push(() => survivor.kill("SIGKILL"));
    const [told] = await once(survivor, "message");
    expect(told).to.deep.equal({ done: "job" });
    await until("nothing of it is left", async () => (await redis.keys("bull:deadly:job")).length === 0);
    await queue.close();
  });

  it("can be added again when Redis was wiped, at whatever moment", async () => {
    const done: string[] = [];
    let begun = 0;
    let release = () => {};
    const held = new Promise<void>((resolve) => {
      release = resolve;
    });
    const queue = open("wiped", async (_, { name }) => {
      begun++;
      if (begun === 1) await held;
      done.push(name);
    });
    await added(queue, "job");
    await until("it is under way", () => begun === 1);
    await redis.flushall();
    await added(queue, "job");
    release();
    await until("it is done both times", () => done.length === 2);
    await added(queue, "next");
    await until("the next is done", () => done.includes("next"));
  });
});

const dayMs = 86_400_000;

describe("a month of duties", () => {
  let api: TestApi;
  let valkey: BackingServices;
  let redis: Redis;
  let stripe: Control;
  let aheadMs = 0;
  const workers = new Set<ChildProcess>();
  const clock = () => new Date(Date.now() + aheadMs);

  before(async () => {
    api = await startApi({ projections: true, standIns: true, clock });
    stripe = controlOf(api.providers, "stripe");
    await offerTalks();
    valkey = await startBackingServices({ services: ["redis"] });
    redis = new Redis(valkey.env.REDIS_URL as string);
  });
  after(async () => {
    for (const worker of workers) worker.kill("SIGKILL");
    redis?.disconnect();
    await valkey?.stop();
    await api?.stop();
  });

  function startWorker(): ChildProcess {
    const worker = fork(support("duty-process.js"), {
      env: {
        ...process.env,
        ...api.environment,
        REDIS_URL: valkey.env.REDIS_URL,
        CLOCK_AHEAD_MS: String(aheadMs),
      },
    });
    workers.add(worker);
    worker.once("exit", () => workers.delete(worker));
    return worker;
  }

  function moveClock(ms: number): void {
    aheadMs += ms;
    // One that is being killed does not hear it any more; its successor begins with it.
    for (const worker of workers) if (worker.connected) worker.send({ aheadMs }, () => {});
  }

  const justSignedIn = (customer: string) => api.as(customer, { auth_time: Math.floor(clock().getTime() / 1_000) });

  /** Asks to be erased; answers when that is due. */
  async function askForErasure(customer: string): Promise<string> {
    const caller = await justSignedIn(customer);
    await caller.put("/client-data/profile", { body: { about: `I am ${customer}` } });
    const { status, body } = await caller.post("/client-data/privacy/erasure");
    expect(status).to.equal(202);
    return body.data.effectiveAt;
  }

  async function offerTalks(): Promise<void> {
    const platform = await api.asService();
    const hours = [{ start: "08:00", end: "20:00" }];
    const days = ["mon", "tue", "wed", "thu", "fri", "sat", "sun"];
    const weeklyHours = Object.fromEntries(days.map((day) => [day, hours]));
    const room = { sourceRevision: 1, name: "Room", timezone: "Etc/UTC", weeklyHours };
    expect((await platform.put("/internal/ingest/resources/room", { body: room })).status).to.equal(200);
    const talk = { sourceRevision: 1, title: "Talk", durationMinutes: 60, slotStepMinutes: 60, resourceIds: ["room"] };
    expect((await platform.put("/internal/ingest/definitions/talk", { body: talk })).status).to.equal(200);
  }

  /** Holds a place in two days' time, for five minutes. */
  async function hold(customer: string): Promise<string> {
    const start = `${new Date(clock().getTime() + 2 * dayMs).toISOString().slice(0, 10)}T09:00:00Z`;
    const body = { definitionId: "talk", slot: { start } };
    const answer = await (await api.as(customer)).post("/client-data/reservations/holds", { body });
    expect(answer.status).to.equal(201);
    return answer.body.data.holdId;
  }

  /** Adds a card that ends with this month; its answer may be lost on the way. */
  async function addCard(customer: string): Promise<number> {
    const now = clock();
    const card = { exp_month: now.getUTCMonth() + 1, exp_year: now.getUTCFullYear() };
    const { id } = await stripe.act("payment-method", { card });
    const caller = await api.as(customer);
    return (await caller.post("/client-data/payment-methods", { body: { paymentMethodId: id } })).status;
  }

  const factsOf = async (stream: string) =>
    (await api.eventStore.readStream(stream)).map(({ type }) => type.replace(/^[a-z-]+\.(\w+)\.v\d+$/, "$1"));
  const cardFacts = (customer: string) => factsOf(streams.paymentMethods(ownerOf(customer)));
  const howOften = (facts: readonly string[], fact: string) => facts.filter((one) => one === fact).length;

  const ownerOf = (customer: string) => ({ org: api.org, customer });
  const profileOf = (customer: string) => streams.profile(ownerOf(customer));
  const erasure = ["ErasureRequested.v1", "ErasureAnnounced.v1", "ErasureBegun.v1", "CustomerErased.v1"];
  const privacyEvents = async (customer: string) => {
    const stored = await api.eventStore.readStream(profileOf(customer));
    return stored.filter(({ type }) => type.startsWith("privacy."));
  };
  const isErased = async (customer: string) =>
    (await privacyEvents(customer)).some(({ type }) => type === "privacy.CustomerErased.v1");
  const keyIsDestroyed = async (customer: string) => {
    const keys = api.database.client.db(api.environment.KEYS_DATABASE).collection<{ _id: string }>("keys");
    const row = (await keys.findOne({ _id: ownerKey(ownerOf(customer)) })) as Record<string, unknown> | null;
    return row !== null && JSON.stringify(row).includes("destroyedAt");
  };

  /** Every command of the system stands in the log once: its events lie side by side, as one append left them. */
  async function expectNothingTwice(since: string): Promise<void> {
    const places = new Map<string, number>();
    for (const { stream, revision, metadata } of (await api.newEvents(since)) as readonly RecordedEvent[]) {
      const command = `${stream} ${metadata.commandId} ${metadata.step}`;
      const before = places.get(command);
      if (before !== undefined) expect(revision, command).to.equal(before + 1);
      places.set(command, revision);
    }
  }

  it("has each done, and none twice, while the queue is wiped and workers are killed at any moment", async function () {
    this.timeout(240_000);
    const seed = Number(process.env.SEED ?? Date.now() % 1_000_000);
    const random = seededRandom(seed);
    const chance = (of: number) => random.next() < of;
    const since = await api.mark();
    const due = new Map<string, string>();
    const takenBack = new Set<string>();
    const lapses = async () =>
      (await api.newEvents(since))
        .filter(({ type }) => type === "reservations.HeldPlaceLapsed.v1")
        .map(({ data }) => (data as { holdId: string }).holdId);
    const holds: string[] = [];
    const leftOpen: string[] = [];
    const answers: number[] = [];
    const pair = [startWorker(), startWorker()];
    try {
      for (const card of ["card-1", "card-2"]) expect(await addCard(card)).to.equal(201);
      for (let day = 1; day <= 34; day++) {
        if (day <= 18) {
          const customer = `month-${day}`;
          due.set(customer, await askForErasure(customer));
        }
        if (day <= 10) holds.push(await hold(`hold-${day}`));
        if (day <= 18 && day % 4 === 3) {
          // Done there, and nobody heard of it: what is left open is settled by a duty, against more failures.
          await stripe.fail({ match: "POST /v1/", mode: "drop-after", times: 8 });
          answers.push(await addCard(`open-${day}`));
          leftOpen.push(`open-${day}`);
        }
        if (day > 3 && day % 4 === 0 && day <= 18) {
          const customer = `month-${day - 2}`;
          expect((await (await justSignedIn(customer)).delete("/client-data/privacy/erasure")).status).to.equal(200);
          takenBack.add(customer);
        }
        moveClock(dayMs);
        const worker = random.below(pair.length);
        if (chance(0.35)) {
          pair[worker]?.kill("SIGKILL");
          pair[worker] = startWorker();
        }
        if (chance(0.5)) await redis.flushall();
        // On some days all that is due is done before the next one, on others the next one comes in between.
        if (chance(0.4)) {
          const today = clock().toISOString();
          const now = [...due].filter(([customer, at]) => at <= today && !takenBack.has(customer));
          await until(`the duties of day ${day} are done`, async () => {
            return (await Promise.all(now.map(([customer]) => isErased(customer)))).every(Boolean);
          });
        }
      }
      await until(
        "all is done",
        async () => {
          const expected = [...due.keys()].filter((customer) => !takenBack.has(customer));
          const states = await Promise.all(
            expected.map(async (customer) => (await isErased(customer)) && (await keyIsDestroyed(customer))),
          );
          if (!states.every(Boolean) || (await lapses()).length < holds.length) return false;
          const expired = await Promise.all(["card-1", "card-2"].map(cardFacts));
          const settled = await Promise.all(leftOpen.map(cardFacts));
          return (
            expired.every((facts) => facts.includes("Expired")) && settled.every((facts) => facts.includes("Attached"))
          );
        },
        90_000,
      );
      await api.caughtUp();
      expect(answers.every((status) => status === 201 || status === 202)).to.equal(true);
      expect(answers, "some were left open").to.include(202);
      expect((await lapses()).sort()).to.deep.equal([...holds].sort());
      for (const card of ["card-1", "card-2"]) {
        const facts = await cardFacts(card);
        expect([howOften(facts, "Attached"), howOften(facts, "Expired")]).to.deep.equal([1, 1]);
        // A card that expired while every worker lay dead is not said to expire soon.
        expect(howOften(facts, "Expiring")).to.be.within(0, 1);
      }
      const { customers, methods } = await stripe.act("objects");
      for (const customer of leftOpen) {
        const there = customers.filter((one: any) => one.metadata.customerId === customer);
        const attached = methods.filter((one: any) => there.some(({ id }: any) => id === one.customer));
        const recorded = howOften(await cardFacts(customer), "Attached");
        expect([there.length, attached.length, recorded], customer).to.deep.equal([1, 1, 1]);
      }
      for (const [customer, effectiveAt] of due) {
        const types = (await privacyEvents(customer)).map(({ type }) => type.replace(/^privacy\./, ""));
        if (takenBack.has(customer)) {
          const decided = types.filter((type) => type !== "ErasureAnnounced.v1");
          expect(decided, customer).to.deep.equal(["ErasureRequested.v1", "ErasureCancelled.v1"]);
          expect(types.length - decided.length, `${customer} is told at most once`).to.be.within(0, 1);
          expect(await keyIsDestroyed(customer), customer).to.equal(false);
          continue;
        }
        expect(types, customer).to.deep.equal(erasure);
        const begun = (await privacyEvents(customer))[2]?.metadata as { occurredAt: string };
        expect(begun.occurredAt >= effectiveAt, `${customer} not before its time`).to.equal(true);
      }
      await expectNothingTwice(since);
      const readModels = await openReadModels(api.database, [dueWorkDocument], log);
      const left = { dueAt: { $lte: clock().toISOString() }, ...live };
      expect(await readModels.collection(dueWorkDocument).countDocuments(left)).to.equal(0);
      await readModels.close();
    } catch (error) {
      throw new Error(`with SEED=${seed}: ${(error as Error).message}`, { cause: error });
    } finally {
      for (const worker of pair) worker.kill("SIGKILL");
    }
  });

  it("has one done that its worker was killed over, at each of its steps", async function () {
    this.timeout(240_000);
    const since = await api.mark();
    const isDone = async (customer: string) => (await isErased(customer)) && (await keyIsDestroyed(customer));
    let worker = startWorker();
    // Two commands and a data key destroyed, before and after each.
    for (let step = 1; step <= 6; step++) {
      const customer = `step-${step}`;
      await askForErasure(customer);
      await until("it is announced", async () => (await privacyEvents(customer)).length === 2, 60_000);
      await api.caughtUp();
      worker.send({ dieAt: step });
      await once(worker, "message");
      moveClock(15 * dayMs);
      expect((await once(worker, "exit"))[1], `step ${step}`).to.equal("SIGKILL");
      if (step % 2 === 0) await redis.flushall();
      worker = startWorker();
      await until(`step ${step} is made up for`, () => isDone(customer), 60_000);
      const types = (await privacyEvents(customer)).map(({ type }) => type.replace(/^privacy\./, ""));
      expect(types, `step ${step}`).to.deep.equal(erasure);
    }
    worker.kill("SIGKILL");
    await expectNothingTwice(since);
  });
});
