import { type ChildProcess, spawn } from "node:child_process";
import { createHash, randomBytes } from "node:crypto";
import { once } from "node:events";
import { dirname, join } from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import { fileURLToPath } from "node:url";
import { expect } from "chai";
import { Redis } from "ioredis";
import { type Document, MongoClient } from "mongodb";
import { type Owner, ownerKey, ownerOfStream, streams } from "#domain/core/identifiers.js";
import { keptByLaw } from "#domain/privacy/privacy.policy.js";
import { readEnvironment } from "#infrastructure/environment.js";
import { createObjectStorage, type ObjectStorage, objectStorageEnvironment } from "#infrastructure/object-storage.js";
import { createPersonalDataKeys } from "#infrastructure/personal-data-keys.js";
import { cursorRows } from "#infrastructure/read-models.js";
import { type Caller, startApi, type TestApi } from "../support/api.js";
import { postForm, samples } from "../support/forms.js";
import { type BackingServices, startBackingServices } from "../support/stack.js";
import { type Kept, keptAsObjects, keptInMongo, keptInRedis, keptInTheLog, opened } from "../support/traces.js";

const processes = join(dirname(fileURLToPath(import.meta.url)), "../../projectors");
const dayMs = 86_400_000;

/** A person, in words that stand nowhere by chance. */
function person(customer: string, last4: string, card: string) {
  const mark = randomBytes(4).toString("hex").replace(/\d/g, "x");
  const words = {
    ...{ first: `Wil${mark}`, last: `Zog${mark}`, street: `Gasse ${mark}`, about: `fond of ${mark}` },
    ...{ note: `note ${mark}`, tracking: `TRK${mark}`, file: `brief-${mark}`, city: `Ort${mark}` },
  };
  const email = `${mark}@mail.example`;
  const phone = `+4930${String(Number.parseInt(randomBytes(3).toString("hex"), 16)).padStart(8, "1")}`;
  return { customer, ...words, email, phone, last4, card };
}
type Person = ReturnType<typeof person>;

/**
 * Two customers with something in every area; one is erased. The processes are real and are killed between the steps
 * of the clean-up; the time of grace is over for them, because the APIs' clock stands 15 days back.
 */
