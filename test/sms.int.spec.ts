import { expect } from "chai";
import { fixedOrgSettings } from "#infrastructure/org-settings.js";
import {
  IntegrationNotConfigured,
  ProviderFault,
  ProviderUnavailable,
  RecipientRefused,
} from "#infrastructure/providers/provider-call.js";
import { createSmsSender } from "#infrastructure/providers/sms.js";
import { localProviders } from "../embedded/local-org.js";
import { startStandIns, type StandIns } from "../embedded/providers/stand-ins.js";

const org = { issuer: "https://issuer.example", jwksUri: "https://issuer.example/jwks", audience: "client-data" };

describe("SMS sender", () => {
  let standIns: StandIns;

  before(async () => {
    standIns = await startStandIns();
    Object.assign(process.env, standIns.env);
  });
  afterEach(async () => {
    await control("clear", "POST");
    await control("failures", "DELETE");
  });
  after(() => standIns?.stop());

  const sms = { accountSid: "", authToken: "TWILIO_AUTH_TOKEN", from: "", countries: ["DE"], ...localProviders?.sms };
  const sender = (settings: object = {}) =>
    createSmsSender({
      baseUrl: `${standIns.url}/twilio`,
      orgSettings: fixedOrgSettings({
        orgs: { acme: { ...org, providers: { sms: { ...sms, ...settings } } }, bare: org },
      }),
    });
  async function control(action: string, method = "POST", body?: object): Promise<any> {
    const answer = await fetch(`${standIns.url}/control/twilio/${action}`, {
      method,
      ...(body ? { body: JSON.stringify(body) } : {}),
    });
    return answer.status === 200 ? answer.json() : undefined;
  }
  const failure = (sending: Promise<void>): Promise<unknown> =>
    sending.then(
      () => expect.fail("it was sent"),
      (error: unknown) => error,
    );

  it("sends by the org's own account, from its number or its messaging service", async () => {
    await sender().send("acme", "+4915112345678", "Hello & grüß dich");
    await sender({ from: "MG00000000000000000000000000000001" }).send("acme", "+4915112345678", "Again");
    const messages = await control("messages");
    expect(messages.map(({ from, to, body }: Record<string, string>) => [from, to, body])).to.deep.equal([
      [sms.from, "+4915112345678", "Hello & grüß dich"],
      ["MG00000000000000000000000000000001", "+4915112345678", "Again"],
    ]);
  });

  it("knows a number that cannot be reached from a fault of ours, without a word of the provider's", async () => {
    for (const number of ["+15005550001", "+15005550004", "+15005550009"]) {
      const error = await failure(sender().send("acme", number, "Hello"));
      expect(error, number).to.be.instanceOf(RecipientRefused);
      expect((error as Error).message).to.not.include(number);
    }
    await control("failures", "POST", { match: "POST /2010-04-01", status: 400, body: { code: 21606 } });
    const fault = await failure(sender().send("acme", "+4915112345678", "Hello"));
    expect(fault).to.be.instanceOf(ProviderFault).and.not.instanceOf(RecipientRefused);
    const stranger = { accountSid: "AC11111111111111111111111111111111", authToken: "PATH" };
    expect(await failure(sender(stranger).send("other", "+4915112345678", "Hello"))).to.be.instanceOf(
      IntegrationNotConfigured,
    );
    await control("failures", "POST", { match: "POST /2010-04-01", status: 401, body: { code: 20003 } });
    expect(await failure(sender(stranger).send("acme", "+4915112345678", "Hello"))).to.be.instanceOf(ProviderFault);
  });

  it("tries again what may pass: 20429, 500, a broken connection; then says so", async () => {
    const failures = [
      { status: 429, body: { code: 20429 }, headers: { "retry-after": "7" } },
      { status: 500 },
      { mode: "drop-before" },
    ];
    for (const planned of failures) {
      await control("failures", "POST", { match: "POST /2010-04-01", ...planned });
      await sender().send("acme", "+4915112345678", "Hello");
      await control("failures", "POST", { match: "POST /2010-04-01", ...planned, times: 2 });
      const error = await failure(sender().send("acme", "+4915112345678", "Lost"));
      expect(error, JSON.stringify(planned)).to.be.instanceOf(ProviderUnavailable);
      if (planned.status === 429) expect((error as ProviderUnavailable).retryAfterSeconds).to.equal(7);
    }
    expect((await control("messages")).map(({ body }: { body: string }) => body)).to.deep.equal([
      "Hello",
      "Hello",
      "Hello",
    ]);
  });

  it("has no account for an org that has none", async () => {
    const error = await failure(sender().send("bare", "+4915112345678", "Hello"));
    expect(error).to.be.instanceOf(IntegrationNotConfigured);
  });
});
