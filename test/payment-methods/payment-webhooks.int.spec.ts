import { expect } from "chai";
import { pino } from "pino";
import { streams } from "#domain/core/identifiers.js";
import { listen } from "#infrastructure/http/server.js";
import { createGateway } from "../../gateway/application.js";
import { type Caller, startApi, type TestApi } from "../support/api.js";
import { type Control, controlOf } from "../support/control.js";
import { atStripe, expectAgreement } from "./payments-fixture.js";

const path = "/client-data/payment-methods";

describe("webhooks of payment providers, through the gateway", function () {
  this.timeout(60_000);
  const closing: (() => Promise<unknown>)[] = [];
  let api: TestApi;
  let stripe: Control;
  let paypal: Control;
  let gateway: string;
  let url: string;
  let ada: Caller;
  let customer = 0;

  const owner = () => ({ org: api.org, customer: `hooked-${customer}` });
  const types = async (since: string) =>
    (await api.newEvents(since, streams.paymentMethods(owner()))).map(({ type }) => type.split(".")[1]);
  const add = async (card: object = {}) => {
    const { id } = await stripe.act("payment-method", { card: { fingerprint: `hooked-${customer}`, ...card } });
    const { status, body } = await ada.post(path, { body: { paymentMethodId: id } });
    expect(status).to.equal(201);
    return { id, pk: body.pk as string };
  };
  const deliver = (event: object): Promise<{ eventId: string; answers: number[] }> =>
    stripe.act("webhook", { url, ...event });
  /** Ids of the events that Stripe has had of a method, by type, oldest first. */
  const eventsOf = async (id: string): Promise<{ id: string; type: string }[]> =>
    (await stripe.act("events")).events.filter(({ data }: any) => data.object.id === id);
  const atTheProvider = (request: string, body: Record<string, string> = {}, method = "POST") =>
    fetch(`${api.providers}/v1/${request}`, {
      ...{ method, headers: { authorization: "Bearer sk_test_local" } },
      ...(method === "POST" ? { body: new URLSearchParams(body) } : {}),
    });
  const shown = async () => {
    await api.caughtUp();
    return (await ada.get(path)).body.data.map(({ pk, data }: any) => [pk, data.status, data.expYear, data.last4]);
  };

  before(async () => {
    api = await startApi({ projections: true, standIns: true });
    stripe = controlOf(api.providers, "stripe");
    paypal = controlOf(api.providers, "paypal");
    const { commandApi, queryApi } = api;
    const front = createGateway({ commandApi, queryApi, log: pino({ level: "silent" }) });
    const server = await listen(front.handle, { host: "127.0.0.1", port: 0 });
    closing.push(
      () => server.close(0),
      () => front.close(),
    );
    gateway = server.url;
    url = `${gateway}/webhooks/stripe/${api.org}`;
  });
  after(async () => {
    for (const close of closing) await close();
    await api?.stop();
  });
  beforeEach(async () => {
    customer += 1;
    ada = await api.as(`hooked-${customer}`);
    await stripe.reset();
    await paypal.reset();
  });

  it("are refused without a signature that holds, too old, dated ahead, or for an org that is not there", async () => {
    const { id } = await add();
    await atTheProvider(`payment_methods/${id}/detach`);
    const detached = (await eventsOf(id)).at(-1);
    const since = await api.mark();
    const refused = [
      { secret: "whsec_of_somebody_else" },
      { tamper: true },
      { ageSeconds: 320 },
      { ageSeconds: -320 },
      { url: `${gateway}/webhooks/stripe/nobody` },
      { url: `${gateway}/webhooks/stripe/${api.otherOrg}` },
    ];
    for (const wrong of refused) {
      const { answers } = await deliver({ eventId: detached?.id, ...wrong });
      expect(answers, JSON.stringify(wrong)).to.deep.equal([400]);
    }
    for (const headers of [{}, { "stripe-signature": "t=1,v1=00" }]) {
      const bare = await fetch(url, {
        ...{ method: "POST", body: "{}", headers: { "content-type": "application/json", ...headers } },
      });
      expect([bare.status, ((await bare.json()) as any).code]).to.deep.equal([400, "WEBHOOK_SIGNATURE_INVALID"]);
    }
    expect(await types(since)).to.deep.equal([]);
    expect((await deliver({ eventId: detached?.id, ageSeconds: 280 })).answers).to.deep.equal([200]);
    expect(await types(since)).to.deep.equal(["Removed"]);
  });

  it("have one effect, however often and in whatever order they come", async () => {
    const { id, pk } = await add();
    const other = await add({ fingerprint: `hooked-${customer}-b` });
    await stripe.act("update-card", { id, card: { exp_year: 2041, last4: "1881" } });
    await atTheProvider(`payment_methods/${id}/detach`);
    const events = await eventsOf(id);
    expect(events.map(({ type }) => type.replace("payment_method.", ""))).to.deep.equal([
      ...["attached", "automatically_updated", "detached"],
    ]);
    const since = await api.mark();
    const [attached, updated, detached] = events;
    for (const event of [detached, attached, updated, detached, attached]) {
      expect((await deliver({ eventId: event?.id, times: 2 })).answers).to.deep.equal([200, 200]);
    }
    expect(await types(since)).to.deep.equal(["Removed", "DefaultChanged"]);
    expect(await shown()).to.deep.equal([[other.pk, "active", new Date().getUTCFullYear() + 1, "4242"]]);
    expect(pk).not.to.equal(other.pk);
    await expectAgreement(api, stripe, owner());
  });

  it("bring a renewed card up to date", async () => {
    const { id, pk } = await add();
    await stripe.act("update-card", { id, card: { exp_year: 2041, last4: "1881" } });
    const since = await api.mark();
    await deliver({ eventId: (await eventsOf(id)).at(-1)?.id, times: 2 });
    expect(await types(since)).to.deep.equal(["Refreshed"]);
    expect(await shown()).to.deep.equal([[pk, "active", 2041, "1881"]]);
  });

  it("say nothing that is not so: the object is fetched again", async () => {
    const { id } = await add();
    const since = await api.mark();
    const object = { id, object: "payment_method", type: "card", customer: null };
    const { customers } = await atStripe(stripe, owner());
    await deliver({ type: "payment_method.detached", object, previous_attributes: { customer: customers[0] } });
    await deliver({ type: "customer.deleted", object: { id: customers[0], object: "customer", metadata: {} } });
    expect(await types(since)).to.deep.equal([]);
  });

  it("record a card that was attached by a setup intent whose page never came back, once", async () => {
    const { body } = await ada.post(`${path}/setup-intent`);
    const [intent] = body.data.clientSecret.split("_secret_");
    const { id } = await stripe.act("payment-method", { card: { fingerprint: `hooked-${customer}` } });
    await atTheProvider(`setup_intents/${intent}/confirm`, { payment_method: id });
    const succeeded = (await eventsOf(intent)).find(({ type }) => type === "setup_intent.succeeded");
    const [attached] = await eventsOf(id);
    const since = await api.mark();
    await deliver({ eventId: succeeded?.id });
    await deliver({ eventId: attached?.id });
    expect(await types(since)).to.deep.equal(["Attached", "DefaultChanged"]);
    const late = await ada.post(path, { body: { paymentMethodId: id } });
    expect([late.status, late.body.data.isDefault]).to.deep.equal([200, true]);
    await expectAgreement(api, stripe, owner());
  });

  it("are asked for again while an attempt is open that they may belong to", async () => {
    await add();
    await stripe.fail({ match: "POST /v1/payment_methods/pm_card_amex/attach", mode: "drop-after", times: 1 });
    await stripe.fail({ match: "POST /v1/payment_methods/pm_card_amex/attach", mode: "drop-before", times: 5 });
    const pending = await ada.post(path, { body: { paymentMethodId: "pm_card_amex" } });
    expect(pending.status).to.equal(202);
    const { attached } = await atStripe(stripe, owner());
    const [event] = await eventsOf(attached.at(-1) ?? "");
    const since = await api.mark();
    expect((await deliver({ eventId: event?.id })).answers).to.deep.equal([503]);
    expect(await types(since)).to.deep.equal([]);
  });

  it("take everything away with the provider's customer, and the next card gets another customer", async () => {
    await add();
    const { customers } = await atStripe(stripe, owner());
    await atTheProvider(`customers/${customers[0]}`, {}, "DELETE");
    const deleted = (await eventsOf(customers[0] ?? "")).at(-1);
    const since = await api.mark();
    expect((await deliver({ eventId: deleted?.id, times: 2 })).answers).to.deep.equal([200, 200]);
    expect(await types(since)).to.deep.equal(["Removed", "CustomerLost"]);
    await add({ fingerprint: `hooked-${customer}-again` });
    const now = await atStripe(stripe, owner());
    expect([now.customers.length, now.attached.length]).to.deep.equal([1, 1]);
    expect(now.customers[0]).not.to.equal(customers[0]);
  });

  it("need not have come: a lost customer is noticed when the next card is added", async () => {
    await add();
    const { customers } = await atStripe(stripe, owner());
    await atTheProvider(`customers/${customers[0]}`, {}, "DELETE");
    await add({ fingerprint: `hooked-${customer}-again` });
    await expectAgreement(api, stripe, owner());
  });

  it("about nobody we know are taken note of in the log, and those of no concern not at all", async () => {
    const made = await atTheProvider("customers", { "metadata[orgId]": "another", "metadata[customerId]": "x" });
    const { id: stranger } = (await made.json()) as { id: string };
    const { id } = await stripe.act("payment-method");
    await atTheProvider(`payment_methods/${id}/attach`, { customer: stranger });
    const [event] = await eventsOf(id);
    const lines = api.logLines.length;
    expect((await deliver({ eventId: event?.id })).answers).to.deep.equal([200]);
    const logged = api.logLines.slice(lines).filter((line) => line.includes("nobody we know"));
    expect(logged).to.have.length(1);
    expect(logged[0])
      .to.include(event?.id ?? "-")
      .and.not.include(stranger);
    const { answers } = await deliver({ type: "charge.succeeded", object: { id: "ch_1", object: "charge" } });
    expect(answers).to.deep.equal([200]);
    expect((await deliver({ type: "payment_method.attached", object: { id: "pm_gone" } })).answers).to.deep.equal([
      200,
    ]);
  });

  describe("of PayPal", () => {
    const send = (event: object): Promise<{ answers: number[] }> =>
      paypal.act("webhook", { url: `${gateway}/webhooks/paypal/${api.org}`, ...event });
    const wallet = async () => {
      const { id } = await paypal.act("approve", { payerId: `hooked-${customer}` });
      const { status, body } = await ada.post(path, { body: { provider: "paypal", paypalToken: id } });
      expect(status).to.equal(201);
      await api.caughtUp();
      const { paymentTokens } = await paypal.act("objects");
      const own = paymentTokens.find(({ payer }: any) => payer.payerId === `hooked-${customer}`);
      return { pk: body.pk as string, id: own.id as string };
    };

    it("remove a wallet that its payer has taken back, once, and no other", async () => {
      const { id } = await wallet();
      const event = { id: `WH-${id}`, event_type: "VAULT.PAYMENT-TOKEN.DELETED", resource: { id } };
      const since = await api.mark();
      expect((await send(event)).answers, "it is still there").to.deep.equal([200]);
      expect(await types(since)).to.deep.equal([]);
      await paypal.act("revoke", { id });
      for (const wrong of [{ tamper: true }, { ageSeconds: 320 }, { ageSeconds: -320 }, { webhookId: "WH-OTHER" }]) {
        expect((await send({ ...event, ...wrong })).answers, JSON.stringify(wrong)).to.deep.equal([400]);
      }
      expect((await send({ ...event, times: 3 })).answers).to.deep.equal([200, 200, 200]);
      expect(await types(since)).to.deep.equal(["Removed"]);
      expect(await shown()).to.deep.equal([]);
    });

    it("are taken when PayPal can verify them, and asked for again when it cannot be asked", async () => {
      const { id } = await wallet();
      await paypal.act("revoke", { id });
      await paypal.fail({ match: "POST /v1/notifications", status: 500, times: 2 });
      const event = { event_type: "VAULT.PAYMENT-TOKEN.DELETED", resource: { id } };
      expect((await send(event)).answers).to.deep.equal([503]);
      expect((await send(event)).answers).to.deep.equal([200]);
      expect((await send({ event_type: "PAYMENT.SALE.COMPLETED", resource: { id: "S-1" } })).answers).to.deep.equal([
        200,
      ]);
      expect((await send({ event_type: "VAULT.PAYMENT-TOKEN.DELETED", resource: {} })).answers).to.deep.equal([400]);
    });
  });
});
