import { randomUUID } from "node:crypto";
import { expect } from "chai";
import { streams } from "#domain/core/identifiers.js";
import { emailClaimDecider, emailClaimStream } from "#domain/profile/email-claim.decider.js";
import { CustomerErased } from "#domain/privacy/privacy.events.js";
import { logStart } from "#infrastructure/event-store.js";
import { createServerKey } from "#infrastructure/server-key.js";
import { type Answer, type Caller, startApi, type TestApi } from "../support/api.js";
import { inboxes, wrongCode } from "../support/inboxes.js";

const minute = 60_000;

describe("change of the e-mail address over HTTP", function () {
  this.timeout(100_000);
  let api: TestApi;
  let boxes: ReturnType<typeof inboxes>;
  let people = 0;
  let now = Date.now();

  before(async () => {
    api = await startApi({ projections: true, worker: true, standIns: true, clock: () => new Date(now) });
    boxes = inboxes(api);
  });
  after(() => api?.stop());
  beforeEach(() => {
    now += minute;
  });

  type Person = { readonly id: string; readonly email: string; readonly caller: Caller };
  /** Somebody who is registered, and whose address is claimed. */
  async function person(): Promise<Person> {
    people += 1;
    const id = `person-${people}`;
    const email = `${id}@example.com`;
    const caller = await api.as(id, { email, name: `Person ${people}` });
    await caller.put("/client-data/profile", { body: { about: "here" } });
    await api.settled();
    now += 1_000;
    return { id, email, caller };
  }
  const ask = ({ caller }: Person, newEmail: string) =>
    caller.post("/client-data/profile/email-change", { body: { newEmail } });
  const prove = ({ caller }: Person, code: string, headers: Record<string, string> = {}) =>
    caller.post("/client-data/profile/email-change/verify", { body: { code }, headers });
  const refusal = ({ status, body }: Answer) => [status, body.code];
  const profileOf = async ({ caller }: Person) => {
    await api.settled();
    return (await caller.get("/client-data/profile")).body.data;
  };
  async function asked(who: Person, newEmail: string): Promise<string> {
    const answer = await ask(who, newEmail);
    expect(answer.status, JSON.stringify(answer.body)).to.equal(202);
    await api.settled();
    now += 1_000;
    return boxes.codeMailedTo(newEmail);
  }
  const claimStream = (email: string) =>
    emailClaimStream(
      createServerKey(Buffer.from(api.environment.SERVER_KEY ?? "", "base64"))("email-claim"),
      api.org,
      email,
    );
  async function holderOf(email: string): Promise<string | null> {
    await api.settled();
    const claims = (await api.newEvents(logStart, claimStream(email))) as never[];
    return claims.reduce((state, event) => emailClaimDecider.evolve(state, event), emailClaimDecider.initial).holder;
  }

  it("proves the new address, tells the old one, and moves the claim", async () => {
    const ada = await person();
    const next = "countess@new.example";
    const since = await api.mark();
    const answer = await ask(ada, "countess@NEW.example");
    expect(answer.status).to.equal(202);
    const { challengeId } = answer.body.data;
    expect(answer.body.data).to.deep.equal({
      challengeId,
      destination: "c***@new.example",
      sentAt: new Date(now).toISOString(),
      expiresAt: new Date(now + 10 * minute).toISOString(),
      resendAvailableAt: new Date(now + minute).toISOString(),
      attemptsRemaining: 5,
      sendFailed: false,
    });
    await api.settled();
    const [notice] = await boxes.mailsTo(ada.email);
    expect(notice?.subject).to.equal("Your e-mail address is about to change");
    expect(notice?.text)
      .to.include("c***@new.example")
      .and.not.match(/\b\d{6}\b/);
    expect((await profileOf(ada)).email).to.equal(ada.email);

    now += minute;
    const changed = await prove(ada, await boxes.codeMailedTo(next));
    expect(changed.status, JSON.stringify(changed.body)).to.equal(200);
    expect(changed.body).to.deep.include({ pk: `customer-${ada.id}`, datatype: "customer" });
    expect(changed.body.data).to.include({ email: next, emailVerified: true });
    expect(changed.headers.get("etag")).to.equal(`"${changed.body.version}"`);
    const seen = await ada.caller.get("/client-data/profile", {
      headers: { "x-min-log-position": changed.headers.get("x-log-position") ?? "", prefer: "wait=10" },
    });
    expect(seen.body).to.deep.equal(changed.body);
    await api.settled();
    const facts = (await api.newEvents(since)).map(({ type }) => type);
    expect(facts).to.deep.equal([
      "verification.Requested.v1",
      "verification.Sent.v1",
      "verification.NoticeRequested.v1",
      "verification.NoticeSettled.v1",
      "verification.Verified.v1",
      "profile.EmailClaimed.v1",
      "profile.EmailChanged.v1",
      "profile.EmailReleased.v1",
    ]);
    expect([await holderOf(next), await holderOf(ada.email)]).to.deep.equal([ada.id, null]);
    const status = (await ada.caller.get("/client-data/verification/status")).body.data;
    expect(status.email).to.include({ destination: "c***@new.example", verified: true });
    const [line] = (await ada.caller.get("/client-data/activity")).body.data;
    expect(line).to.deep.include({
      what: "profile.email-changed",
      changes: [{ field: "email", from: ada.email, to: next }],
    });
  });

  it("looks the same for an address that is somebody's and one that is nobody's", async () => {
    const [ada, bob] = [await person(), await person()];
    const look = async (newEmail: string) => {
      now += minute;
      const since = await api.mark();
      const answer = await ask(ada, newEmail);
      await api.settled();
      const events = (await api.newEvents(since)).map(({ type, data, metadata }) => {
        const { challengeId: _c, destination: _d, about: _a, expiresAt: _e, ...rest } = data as Record<string, unknown>;
        return { type, rest, fields: Object.keys(data as object), metadata: Object.keys(metadata) };
      });
      const headers = [...answer.headers.keys()].sort();
      const wrong = await prove(ada, wrongCode(await boxes.codeMailedTo(newEmail)));
      return {
        status: answer.status,
        body: Object.keys(answer.body.data),
        length: JSON.stringify(answer.body).length,
        events,
        headers,
        wrong: refusal(wrong),
        left: wrong.body.attemptsRemaining,
      };
    };
    const taken = await look(bob.email);
    // The same first letter and domain, so that the masked text is as long.
    const free = await look("pers-nobody@example.com");
    // The first of two asks of one customer voids the other's challenge; all else must be alike.
    expect({ ...free, events: free.events.filter(({ type }) => type !== "verification.Voided.v1") }).to.deep.equal(
      taken,
    );
    // Whoever has the address learns of it, and nobody else.
    expect(await boxes.mailsTo(bob.email)).to.have.length(1);
  });

  it("says that an address is another's only to whoever proved that they read its mail", async () => {
    const [ada, bob] = [await person(), await person()];
    const code = await asked(ada, bob.email);
    const since = await api.mark();
    expect(refusal(await prove(ada, wrongCode(code)))).to.deep.equal([422, "CODE_INCORRECT"]);
    for (let repeat = 0; repeat < 2; repeat++) {
      expect(refusal(await prove(ada, code))).to.deep.equal([409, "EMAIL_IN_USE"]);
    }
    expect((await profileOf(ada)).email).to.equal(ada.email);
    expect((await profileOf(bob)).email).to.equal(bob.email);
    expect([await holderOf(ada.email), await holderOf(bob.email)]).to.deep.equal([ada.id, bob.id]);
    const facts = (await api.newEvents(since)).map(({ type }) => type);
    expect(facts).to.deep.equal(["verification.AttemptFailed.v1", "verification.Verified.v1"]);

    // Once the other has moved on, the address is free, and the proof still good.
    await prove(bob, await asked(bob, "bob@elsewhere.example"));
    await api.settled();
    const changed = await prove(ada, code);
    expect([changed.status, changed.body.data?.email]).to.deep.equal([200, bob.email]);
  });

  it("lets one of two win who prove one address at the same time", async () => {
    for (let round = 0; round < 3; round++) {
      const [ada, bob] = [await person(), await person()];
      const wanted = `wanted-${round}@example.com`;
      const codes = [await asked(ada, wanted), await asked(bob, wanted)] as const;
      const answers = await Promise.all([prove(ada, codes[0]), prove(bob, codes[1])]);
      expect(answers.map(({ status }) => status).sort()).to.deep.equal([200, 409]);
      const winner = answers[0].status === 200 ? ada : bob;
      const loser = winner === ada ? bob : ada;
      expect(await holderOf(wanted)).to.equal(winner.id);
      expect((await profileOf(winner)).email).to.equal(wanted);
      expect((await profileOf(loser)).email).to.equal(loser.email);
      expect(await holderOf(loser.email)).to.equal(loser.id);
    }
  });

  it("verifies the present address when that is the new one", async () => {
    const ada = await person();
    const same = await prove(ada, await asked(ada, ada.email));
    expect([same.status, same.body.data.emailVerified, same.body.data.email]).to.deep.equal([200, true, ada.email]);
    await api.settled();
    expect(await boxes.mailsTo(ada.email), "no notice to the same address").to.have.length(1);
    expect(await holderOf(ada.email)).to.equal(ada.id);
  });

  it("takes a proof for what it was worth when it was given", async () => {
    const ada = await person();
    const first = await asked(ada, "first@example.com");
    const key = { "idempotency-key": "first" };
    const changed = await prove(ada, first, key);
    expect(changed.status).to.equal(200);
    // The same again is the same answer, with the key or without.
    const replayed = await prove(ada, first, key);
    expect([replayed.body, replayed.headers.get("idempotency-replayed")]).to.deep.equal([changed.body, "true"]);
    expect((await prove(ada, first)).body).to.deep.equal(changed.body);
    now += minute;
    const second = await asked(ada, "second@example.com");
    expect((await prove(ada, second)).status).to.equal(200);
    await api.settled();
    now += minute;
    // A repeat of the first that was long under way must not bring the first address back.
    await prove(ada, first, key);
    expect((await profileOf(ada)).email).to.equal("second@example.com");
    expect([await holderOf("first@example.com"), await holderOf("second@example.com")]).to.deep.equal([null, ada.id]);
  });

  it("follows the platform and the token: their addresses are claimed where they are free", async () => {
    const platform = await api.asService();
    const ingest = (id: string, body: object) => platform.put(`/internal/ingest/customers/${id}`, { body });
    const shared = "shared@example.com";
    await ingest("fed-1", { email: shared, emailVerified: true, sourceRevision: 1 });
    await api.settled();
    await ingest("fed-2", { email: shared, sourceRevision: 1 });
    expect(await holderOf(shared), "the first has it").to.equal("fed-1");
    const ada = await person();
    expect(refusal(await prove(ada, await asked(ada, shared)))).to.deep.equal([409, "EMAIL_IN_USE"]);
    await ingest("fed-1", { email: "other@example.com", sourceRevision: 2 });
    expect([await holderOf(shared), await holderOf("other@example.com")]).to.deep.equal([null, "fed-1"]);
    await ingest("fed-1", { email: null, sourceRevision: 3 });
    expect(await holderOf("other@example.com")).to.equal(null);
  });

  it("does not take an address from the erased for ever", async () => {
    const [ada, bob] = [await person(), await person()];
    const owner = { org: api.org, customer: bob.id };
    const stream = streams.profile(owner);
    const { revision = -1, metadata } = (await api.eventStore.readStream(stream)).at(-1) ?? {};
    const { client: _, ...kept } = metadata as Record<string, unknown>;
    // As a worker of an older release would leave it: erased, and the claim still there.
    const erased = {
      id: randomUUID(),
      type: CustomerErased.type,
      data: {},
      metadata: { ...kept, commandId: randomUUID() },
    };
    const claim = await holderOf(bob.email);
    expect(claim).to.equal(bob.id);
    await api.eventStore.append(stream, revision, [erased]);
    const code = await asked(ada, bob.email);
    const changed = await prove(ada, code);
    expect([changed.status, changed.body.data?.email]).to.deep.equal([200, bob.email]);
    expect(await holderOf(bob.email)).to.equal(ada.id);
  });

  it("keeps nothing personal in the claims", async () => {
    const ada = await person();
    const header = { "x-client-info": JSON.stringify({ device: "Ada's phone" }) };
    const code = await asked(ada, "private@example.com");
    const answer = await ada.caller.post("/client-data/profile/email-change/verify", {
      body: { code },
      headers: header,
    });
    expect(answer.status).to.equal(200);
    for (const event of await api.eventStore.readStream(claimStream("private@example.com"))) {
      expect(event.data).to.deep.equal({ customer: ada.id });
      expect(event.metadata).to.not.have.property("client");
      expect(JSON.stringify(event)).to.not.match(/private|Ada|example\.com/);
    }
  });

  it("refuses addresses that are none, and fields it does not know", async () => {
    const ada = await person();
    for (const newEmail of [
      "",
      "ada",
      "a@b@c.example",
      "ada@example.com\r\nBcc: eve@evil.example",
      `${"a".repeat(250)}@x.example`,
      null,
    ]) {
      const answer = await ada.caller.post("/client-data/profile/email-change", { body: { newEmail } });
      expect(refusal(answer), String(newEmail)).to.deep.equal([400, "VALIDATION_FAILED"]);
    }
    const unknown = await ada.caller.post("/client-data/profile/email-change", {
      body: { newEmail: "x@example.com", customerId: "bob" },
    });
    expect(refusal(unknown)).to.deep.equal([400, "UNKNOWN_FIELD"]);
    expect(refusal(await prove(ada, "000000"))).to.deep.equal([404, "NO_PENDING_VERIFICATION"]);
    const code = await asked(ada, "late@example.com");
    now += 10 * minute;
    expect(refusal(await prove(ada, code))).to.deep.equal([410, "CODE_EXPIRED"]);
    const put = await ada.caller.put("/client-data/profile", { body: { email: "late@example.com" } });
    expect(refusal(put)).to.deep.equal([422, "EMAIL_CHANGE_NEEDS_VERIFICATION"]);
  });

  it("stops guessing after five wrong codes, and sends no more than the limits allow", async () => {
    const ada = await person();
    const code = await asked(ada, "guessed@example.com");
    for (let left = 4; left >= 0; left--) {
      const wrong = await prove(ada, wrongCode(code, left + 1));
      expect([...refusal(wrong), wrong.body.attemptsRemaining]).to.deep.equal([422, "CODE_INCORRECT", left]);
    }
    expect(refusal(await prove(ada, code))).to.deep.equal([429, "TOO_MANY_ATTEMPTS"]);
    expect(refusal(await ask(ada, "guessed@example.com"))).to.deep.equal([429, "RESEND_TOO_SOON"]);
    for (let index = 0; index < 19; index++) {
      expect((await ask(ada, `many-${index}@example.com`)).status).to.equal(202);
      // Two notices that fall due at one moment, one after the other, are two.
      if (index === 9) await api.settled();
    }
    expect(refusal(await ask(ada, "one-more@example.com"))).to.deep.equal([429, "SEND_LIMIT_REACHED"]);
    await api.settled();
  });

  it("lets go of an erased customer's address, while it can still be read", async () => {
    const ada = await person();
    expect(await holderOf(ada.email)).to.equal(ada.id);
    const signedIn = await api.as(ada.id, { email: ada.email, auth_time: Math.floor(now / 1_000) });
    const wish = await signedIn.post("/client-data/privacy/erasure");
    expect(wish.status, JSON.stringify(wish.body)).to.equal(202);
    now += 15 * 24 * 60 * minute;
    await api.settled();
    expect(await holderOf(ada.email)).to.equal(null);
  });
});
