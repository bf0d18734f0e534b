import { type ChildProcess, spawn } from "node:child_process";
import { randomUUID } from "node:crypto";
import { dirname, join } from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import { fileURLToPath } from "node:url";
import { expect } from "chai";
import { MongoClient } from "mongodb";
import { CustomerErased } from "#domain/core/customer-erased.js";
import { type Owner, ownerKey, streams } from "#domain/core/identifiers.js";
import { projections } from "#projectors/registry.js";
import { startApi, type TestApi } from "./support/api.js";

const worker = join(dirname(fileURLToPath(import.meta.url)), "../projectors/worker.js");

describe("an erased customer", function () {
  this.timeout(120_000);
  let api: TestApi;
  let mongo: MongoClient;
  let process_: ChildProcess | undefined;
  let gone: Owner;
  let kept: Owner;
  let keptBefore: unknown;
  let backup: Awaited<ReturnType<typeof keyOf>>;

  before(async () => {
    api = await startApi({ projections: true });
    mongo = new MongoClient(api.environment.MONGODB_URL ?? "");
    gone = { org: api.org, customer: "leaves" };
    kept = { org: api.org, customer: "stays" };
    startWorker();
    const platform = await api.asService();
    for (const { customer } of [gone, kept]) {
      const person = await api.as(customer, { name: `Person who ${customer}`, email: `${customer}@example.com` });
      await person.put("/client-data/profile", { body: { about: `All about ${customer}` } });
      await person.post("/client-data/wishlist/chair", { body: { note: `for ${customer}` } });
      const order = await platform.put(`/internal/ingest/orders/order-of-${customer}`, {
        body: {
          customerId: customer,
          orderNumber: `N-${customer}`,
          status: "completed",
          placedAt: "2026-01-02T03:04:05.000Z",
          currency: "EUR",
          totalMinor: 1999,
          items: [{ sku: "chair", title: "Chair", quantity: 1, unitPriceMinor: 1999 }],
          shippingAddress: {
            name: `Person who ${customer}`,
            line1: `Street of ${customer}`,
            city: "Town",
            country: "DE",
          },
          sourceRevision: 1,
        },
      });
      expect(order.body).to.deep.equal({ applied: true });
    }
    await api.caughtUp();
    keptBefore = await documentsOf(kept);
    backup = await keyOf(gone);
  });
  after(async () => {
    process_?.kill("SIGTERM");
    await mongo?.close();
    await api?.stop();
  });

  /** The worker as a process of its own: reactors are no part of the APIs. */
  function startWorker(): void {
    process_ = spawn(process.execPath, [worker], {
      env: { PATH: process.env.PATH, ...api.environment, PORT: "0", LOG_LEVEL: "error" },
      stdio: "ignore",
    });
  }

  async function documentsOf(owner: Owner): Promise<Record<string, unknown[]>> {
    const found: Record<string, unknown[]> = {};
    for (const { definition } of projections) {
      found[definition.name] = await api.database
        .collection(`${definition.name}.v${definition.version}.g1`)
        .find({ owner: ownerKey(owner), _deletedAt: null })
        .sort({ _id: 1 })
        .toArray();
    }
    return found;
  }

  async function keyOf(owner: Owner) {
    const keys = mongo.db(api.environment.KEYS_DATABASE).collection<{ _id: string; customer?: unknown }>("keys");
    return keys.findOne({ _id: ownerKey(owner) });
  }

  async function until(what: string, condition: () => Promise<boolean>): Promise<void> {
    const deadline = Date.now() + 90_000;
    while (!(await condition())) {
      if (Date.now() > deadline) throw new Error(`did not come true in time: ${what}`);
      await delay(50);
    }
  }

  async function erase(owner: Owner): Promise<void> {
    const stream = streams.profile(owner);
    const existing = await api.eventStore.readStream(stream);
    const id = randomUUID();
    await api.eventStore.append(stream, existing.at(-1)?.revision ?? "no-stream", [
      {
        id: randomUUID(),
        type: CustomerErased.type,
        data: {},
        metadata: {
          orgId: owner.org,
          customerId: owner.customer,
          actor: { type: "system", id: "erasure" },
          commandId: id,
          step: 0,
          $correlationId: id,
          $causationId: id,
          occurredAt: new Date().toISOString(),
        },
      },
    ]);
  }

  it("loses the data key, by the worker, also when the worker was killed before it could act", async () => {
    expect(await keyOf(gone)).to.have.property("customer");
    await until("the reactors have begun", async () => {
      return (await api.database.collection("reactor-cursors").countDocuments()) > 0;
    });
    process_?.kill("SIGKILL");
    await erase(gone);
    await api.caughtUp();
    expect(await keyOf(gone)).to.have.property("customer");

    startWorker();
    await until("the data key is destroyed", async () => (await keyOf(gone))?.customer === undefined);
    expect(await keyOf(kept)).to.have.property("customer");
  });

  it("is gone from every read model but for what the law keeps, and that names nobody", async () => {
    const documents = await documentsOf(gone);
    for (const name of ["profile", "wishlist", "dashboard", "activity"])
      expect(documents[name], name).to.deep.equal([]);
    expect(documents.orders).to.have.length(1);
    expect(JSON.stringify(documents)).to.not.match(
      /Person who leaves|Street of leaves|leaves@example|All about leaves/,
    );
  });

  it("leaves the other customer untouched, byte for byte", async () => {
    expect(await documentsOf(kept)).to.deep.equal(keptBefore);
  });

  it("reads as somebody new, and may not write any more", async () => {
    const person = await api.as(gone.customer, { name: "Person who leaves" });
    expect((await person.get("/client-data/wishlist")).body.data).to.deep.equal([]);
    expect((await person.get("/client-data/dashboard")).body.data.wishlist).to.deep.equal({ count: 0 });
    // An account's state is taken from memory for ten seconds; an erasure by command locks it days before.
    await until("commands are refused", async () => {
      const answer = await person.delete("/client-data/wishlist/table");
      return answer.status === 403 && answer.body.code === "ACCOUNT_LOCKED";
    });
  });

  it("loses the key again when a backup of the key store brings it back", async () => {
    const keys = mongo.db(api.environment.KEYS_DATABASE).collection<{ _id: string }>("keys");
    process_?.kill("SIGKILL");
    await keys.replaceOne({ _id: ownerKey(gone) }, backup ?? {});
    startWorker();
    await until("the key that came back is destroyed", async () => (await keyOf(gone))?.customer === undefined);
  });
});
