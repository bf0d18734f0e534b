import { createSecretKey, randomBytes } from "node:crypto";
import { expect } from "chai";
import type { MongoClient } from "mongodb";
import { createMongoClient, isMongoUnavailable } from "#infrastructure/mongo.js";
import { createPersonalDataKeys, MasterKeyMismatch } from "#infrastructure/personal-data-keys.js";
import { open, seal } from "#infrastructure/sealing.js";
import { backingServices } from "./support/stack.js";

const masterKey = (id: string) => ({ id, key: randomBytes(32) });

describe("key store for personal data", function () {
  this.timeout(120_000);
  const database = `keys-${process.pid}-${Date.now()}`;
  const [first, second] = [masterKey("2025"), masterKey("2026")];
  let services: Awaited<ReturnType<typeof backingServices>>;
  let client: MongoClient;
  /** A process of its own: same database, empty cache. */
  const keyStore = (...masterKeys: { id: string; key: Buffer }[]) =>
    createPersonalDataKeys(client, database, masterKeys.length > 0 ? masterKeys : [first]);
  let customers = 0;
  const newOwner = () => `acme.customer-${customers++}`;

  before(async () => {
    services = await backingServices();
    client = createMongoClient(services.env.MONGODB_URL as string);
  });
  after(async () => {
    await client?.db(database).dropDatabase();
    await client?.close();
    await services?.stop();
  });

  it("makes keys on first use and gives every process the same", async () => {
    const owner = newOwner();
    const made = await Promise.all([keyStore(), keyStore(), keyStore()].map((keys) => keys.findOrCreate(owner)));
    const [one, ...others] = made.map((keys) => [keys.customer?.export(), keys.legal.export()]);
    for (const other of others) expect(other).to.deep.equal(one);
    expect(one?.[0]).not.to.deep.equal(one?.[1]);
  });

  it("makes none when asked to open", async () => {
    const owner = newOwner();
    expect(await keyStore().find(owner)).to.equal(null);
    expect(await keyStore().find(owner)).to.equal(null);
  });

  it("answers from memory once it knows", async () => {
    const keys = keyStore();
    const owner = newOwner();
    expect(keys.cached(owner)).to.equal(undefined);
    const made = await keys.findOrCreate(owner);
    expect(keys.cached(owner)).to.equal(made);
    keys.forget(owner);
    expect(keys.cached(owner)).to.equal(undefined);
  });

  it("looks up many owners at once, known and new ones together", async () => {
    const owners = Array.from({ length: 2_500 }, newOwner);
    await Promise.all(owners.slice(0, 100).map((owner) => keyStore().findOrCreate(owner)));
    const keys = keyStore();
    const made = await Promise.all(owners.map((owner) => keys.findOrCreate(owner)));
    expect(new Set(made.map(({ legal }) => legal.export().toString("hex"))).size).to.equal(owners.length);
  });

  it("keeps nothing in the clear", async () => {
    const owner = newOwner();
    const { customer, legal } = await keyStore().findOrCreate(owner);
    const document = await client.db(database).collection<{ _id: string }>("keys").findOne({ _id: owner });
    const bytes = JSON.stringify(document);
    for (const key of [customer, legal]) {
      for (const form of ["hex", "base64"] as const) expect(bytes).not.to.include(key?.export().toString(form));
    }
  });

  it("destroys the customer's key for good and keeps the legal one", async () => {
    const keys = keyStore();
    const owner = newOwner();
    const { legal } = await keys.findOrCreate(owner);
    await keys.destroy(owner);
    await keys.destroy(owner);
    for (const store of [keys, keyStore()]) {
      const left = await store.findOrCreate(owner);
      expect([left.customer, left.hashing]).to.deep.equal([null, null]);
      expect(left.legal.export()).to.deep.equal(legal.export());
    }
    expect(await keys.hmac(owner, "body")).to.equal(undefined);
  });

  it("leaves a tombstone where there never was a key: none can be made later", async () => {
    const owner = newOwner();
    await keyStore().destroy(owner);
    expect((await keyStore().findOrCreate(owner)).customer).to.equal(null);
  });

  it("hashes under the customer's key: the same for one, different for another", async () => {
    const [one, other] = [newOwner(), newOwner()];
    const keys = keyStore();
    const hash = await keys.hmac(one, "body");
    expect(hash).to.match(/^[A-Za-z0-9_-]{43}$/);
    expect(await keyStore().hmac(one, "body")).to.equal(hash);
    expect(await keys.hmac(one, "bodz")).not.to.equal(hash);
    expect(await keys.hmac(other, "body")).not.to.equal(hash);
  });

  it("rotates the master key: all is wrapped anew, tombstones too, and the old one can go", async () => {
    const rotating = `${database}-rotation`;
    const store = (...masterKeys: (typeof first)[]) => createPersonalDataKeys(client, rotating, masterKeys);
    const owners = Array.from({ length: 20 }, newOwner);
    const before = await Promise.all(owners.map((owner) => store(first).findOrCreate(owner)));
    const erased = newOwner();
    await store(first).findOrCreate(erased);
    await store(first).destroy(erased);

    const both = store(second, first);
    await both.check();
    await both.findOrCreate(newOwner());
    expect(await both.rewrap()).to.equal(21);
    expect(await both.rewrap()).to.equal(0);

    const after = store(second);
    await after.check();
    for (const [index, owner] of owners.entries()) {
      const keys = await after.findOrCreate(owner);
      expect(keys.customer?.export()).to.deep.equal(before[index]?.customer?.export());
      expect(keys.legal.export()).to.deep.equal(before[index]?.legal.export());
    }
    expect((await after.findOrCreate(erased)).customer).to.equal(null);
    await client.db(rotating).dropDatabase();
  });

  it("says which master key is missing or wrong", async () => {
    const owner = newOwner();
    await keyStore(first).findOrCreate(owner);
    const missing = keyStore(second);
    expect(await missing.find(owner).catch((error) => error))
      .to.be.instanceOf(MasterKeyMismatch)
      .with.property("message")
      .that.includes('"2025", which MASTER_KEYS does not name');
    expect(await missing.check().catch((error) => error)).to.be.instanceOf(MasterKeyMismatch);
    const impostor = keyStore(masterKey("2025"));
    expect(await impostor.find(owner).catch((error) => error))
      .to.be.instanceOf(MasterKeyMismatch)
      .with.property("message")
      .that.includes('"2025" in MASTER_KEYS is not the one');
    expect(await impostor.check().catch((error) => error)).to.be.instanceOf(MasterKeyMismatch);
  });

  it("fails in bounded time when the key database is away", async () => {
    const nowhere = createMongoClient("mongodb://127.0.0.1:9/?replicaSet=rs0", { waitMs: 200 });
    const started = performance.now();
    const error = await createPersonalDataKeys(nowhere, database, [first])
      .findOrCreate(newOwner())
      .catch((caught) => caught);
    expect(isMongoUnavailable(error), String(error)).to.equal(true);
    expect(performance.now() - started).to.be.below(10_000);
    await nowhere.close();
  });
});

describe("sealing", () => {
  it("opens under the same key and context only, and never the same way twice", () => {
    const [key, other] = [createSecretKey(randomBytes(32)), createSecretKey(randomBytes(32))];
    const sealed = seal(key, Buffer.from("for Mum"), "a");
    expect(open(key, sealed, "a").toString()).to.equal("for Mum");
    expect(seal(key, Buffer.from("for Mum"), "a")).not.to.deep.equal(sealed);
    expect(() => open(other, sealed, "a")).to.throw();
    expect(() => open(key, sealed, "b")).to.throw();
    for (let index = 0; index < sealed.length; index++) {
      const changed = Buffer.from(sealed);
      changed[index] = (changed[index] as number) ^ 1;
      expect(() => open(key, changed, "a"), `byte ${index}`).to.throw();
    }
    expect(() => open(key, sealed.subarray(0, 20), "a")).to.throw();
  });
});
