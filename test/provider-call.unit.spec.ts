import { setTimeout as delay } from "node:timers/promises";
import { expect } from "chai";
import { problemOf } from "#infrastructure/http/application.js";
import { fixedOrgSettings, type OrgSettings } from "#infrastructure/org-settings.js";
import { clientPerOrg } from "#infrastructure/providers/per-org.js";
import {
  createProviderCall,
  IntegrationNotConfigured,
  ProviderFault,
  ProviderUnavailable,
} from "#infrastructure/providers/provider-call.js";

const away = () => new ProviderUnavailable("stripe");
const rejectionOf = (promise: Promise<unknown>) =>
  promise.then(
    () => undefined,
    (error: unknown) => error,
  );

describe("a call to a provider", () => {
  it("gives the answer, and tells that it came", async () => {
    const told: string[] = [];
    const call = createProviderCall({
      provider: "stripe",
      timeoutMs: 1_000,
      onCall: (_, outcome) => told.push(outcome),
    });
    expect(await call(async () => 42)).to.equal(42);
    expect(told).to.deep.equal(["ok"]);
  });

  it("is made again where the provider was away, and not more often than it may be", async () => {
    let tries = 0;
    const call = createProviderCall({ provider: "stripe", timeoutMs: 1_000, attempts: 3 });
    const failing = call(async () => {
      tries++;
      throw away();
    });
    expect(await rejectionOf(failing)).to.be.instanceOf(ProviderUnavailable);
    expect(tries).to.equal(3);
  });

  it("is not made again after an answer we cannot use", async () => {
    let tries = 0;
    const told: string[] = [];
    const call = createProviderCall({
      provider: "stripe",
      timeoutMs: 1_000,
      onCall: (_, outcome) => told.push(outcome),
    });
    const refused = call(async () => {
      tries++;
      throw new ProviderFault("stripe", "declined");
    });
    expect(await rejectionOf(refused)).to.be.instanceOf(ProviderFault);
    expect([tries, told]).to.deep.equal([1, ["refused"]]);
  });

  it("ends at its time limit whatever the work does, and aborts the work", async () => {
    let aborted = false;
    const call = createProviderCall({ provider: "stripe", timeoutMs: 30, attempts: 1 });
    const hanging = call((signal) => {
      signal.addEventListener("abort", () => {
        aborted = true;
      });
      return new Promise(() => {});
    });
    expect(await rejectionOf(hanging)).to.be.instanceOf(ProviderUnavailable);
    expect(aborted).to.equal(true);
  });

  it("is not made any more for a while after ten failures in a row", async () => {
    let tries = 0;
    const call = createProviderCall({ provider: "stripe", timeoutMs: 1_000, attempts: 1 });
    const fail = () =>
      rejectionOf(
        call(async () => {
          tries++;
          throw away();
        }),
      );
    for (let number = 0; number < 12; number++) expect(await fail()).to.be.instanceOf(ProviderUnavailable);
    expect(tries).to.equal(10);
  });

  it("is turned away where too many wait", async () => {
    const call = createProviderCall({ provider: "stripe", timeoutMs: 1_000, concurrency: 1 });
    const slow = () => call(() => delay(20));
    const outcomes = await Promise.all([slow(), slow(), slow()].map(rejectionOf));
    expect(outcomes.filter((outcome) => outcome === undefined)).to.have.length(2);
    expect(outcomes.filter((outcome) => outcome instanceof ProviderUnavailable)).to.have.length(1);
  });

  it("answers what went wrong without a word of the provider's", () => {
    const words = new ProviderFault("stripe", "No such customer: cus_123", { cause: new Error("secret") });
    expect([problemOf(words).status, problemOf(words).code, problemOf(words).options]).to.deep.equal([
      502,
      "PROVIDER_ERROR",
      { headers: { "Retry-After": "60" } },
    ]);
    const late = new ProviderUnavailable("sms", { retryAfterSeconds: 30 });
    expect([problemOf(late).status, problemOf(late).options.headers]).to.deep.equal([503, { "Retry-After": "30" }]);
    expect(problemOf(new IntegrationNotConfigured("paypal")).code).to.equal("INTEGRATION_NOT_CONFIGURED");
  });
});

describe("a client per org", () => {
  const org = (from?: string) => ({
    issuer: "https://id.example",
    jwksUri: "https://id.example/jwks",
    audience: "client-data",
    ...(from === undefined ? {} : { providers: { mail: { from } } }),
  });

  it("is made once, and anew when the settings change", () => {
    let current = fixedOrgSettings({ orgs: { acme: org("a@acme.example") } });
    const settings: OrgSettings = { ...current, of: (name) => current.of(name) };
    const disposed: string[] = [];
    const clientOf = clientPerOrg(
      settings,
      "mail",
      "smtp",
      ({ from }) => ({ from }),
      ({ from }) => disposed.push(from),
    );
    expect(clientOf("acme")).to.equal(clientOf("acme"));
    current = fixedOrgSettings({ orgs: { acme: org("b@acme.example") } });
    expect(clientOf("acme").from).to.equal("b@acme.example");
    expect(disposed).to.deep.equal(["a@acme.example"]);
  });

  it("is refused to an org without credentials", () => {
    const clientOf = clientPerOrg(fixedOrgSettings({ orgs: { acme: org() } }), "mail", "smtp", () => ({}));
    for (const name of ["acme", "nobody"]) expect(() => clientOf(name)).to.throw(IntegrationNotConfigured);
  });
});
