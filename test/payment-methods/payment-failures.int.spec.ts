import { setTimeout as delay } from "node:timers/promises";
import { expect } from "chai";
import type { PlannedFailure } from "../../embedded/providers/failures.js";
import { type Answer, type Caller, startApi, type TestApi } from "../support/api.js";
import { type Control, controlOf } from "../support/control.js";
import { atStripe, expectAgreement, inOurLog } from "./payments-fixture.js";

const path = "/client-data/payment-methods";
const headers = { "idempotency-key": "unlucky" };

/** The steps of adding a card, by the request that makes each at Stripe. */
const steps = {
  "asking for the customer": "GET /v1/customers/search",
  "making the customer": "POST /v1/customers",
  attaching: "POST /v1/payment_methods/",
} as const;

const failures: Readonly<Record<string, Partial<PlannedFailure>>> = {
  "429": { status: 429, body: { error: { type: "invalid_request_error", code: "rate_limit" } } },
  "500": { status: 500, body: { error: { type: "api_error" } } },
  "a body that is no JSON": { status: 200, body: "<html>" },
  "the key being at work": {
    status: 409,
    body: { error: { type: "idempotency_error", code: "idempotency_key_in_use" } },
  },
  "a connection that breaks before": { mode: "drop-before" },
  "a connection that breaks after": { mode: "drop-after" },
};

