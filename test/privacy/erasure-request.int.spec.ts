import { expect } from "chai";
import { streams } from "#domain/core/identifiers.js";
import { type Answer, type Caller, startApi, type TestApi } from "../support/api.js";
import { inboxes } from "../support/inboxes.js";

const erasure = "/client-data/privacy/erasure";
const dayMs = 86_400_000;

describe("privacy over HTTP", () => {
  let api: TestApi;
  let now = Date.now();
  const inDays = (days: number) => new Date(now + days * dayMs).toISOString();

  before(async () => {
    api = await startApi({ projections: true, worker: true, standIns: true, clock: () => new Date(now) });
  });
  after(() => api?.stop());

  const profileOf = (customer: string) => streams.profile({ org: api.org, customer });
  const refusal = ({ status, body }: Answer) => [status, body.code];

  /** A customer that has just signed in. */
  const signedIn = (customer: string, claims: object = {}) =>
    api.as(customer, { auth_time: Math.floor(now / 1_000), ...claims });

  async function registered(customer: string): Promise<Caller> {
    const caller = await signedIn(customer);
    expect((await caller.put("/client-data/profile", { body: { about: "me" } })).status).to.equal(200);
    return caller;
  }

  async function order(customer: string, status: string, sourceRevision: number) {
    const answer = await (await api.asService()).put(`/internal/ingest/orders/order-of-${customer}`, {
      body: {
        ...{ customerId: customer, orderNumber: "N-1", status, placedAt: "2026-01-02T03:04:05.000Z", currency: "EUR" },
        ...{ totalMinor: 1999, items: [{ sku: "s", title: "Chair", quantity: 1, unitPriceMinor: 1999 }] },
        sourceRevision,
      },
    });
    expect(answer.status, JSON.stringify(answer.body)).to.equal(200);
  }

  describe("an erasure asked for", () => {
    it("takes effect in 14 days, locks every other command, and leaves reads open", async () => {
      const ada = await registered("ada");
      const mark = await api.mark();
      const answer = await ada.post(erasure);
      expect(answer.status).to.equal(202);
      expect(answer.body).to.deep.equal({ data: { requestedAt: inDays(0), effectiveAt: inDays(14) } });
      const events = await api.newEvents(mark, profileOf("ada"));
      expect(events.map(({ type, data }) => ({ type, data }))).to.deep.equal([
        { type: "privacy.ErasureRequested.v1", data: { effectiveAt: inDays(14) } },
      ]);
      expect(refusal(await ada.put("/client-data/profile", { body: { about: "x" } }))).to.deep.equal([
        ...[403, "ACCOUNT_LOCKED"],
      ]);
      expect(refusal(await ada.post("/client-data/wishlist/lamp"))).to.deep.equal([403, "ACCOUNT_LOCKED"]);

      const minPosition = { "x-min-log-position": answer.headers.get("x-log-position") ?? "" };
      const read = await ada.get("/client-data/privacy", { headers: minPosition });
      expect(read.status).to.equal(200);
      expect(read.body.data).to.deep.equal({
        erasure: { requestedAt: inDays(0), effectiveAt: inDays(14) },
        exports: [],
      });
      expect((await ada.get("/client-data/profile")).body.data.about).to.equal("me");
      const trail = await ada.get("/client-data/activity?area=privacy", { headers: minPosition });
      expect(trail.body.data.map(({ what }: { what: string }) => what)).to.deep.equal(["privacy.erasure-requested"]);
    });

    it("is the same erasure when asked for again, with or without a key", async () => {
      const bea = await registered("bea");
      const key = { headers: { "idempotency-key": "go" } };
      const first = await bea.post(erasure, key);
      await api.settled(); // until she has been told of it
      const mark = await api.mark();
      now += 60_000;
      const replayed = await bea.post(erasure, key);
      expect([replayed.status, replayed.body]).to.deep.equal([202, first.body]);
      expect(replayed.headers.get("idempotency-replayed")).to.equal("true");
      const again = await bea.post(erasure);
      expect([again.status, again.body]).to.deep.equal([202, first.body]);
      expect(await api.newEvents(mark, profileOf("bea"))).to.deep.equal([]);
    });

    it("is taken back although the account is locked; a repeat changes nothing", async () => {
      const cleo = await registered("cleo");
      await cleo.post(erasure);
      const back = await cleo.delete(erasure);
      expect([back.status, back.body]).to.deep.equal([200, { data: { erasure: null } }]);
      const mark = await api.mark();
      expect((await cleo.delete(erasure)).status).to.equal(200);
      expect(await api.newEvents(mark, profileOf("cleo"))).to.deep.equal([]);
      expect((await cleo.put("/client-data/profile", { body: { about: "still here" } })).status).to.equal(200);
    });

    it("is told of by mail, once, in the customer's language", async () => {
      const boxes = inboxes(api);
      const lea = await signedIn("lea", { email: "lea@example.com", name: "Lea" });
      await lea.put("/client-data/profile", { body: { language: "de-AT" } });
      await boxes.control("mail", "refuse", { code: 451, times: 1, at: "data" });
      const asked = await lea.post(erasure);
      await api.settled();
      const mails = await boxes.mailsTo("lea@example.com");
      expect(mails.map(({ subject }) => subject)).to.deep.equal(["Ihr Konto wird gelöscht"]);
      const day = new Date(asked.body.data.effectiveAt);
      const words = new Intl.DateTimeFormat("de-DE", { dateStyle: "long", timeZone: "UTC" }).format(day);
      expect(mails[0]?.text).to.include(`am ${words} endgültig gelöscht`);
      const [told] = (await api.newEvents("0".repeat(20), profileOf("lea"))).slice(-1);
      expect(told?.data).to.deep.equal({ effectiveAt: asked.body.data.effectiveAt, outcome: "sent" });
    });

    it("wants a sign-in not older than ten minutes", async () => {
      await registered("dora");
      const mark = await api.mark();
      const at = (secondsAgo: number) => ({ auth_time: Math.floor(now / 1_000) - secondsAgo });
      for (const claims of [at(601), at(-120), { auth_time: undefined }, { auth_time: "now" }]) {
        const answer = await (await signedIn("dora", claims)).post(erasure);
        expect(refusal(answer), JSON.stringify(claims)).to.deep.equal([403, "REAUTH_REQUIRED"]);
      }
      expect(await api.newEvents(mark, profileOf("dora"))).to.deep.equal([]);
      expect((await (await signedIn("dora", at(590))).post(erasure)).status).to.equal(202);
    });

    it("waits for an order under way and for money that is the customer's", async () => {
      const eve = await registered("eve");
      await order("eve", "shipped", 1);
      await api.caughtUp();
      const refused = await eve.post(erasure);
      expect(refusal(refused)).to.deep.equal([409, "OPEN_OBLIGATIONS"]);
      expect(refused.body.obligations).to.deep.equal(["unfinished-order"]);
      await order("eve", "delivered", 2);
      await (await api.asService()).put("/internal/ingest/transactions/t-eve", {
        body: {
          ...{ customerId: "eve", type: "refund", status: "completed", amountMinor: 500, direction: "credit" },
          ...{ currency: "EUR", createdAt: "2026-01-02T03:04:05.000Z", sourceRevision: 1 },
        },
      });
      await api.caughtUp();
      expect((await eve.post(erasure)).body.obligations).to.deep.equal(["positive-wallet"]);
    });
  });

  describe("an erasure whose time comes", () => {
    it("is done by nobody's call, and the account is closed for good", async () => {
      const fay = await registered("fay");
      await fay.post(erasure);
      await api.settled();
      // There is no address to tell it to.
      const [told] = (await api.newEvents("0".repeat(20), profileOf("fay"))).slice(-1);
      expect([told?.type, told?.data]).to.deep.equal([
        ...["privacy.ErasureAnnounced.v1", { effectiveAt: inDays(14), outcome: "failed" }],
      ]);
      now += 14 * dayMs;
      await api.settled();
      const types = (await api.eventStore.readStream(profileOf("fay"))).map(({ type }) => type);
      expect(types.slice(-2)).to.deep.equal(["privacy.ErasureBegun.v1", "privacy.CustomerErased.v1"]);
      const back = await signedIn("fay");
      expect((await back.get("/client-data/privacy")).body.data).to.deep.equal({ erasure: null, exports: [] });
      expect(refusal(await back.post("/client-data/wishlist/lamp"))).to.deep.equal([403, "ACCOUNT_LOCKED"]);
      expect(refusal(await back.post(erasure))).to.deep.equal([403, "ACCOUNT_LOCKED"]);
      expect(refusal(await back.delete(erasure))).to.deep.equal([403, "ACCOUNT_LOCKED"]);
    });

    it("is put off by a day as long as something has come up, and is done when that is settled", async () => {
      const gil = await registered("gil");
      await gil.post(erasure);
      await order("gil", "processing", 1);
      now += 14 * dayMs;
      const started = now;
      await api.settled();
      const read = async () => (await gil.get("/client-data/privacy")).body.data.erasure;
      expect((await read()).effectiveAt).to.equal(new Date(started + dayMs).toISOString());
      await order("gil", "completed", 2);
      now += dayMs;
      await api.settled();
      const last = (await api.eventStore.readStream(profileOf("gil"))).at(-1);
      expect(last?.type).to.equal("privacy.CustomerErased.v1");
      // What the law keeps still takes what the platform knows of it.
      await order("gil", "refunded", 3);
    });

    it("does not happen when it was taken back in time", async () => {
      const hal = await registered("hal");
      await hal.post(erasure);
      now += 13 * dayMs;
      await api.settled();
      expect((await (await signedIn("hal")).delete(erasure)).status).to.equal(200);
      now += 5 * dayMs;
      await api.settled();
      const types = (await api.eventStore.readStream(profileOf("hal"))).map(({ type }) => type);
      expect(types.at(-1)).to.equal("privacy.ErasureCancelled.v1");
      expect((await hal.get("/client-data/profile")).body.data.about).to.equal("me");
    });
  });

  describe("a staff lock", () => {
    const lockOf = (customer: string) => `/internal/customers/${customer}/lock`;

    it("locks every command of the customer and no read, until it is taken away", async () => {
      const ida = await registered("ida");
      const staff = await api.asService();
      const answer = await staff.put(lockOf("ida"), { body: { reason: "fraud" } });
      expect([answer.status, answer.body]).to.deep.equal([
        ...[200, { data: { locked: true, reason: "fraud", since: inDays(0) } }],
      ]);
      for (const route of api.commandRoutes) {
        if ((route.access ?? "customer") !== "customer" || route.whileLocked) continue;
        const path = route.path.replace(/[:*][A-Za-z]+/g, "x-1");
        const method = route.method as "post" | "put" | "delete";
        expect(refusal(await ida[method](path)), `${method} ${path}`).to.deep.equal([403, "ACCOUNT_LOCKED"]);
      }
      expect(refusal(await ida.post(erasure)), "no way out").to.deep.equal([403, "ACCOUNT_LOCKED"]);
      for (const path of ["profile", "dashboard", "wishlist", "privacy"]) {
        expect((await ida.get(`/client-data/${path}`)).status, path).to.equal(200);
      }
      const opened = await staff.delete(lockOf("ida"));
      expect([opened.status, opened.body]).to.deep.equal([200, { data: { locked: false } }]);
      expect((await ida.put("/client-data/profile", { body: { about: "back" } })).status).to.equal(200);
    });

    it("is recorded once, without a word about the calling service's own surroundings", async () => {
      await registered("jo");
      const staff = await api.asService();
      const mark = await api.mark();
      await staff.put(lockOf("jo"), { headers: { "x-client-host": "backoffice" } });
      await staff.put(lockOf("jo"));
      const events = await api.newEvents(mark, profileOf("jo"));
      expect(
        events.map(({ type, data, metadata: { actor, client } }) => ({ type, data, actor, client })),
      ).to.deep.equal([
        {
          ...{ type: "privacy.AccountLocked.v1", data: { reason: "other" } },
          ...{ actor: { type: "system", id: "platform" }, client: undefined },
        },
      ]);
    });

    it("is not the customer's to set, needs a customer, and takes no other reason", async () => {
      const staff = await api.asService();
      const kim = await registered("kim");
      expect(refusal(await kim.put(lockOf("kim")))).to.deep.equal([403, "SERVICE_PRINCIPAL_REQUIRED"]);
      expect(refusal(await staff.put(lockOf("nobody")))).to.deep.equal([404, "CUSTOMER_NOT_FOUND"]);
      expect(refusal(await staff.delete(lockOf("nobody")))).to.deep.equal([404, "CUSTOMER_NOT_FOUND"]);
      expect(refusal(await staff.put(lockOf("kim"), { body: { reason: "she said" } }))).to.deep.equal([
        ...[400, "VALIDATION_FAILED"],
      ]);
      expect(refusal(await staff.put(lockOf("kim"), { body: { note: "x" } }))).to.deep.equal([400, "UNKNOWN_FIELD"]);
    });
  });
});
