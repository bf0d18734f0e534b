import { randomBytes, randomUUID } from "node:crypto";
import { expect } from "chai";
import { streams } from "#domain/core/identifiers.js";
import { exportKeys } from "#domain/privacy/privacy.policy.js";
import { readEnvironment } from "#infrastructure/environment.js";
import { createObjectStorage, type ObjectStorage, objectStorageEnvironment } from "#infrastructure/object-storage.js";
import { eicar } from "../../embedded/providers/clamav.js";
import { type Answer, type Caller, startApi, type TestApi } from "../support/api.js";
import { postForm, samples } from "../support/forms.js";
import { inboxes } from "../support/inboxes.js";
import { unzip } from "../support/zip.js";

const exports_ = "/client-data/privacy/export";
const dayMs = 86_400_000;
/** More than one part of an upload. */
const bigFile = Buffer.concat([samples.pdf, randomBytes(7 * 1024 * 1024)]);

describe("export of everything", () => {
  let api: TestApi;
  let storage: ObjectStorage;
  let now = Date.now();
  let ada: Caller;
  let exportId: string;

  before(async () => {
    // One export a day, as where an org says nothing else.
    const wide = { points: 1_000_000, windowSeconds: 60 };
    const settings = { rateLimits: { reads: wide, writes: wide } };
    const options = { projections: true, worker: true, standIns: true };
    api = await startApi({ ...options, clock: () => new Date(now), settings });
    storage = createObjectStorage(readEnvironment(objectStorageEnvironment, api.environment));
    ada = await signedIn("ada", { email: "ada@export.example" });
    await furnish("ada", ada);
  });
  after(() => api?.stop());

  const refusal = ({ status, body }: Answer) => [status, body.code];
  const signedIn = (customer: string, claims: object = {}) =>
    api.as(customer, { auth_time: Math.floor(now / 1_000), ...claims });

  /** Something in every area. */
  async function furnish(customer: string, caller: Caller) {
    const platform = await api.asService();
    const ingest = async (path: string, body: object) => {
      const answer = await platform.put(`/internal/ingest/${path}`, { body: { sourceRevision: 1, ...body } });
      expect(answer.status, JSON.stringify(answer.body)).to.equal(200);
    };
    const profile = {
      name: `Grüße & <${customer}>`,
      phone: "+4930123456",
      language: "de-DE",
      marketing: { email: true },
    };
    expect((await caller.put("/client-data/profile", { body: profile })).status).to.equal(200);
    await ingest("products/lamp", {
      ...{ name: "Lamp", slug: "lamp", imageUrl: "https://img.example/lamp.png" },
      ...{ priceMinor: 4900, currency: "EUR", inStock: true, available: true },
    });
    await api.caughtUp();
    await caller.post("/client-data/wishlist/lamp", { body: { note: "for the hall" } });
    await caller.post("/client-data/wishlist/unknown-sofa");
    const home = { name: "Ada", line1: "Unter den Linden 1", city: "Berlin", postalCode: "10117", country: "DE" };
    expect((await caller.post("/client-data/addresses", { body: home })).status).to.equal(201);
    const files = [
      { name: "Straße.pdf", bytes: bigFile, type: "application/pdf" },
      { name: "bad.txt", bytes: eicar, type: "text/plain" },
    ];
    for (const file of files) {
      const answer = await postForm(caller, "/client-data/files/upload", [file], { location: "bills/2026" });
      expect(answer.status, JSON.stringify(answer.body)).to.equal(201);
    }
    for (const number of [1, 2, 3]) {
      await ingest(`orders/${customer}-${number}`, {
        ...{ customerId: customer, orderNumber: `N-${number}`, status: "delivered", currency: "EUR", totalMinor: 1999 },
        ...{ placedAt: `2026-01-0${number}T03:04:05.000Z`, shippingAddress: { name: "Ada", line1: "12 Square" } },
        items: [{ sku: "s", title: "Chair", quantity: 1, unitPriceMinor: 1999 }],
      });
      await ingest(`transactions/${customer}-${number}`, {
        ...{ customerId: customer, type: "payment", status: "completed", amountMinor: 1999, direction: "debit" },
        ...{ currency: "EUR", createdAt: `2026-01-0${number}T03:04:05.000Z`, description: "Chair" },
        paymentMethod: { type: "card", brand: "visa", last4: "4242" },
      });
    }
    await api.settled();
  }

  async function packageOf(caller: Caller, id: string): Promise<Map<string, Buffer>> {
    const { body } = await caller.get(`${exports_}/${id}`);
    expect(body.state, JSON.stringify(body)).to.equal("ready");
    const response = await fetch(body.data.url);
    expect(response.status).to.equal(200);
    expect(response.headers.get("content-type")).to.equal("application/zip");
    expect(response.headers.get("content-disposition")).to.match(/^attachment/);
    const bytes = Buffer.from(await response.arrayBuffer());
    expect(bytes.length).to.equal(body.data.size);
    return unzip(bytes);
  }

  it("is accepted, pending first, and recorded as one wish", async () => {
    const mark = await api.mark();
    const key = { headers: { "idempotency-key": "copy" } };
    const answer = await ada.post(exports_, key);
    expect(answer.status).to.equal(202);
    exportId = answer.body.data.exportId;
    const requestedAt = new Date(now).toISOString();
    expect(answer.body).to.deep.include({ state: "pending", data: { exportId, status: "pending", requestedAt } });
    expect(answer.headers.get("location")).to.equal(`${exports_}/${exportId}`);

    const replayed = await ada.post(exports_, key);
    expect([replayed.status, replayed.body]).to.deep.equal([202, answer.body]);
    const again = await ada.post(exports_);
    expect(refusal(again)).to.deep.equal([429, "RATE_LIMITED"]);
    expect(Number(again.headers.get("retry-after"))).to.be.within(86_300, 86_400);

    const asked = await api.newEvents(mark, streams.profile({ org: api.org, customer: "ada" }));
    expect(asked.filter(({ type }) => type === "privacy.ExportRequested.v1")).to.have.length(1);
  });

  it("holds what the API answers, in every area, with a page that lists it in the customer's language", async () => {
    await api.settled();
    const files = await packageOf(ada, exportId);
    const json = (name: string) => JSON.parse(files.get(`data/${name}.json`)?.toString() ?? "null");
    const listed = async (path: string) => (await ada.get(`/client-data/${path}`)).body.data;

    const { body: profile } = await ada.get("/client-data/profile");
    const [{ consents, ...shown }] = json("profile");
    expect(shown).to.deep.equal(profile);
    expect(consents.email).to.deep.include({ given: true, source: "customer" });
    expect(json("wishlist")).to.have.deep.members(await listed("wishlist?ps=200"));
    expect(json("addresses")).to.deep.equal(await listed("addresses"));
    expect(json("transactions")).to.have.deep.members(await listed("transactions?ps=200"));
    expect(json("files")).to.have.deep.members(await listed("files"));
    expect(json("files").map(({ state }: { state: string }) => state)).to.have.members(["clean", "infected"]);
    expect(files.get("files/bills/2026/Straße.pdf")?.equals(bigFile), "the file itself").to.equal(true);
    expect([...files.keys()].filter((name) => name.startsWith("files/"))).to.have.length(1);
    const orders = await Promise.all(
      [1, 2, 3].map(async (number) => (await ada.get(`/client-data/orders/ada-${number}`)).body),
    );
    expect(json("orders")).to.have.deep.members(orders);
    const trail = (await listed("activity?ps=100")) as { what: string; at: string }[];
    // It was written down before it was ready.
    expect(json("activity")).to.deep.equal(trail.filter(({ what }) => what !== "privacy.export-ready"));
    expect(json("activity").length).to.be.greaterThan(5);

    const page = files.get("index.html")?.toString() ?? "";
    expect(page).to.match(/<html lang="de">[^]*Eine Kopie Ihrer Daten/);
    expect(page).to.include('<a href="data/orders.json">Bestellungen</a>: 3 Einträge');
    expect(page).to.include('<a href="data/wishlist.json">Wunschliste</a>: 2 Einträge');
    for (const [, path = ""] of page.matchAll(/href="([^"]+)"/g)) {
      expect([...files.keys()]).to.include(decodeURIComponent(path));
    }
    expect(page).to.include(">bills/2026/Straße.pdf</a>");
  });

  it("is told of by mail, without the link", async () => {
    const [mail, ...more] = await inboxes(api).mailsTo("ada@export.example");
    expect([mail?.subject, more]).to.deep.equal(["Die Kopie Ihrer Daten liegt bereit", []]);
    expect(mail?.text).to.not.match(/https?:/);
  });

  it("stands among the customer's exports, and nobody else finds it", async () => {
    const { body } = await ada.get("/client-data/privacy");
    expect(body.data.exports).to.have.length(1);
    expect(body.data.exports[0]).to.deep.include({ exportId, status: "ready" });
    expect(body.data.exports[0].expiresAt).to.equal(new Date(now + 7 * dayMs).toISOString());
    expect((await ada.get(`${exports_}/privacy-${exportId}`)).status).to.equal(200);
    expect((await ada.get(`${exports_}/${exportId}`)).headers.get("cache-control")).to.equal("no-store");

    const bob = await signedIn("bob");
    await bob.put("/client-data/profile", { body: { about: "not Ada" } });
    await api.caughtUp();
    for (const id of [exportId, `privacy-${exportId}`, randomUUID()]) {
      expect(refusal(await bob.get(`${exports_}/${id}`))).to.deep.equal([404, "EXPORT_NOT_FOUND"]);
    }
    expect((await bob.get("/client-data/privacy")).body.data.exports).to.deep.equal([]);
  });

  it("wants a sign-in of the last ten minutes, and an account that is not locked", async () => {
    const stale = await signedIn("bob", { auth_time: Math.floor(now / 1_000) - 700 });
    expect(refusal(await stale.post(exports_))).to.deep.equal([403, "REAUTH_REQUIRED"]);
    const staff = await api.asService();
    await staff.put("/internal/customers/bob/lock");
    expect(refusal(await (await signedIn("bob")).post(exports_))).to.deep.equal([403, "ACCOUNT_LOCKED"]);
    await staff.delete("/internal/customers/bob/lock");
  });

  it("of somebody about whom little is known is a package all the same", async () => {
    const bob = await signedIn("bob");
    const asked = await bob.post(exports_);
    await api.settled();
    const files = await packageOf(bob, asked.body.data.exportId);
    expect(files.get("data/orders.json")?.toString()).to.equal("[]\n");
    expect(files.get("index.html")?.toString()).to.match(/<html lang="en">[^]*A copy of your data/);
  });

  it("expires after 7 days: no link, no object, and the link given out before leads nowhere", async () => {
    const { body } = await ada.get(`${exports_}/${exportId}`);
    const link = new URL(body.data.url);
    expect(Number(link.searchParams.get("X-Amz-Expires"))).to.be.within(7 * 86_400 - 600, 7 * 86_400);
    const prefix = exportKeys.export({ org: api.org, customer: "ada" }, exportId);
    const objects = async () => {
      const found: string[] = [];
      for await (const { key } of storage.list(prefix)) found.push(key);
      return found;
    };
    // What a killed attempt left behind goes with it.
    await storage.put(`${prefix}${randomUUID()}.zip`, Buffer.from("half a zip"), "application/zip");
    expect(await objects()).to.have.length(2);

    now += 7 * dayMs;
    await api.settled();
    expect(await objects()).to.deep.equal([]);
    expect((await fetch(link)).status).to.equal(404);
    const gone = await ada.get(`${exports_}/${exportId}`);
    expect([gone.status, gone.body.state, gone.body.data.url]).to.deep.equal([200, "expired", undefined]);

    const another = await (await signedIn("ada")).post(exports_);
    expect(another.status).to.equal(202);
  });
});
