import { expect } from "chai";
import { streams, type VerificationChannel } from "#domain/core/identifiers.js";
import { type Answer, type Caller, startApi, type TestApi } from "../support/api.js";
import { inboxes, wrongCode } from "../support/inboxes.js";

const minute = 60_000;
const hour = 60 * minute;

/** A read that waits for what a command wrote. */
const once = (written: Answer) => ({
  headers: { "x-min-log-position": written.headers.get("x-log-position") ?? "", prefer: "wait=10" },
});

describe("verification over HTTP", function () {
  this.timeout(100_000);
  let api: TestApi;
  let boxes: ReturnType<typeof inboxes>;
  let ada: Caller;
  let address = "";
  let customer = 0;
  let now = Date.now();

  before(async () => {
    api = await startApi({ projections: true, worker: true, standIns: true, clock: () => new Date(now) });
    boxes = inboxes(api);
  });
  after(() => api?.stop());
  beforeEach(async () => {
    customer += 1;
    address = `ada-${customer}@example.com`;
    ada = await api.as(`ada-${customer}`, { email: address, name: "Ada Lovelace" });
  });
  afterEach(async () => {
    await boxes.control("mail", "relent");
  });

  const iso = (offset: number) => new Date(now + offset).toISOString();
  const stream = (channel: VerificationChannel) =>
    streams.verification({ org: api.org, customer: `ada-${customer}` }, channel);
  const facts = async (since: string, channel: VerificationChannel) =>
    (await api.newEvents(since, stream(channel))).map(({ type, data }) => ({ type, data }));
  const send = (channel: "email" | "phone" = "email", options: object = {}) =>
    ada.post(`/client-data/verification/${channel}/send`, options);
  const verify = (code: string, channel: "email" | "phone" = "email", body: object = {}) =>
    ada.post(`/client-data/verification/${channel}/verify`, { body: { code, ...body } });
  const status = async () => (await ada.get("/client-data/verification/status")).body.data;
  const refusal = ({ status, body }: Answer) => [status, body.code];

  /** Sends and waits until the message is out; the code in it. */
  async function sentCode(): Promise<string> {
    const answer = await send();
    expect(answer.status, JSON.stringify(answer.body)).to.equal(202);
    await api.settled();
    return boxes.codeMailedTo(address);
  }

  it("proves an e-mail address: asked for, sent, verified, in every view", async () => {
    const since = await api.mark();
    const asked = await send();
    expect(asked.status).to.equal(202);
    expect(asked.headers.get("cache-control")).to.equal("no-store");
    const { challengeId } = asked.body.data;
    expect(asked.body.data).to.deep.equal({
      challengeId,
      destination: "a***@example.com",
      sentAt: iso(0),
      expiresAt: iso(10 * minute),
      resendAvailableAt: iso(minute),
      attemptsRemaining: 5,
      sendFailed: false,
    });
    const pending = await ada.get("/client-data/verification/status", once(asked));
    expect(pending.headers.get("cache-control")).to.equal("no-store");
    const { destination: _, ...shown } = asked.body.data;
    expect(pending.body.data).to.deep.equal({
      email: { destination: "a***@example.com", verified: false, verifiedAt: null, pending: shown },
      phone: { destination: null, verified: false, verifiedAt: null, pending: null },
    });
    const todos = async () => (await ada.get("/client-data/dashboard")).body.data.todos.map(({ code }: any) => code);
    expect(await todos()).to.deep.equal(["VERIFY_EMAIL"]);

    await api.settled();
    const code = await boxes.codeMailedTo(address);
    const [mail] = await boxes.mailsTo(address);
    expect(mail?.subject).to.equal("Your verification code");
    expect(mail?.html).to.include(code);

    now += minute;
    const right = await verify(code);
    expect([right.status, right.body]).to.deep.equal([200, { data: { verified: true, verifiedAt: iso(0) } }]);
    expect(await facts(since, "email")).to.deep.equal([
      {
        type: "verification.Requested.v1",
        data: { channel: "email", challengeId, send: 1, destination: address, expiresAt: iso(9 * minute) },
      },
      { type: "verification.Sent.v1", data: { channel: "email", challengeId, send: 1 } },
      { type: "verification.Verified.v1", data: { channel: "email", challengeId, destination: address } },
    ]);
    const profile = await ada.get("/client-data/profile", once(right));
    expect(profile.body.data.emailVerified).to.equal(true);
    await api.caughtUp();
    expect((await status()).email).to.deep.equal({
      destination: "a***@example.com",
      verified: true,
      verifiedAt: iso(0),
      pending: null,
    });
    expect(await todos()).to.deep.equal([]);
    const activity = (await ada.get("/client-data/activity")).body.data.map(({ what }: any) => what);
    expect(activity).to.have.members(["profile.email-verified", "verification.code-requested", "profile.registered"]);

    // Asking again, and the same code again: nothing happens twice.
    const before = await api.mark();
    expect((await verify(code)).body).to.deep.equal(right.body);
    const again = await send();
    expect([again.status, again.body]).to.deep.equal([200, { data: { verified: true } }]);
    expect(await api.newEvents(before)).to.deep.equal([]);
  });

  it("proves a phone number by text message, in the customer's language", async () => {
    await ada.put("/client-data/profile", { body: { phone: "+4915112345678", language: "de-AT" } });
    const asked = await send("phone", { body: { channel: "sms" } });
    expect(asked.status, JSON.stringify(asked.body)).to.equal(202);
    expect(asked.body.data.destination).to.equal("+49*********78");
    await api.settled();
    const [text] = await boxes.textsTo("+4915112345678");
    expect(text).to.match(/^\d{6} ist Ihr Bestätigungscode\./);
    const right = await verify(await boxes.codeTextedTo("+4915112345678"), "phone");
    expect(right.status).to.equal(200);
    await api.settled();
    expect((await status()).phone).to.include({ verified: true, destination: "+49*********78" });

    // Another number starts unverified, and so does the first one when it comes back.
    for (const phone of ["+4915112345679", "+4915112345678"]) {
      now += 1_000;
      const changed = await ada.put("/client-data/profile", { body: { phone } });
      expect(changed.body.data.phoneVerified).to.equal(false);
    }
    expect(refusal(await verify(await boxes.codeTextedTo("+4915112345678"), "phone"))).to.deep.equal([
      404,
      "NO_PENDING_VERIFICATION",
    ]);
  });

  it("refuses what it cannot read: other channels, other fields, codes that are none", async () => {
    expect(refusal(await send("phone", { body: { channel: "whatsapp" } }))).to.deep.equal([400, "VALIDATION_FAILED"]);
    expect(refusal(await send("email", { body: { destination: "x@y.example" } }))).to.deep.equal([
      400,
      "UNKNOWN_FIELD",
    ]);
    for (const code of ["12345", "1234567", "12345a", 123456, null]) {
      const answer = await ada.post("/client-data/verification/email/verify", { body: { code } });
      expect(refusal(answer), String(code)).to.deep.equal([400, "VALIDATION_FAILED"]);
    }
    expect(refusal(await ada.post("/client-data/verification/email/verify"))).to.deep.equal([400, "VALIDATION_FAILED"]);
  });

  it("has nothing to prove where the profile has nothing", async () => {
    ada = await api.as(`nameless-${customer}`);
    expect(refusal(await send("email"))).to.deep.equal([422, "NO_EMAIL_ON_PROFILE"]);
    expect(refusal(await send("phone"))).to.deep.equal([422, "NO_PHONE_ON_PROFILE"]);
    expect(refusal(await verify("000000"))).to.deep.equal([404, "NO_PENDING_VERIFICATION"]);
    expect(refusal(await verify("000000", "phone"))).to.deep.equal([404, "NO_PENDING_VERIFICATION"]);
  });

  it("sends texts only to mobiles of countries that the org allows", async () => {
    // A fixed line, a country not on the list, a number that no plan knows.
    for (const phone of ["+4930123456", "+46701740605", "+4990012345678"]) {
      expect((await ada.put("/client-data/profile", { body: { phone } })).status, phone).to.equal(200);
      expect(refusal(await send("phone")), phone).to.deep.equal([422, "DESTINATION_NOT_SUPPORTED"]);
    }
    const since = await api.mark();
    await api.settled();
    expect(await api.newEvents(since)).to.deep.equal([]);
    const impossible = await ada.put("/client-data/profile", { body: { phone: "+491" } });
    expect(refusal(impossible)).to.deep.equal([400, "VALIDATION_FAILED"]);
  });

  it("says so where the org has nothing to send with", async () => {
    const claims = { org: api.otherOrg, sub: `eve-${customer}`, email: "eve@example.com" };
    const eve = api.with({ orgid: api.otherOrg, authorization: `Bearer ${await api.issuer.token(claims)}` });
    await eve.put("/client-data/profile", { body: { phone: "+4915112345678" } });
    for (const path of ["verification/email/send", "verification/phone/send"]) {
      expect(refusal(await eve.post(`/client-data/${path}`))).to.deep.equal([422, "INTEGRATION_NOT_CONFIGURED"]);
    }
    const change = await eve.post("/client-data/profile/email-change", { body: { newEmail: "e@example.com" } });
    expect(refusal(change)).to.deep.equal([422, "INTEGRATION_NOT_CONFIGURED"]);
  });

  it("records a wrong code before it says so, and stops after five", async () => {
    const code = await sentCode();
    for (let left = 4; left >= 0; left--) {
      const since = await api.mark();
      const wrong = await verify(wrongCode(code, left + 1));
      expect([...refusal(wrong), wrong.body.attemptsRemaining]).to.deep.equal([422, "CODE_INCORRECT", left]);
      expect(await facts(since, "email")).to.have.length(1);
    }
    for (const guess of [code, wrongCode(code)]) {
      const answer = await verify(guess);
      expect(refusal(answer)).to.deep.equal([429, "TOO_MANY_ATTEMPTS"]);
      expect(answer.headers.get("retry-after")).to.equal("60");
    }
    await api.caughtUp();
    expect((await status()).email.pending).to.equal(null);

    // A new code, five more guesses: then nothing goes for a day.
    now += minute;
    const next = await sentCode();
    expect(next).to.not.equal(code);
    for (let index = 1; index <= 5; index++)
      expect(refusal(await verify(wrongCode(next, index)))[1]).to.equal("CODE_INCORRECT");
    now += minute;
    const stopped = await verify(next);
    expect(refusal(stopped)).to.deep.equal([429, "TOO_MANY_ATTEMPTS"]);
    expect(stopped.headers.get("retry-after")).to.equal(String(24 * 3_600 - 60));
    const refused = await send();
    expect(refusal(refused)).to.deep.equal([429, "SEND_LIMIT_REACHED"]);
    expect(refused.headers.get("retry-after")).to.equal(String(24 * 3_600 - 60));
    now += 24 * hour - minute;
    expect((await verify(await sentCode())).status).to.equal(200);
  });

  it("counts every one of many guesses that come at once", async () => {
    const code = await sentCode();
    const since = await api.mark();
    const guesses = await Promise.all(Array.from({ length: 12 }, (_, index) => verify(wrongCode(code, index + 1))));
    const codes = guesses.map(({ body }) => body.code).sort();
    expect(codes).to.deep.equal([
      ...Array.from({ length: 5 }, () => "CODE_INCORRECT"),
      ...Array.from({ length: 7 }, () => "TOO_MANY_ATTEMPTS"),
    ]);
    expect(guesses.flatMap(({ body }) => body.attemptsRemaining ?? []).sort()).to.deep.equal([0, 1, 2, 3, 4]);
    expect(await facts(since, "email")).to.have.length(5);
  });

  it("sends the same code again within its life, and another one after it", async () => {
    const code = await sentCode();
    expect(refusal(await verify(wrongCode(code)))[1]).to.equal("CODE_INCORRECT");
    const tooSoon = await send();
    expect(refusal(tooSoon)).to.deep.equal([429, "RESEND_TOO_SOON"]);
    expect(tooSoon.headers.get("retry-after")).to.equal("60");
    now += minute;
    const asked = await send();
    expect(asked.body.data).to.deep.include({ attemptsRemaining: 4, sentAt: iso(0), expiresAt: iso(9 * minute) });
    await api.settled();
    expect(await boxes.mailsTo(address)).to.have.length(2);
    expect(await boxes.codeMailedTo(address)).to.equal(code);

    now += 9 * minute;
    const late = await verify(code);
    expect(refusal(late)).to.deep.equal([410, "CODE_EXPIRED"]);
    expect((await status()).email.pending).to.equal(null);
    const next = await sentCode();
    expect(next).to.not.equal(code);
    const named = (challengeId: string) => verify(next, "email", { challengeId });
    expect(refusal(await named(asked.body.data.challengeId))).to.deep.equal([404, "NO_PENDING_VERIFICATION"]);
    expect((await named((await status()).email.pending.challengeId)).status).to.equal(200);
  });

  it("sends five times an hour and ten times a day at most", async () => {
    const sendAll = async (count: number) => {
      for (let index = 0; index < count; index++, now += minute) {
        const { status, body } = await send();
        expect(status, JSON.stringify(body)).to.equal(202);
      }
      const refused = await send();
      expect(refusal(refused)).to.deep.equal([429, "SEND_LIMIT_REACHED"]);
      // What is not sent when the clock jumps comes too late, and then does not count.
      await api.settled();
      return Number(refused.headers.get("retry-after")) * 1_000;
    };
    const hourly = await sendAll(5);
    now += hourly;
    const wait = await sendAll(5);
    expect(wait).to.be.within(22 * hour, 24 * hour);
    now += wait;
    expect((await send()).status).to.equal(202);
    await api.settled();
  });

  it("shows a message that could not be delivered, and does not count it", async () => {
    await boxes.control("mail", "refuse", { code: 550, to: address });
    const since = await api.mark();
    expect((await send()).status).to.equal(202);
    await api.settled();
    const [, failed] = await facts(since, "email");
    expect(failed).to.deep.nested.include({ type: "verification.SendFailed.v1", "data.reason": "recipient-refused" });
    expect((await status()).email.pending).to.include({ sendFailed: true, attemptsRemaining: 5 });
    const again = await send();
    expect([again.status, again.body.data.sendFailed]).to.deep.equal([202, false]);
    await api.settled();
    expect((await verify(await boxes.codeMailedTo(address))).status).to.equal(200);
  });

  it("tries again while the mail server is away, but only as long as the code lives", async () => {
    // The first try and its repeat fail; what the reactor leaves the duty takes up half a minute later.
    await boxes.control("mail", "refuse", { code: 451, to: address, times: 2 });
    expect((await send()).status).to.equal(202);
    await api.settled();
    expect(await boxes.mailsTo(address)).to.deep.equal([]);
    expect((await status()).email.pending.sendFailed).to.equal(false);
    now += 30_000;
    await api.settled();
    const code = await boxes.codeMailedTo(address);
    expect((await verify(code)).status).to.equal(200);

    const late = `late-${customer}`;
    ada = await api.as(late, { email: `${late}@example.com` });
    await boxes.control("mail", "refuse", { code: 451, to: late, times: 2 });
    const since = await api.mark();
    expect((await send()).status).to.equal(202);
    await api.settled();
    now += 10 * minute;
    await api.settled();
    const last = (await api.newEvents(since)).at(-1);
    expect(last).to.deep.nested.include({ type: "verification.SendFailed.v1", "data.reason": "too-late" });
    expect(await boxes.mailsTo(`${late}@example.com`)).to.deep.equal([]);
  });

  it("voids a challenge when its destination is no longer the profile's", async () => {
    await ada.put("/client-data/profile", { body: { phone: "+4915112345611" } });
    expect((await send("phone")).status).to.equal(202);
    await api.settled();
    const code = await boxes.codeTextedTo("+4915112345611");
    const since = await api.mark();
    await ada.put("/client-data/profile", { body: { phone: "+4915112345612" } });
    expect(refusal(await verify(code, "phone"))).to.deep.equal([404, "NO_PENDING_VERIFICATION"]);
    await api.settled();
    expect((await facts(since, "phone")).map(({ type }) => type)).to.deep.equal(["verification.Voided.v1"]);
    await ada.put("/client-data/profile", { body: { phone: "+4915112345611" } });
    expect(refusal(await verify(code, "phone"))).to.deep.equal([404, "NO_PENDING_VERIFICATION"]);
    expect((await status()).phone.pending).to.equal(null);
  });

  it("answers a repeat under the same key with the first answer, right or wrong", async () => {
    const key = { headers: { "idempotency-key": "send-1" } };
    const first = await send("email", key);
    now += 2 * minute;
    const since = await api.mark();
    const repeat = await send("email", key);
    expect([repeat.status, repeat.headers.get("idempotency-replayed")]).to.deep.equal([202, "true"]);
    expect(repeat.body.data.challengeId).to.equal(first.body.data.challengeId);
    await api.settled();
    expect((await facts(since, "email")).filter(({ type }) => type === "verification.Requested.v1")).to.deep.equal([]);

    const code = await boxes.codeMailedTo(address);
    const guess = (body: object) =>
      ada.post("/client-data/verification/email/verify", { body, headers: { "idempotency-key": "guess-1" } });
    const wrong = await guess({ code: wrongCode(code) });
    expect([...refusal(wrong), wrong.body.attemptsRemaining]).to.deep.equal([422, "CODE_INCORRECT", 4]);
    // The key stands for the guess that was made: bodies with a code are not compared.
    const again = await guess({ code });
    expect([...refusal(again), again.body.attemptsRemaining]).to.deep.equal([422, "CODE_INCORRECT", 4]);
    expect((await verify(code)).status).to.equal(200);
  });
});

describe("the org's text messages of a day", function () {
  this.timeout(100_000);
  let api: TestApi;

  before(async () => {
    const { localProviders } = await import("../../embedded/local-org.js");
    const sms = { ...localProviders?.sms, dailyBudget: 2 } as NonNullable<NonNullable<typeof localProviders>["sms"]>;
    api = await startApi({ standIns: true, settings: { providers: { ...localProviders, sms } } });
  });
  after(() => api?.stop());

  it("are shared by all customers, and no refused wish takes from them", async () => {
    const send = async (customer: number) => {
      const caller = await api.as(`c-${customer}`);
      await caller.put("/client-data/profile", { body: { phone: `+491511234567${customer}` } });
      return caller.post("/client-data/verification/phone/send");
    };
    expect((await send(1)).status).to.equal(202);
    for (let index = 0; index < 5; index++) expect((await send(1)).body.code).to.equal("RESEND_TOO_SOON");
    expect((await send(2)).status).to.equal(202);
    const refused = await send(3);
    expect([refused.status, refused.body.code]).to.deep.equal([429, "SEND_LIMIT_REACHED"]);
    expect(Number(refused.headers.get("retry-after"))).to.be.within(1, 86_400);
  });
});
