import { expect } from "chai";
import { streams } from "#domain/core/identifiers.js";
import { commandIdOf, digestOf } from "../command-api/idempotency.js";
import { type Answer, type Caller, startApi, type TestApi } from "./support/api.js";

describe("idempotency", function () {
  this.timeout(120_000);
  let api: TestApi;
  let ada: Caller;
  let customers = 0;
  let customer: string;
  let keys = 0;
  const newKey = () => `key-${keys++}`;
  const wishlistEvents = (since: string) => api.newEvents(since, streams.wishlist({ org: api.org, customer }));
  const addKettle = (key: string | undefined, body: unknown = { quantity: 2 }, by = ada) =>
    by.post("/client-data/wishlist/kettle", { body, headers: { "idempotency-key": key } });
  /** What a client would compare: all of an answer that a repeat must repeat. */
  const told = ({ status, headers, body }: Answer) => ({
    status,
    body,
    etag: headers.get("etag"),
    location: headers.get("location"),
    position: headers.get("x-log-position"),
  });

  before(async () => {
    api = await startApi();
  });
  beforeEach(async () => {
    customer = `customer-${customers++}`;
    ada = await api.as(customer);
  });
  after(() => api?.stop());

  it("gives the first answer again, whatever happened since, and writes nothing", async () => {
    const key = newKey();
    const since = await api.mark();
    const first = await addKettle(key);
    expect(first.status).to.equal(201);
    expect(first.headers.get("idempotency-replayed")).to.equal(null);
    await ada.post("/client-data/wishlist/kettle", { body: { quantity: 7 } });
    await ada.delete("/client-data/wishlist/kettle");

    for (let repeat = 0; repeat < 2; repeat++) {
      const again = await addKettle(key);
      expect(told(again)).to.deep.equal(told(first));
      expect(again.headers.get("idempotency-replayed")).to.equal("true");
    }
    expect(await wishlistEvents(since)).to.have.length(3);
  });

  it("tells bodies apart by what they say, not by how they are written", async () => {
    const key = newKey();
    const first = await addKettle(key, '{"quantity": 2, "notify": {"backInStock": true, "priceDrop": false}}');
    const again = await addKettle(key, ' {"notify":{"priceDrop":false,"backInStock":true},"quantity":2}');
    expect(told(again)).to.deep.equal(told(first));
    const other = await addKettle(key, { quantity: 3 });
    expect(other).to.deep.include({ status: 422 });
    expect(other.body.code).to.equal("IDEMPOTENCY_KEY_REUSED");
  });

  it("binds a key to customer, method and path", async () => {
    const key = newKey();
    const since = await api.mark();
    await addKettle(key);
    const toaster = await ada.post("/client-data/wishlist/toaster", { body: {}, headers: { "idempotency-key": key } });
    const gone = await ada.delete("/client-data/wishlist/kettle", { headers: { "idempotency-key": key } });
    const bobs = await addKettle(key, { quantity: 9 }, await api.as(`${customer}-bob`));
    expect([toaster.status, gone.status, bobs.status]).to.deep.equal([201, 204, 201]);
    for (const { headers } of [toaster, gone, bobs]) expect(headers.get("idempotency-replayed")).to.equal(null);
    expect((await wishlistEvents(since)).map(({ type }) => type)).to.deep.equal([
      "wishlist.ProductAdded.v1",
      "wishlist.ProductAdded.v1",
      "wishlist.ProductRemoved.v1",
    ]);
  });

  it("counts the query of a request to what it says", async () => {
    const key = newKey();
    const remove = (variant: string) =>
      ada.delete(`/client-data/wishlist/kettle?variantId=${variant}`, { headers: { "idempotency-key": key } });
    await ada.post("/client-data/wishlist/kettle", { body: { variantId: "red" } });
    expect((await remove("red")).status).to.equal(204);
    expect((await remove("red")).headers.get("idempotency-replayed")).to.equal("true");
    expect((await remove("blue")).body.code).to.equal("IDEMPOTENCY_KEY_REUSED");
  });

  it("lets one of two requests with the same key win, and answers both alike", async () => {
    const since = await api.mark();
    for (let round = 0; round < 10; round++) {
      const key = newKey();
      const path = `/client-data/wishlist/product-${round}`;
      const request = { body: { quantity: 1 }, headers: { "idempotency-key": key } };
      const answers = await Promise.all([ada.post(path, request), ada.post(path, request), ada.post(path, request)]);
      for (const answer of answers) expect(told(answer)).to.deep.equal(told(answers[0] as Answer));
      const replayed = answers.filter(({ headers }) => headers.get("idempotency-replayed") === "true");
      expect(replayed).to.have.length(2);
    }
    expect(await wishlistEvents(since)).to.have.length(10);
  });

  it("decides again what wrote nothing", async () => {
    const key = newKey();
    const remove = () => ada.delete("/client-data/wishlist/kettle", { headers: { "idempotency-key": key } });
    expect((await remove()).headers.get("idempotency-replayed")).to.equal(null);
    await addKettle(undefined);
    expect((await remove()).headers.get("idempotency-replayed")).to.equal(null);
    const list = await wishlistEvents("0".repeat(20));
    expect(list.map(({ type }) => type)).to.deep.equal(["wishlist.ProductAdded.v1", "wishlist.ProductRemoved.v1"]);
  });

  it("takes requests without a key for wishes of their own", async () => {
    const since = await api.mark();
    const profile = (name: string) => ada.put("/client-data/profile", { body: { name } });
    for (const name of ["Ada", "Ada King", "Ada"]) expect((await profile(name)).status).to.equal(200);
    const events = await api.newEvents(since, streams.profile({ org: api.org, customer }));
    expect(events.filter(({ type }) => type === "profile.Updated.v1")).to.have.length(3);
    expect(new Set(events.map(({ metadata }) => metadata.commandId)).size).to.equal(events.length);
  });

  it("keeps no trace of the body but a hash under the customer's key", async () => {
    const since = await api.mark();
    await addKettle(newKey());
    const [bobsOwn, adasOwn] = [await api.as(`${customer}-bob`), ada];
    await addKettle(newKey(), { quantity: 2 }, bobsOwn);
    await adasOwn.post("/client-data/wishlist/kettle", { body: { quantity: 2 } });
    const added = (await api.newEvents(since)).filter(({ type }) => type === "wishlist.ProductAdded.v1");
    const hashes = added.map(({ metadata }) => metadata.commandHash);
    expect(hashes).to.have.length(2);
    expect(hashes[0]).to.match(/^[A-Za-z0-9_-]{43}$/);
    expect(hashes[0], "equal bodies of two customers").not.to.equal(hashes[1]);
    expect(hashes).not.to.include(digestOf({}, { quantity: 2 }));
  });

  for (const [what, key] of [
    ["empty", ""],
    ["longer than 255", "k".repeat(256)],
    ["with a space", "a b"],
    ["not ASCII", "clé"],
  ] as const) {
    it(`refuses a key that is ${what}`, async () => {
      const since = await api.mark();
      const answer = await addKettle(key);
      expect(answer.status).to.equal(400);
      expect(answer.body.code).to.equal("IDEMPOTENCY_KEY_INVALID");
      expect(await wishlistEvents(since)).to.deep.equal([]);
    });
  }

  it("takes a key of 255 visible characters", async () => {
    expect((await addKettle("~".repeat(255))).status).to.equal(201);
  });

  it("gives no two lists of parts the same command id", () => {
    const lists = [["a", "b"], ["ab"], ["a,b"], ['a","b'], ["a", "b", ""], ["b", "a"], []];
    expect(new Set(lists.map(commandIdOf)).size).to.equal(lists.length);
    expect(commandIdOf(["a", "b"])).to.equal(commandIdOf(["a", "b"]));
  });
});
