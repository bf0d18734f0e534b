import { execFile, spawn } from "node:child_process";
import { randomUUID } from "node:crypto";
import { existsSync } from "node:fs";
import { mkdir, rename } from "node:fs/promises";
import { join } from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import { promisify } from "node:util";
import { expect } from "chai";
import { fixedOrgSettings } from "#infrastructure/org-settings.js";
import { type PaymentProvider, WebhookRefused } from "#infrastructure/providers/payment-provider.js";
import { openPaymentProviders } from "#infrastructure/providers/payment-providers.js";
import {
  IntegrationNotConfigured,
  ProviderFault,
  ProviderUnavailable,
} from "#infrastructure/providers/provider-call.js";
import { defaultCacheFolder } from "../../embedded/data-folder.js";
import { localProviders } from "../../embedded/local-org.js";
import { accepts, pickPorts } from "../../embedded/ports.js";
import { type StandIns, startStandIns } from "../../embedded/providers/stand-ins.js";
import { type Control, controlOf } from "../support/control.js";

const issuer = "https://issuer.example";
const owner = { org: "acme", customer: "o'neil\\1" };
const key = () => randomUUID();

/** Both providers of one org whose secrets are the stand-ins'. */
function providersAt(stripe: string, paypal: string, closing: (() => void)[]) {
  const settings = { issuer, jwksUri: `${issuer}/jwks`, audience: "a", providers: localProviders };
  const orgs = { acme: settings, bare: { ...settings, providers: {} } };
  const environment = { STRIPE_API_BASE: stripe, PAYPAL_BASE_URL: paypal, PUBLIC_URL: "https://portal.example" };
  const { payments, close } = openPaymentProviders(environment, fixedOrgSettings({ orgs }));
  closing.push(close);
  return payments;
}

async function thrown(work: Promise<unknown>): Promise<unknown> {
  return work.then(
    () => undefined,
    (error: unknown) => error,
  );
}

