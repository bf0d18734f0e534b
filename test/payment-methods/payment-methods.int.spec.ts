import { randomUUID } from "node:crypto";
import { expect } from "chai";
import { streams } from "#domain/core/identifiers.js";
import { type Control, controlOf } from "../support/control.js";
import { type Answer, type Caller, startApi, type TestApi } from "../support/api.js";

const path = "/client-data/payment-methods";

describe("payment methods over HTTP", function () {
  this.timeout(30_000);
  let api: TestApi;
  let stripe: Control;
  let paypal: Control;
  let ada: Caller;
  let customer = 0;
  let aheadMs = 0;

  const owner = () => ({ org: api.org, customer: `ada-${customer}` });
  const stream = () => streams.paymentMethods(owner());
  const types = async (since: string) =>
    (await api.newEvents(since, stream())).map(({ type }) => type.replace(/^payment-methods\.(\w+)\.v\d+$/, "$1"));
  const add = (body: object, headers: Record<string, string> = {}) => ada.post(path, { body, headers });
  const list = async (query = "") => {
    await api.settled();
    return ada.get(`${path}${query}`);
  };
  const brief = ({ status, body }: Answer) => [status, body.code ?? body.data?.status];
  /** A payment method as Stripe's page makes it, attached to nobody. */
  const collected = async (card: object = {}): Promise<string> => (await stripe.act("payment-method", { card })).id;
  const atStripe = async () => {
    const { customers, methods } = await stripe.act("objects");
    const own = customers.filter((one: any) => one.metadata.customerId === owner().customer);
    const attached = methods.filter((one: any) => own.some(({ id }: any) => id === one.customer));
    return { customers: own, attached };
  };

  before(async () => {
    api = await startApi({
      ...{ projections: true, worker: true, standIns: true },
      clock: () => new Date(Date.now() + aheadMs),
    });
    stripe = controlOf(api.providers, "stripe");
    paypal = controlOf(api.providers, "paypal");
  });
  after(() => api?.stop());
  beforeEach(async () => {
    aheadMs = 0;
    customer += 1;
    ada = await api.as(`ada-${customer}`);
    await stripe.reset();
    await paypal.reset();
  });

  describe("adding", () => {
    it("saves a card: intent, then the provider's customer, then the card, which becomes the default", async () => {
      const since = await api.mark();
      const added = await add({ paymentMethodId: "pm_card_visa", label: "Company card" });
      expect(added.status).to.equal(201);
      const { pk, state, data } = added.body;
      expect(added.headers.get("location")).to.equal(`${path}/${pk}`);
      expect(state).to.equal("active");
      expect(data).to.deep.include({
        provider: "stripe",
        type: "card",
        brand: "visa",
        last4: "4242",
        funding: "credit",
      });
      expect(data).to.deep.include({ label: "Company card", isDefault: true, status: "active", expiresSoon: false });
      expect(JSON.stringify(added.body)).not.to.match(/cus_|pm_|fingerprint/);
      expect(await types(since)).to.deep.equal(["AttachRequested", "CustomerAssigned", "Attached", "DefaultChanged"]);
      const { customers, attached } = await atStripe();
      expect([customers.length, attached.length]).to.deep.equal([1, 1]);
      expect(customers[0].metadata).to.deep.equal({ orgId: api.org, customerId: owner().customer });
      const { body, headers } = await list();
      expect(headers.get("cache-control")).to.equal("no-store");
      expect(body.data).to.deep.equal([added.body]);
    });

    it("gives a repeat the first answer, and does nothing more", async () => {
      const headers = { "idempotency-key": "add-1" };
      const first = await add({ paymentMethodId: "pm_card_visa" }, headers);
      await add({ paymentMethodId: "pm_card_amex", setAsDefault: true });
      const since = await api.mark();
      const again = await add({ paymentMethodId: "pm_card_visa" }, headers);
      expect(again.status).to.equal(201);
      expect(again.headers.get("idempotency-replayed")).to.equal("true");
      expect(again.body).to.deep.equal(first.body);
      expect(await types(since)).to.deep.equal([]);
      const other = await add({ paymentMethodId: "pm_card_jcb" }, headers);
      expect(brief(other)).to.deep.equal([422, "IDEMPOTENCY_KEY_REUSED"]);
      expect((await atStripe()).attached).to.have.length(2);
    });

    it("answers 200 for the same id again, and moves the default there when asked", async () => {
      const id = await collected();
      const first = await add({ paymentMethodId: id });
      const other = await add({ paymentMethodId: "pm_card_amex", setAsDefault: true });
      expect(other.body.data.isDefault).to.equal(true);
      const since = await api.mark();
      const again = await add({ paymentMethodId: id });
      expect([again.status, again.body.pk, again.body.data.isDefault]).to.deep.equal([200, first.body.pk, false]);
      expect(await types(since)).to.deep.equal([]);
      const asDefault = await add({ paymentMethodId: id, setAsDefault: true });
      expect([asDefault.status, asDefault.body.data.isDefault]).to.deep.equal([200, true]);
      expect(await types(since)).to.deep.equal(["DefaultChanged", "DefaultChanged"]);
      const { body } = await list();
      expect(body.data.map((one: any) => [one.pk, one.data.isDefault])).to.deep.equal([
        [first.body.pk, true],
        [other.body.pk, false],
      ]);
    });

    it("answers 200 for the same card in another object: the expiry is refreshed, the new object let go of", async () => {
      const fingerprint = `fp-${customer}`;
      const old = await collected({ fingerprint, exp_month: 1, exp_year: 2031 });
      const first = await add({ paymentMethodId: old });
      const renewed = await collected({ fingerprint, exp_month: 1, exp_year: 2036 });
      const since = await api.mark();
      const headers = { "idempotency-key": "same-card" };
      const again = await add({ paymentMethodId: renewed }, headers);
      expect([again.status, again.body.pk]).to.deep.equal([200, first.body.pk]);
      expect(again.body.data).to.include({ expMonth: 1, expYear: 2036 });
      expect(await types(since)).to.deep.equal(["AttachRequested", "AttachMerged", "Refreshed", "Detached"]);
      const { attached } = await atStripe();
      expect(attached.map((one: any) => [one.id, one.details.exp_year])).to.deep.equal([[old, 2036]]);
      expect((await add({ paymentMethodId: renewed }, headers)).body).to.deep.equal(again.body);
      expect((await list()).body.data).to.have.length(1);
    });

    it("tells why a card was declined, every time it is asked", async () => {
      const headers = { "idempotency-key": "declined" };
      const body = { paymentMethodId: "pm_card_chargeDeclinedInsufficientFunds" };
      const since = await api.mark();
      for (const answer of [await add(body, headers), await add(body, headers)]) {
        expect(brief(answer)).to.deep.equal([402, "CARD_DECLINED"]);
        expect(answer.body.declineCode).to.equal("insufficient_funds");
        expect(JSON.stringify(answer.body)).not.to.include("Your card was declined");
      }
      expect(await types(since)).to.deep.equal(["AttachRequested", "CustomerAssigned", "AttachFailed"]);
      expect((await list()).body.data).to.deep.equal([]);
      const failed = (await list("?status=failed")).body.data;
      expect(failed.map((one: any) => [one.state, one.data.failureCode])).to.deep.equal([["failed", "CARD_DECLINED"]]);
    });

    it("refuses what is unknown, somebody else's, or of a kind that cannot be saved", async () => {
      const stranger = await api.as(`stranger-${customer}`);
      const theirs = await collected({ fingerprint: `theirs-${customer}` });
      expect((await stranger.post(path, { body: { paymentMethodId: theirs } })).status).to.equal(201);
      expect(brief(await add({ paymentMethodId: theirs }))).to.deep.equal([409, "PAYMENT_METHOD_IN_USE_ELSEWHERE"]);
      expect(brief(await add({ paymentMethodId: "pm_1NoSuch" }))).to.deep.equal([404, "PAYMENT_METHOD_NOT_FOUND"]);
      expect(brief(await add({ paymentMethodId: "pm_alipay" }))).to.deep.equal([
        422,
        "PAYMENT_METHOD_TYPE_NOT_SUPPORTED",
      ]);
      expect((await atStripe()).attached).to.deep.equal([]);
    });

    it("saves PayPal by a setup token and by a billing agreement, and masks the address", async () => {
      const { id } = await paypal.act("approve", { email: "ada@example.com", payerId: `PAYER${customer}` });
      const wallet = await add({ provider: "paypal", paypalToken: id });
      expect(brief(wallet)).to.deep.equal([201, "active"]);
      expect(wallet.body.data).to.include({ type: "paypal", email: "a***@example.com", isDefault: true });
      expect((await add({ provider: "paypal", paypalToken: id })).body).to.deep.equal(wallet.body);
      const agreement = await add({ provider: "paypal", paypalToken: "BA-TESTAPPROVED" });
      expect(brief(agreement)).to.deep.equal([201, "active"]);
      expect(brief(await add({ provider: "paypal", paypalToken: "TEST-DECLINED" }))).to.deep.equal([
        402,
        "CARD_DECLINED",
      ]);
      expect((await ada.delete(`${path}/${wallet.body.pk}`)).headers.get("x-new-default")).to.equal(agreement.body.pk);
      const { paymentTokens } = await paypal.act("objects");
      expect(paymentTokens.filter((one: any) => one.payer.payerId === `PAYER${customer}`)).to.deep.equal([]);
    });

    it("keeps twenty at most", async () => {
      for (let index = 0; index < 20; index++) {
        const id = await collected({ fingerprint: `${customer}-${index}` });
        expect((await add({ paymentMethodId: id })).status).to.equal(201);
      }
      const full = await add({ paymentMethodId: "pm_card_jcb" });
      expect([...brief(full), full.body.limit]).to.deep.equal([422, "PAYMENT_METHOD_LIMIT_REACHED", 20]);
      expect(brief(await ada.post(`${path}/setup-intent`))).to.deep.equal([422, "PAYMENT_METHOD_LIMIT_REACHED"]);
    });

    it("says what is wrong with a request", async () => {
      const cases: [object, string, string][] = [
        [{}, "VALIDATION_FAILED", "paymentMethodId"],
        [{ paymentMethodId: "tok_visa" }, "VALIDATION_FAILED", "paymentMethodId"],
        [{ provider: "paypal" }, "VALIDATION_FAILED", "paypalToken"],
        [{ provider: "cash" }, "VALIDATION_FAILED", "provider"],
        [{ paymentMethodId: "pm_1", paypalToken: "BA-12345" }, "VALIDATION_FAILED", "paypalToken"],
        [{ paymentMethodId: "pm_1", label: "x".repeat(61) }, "VALIDATION_FAILED", "label"],
        [{ paymentMethodId: "pm_1", customerId: "grace" }, "UNKNOWN_FIELD", "customerId"],
      ];
      for (const [body, code, field] of cases) {
        const answer = await add(body);
        expect([answer.status, answer.body.code, answer.body.errors[0].field]).to.deep.equal([400, code, field]);
      }
    });

    it("refuses card numbers and security codes wherever they stand, and lets them into no log, event or answer", async () => {
      const number = "4242 4242 4242 4242";
      const bodies: unknown[] = [
        { paymentMethodId: number },
        { paymentMethodId: "pm_1", card: { number: "4242424242424242", exp_month: 1 } },
        { paymentMethodId: "pm_1", label: `my ${number}` },
        { paymentMethodId: "pm_4242424242424242" },
        { paymentMethodId: "pm_1", cvc: "737" },
        { paymentMethodId: "pm_1", "security-code": 737 },
        { paymentMethodId: "pm_1", label: "CVV: 737" },
        { [number]: true },
        [[{ x: 4242424242424242 }]],
      ];
      const since = await api.mark();
      for (const body of bodies) {
        const answer = await add(body as object);
        expect(brief(answer), JSON.stringify(body)).to.deep.equal([400, "RAW_CARD_DATA_REFUSED"]);
        expect(JSON.stringify(answer.body)).not.to.match(/4242|737/);
      }
      expect(brief(await ada.post(`${path}/setup-intent`, { body: { cvc: "737" } }))).to.deep.equal([
        400,
        "RAW_CARD_DATA_REFUSED",
      ]);
      expect(await types(since)).to.deep.equal([]);
      expect(api.logLines.join("\n")).not.to.match(/4242 ?4242/);
    });
  });

  describe("setup intents", () => {
    it("give the provider's page a secret, of the one customer the provider has", async () => {
      const first = await ada.post(`${path}/setup-intent`, { headers: { "idempotency-key": "setup" } });
      expect(first.status).to.equal(201);
      expect(first.headers.get("cache-control")).to.equal("no-store");
      expect(first.body.data).to.include({ provider: "stripe" });
      expect(first.body.data.clientSecret).to.match(/^seti_\w+_secret_/);
      expect(Date.parse(first.body.data.expiresAt)).to.be.greaterThan(Date.now());
      const again = await ada.post(`${path}/setup-intent`, { headers: { "idempotency-key": "setup" } });
      expect(again.body).to.deep.equal(first.body);
      const ofPaypal = await ada.post(`${path}/setup-intent`, { body: { provider: "paypal" } });
      expect(ofPaypal.body.data).to.include({ provider: "paypal" });
      expect((await atStripe()).customers).to.have.length(1);
    });

    it("attach what is confirmed, which is then added as it is", async () => {
      const { body } = await ada.post(`${path}/setup-intent`);
      const [intent] = body.data.clientSecret.split("_secret_");
      const id = await collected();
      const confirmed = await fetch(`${api.providers}/v1/setup_intents/${intent}/confirm`, {
        method: "POST",
        headers: { authorization: "Bearer sk_test_local" },
        body: new URLSearchParams({ payment_method: id }),
      });
      expect(confirmed.status).to.equal(200);
      expect(brief(await add({ paymentMethodId: id }))).to.deep.equal([201, "active"]);
      expect((await atStripe()).attached).to.have.length(1);
    });
  });

  describe("removing", () => {
    it("removes, lets the provider let go, and names the next default", async () => {
      const first = await add({ paymentMethodId: "pm_card_visa" });
      const second = await add({ paymentMethodId: "pm_card_amex" });
      const third = await add({ paymentMethodId: "pm_card_jcb" });
      const since = await api.mark();
      const headers = { "idempotency-key": "remove" };
      const removed = await ada.delete(`${path}/${first.body.pk}`, { headers });
      expect([removed.status, removed.headers.get("x-new-default")]).to.deep.equal([204, third.body.pk]);
      expect(await types(since)).to.deep.equal(["Removed", "DefaultChanged", "Detached"]);
      const again = await ada.delete(`${path}/${first.body.pk}`, { headers });
      expect([again.status, again.headers.get("x-new-default")]).to.deep.equal([204, third.body.pk]);
      expect((await ada.delete(`${path}/${first.body.pk}`)).status).to.equal(204);
      expect((await atStripe()).attached.map((one: any) => one.details.brand)).to.have.members(["amex", "jcb"]);
      expect((await list()).body.data.map(({ pk }: any) => pk)).to.deep.equal([third.body.pk, second.body.pk]);
      const gone = (await list("?status=removed")).body.data;
      expect(gone.map((one: any) => [one.pk, one.state])).to.deep.equal([[first.body.pk, "removed"]]);
    });

    it("is fine when the provider has lost it already", async () => {
      const id = await collected({ fingerprint: `lost-${customer}` });
      const added = await add({ paymentMethodId: id });
      await fetch(`${api.providers}/v1/payment_methods/${id}/detach`, {
        method: "POST",
        headers: { authorization: "Bearer sk_test_local" },
      });
      expect((await ada.delete(`${path}/${added.body.pk}`)).status).to.equal(204);
      // The provider never attaches it again, and neither do we.
      expect(brief(await add({ paymentMethodId: id }))).to.deep.equal([404, "PAYMENT_METHOD_NOT_FOUND"]);
    });

    it("answers 404 for what is not there or somebody else's, 412 and 409 for another version", async () => {
      const added = await add({ paymentMethodId: "pm_card_visa" });
      const stranger = await api.as(`stranger-${customer}`);
      for (const caller of [stranger]) {
        expect(brief(await caller.delete(`${path}/${added.body.pk}`))).to.deep.equal([404, "PAYMENT_METHOD_NOT_FOUND"]);
        expect(brief(await caller.put(`${path}/${added.body.pk}/default`))).to.deep.equal([
          404,
          "PAYMENT_METHOD_NOT_FOUND",
        ]);
      }
      expect(brief(await ada.delete(`${path}/nothing`))).to.deep.equal([404, "PAYMENT_METHOD_NOT_FOUND"]);
      const stale = await ada.delete(`${path}/${added.body.pk}`, { headers: { "if-match": '"0"' } });
      expect(brief(stale)).to.deep.equal([412, "PRECONDITION_FAILED"]);
      const conflict = await ada.delete(`${path}/${added.body.pk}`, { body: { version: 0 } });
      expect(brief(conflict)).to.deep.equal([409, "VERSION_CONFLICT"]);
      const version = added.body.version;
      expect((await ada.delete(`${path}/${added.body.pk}`, { body: { version } })).status).to.equal(204);
    });

    it("is refused while an order that names the card is known to be unpaid", async () => {
      const added = await add({ paymentMethodId: "pm_card_visa" });
      const platform = await api.asService();
      const order = (sourceRevision: number, status: string) => ({
        ...{ sourceRevision, customerId: owner().customer, orderNumber: "1", status: "processing" },
        ...{ placedAt: "2026-01-02T03:04:05Z", currency: "EUR", totalMinor: 1999, items: [] },
        paymentMethod: { type: "card", brand: "Visa", last4: "4242" },
        payments: [{ transactionId: "t-1", status, amountMinor: 1999 }],
      });
      const orderPath = `/internal/ingest/orders/needs-card-${customer}`;
      expect((await platform.put(orderPath, { body: order(1, "pending") })).status).to.equal(200);
      await api.caughtUp();
      expect(brief(await ada.delete(`${path}/${added.body.pk}`))).to.deep.equal([409, "PAYMENT_METHOD_REQUIRED"]);
      await platform.put(orderPath, { body: order(2, "completed") });
      await api.caughtUp();
      expect((await ada.delete(`${path}/${added.body.pk}`)).status).to.equal(204);
    });
  });

  describe("the default", () => {
    it("moves to another active method, and stays without an event when it is there already", async () => {
      await add({ paymentMethodId: "pm_card_visa" });
      const second = await add({ paymentMethodId: "pm_card_amex" });
      const since = await api.mark();
      const made = await ada.put(`${path}/${second.body.pk}/default`);
      expect([made.status, made.body.data.isDefault]).to.deep.equal([200, true]);
      const again = await ada.put(`${path}/${second.body.pk}/default`);
      expect([again.status, again.body]).to.deep.equal([200, made.body]);
      expect(await types(since)).to.deep.equal(["DefaultChanged", "DefaultChanged"]);
    });
  });

  describe("the clock", () => {
    const day = 24 * 3_600_000;

    it("announces a card that expires soon, expires it at the end of its month, and a renewed one is good again", async () => {
      const end = new Date(Date.UTC(new Date().getUTCFullYear() + 2, 6, 1));
      const id = await collected({ fingerprint: `ends-${customer}`, exp_month: 6, exp_year: end.getUTCFullYear() });
      const added = await add({ paymentMethodId: id });
      await api.settled();
      const shown = async () => {
        const { body } = await list();
        const { status, expiresSoon } = body.data[0].data;
        const { todos } = (await ada.get("/client-data/dashboard")).body.data;
        return [status, expiresSoon, todos.map(({ code }: any) => code)];
      };
      expect(await shown()).to.deep.equal(["active", false, []]);
      const since = await api.mark();
      aheadMs = end.getTime() - 29 * day - Date.now();
      expect(await shown()).to.deep.equal(["active", true, ["CARD_EXPIRING"]]);
      aheadMs = end.getTime() - Date.now();
      expect(await shown()).to.deep.equal(["expired", false, ["CARD_EXPIRED"]]);
      expect(await types(since)).to.deep.equal(["Expiring", "Expired"]);
      expect((await list("?status=active")).body.data).to.deep.equal([]);
      expect(brief(await ada.put(`${path}/${added.body.pk}/default`))).to.deep.equal([
        409,
        "PAYMENT_METHOD_NOT_ACTIVE",
      ]);
      const renewed = await collected({
        fingerprint: `ends-${customer}`,
        exp_month: 6,
        exp_year: end.getUTCFullYear() + 4,
      });
      const again = await add({ paymentMethodId: renewed });
      expect([again.status, again.body.pk, again.body.data.status]).to.deep.equal([200, added.body.pk, "active"]);
      expect(await shown()).to.deep.equal(["active", false, []]);
    });

    it("tells in the activity what happened, in words", async () => {
      const added = await add({ paymentMethodId: "pm_card_visa" });
      await ada.delete(`${path}/${added.body.pk}`);
      await api.settled();
      const { body } = await ada.get("/client-data/activity?area=payment-methods");
      // Two facts of one command happened at the same instant.
      expect(body.data.map(({ what }: any) => what)).to.have.members([
        ...["payment-method.removed", "payment-method.made-default", "payment-method.added"],
      ]);
      const { recentActivity } = (await ada.get("/client-data/dashboard")).body.data;
      expect(recentActivity.map(({ title }: any) => title)).to.include("Visa ending in 4242 added");
    });
  });

  it("are forgotten by the providers when the customer is erased", async () => {
    ada = await api.as(owner().customer, { auth_time: Math.floor(Date.now() / 1_000) });
    expect((await add({ paymentMethodId: "pm_card_visa" })).status).to.equal(201);
    const { id } = await paypal.act("approve", { payerId: owner().customer });
    expect((await add({ provider: "paypal", paypalToken: id })).status).to.equal(201);
    const [known] = (await atStripe()).customers;
    expect((await ada.post("/client-data/privacy/erasure")).status).to.equal(202);
    aheadMs = 14 * 24 * 3_600_000 + 60_000;
    await api.settled();
    const { customers, deletedCustomers } = await stripe.act("objects");
    expect(deletedCustomers).to.include(known.id);
    expect(customers.map((one: any) => one.id)).not.to.include(known.id);
    const { paymentTokens } = await paypal.act("objects");
    expect(paymentTokens.filter(({ payer }: any) => payer.payerId === owner().customer)).to.deep.equal([]);
  });

  it("limits how often a card can be added, before anything is asked of the provider", async () => {
    const settings = { rateLimits: { "payment-method-add": { points: 2, windowSeconds: 3_600 } } };
    const limited = await startApi({ standIns: true, settings });
    try {
      const control = controlOf(limited.providers, "stripe");
      const tester = await limited.as("tester");
      const tries: Answer[] = [];
      for (let index = 0; index < 3; index++) {
        const body = { paymentMethodId: "pm_card_chargeDeclined" };
        tries.push(await tester.post(path, { body, headers: { "idempotency-key": randomUUID() } }));
      }
      expect(tries.map(brief)).to.deep.equal([
        [402, "CARD_DECLINED"],
        [402, "CARD_DECLINED"],
        [429, "RATE_LIMITED"],
      ]);
      expect((await control.requests()).filter((request) => request.endsWith("/attach"))).to.have.length(2);
      const bare = await startApi();
      const nobody = await bare.as("nobody");
      expect(brief(await nobody.post(path, { body: { paymentMethodId: "pm_1" } }))).to.deep.equal([
        422,
        "INTEGRATION_NOT_CONFIGURED",
      ]);
      await bare.stop();
    } finally {
      await limited.stop();
    }
  });
});