describe("an erased customer", function () {
  this.timeout(180_000);
  let services: BackingServices;
  let api: TestApi;
  let storage: ObjectStorage;
  let mongo: MongoClient;
  const now = Date.now() - 15 * dayMs;
  const gone = person("leaves", "7391", "pm_card_mastercard");
  const stays = person("stays", "8402", "pm_card_visa");
  const running = new Set<ChildProcess>();
  const lines: string[] = [];
  let keptBefore: unknown;
  let dump: Awaited<ReturnType<typeof dumpMongo>>;

  before(async () => {
    services = await startBackingServices();
    api = await startApi({ standIns: true, env: services.env, clock: () => new Date(now) });
    storage = createObjectStorage(readEnvironment(objectStorageEnvironment, api.environment));
    mongo = new MongoClient(api.environment.MONGODB_URL ?? "");
    start("main");
    const worker = start("worker");
    await until("the projections and the worker have begun", async () => {
      return (await cursorRows(api.database).countDocuments()) > 0 && (await begunReactors()) > 0;
    });
    // A worker 15 days ahead takes every request that is still at work for an abandoned one, and may be faster.
    await stopped(worker, "SIGTERM");
    await furnishCatalogue();
    for (const one of [gone, stays]) await furnish(one);
    start("worker");
    await settled();
  });
  after(async () => {
    for (const child of running) child.kill("SIGKILL");
    await mongo?.close();
    await api?.stop();
    await services?.stop();
  });

  const ownerOf = ({ customer }: Person): Owner => ({ org: api.org, customer });
  const begunReactors = () => api.database.collection("reactor-cursors").countDocuments();

  /** Starts one of the projectors' processes as they run in earnest, and keeps every line it logs. */
  function start(
    name: "main" | "worker",
    onLine: (line: string, child: ChildProcess) => void = () => {},
  ): ChildProcess {
    const child = spawn(process.execPath, [join(processes, `${name}.js`)], {
      env: { PATH: process.env.PATH, ...api.environment, PORT: "0", LOG_LEVEL: "debug" },
      stdio: ["ignore", "pipe", "pipe"],
    });
    running.add(child);
    child.once("close", () => running.delete(child));
    for (const stream of [child.stdout, child.stderr]) {
      let rest = "";
      stream.on("data", (chunk: Buffer) => {
        const parts = `${rest}${chunk}`.split("\n");
        rest = parts.pop() ?? "";
        for (const line of parts) {
          lines.push(line);
          onLine(line, child);
        }
      });
    }
    return child;
  }

  async function stopAll(signal: NodeJS.Signals): Promise<void> {
    await Promise.all([...running].map((child) => stopped(child, signal)));
  }

  async function stopped(child: ChildProcess, signal: NodeJS.Signals): Promise<void> {
    const closed = once(child, "close");
    child.kill(signal);
    await closed;
  }

  async function until(what: string, condition: () => Promise<boolean>): Promise<void> {
    const deadline = Date.now() + 60_000;
    while (!(await condition())) {
      if (Date.now() > deadline) throw new Error(`did not come true in time: ${what}\n${lines.slice(-10).join("\n")}`);
      await delay(50);
    }
  }

  async function isProjected(head: string): Promise<boolean> {
    const cursors = await cursorRows(api.database).find().toArray();
    return cursors.length > 0 && cursors.every(({ position }) => position >= head);
  }

  const projected = () => until("all is projected", async () => isProjected(await headOfLog()));

  /** Waits until all is projected and nothing is due by now. */
  const settled = () =>
    until("all is projected and nothing is due", async () => {
      const head = await headOfLog();
      if (!(await isProjected(head))) return false;
      const rows = api.database.collection("due-work.v1.g1");
      const due = await rows.countDocuments({ dueAt: { $lte: new Date().toISOString() }, _deletedAt: null });
      return due === 0 && head === (await headOfLog());
    });

  async function headOfLog(): Promise<string> {
    let head = "";
    for await (const { position, stream } of api.eventStore.readLog({ after: "0".repeat(20) })) {
      if (ownerOfStream(stream) !== null && !stream.startsWith("operations-")) head = position;
    }
    return head;
  }

  async function ingest(path: string, body: object): Promise<void> {
    const answer = await (await api.asService()).put(`/internal/ingest/${path}`, {
      body: { sourceRevision: 1, ...body },
    });
    expect(answer.status, JSON.stringify(answer.body)).to.equal(200);
  }

  async function furnishCatalogue(): Promise<void> {
    const day = [{ start: "00:00", end: "24:00" }];
    const weeklyHours = { mon: day, tue: day, wed: day, thu: day, fri: day, sat: day, sun: day };
    await ingest("resources/room", { name: "Room", timezone: "UTC", weeklyHours, capacity: 2 });
    await ingest("definitions/talk", {
      ...{ title: "Talk", durationMinutes: 60, slotStepMinutes: 60, resourceIds: ["room"] },
    });
    await projected();
  }

  const signedIn = ({ customer, email, first, last }: Person): Promise<Caller> =>
    api.as(customer, { auth_time: Math.floor(now / 1_000), email, name: `${first} ${last}` });

  /** Something in every area there is. */
  async function furnish(one: Person): Promise<void> {
    const { customer, first, last, email, phone, street, city, about, note, tracking, file, last4, card } = one;
    const caller = await signedIn(one);
    const expecting = async (status: number, answer: Promise<{ status: number; body: unknown }>) => {
      const { status: got, body } = await answer;
      expect(got, JSON.stringify(body)).to.equal(status);
    };
    await expecting(
      200,
      caller.put("/client-data/profile", { body: { firstName: first, lastName: last, phone, about } }),
    );
    await expecting(201, caller.post("/client-data/wishlist/chair", { body: { note } }));
    const address = { name: `${first} ${last}`, line1: street, city, postalCode: "10117", country: "DE", phone };
    await expecting(201, caller.post("/client-data/addresses", { body: address }));
    await expecting(201, caller.post("/client-data/payment-methods", { body: { paymentMethodId: card, label: note } }));
    const letter = { name: `${file}.txt`, bytes: `Dear Sirs,\n\nyours, ${first} ${last}\n`, type: "text/plain" };
    await expecting(201, postForm(caller, "/client-data/files/upload", [letter], { location: last }));
    await expecting(201, postForm(caller, "/client-data/files/upload", [{ name: `${file}.png`, bytes: samples.png }]));
    const slot = { start: new Date(Math.ceil((now + 40 * dayMs) / dayMs) * dayMs).toISOString() };
    const booking = { definitionId: "talk", slot, notes: note };
    await expecting(201, caller.post("/client-data/reservations", { body: booking }));
    await ingest(`orders/order-of-${customer}`, {
      ...{ customerId: customer, orderNumber: `N-${customer}`, status: "delivered", currency: "EUR", totalMinor: 1999 },
      ...{
        placedAt: "2026-01-02T03:04:05.000Z",
        shippingAddress: address,
        billingAddress: { ...address, label: note },
      },
      items: [{ sku: "chair", title: "Chair", quantity: 1, unitPriceMinor: 1999 }],
      paymentMethod: { type: "card", brand: "visa", last4 },
      shipments: [{ carrier: "DHL", tracking, status: "delivered" }],
      timeline: [{ at: "2026-01-02T03:04:05.000Z", status: "delivered", note }],
    });
    await ingest(`transactions/payment-of-${customer}`, {
      ...{ customerId: customer, type: "payment", status: "failed", amountMinor: 1999, direction: "debit" },
      ...{ currency: "EUR", createdAt: "2026-01-02T03:04:05.000Z", description: `for ${last}`, reference: `V-${last}` },
      ...{ paymentMethod: { type: "card", brand: "visa", last4 }, failureReason: `${last} has no money` },
    });
    await ingest(`customers/${customer}`, { email, phone, about });
    await projected();
    await expecting(202, caller.post("/client-data/verification/email/send"));
    await expecting(202, caller.post("/client-data/profile/email-change", { body: { newEmail: `new-${email}` } }));
    await expecting(202, caller.post("/client-data/privacy/export"));
    await projected();
  }

  /** Words of a person that nothing but the person explains. */
  const needlesOf = ({ first, last, email, phone, street, city, about, note, tracking, file, last4 }: Person) => [
    ...[first, last, email, phone, phone.slice(1), street, city, about, note, tracking, file, `"${last4}"`],
  ];

  async function tracesIn(kept: AsyncIterable<Kept> | Iterable<Kept>, one = gone): Promise<string[]> {
    const needles = needlesOf(one).map((needle) => needle.toLowerCase());
    const found: string[] = [];
    for await (const { where, text } of kept) {
      const lower = text.toLowerCase();
      for (const needle of needles) if (lower.includes(needle)) found.push(`${needle} in ${where}`);
    }
    return found;
  }

  function logged(): Kept[] {
    return [...lines, ...api.logLines].map((text, index) => ({ where: `line ${index}: ${text}`, text }));
  }

  /** Every event opened with all the keys there are; what the law makes us keep apart from the rest. */
  async function openedParts(): Promise<{ rest: Kept[]; kept: Kept[] }> {
    const { MASTER_KEYS, KEYS_DATABASE } = readEnvironment(["MASTER_KEYS", "KEYS_DATABASE"], api.environment);
    const keys = createPersonalDataKeys(mongo, KEYS_DATABASE, MASTER_KEYS);
    const rest: Kept[] = [];
    const kept: Kept[] = [];
    for await (const event of opened(api.eventStore, keys)) {
      const where = `opened ${event.type} in ${event.stream}`;
      const data = structuredClone(event.data) as Record<string, Record<string, unknown> | undefined>;
      for (const path of keptByLaw[event.type.replace(/\.v\d+$/, "")] ?? []) {
        const [field = "", member] = path.split(".");
        const value = member === undefined ? data[field] : data[field]?.[member];
        if (value === undefined) continue;
        kept.push({ where: `${where} ${path}`, text: JSON.stringify(value) });
        if (member === undefined) delete data[field];
        else delete data[field]?.[member];
      }
      rest.push({ where, text: JSON.stringify({ ...event, data }) });
    }
    return { rest, kept };
  }

  /** Everything that is left of a person anywhere, but for the log under the second key. */
  async function traces(one = gone): Promise<string[]> {
    return [
      ...(await tracesIn(keptInMongo(api.environment.MONGODB_URL ?? ""), one)),
      ...(await tracesIn(keptInRedis(api.environment.REDIS_URL ?? ""), one)),
      ...(await tracesIn(keptAsObjects(storage), one)),
      ...(await tracesIn(keptInTheLog(api.eventStore), one)),
      ...(await tracesIn((await openedParts()).rest, one)),
      ...(await tracesIn(logged(), one)),
    ];
  }

  /** Everything there is of a customer, byte for byte. */
  async function everythingOf(one: Person): Promise<unknown> {
    const owner = ownerOf(one);
    const documents: Document[] = [];
    for await (const { where, text } of keptInMongo(api.environment.MONGODB_URL ?? "")) {
      if (text.includes(`"${ownerKey(owner)}`)) documents.push({ where, text });
    }
    const objects: Document[] = [];
    for await (const { where, text } of keptAsObjects(storage)) {
      if (!where.includes(owner.customer)) continue;
      objects.push({ where, sha256: createHash("sha256").update(text).digest("hex") });
    }
    const events: string[] = [];
    for await (const { text } of keptInTheLog(api.eventStore)) {
      if (text.includes(`-${ownerKey(owner)}`)) events.push(text);
    }
    return { documents: documents.sort((a, b) => (a.where < b.where ? -1 : 1)), objects, events };
  }

  async function dumpMongo() {
    const collections: { database: string; name: string; documents: Document[] }[] = [];
    for (const database of [api.environment.MONGODB_DATABASE, api.environment.KEYS_DATABASE].map(String)) {
      for (const { name } of await mongo.db(database).listCollections({}, { nameOnly: true }).toArray()) {
        const documents = await mongo
          .db(database)
          .collection<Document>(name)
          .find({}, { promoteBuffers: false })
          .toArray();
        collections.push({ database, name, documents });
      }
    }
    return collections;
  }

  async function restoreMongo(): Promise<void> {
    for (const { database, name, documents } of dump) {
      const collection = mongo.db(database).collection<Document>(name);
      await collection.deleteMany({});
      if (documents.length > 0) await collection.insertMany(documents);
    }
  }

  async function keyOf(one: Person): Promise<Document | null> {
    return mongo
      .db(api.environment.KEYS_DATABASE)
      .collection<Document & { _id: string }>("keys")
      .findOne({
        _id: ownerKey(ownerOf(one)),
      });
  }

  const lastFact = async (one: Person) => (await api.eventStore.readStream(streams.profile(ownerOf(one)))).at(-1)?.type;

  /** The provider's customers whose metadata name one of ours. */
  async function providerCustomers(one: Person): Promise<number> {
    const answer = await fetch(`${api.environment.STRIPE_API_BASE}/v1/customers?limit=100`, {
      headers: { authorization: `Bearer ${api.environment.STRIPE_SECRET_KEY ?? process.env.STRIPE_SECRET_KEY}` },
    });
    const { data } = (await answer.json()) as { data: { metadata: Record<string, string> }[] };
    return data.filter(({ metadata }) => Object.values(metadata).includes(one.customer)).length;
  }

  it("stood everywhere before", async () => {
    const foundBefore = await traces();
    const inMongo = await tracesIn(keptInMongo(api.environment.MONGODB_URL ?? ""));
    for (const area of [
      "profile",
      "wishlist",
      "addresses",
      "orders",
      "transactions",
      "files",
      "reservations",
      "activity",
    ]) {
      expect(inMongo.join("\n"), area).to.include(`.${area}.v`);
    }
    for (const needle of needlesOf(gone)) {
      expect(foundBefore.join("\n"), needle).to.include(needle.toLowerCase());
    }
    for (const place of [" in object ", " in opened "]) expect(foundBefore.join("\n"), place).to.include(place);
    expect(await tracesIn(keptInTheLog(api.eventStore)), "sealed as it lies in the log").to.deep.equal([]);
    expect(await tracesIn(logged()), "and in no log").to.deep.equal([]);
    expect(await providerCustomers(gone)).to.equal(1);
  });

  it("goes, although the worker is killed after each step of the clean-up", async () => {
    await stopAll("SIGTERM");
    dump = await dumpMongo();
    const answer = await (await signedIn(gone)).post("/client-data/privacy/erasure");
    expect(answer.status, JSON.stringify(answer.body)).to.equal(202);

    start("main");
    await settledBut("privacy-announce-erasure");
    keptBefore = await everythingOf(stays);
    const killedAfter: string[] = [];
    for (;;) {
      let step: string | undefined;
      const worker = start("worker", (line, child) => {
        const [, name] = /"cleanup":"([a-z-]+)"/.exec(line) ?? [];
        if (name === undefined || killedAfter.includes(name) || step !== undefined) return;
        step = name;
        child.kill("SIGKILL");
      });
      await until("the worker is killed or done", async () => {
        return worker.signalCode !== null || (await lastFact(gone)) === "privacy.CustomerErased.v1";
      });
      if (step === undefined) break;
      killedAfter.push(step);
      await wipeQueue();
      // After the last step it may have got further before it died.
      if ((await lastFact(gone)) === "privacy.CustomerErased.v1") continue;
      expect(await lastFact(gone), `killed after ${step}`).to.equal("privacy.ErasureBegun.v1");
      expect(await keyOf(gone), `killed after ${step}`).to.have.property("customer");
    }
    expect(killedAfter).to.include.members(["payment-providers", "reservations", "files"]);
    await until("the data key is destroyed", async () => (await keyOf(gone))?.customer === undefined);
    await settled();
    const facts = (await api.eventStore.readStream(streams.profile(ownerOf(gone)))).map(({ type }) => type);
    expect(facts.filter((type) => type === "privacy.CustomerErased.v1")).to.have.length(1);
  });

  /** The queue may be wiped at any time; besides, the job of a dead worker is given up by itself only after a minute. */
  async function wipeQueue(): Promise<void> {
    const redis = new Redis(api.environment.REDIS_URL ?? "");
    await redis.flushall();
    redis.disconnect();
  }

  /** Waits until all is projected and a duty of this kind is due, with nobody there to perform it. */
  const settledBut = (duty: string) =>
    until(`${duty} is due`, async () => (await api.database.collection("due-work.v1.g1").countDocuments({ duty })) > 0);

  it("has left nothing anywhere: databases, queue, objects, logs, and no event that opens", async () => {
    expect(await traces()).to.deep.equal([]);
    expect(await providerCustomers(gone)).to.equal(0);
    const objects: string[] = [];
    for await (const { where } of keptAsObjects(storage)) if (where.includes(gone.customer)) objects.push(where);
    expect(objects).to.deep.equal([]);
  });

  it("is known under the second key as whom the invoice went to, and by what the books refer to", async () => {
    const { kept } = await openedParts();
    const own = kept.filter(({ where }) => where.includes(ownerKey(ownerOf(gone))));
    expect(own.map(({ where }) => where.split(" ").at(-1))).to.have.members([
      ...["name", "line1", "city", "postalCode", "country"].map((member) => `billingAddress.${member}`),
      "reference",
    ]);
    expect(own.map(({ text }) => text)).to.include.members([`"${gone.first} ${gone.last}"`, `"V-${gone.last}"`]);
  });

  it("leaves the other customer untouched, byte for byte, and with its card", async () => {
    expect(await everythingOf(stays)).to.deep.equal(keptBefore);
    expect(await providerCustomers(stays)).to.equal(1);
    expect((await traces(stays)).length).to.be.greaterThan(10);
  });

  it("is not brought back by yesterday's dump of MongoDB, keys and all", async () => {
    await stopAll("SIGTERM");
    await restoreMongo();
    expect(await keyOf(gone)).to.have.property("customer");
    expect((await tracesIn(keptInMongo(api.environment.MONGODB_URL ?? ""))).length).to.be.greaterThan(10);
    start("main");
    start("worker");
    await until("the key that came back is destroyed", async () => (await keyOf(gone))?.customer === undefined);
    await settled();
    expect(await traces()).to.deep.equal([]);
    expect(await keyOf(stays)).to.have.property("customer");
    const person = await signedIn(stays);
    expect((await person.get("/client-data/profile")).body.data.firstName).to.equal(stays.first);
  });
});