describe("payment methods when the provider fails", function () {
  this.timeout(60_000);
  let api: TestApi;
  let stripe: Control;
  let paypal: Control;
  let customers = 0;
  let aheadMs = 0;

  const nobody = async (): Promise<{ owner: { org: string; customer: string }; caller: Caller }> => {
    const customer = `unlucky-${++customers}`;
    return { owner: { org: api.org, customer }, caller: await api.as(customer) };
  };
  const collected = async (card: object = {}): Promise<string> => (await stripe.act("payment-method", { card })).id;
  const status = ({ body }: Answer) => body.data?.status ?? body.code;
  /** Half a minute later all that was left open has been finished. */
  const later = async () => {
    aheadMs += 31_000;
    await api.settled();
  };
  const seen = async (request: string, times = 1) => {
    const deadline = Date.now() + 10_000;
    while ((await stripe.requests()).filter((one) => one.startsWith(request)).length < times) {
      if (Date.now() > deadline) throw new Error(`${request} did not come`);
      await delay(10);
    }
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
    await stripe.reset();
    await paypal.reset();
    // After many failures in a row the provider is left alone for a moment.
    const probe = await api.as("probe");
    const deadline = Date.now() + 15_000;
    while ((await probe.post(`${path}/setup-intent`)).status !== 201) {
      if (Date.now() > deadline) throw new Error("the provider is still left alone");
      await delay(100);
    }
    await stripe.reset();
  });

  for (const [step, match] of Object.entries(steps)) {
    it(`survives every failure when ${step}, and gives the first answer again`, async () => {
      const attempt = async (failure: string, planned: Partial<PlannedFailure>, times: number, exact: boolean) => {
        const { owner, caller } = await nobody();
        const body = { paymentMethodId: await collected({ fingerprint: owner.customer }) };
        await stripe.fail({ ...planned, match: exact ? `${match}${body.paymentMethodId}` : match, times });
        const first = await caller.post(path, { body, headers });
        const expected = times === 1 ? [201, "active"] : [202, "pending"];
        expect([first.status, status(first)], `${failure}, ${times} times`).to.deep.equal(expected);
        return { owner, caller, body, first, name: `${failure}, ${times} times` };
      };
      const all = Object.entries(failures);
      // For as long as a request lasts: both of our tries, and what the SDK tries by itself where a connection breaks.
      const often = ({ mode }: Partial<PlannedFailure>) => (mode ? 4 : 2);
      const tried: Awaited<ReturnType<typeof attempt>>[] = [];
      if (match.endsWith("/")) {
        // Each has a path of its own to fail at, so they may fail all at once; a failure that goes by is survived too.
        const attempts = all.flatMap(([name, planned]) => [
          attempt(name, planned, 1, true),
          attempt(name, planned, often(planned), true),
        ]);
        tried.push(...(await Promise.all(attempts)));
      } else {
        for (const [name, planned] of all) {
          tried.push(await attempt(name, planned, often(planned), false));
          await stripe.reset();
        }
      }
      await stripe.reset();
      await later();
      await Promise.all(
        tried.map(async ({ owner, caller, body, first, name }) => {
          await expectAgreement(api, stripe, owner);
          const { attachments, attached } = await atStripe(stripe, owner);
          expect([attached.length, attachments], name).to.deep.equal([1, 1]);
          const again = await caller.post(path, { body, headers });
          expect([again.status, again.body], name).to.deep.equal([first.status, first.body]);
          expect(again.headers.get("idempotency-replayed")).to.equal("true");
          expect((await atStripe(stripe, owner)).attachments, name).to.equal(1);
        }),
      );
    });
  }

  it("records a decline that comes late as a failure", async () => {
    const { owner, caller } = await nobody();
    const body = { paymentMethodId: "pm_card_chargeDeclined" };
    await stripe.fail({ match: `POST /v1/payment_methods/${body.paymentMethodId}/`, times: 4, mode: "drop-after" });
    expect((await caller.post(path, { body, headers })).status).to.equal(202);
    await later();
    await expectAgreement(api, stripe, owner);
    const { body: failed } = await caller.get(`${path}?status=failed`);
    expect(failed.data.map(({ data }: any) => data.failureCode)).to.deep.equal(["CARD_DECLINED"]);
    expect((await caller.post(path, { body, headers })).status).to.equal(202);
  });

  it("answers 502 where the provider refuses our credentials, and nothing is left open", async () => {
    const { owner, caller } = await nobody();
    await stripe.fail({
      match: "GET /v1/customers/search",
      status: 401,
      body: { error: { type: "invalid_request_error" } },
    });
    const body = { paymentMethodId: await collected() };
    const refused = await caller.post(path, { body });
    expect([refused.status, refused.body.code]).to.deep.equal([502, "PROVIDER_ERROR"]);
    await expectAgreement(api, stripe, owner);
    await stripe.fail({ match: "POST /v1/setup_intents", times: 4, mode: "drop-before" });
    const away = await caller.post(`${path}/setup-intent`);
    expect([away.status, away.body.code]).to.deep.equal([503, "PROVIDER_UNAVAILABLE"]);
    expect(Number(away.headers.get("retry-after"))).to.be.greaterThan(0);
  });

  it("lets go of a removed card in the end, whatever its answers come to", async () => {
    const removed = await Promise.all(
      Object.values(failures).map(async (planned) => {
        const { owner, caller } = await nobody();
        const body = { paymentMethodId: await collected({ fingerprint: owner.customer }) };
        const { pk } = (await caller.post(path, { body })).body;
        const match = `POST /v1/payment_methods/${body.paymentMethodId}/detach`;
        await stripe.fail({ ...planned, match, times: planned.mode ? 4 : 2 });
        expect((await caller.delete(`${path}/${pk}`, { headers })).status).to.equal(204);
        return { owner, caller, pk };
      }),
    );
    await stripe.reset();
    await later();
    // By the duty, each once.
    expect((await stripe.requests()).filter((request) => request.endsWith("/detach"))).to.have.length(removed.length);
    for (const { owner, caller, pk } of removed) {
      await expectAgreement(api, stripe, owner);
      expect((await atStripe(stripe, owner)).attached).to.deep.equal([]);
      expect((await caller.delete(`${path}/${pk}`, { headers })).status).to.equal(204);
    }
    expect((await stripe.requests()).filter((request) => request.endsWith("/detach"))).to.have.length(removed.length);
  });

  it("detaches what was attached while the customer removed it", async () => {
    const { owner, caller } = await nobody();
    const id = await collected({ fingerprint: owner.customer });
    await stripe.fail({ match: `POST /v1/payment_methods/${id}/attach`, mode: "drop-after", times: 4 });
    const pending = await caller.post(path, { body: { paymentMethodId: id } });
    expect(pending.status).to.equal(202);
    expect((await atStripe(stripe, owner)).attached).to.deep.equal([id]);
    expect((await caller.delete(`${path}/${pending.body.pk}`)).status).to.equal(204);
    await stripe.reset();
    await later();
    await expectAgreement(api, stripe, owner);
    const [only] = await inOurLog(api, owner);
    expect([only?.status, only?.failureCode]).to.deep.equal(["removed", "REMOVED"]);
  });

  it("finishes a merger whose second half was lost", async () => {
    const { owner, caller } = await nobody();
    const fingerprint = owner.customer;
    const kept = await collected({ fingerprint, exp_year: 2031 });
    await caller.post(path, { body: { paymentMethodId: kept } });
    const renewed = await collected({ fingerprint, exp_year: 2036 });
    await stripe.fail({ match: `POST /v1/payment_methods/${renewed}/detach`, mode: "drop-after", times: 4 });
    const again = await caller.post(path, { body: { paymentMethodId: renewed } });
    expect([again.status, again.body.data.expYear]).to.deep.equal([200, 2036]);
    await later();
    await expectAgreement(api, stripe, owner);
    expect((await atStripe(stripe, owner)).attached).to.deep.equal([kept]);
  });

  it("attaches once what two requests bring at once, and both get an answer", async () => {
    const { owner, caller } = await nobody();
    const body = { paymentMethodId: await collected({ fingerprint: owner.customer }) };
    const same = await Promise.all([caller.post(path, { body, headers }), caller.post(path, { body, headers })]);
    expect(same.map((answer) => answer.status)).to.deep.equal([201, 201]);
    expect(same[0]?.body).to.deep.equal(same[1]?.body);
    const other = { paymentMethodId: await collected({ fingerprint: `${owner.customer}-2` }) };
    const two = await Promise.all([caller.post(path, { body: other }), caller.post(path, { body: other })]);
    expect(two.map((answer) => answer.status).sort()).to.deep.equal([200, 201]);
    await expectAgreement(api, stripe, owner);
    expect((await atStripe(stripe, owner)).attachments).to.equal(2);
  });

  it("makes a wallet of an approved token once, whatever PayPal's answers come to", async () => {
    const tried = [];
    for (const planned of Object.values(failures)) {
      const { owner, caller } = await nobody();
      const { id } = await paypal.act("approve", { payerId: owner.customer });
      await paypal.fail({ ...planned, match: "POST /v3/vault/payment-tokens", times: 2 });
      const body = { provider: "paypal", paypalToken: id };
      const first = await caller.post(path, { body, headers });
      expect(first.status).to.equal(202);
      tried.push({ owner, caller, body, first });
    }
    await later();
    const { paymentTokens } = await paypal.act("objects");
    for (const { owner, caller, body, first } of tried) {
      const again = await caller.post(path, { body, headers });
      expect([again.status, again.body]).to.deep.equal([202, first.body]);
      const own = paymentTokens.filter(({ payer }: any) => payer.payerId === owner.customer);
      const live = (await inOurLog(api, owner)).filter((method) => method.status === "active");
      expect(live.map(({ details }) => details?.providerMethodId)).to.deep.equal(own.map((token: any) => token.id));
      expect(own).to.have.length(1);
    }
  });

  // The last: what hangs here is tried once more when its time is up, and would meet another test's failures.
  it("tells that it is pending where the provider does not answer in five seconds, at whatever step, and ends well", async () => {
    const hanging = Object.values(steps).flatMap((match) => [
      { match, mode: "hang-before" as const },
      { match, mode: "hang-after" as const },
    ]);
    const running: {
      owner: { org: string; customer: string };
      caller: Caller;
      body: object;
      answer: Promise<Answer>;
    }[] = [];
    for (const { match, mode } of hanging) {
      const { owner, caller } = await nobody();
      const body = { paymentMethodId: await collected({ fingerprint: owner.customer }) };
      const exact = match.endsWith("/") ? `${match}${body.paymentMethodId}` : match;
      const before = (await stripe.requests()).filter((one) => one.startsWith(exact)).length;
      await stripe.fail({ match: exact, mode });
      running.push({ owner, caller, body, answer: caller.post(path, { body, headers }) });
      await seen(exact, before + 1);
    }
    const answers = await Promise.all(running.map(({ answer }) => answer));
    expect(answers.map((answer) => [answer.status, status(answer)])).to.deep.equal(hanging.map(() => [202, "pending"]));
    await later();
    for (const [index, { owner, caller, body }] of running.entries()) {
      await expectAgreement(api, stripe, owner);
      expect((await atStripe(stripe, owner)).attachments, owner.customer).to.equal(1);
      const again = await caller.post(path, { body, headers });
      expect([again.status, again.body]).to.deep.equal([202, answers[index]?.body]);
      const { body: listed } = await caller.get(path);
      expect(listed.data.map(({ state }: any) => state)).to.deep.equal(["active"]);
    }
  });
});