describe("payment providers over their wires", function () {
  this.timeout(120_000);
  const closing: (() => void)[] = [];
  let standIns: StandIns;
  let stripe: PaymentProvider;
  let paypal: PaymentProvider;
  let atStripe: Control;
  let atPaypal: Control;

  before(async () => {
    standIns = await startStandIns();
    Object.assign(process.env, standIns.env);
    const payments = providersAt(standIns.url, `${standIns.url}/paypal`, closing);
    stripe = payments("stripe", "acme");
    paypal = payments("paypal", "acme");
    atStripe = controlOf(standIns.url, "stripe");
    atPaypal = controlOf(standIns.url, "paypal");
    expect(() => payments("stripe", "bare")).to.throw(IntegrationNotConfigured);
  });
  beforeEach(async () => {
    await atStripe.reset();
    await atPaypal.reset();
  });
  after(async () => {
    for (const close of closing) close();
    await standIns?.stop();
  });

  describe("Stripe", () => {
    it("makes one customer of an owner, however often and however unluckily it is asked", async () => {
      await atStripe.fail({ match: "POST /v1/customers", mode: "drop-after" });
      const first = await stripe.customerOf(owner);
      const again = await Promise.all([stripe.customerOf(owner), stripe.customerOf(owner)]);
      expect(new Set([first, ...again])).to.have.length(1);
      const { customers } = await atStripe.act("objects");
      expect(customers).to.have.length(1);
      expect(customers[0].metadata).to.deep.equal({ orgId: "acme", customerId: owner.customer });
    });

    it("attaches a method once under one key, and another one under another key", async () => {
      const customer = await stripe.customerOf(owner);
      const one = key();
      await atStripe.fail({ match: "POST /v1/payment_methods/pm_card_visa/attach", mode: "drop-after" });
      const first = await stripe.attach("pm_card_visa", customer, one);
      const again = await stripe.attach("pm_card_visa", customer, one);
      const other = await stripe.attach("pm_card_visa", customer, key());
      if (first.kind !== "attached" || other.kind !== "attached") throw new Error("not attached");
      expect(again).to.deep.equal(first);
      expect(first.method).to.deep.include({
        type: "card",
        brand: "visa",
        last4: "4242",
        providerCustomerId: customer,
      });
      expect(other.method.providerMethodId).not.to.equal(first.method.providerMethodId);
      expect(other.method.fingerprint).to.equal(first.method.fingerprint);
    });

    it("says how an attempt failed, in words that may be shown", async () => {
      const customer = await stripe.customerOf(owner);
      const tried = (token: string) => stripe.attach(token, customer, key());
      expect(await tried("pm_card_chargeDeclined")).to.deep.equal({ kind: "declined", declineCode: "generic_decline" });
      expect(await tried("pm_card_chargeDeclinedInsufficientFunds")).to.have.property(
        "declineCode",
        "insufficient_funds",
      );
      expect(await tried("pm_card_chargeDeclinedExpiredCard")).to.have.property("declineCode", "expired_card");
      // Whoever holds a stolen card is not told that it is known to be stolen.
      expect(await tried("pm_card_chargeDeclinedStolenCard")).to.have.property("declineCode", "generic_decline");
      expect(await tried("pm_1NoSuchMethod")).to.deep.equal({ kind: "unknown" });
      expect(await tried("pm_alipay")).to.deep.equal({ kind: "not-supported" });
      const stranger = await stripe.customerOf({ org: "acme", customer: "stranger" });
      const theirs = await stripe.attach("pm_card_amex", stranger, key());
      if (theirs.kind !== "attached") throw new Error("not attached");
      expect(await tried(theirs.method.providerMethodId)).to.deep.equal({ kind: "elsewhere" });
      expect(await stripe.attach(theirs.method.providerMethodId, stranger, key())).to.deep.equal(theirs);
      await stripe.detach(theirs.method.providerMethodId, key());
      expect(await tried(theirs.method.providerMethodId)).to.deep.equal({ kind: "unknown" });
    });

    it("lets go of a method also when it is gone already, and tells a new expiry", async () => {
      const customer = await stripe.customerOf(owner);
      const attached = await stripe.attach("pm_card_jcb", customer, key());
      if (attached.kind !== "attached") throw new Error("not attached");
      const { providerMethodId: id } = attached.method;
      await stripe.updateExpiry(id, { expMonth: 3, expYear: 2040 }, key());
      const { methods } = await atStripe.act("objects");
      expect(methods.find((one: { id: string }) => one.id === id).details).to.include({ exp_month: 3, exp_year: 2040 });
      await stripe.detach(id, key());
      await stripe.detach(id, key());
      await stripe.detach("pm_1Never", key());
      await stripe.updateExpiry("pm_1Never", { expMonth: 1, expYear: 2041 }, key());
    });

    it("counts 429, 5xx and broken connections as no answer, and what Stripe refuses as a fault", async () => {
      for (const status of [429, 500, 503]) {
        await atStripe.fail({
          match: "POST /v1/setup_intents",
          times: 2,
          status,
          body: { error: { type: "api_error" } },
        });
        expect(await thrown(stripe.setupIntent(owner, "cus_1", key(), new Date()))).to.be.instanceOf(
          ProviderUnavailable,
        );
      }
      // Its SDK sends once more by itself where a kept connection breaks.
      await atStripe.fail({ match: "POST /v1/setup_intents", times: 4, mode: "drop-before" });
      expect(await thrown(stripe.setupIntent(owner, "cus_1", key(), new Date()))).to.be.instanceOf(ProviderUnavailable);
      await atStripe.reset();
      const refused = await thrown(stripe.setupIntent(owner, "cus_1NoSuch", key(), new Date()));
      expect(refused).to.be.instanceOf(ProviderFault);
      expect((refused as Error).message).not.to.include("No such");
    });

    it("takes a webhook whose signature holds, not too old and not dated ahead, and asks for its object again", async () => {
      const customer = await stripe.customerOf(owner);
      const attached = await stripe.attach("pm_card_visa", customer, key());
      if (attached.kind !== "attached") throw new Error("not attached");
      const { providerMethodId } = attached.method;
      const { events } = await atStripe.act("events");
      const event = events.findLast((one: any) => one.type === "payment_method.attached");
      const { default: Client } = await import("stripe");
      const now = new Date();
      const signed = (payload: string, secondsAgo = 0, secret = "whsec_local") => ({
        body: Buffer.from(payload),
        headers: {
          "stripe-signature": Client.webhooks.generateTestHeaderString({
            ...{ payload, secret, timestamp: Math.floor(now.getTime() / 1_000) - secondsAgo },
          }),
        },
        now,
      });
      const payload = JSON.stringify({ object: "event", ...event });
      expect(await stripe.webhook(signed(payload))).to.deep.equal({
        ...{ eventId: event.id, about: { providerMethodId, method: attached.method }, owner },
      });
      expect(await stripe.webhook(signed(payload, 290))).to.have.property("eventId", event.id);
      for (const refused of [signed(payload, 310), signed(payload, -310), signed(payload, 0, "whsec_other")]) {
        expect(await thrown(stripe.webhook(refused))).to.be.instanceOf(WebhookRefused);
      }
      const tampered = { ...signed(payload), body: Buffer.from(payload.replace("4242", "4243")) };
      expect(await thrown(stripe.webhook(tampered))).to.be.instanceOf(WebhookRefused);
      expect(await thrown(stripe.webhook({ body: Buffer.from("{}"), headers: {}, now }))).to.be.instanceOf(
        WebhookRefused,
      );
      await stripe.detach(providerMethodId, key());
      expect(await stripe.webhook(signed(payload))).to.deep.equal({
        eventId: event.id,
        about: { providerMethodId, method: null },
      });
    });
  });

  describe("PayPal", () => {
    it("turns an approved setup token into a saved wallet, once under one key, with one access token for all", async () => {
      const { id } = await atPaypal.act("approve", { email: "ada@example.com", payerId: "PAYERADA", name: "Ada King" });
      const one = key();
      await atPaypal.fail({ match: "POST /v3/vault/payment-tokens", mode: "drop-after" });
      const first = await paypal.attach(id, null, one);
      const again = await Promise.all([paypal.attach(id, null, one), paypal.attach(id, null, one)]);
      if (first.kind !== "attached") throw new Error("not attached");
      expect(first.method).to.deep.include({
        type: "paypal",
        holderName: "Ada King",
        email: "ada@example.com",
        country: "US",
      });
      expect(again).to.deep.equal([first, first]);
      const requests = await atPaypal.requests();
      expect(requests.filter((request) => request === "POST /v1/oauth2/token")).to.have.length(1);
      expect((await atPaypal.act("objects")).paymentTokens).to.have.length(1);
      // Used up: under another key it is somebody else's attempt.
      expect(await paypal.attach(id, null, key())).to.deep.equal({ kind: "unknown" });
    });

    it("takes a new access token when PayPal no longer knows the one it has", async () => {
      await paypal.setupIntent(owner, null, key(), new Date());
      await atPaypal.fail({
        match: "POST /v3/vault/setup-tokens",
        status: 401,
        body: { name: "AUTHENTICATION_FAILURE" },
      });
      const { clientSecret } = await paypal.setupIntent(owner, null, key(), new Date());
      expect(clientSecret).to.match(/^[A-Z0-9]+$/);
      expect((await atPaypal.requests()).filter((request) => request === "POST /v1/oauth2/token")).to.have.length(1);
    });

    it("saves a billing agreement, and cancels it once", async () => {
      const saved = await paypal.attach("BA-TESTAPPROVED", null, key());
      if (saved.kind !== "attached") throw new Error("not attached");
      expect(saved.method.providerMethodId).to.match(/^B-/);
      await paypal.detach(saved.method.providerMethodId, key());
      await paypal.detach(saved.method.providerMethodId, key());
      expect((await atPaypal.act("objects")).agreements).to.have.nested.property("[0].state", "CANCELLED");
    });

    it("lets go of a wallet also when it is gone, and says how an attempt failed", async () => {
      const saved = await paypal.attach("TEST-APPROVED", null, key());
      if (saved.kind !== "attached") throw new Error("not attached");
      await paypal.detach(saved.method.providerMethodId, key());
      await paypal.detach(saved.method.providerMethodId, key());
      expect(await paypal.attach("TEST-DECLINED", null, key())).to.deep.equal({
        ...{ kind: "declined", declineCode: "generic_decline" },
      });
      expect(await paypal.attach("NO-SUCH-TOKEN", null, key())).to.deep.equal({ kind: "unknown" });
      await atPaypal.fail({ match: "POST /v3/vault/payment-tokens", times: 2, status: 500 });
      expect(await thrown(paypal.attach("TEST-APPROVED", null, key()))).to.be.instanceOf(ProviderUnavailable);
    });
  });

  describe("the same requests at stripe-mock, which knows Stripe's own description of its API", () => {
    it("are what Stripe takes", async function () {
      this.timeout(300_000);
      const program = await stripeMock();
      if (program === undefined) {
        console.log(
          "    skipped: stripe-mock needs Go (go install) or a stripe-mock in the cache, and there is neither",
        );
        return;
      }
      const { http, https } = await pickPorts(["http", "https"]);
      const mock = spawn(program, ["-http-port", String(http), "-https-port", String(https)], { stdio: "ignore" });
      try {
        while (!(await accepts(http))) await delay(50);
        const at = providersAt(`http://127.0.0.1:${http}`, "http://127.0.0.1:9", closing)("stripe", "acme");
        const customer = await at.customerOf(owner);
        expect(customer).to.match(/^cus_/);
        // It plays fixtures: what counts is that no parameter is refused and that its answers are understood.
        expect(await at.attach("pm_card_visa", customer, key()))
          .to.have.property("kind")
          .that.is.oneOf(["attached", "not-supported"]);
        expect(await at.setupIntent(owner, customer, key(), new Date())).to.have.property("clientSecret").that.is.not
          .empty;
        await at.updateExpiry("pm_1", { expMonth: 1, expYear: 2040 }, key());
        await at.detach("pm_1", key());
        await at.forget(owner, { customers: [customer ?? ""], methods: [] });
        const { default: Client } = await import("stripe");
        const payload = JSON.stringify({
          id: "evt_1",
          object: "event",
          type: "payment_method.attached",
          data: { object: { id: "pm_1" } },
        });
        const header = Client.webhooks.generateTestHeaderString({ payload, secret: "whsec_local" });
        const webhook = { body: Buffer.from(payload), headers: { "stripe-signature": header }, now: new Date() };
        expect(await at.webhook(webhook)).to.deep.include({ eventId: "evt_1" });
        const refused = await fetch(`http://127.0.0.1:${http}/v1/customers`, {
          method: "POST",
          headers: { authorization: "Bearer sk_test_local", "content-type": "application/x-www-form-urlencoded" },
          body: "no_such_parameter=1",
        });
        expect(refused.status, "it would have told us").to.equal(400);
      } finally {
        mock.kill("SIGKILL");
      }
    });
  });
});

const stripeMockVersion = "v0.203.0";

/** stripe-mock from the cache, built into it once where there is Go. */
async function stripeMock(): Promise<string | undefined> {
  const program = join(defaultCacheFolder, `stripe-mock-${stripeMockVersion}`);
  if (existsSync(program)) return program;
  const folder = join(defaultCacheFolder, `stripe-mock-${process.pid}`);
  try {
    await mkdir(folder, { recursive: true });
    await promisify(execFile)("go", ["install", `github.com/stripe/stripe-mock@${stripeMockVersion}`], {
      env: { ...process.env, GOBIN: folder },
      timeout: 240_000,
    });
    await rename(join(folder, "stripe-mock"), program);
    return program;
  } catch {
    return undefined;
  }
}
