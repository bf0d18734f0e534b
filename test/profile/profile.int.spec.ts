import { expect } from "chai";
import { streams } from "#domain/core/identifiers.js";
import { type Answer, type Caller, startApi, type TestApi } from "../support/api.js";

/** A read that waits for what a command wrote. */
const once = (written: Answer) => ({
  headers: { "x-min-log-position": written.headers.get("x-log-position") ?? "", prefer: "wait=10" },
});

describe("profile over HTTP", () => {
  let api: TestApi;
  let ada: Caller;
  let customer = 0;

  before(async () => {
    api = await startApi({ projections: true, settings: { metadataKeys: ["shoeSize", "tier"] } });
  });
  after(() => api?.stop());
  beforeEach(async () => {
    customer += 1;
    ada = await api.as(`ada-${customer}`, { email: "Ada@Example.com", name: "Ada Lovelace" });
  });

  const stream = () => streams.profile({ org: api.org, customer: `ada-${customer}` });
  const facts = async (since: string) =>
    (await api.newEvents(since, stream())).map(({ type, data }) => ({ type, data }));

  it("registers a customer by its first command, then changes what was given", async () => {
    const since = await api.mark();
    const { status, headers, body } = await ada.put("/client-data/profile", {
      body: { firstName: "Augusta", lastName: " King ", language: "en-gb", timezone: "Europe/London" },
    });
    expect(status).to.equal(200);
    expect(headers.get("etag")).to.equal('"1"');
    expect(headers.get("x-log-position")).to.match(/^\S+\.\d+$/);
    expect(body).to.deep.include({
      pk: `customer-ada-${customer}`,
      sk: `${api.org}/customer/ada-${customer}`,
      datatype: "customer",
      version: 1,
      state: "active",
    });
    expect(body.data).to.deep.equal({
      name: "Augusta King",
      firstName: "Augusta",
      lastName: "King",
      email: "Ada@example.com",
      phone: null,
      language: "en-GB",
      timezone: "Europe/London",
      about: null,
      photo: null,
      emailVerified: false,
      phoneVerified: false,
      marketing: { email: false, sms: false, push: false },
      metadata: {},
    });
    expect(await facts(since)).to.deep.equal([
      { type: "profile.Registered.v1", data: { name: "Ada Lovelace", email: "Ada@example.com", source: "claims" } },
      {
        type: "profile.Updated.v1",
        data: {
          name: "Augusta King",
          firstName: "Augusta",
          lastName: "King",
          language: "en-GB",
          timezone: "Europe/London",
          previous: { name: "Ada Lovelace", firstName: null, lastName: null, language: null, timezone: null },
          source: "customer",
        },
      },
    ]);
  });

  it("takes the documented example call, which sends no Content-Type", async () => {
    const { orgid, authorization: Authorization } = ada.headers as { orgid: string; authorization: string };
    const response = await fetch(`${api.commandApi}/client-data/profile`, {
      method: "PUT",
      headers: { orgid, Authorization },
      body: JSON.stringify({ name: "Ada", phone: "+4930123456", language: "de", timezone: "Europe/Berlin" }),
    });
    expect(response.status).to.equal(200);
    const { data } = (await response.json()) as { data: object };
    expect(data).to.include({ name: "Ada", phone: "+4930123456", language: "de", timezone: "Europe/Berlin" });
  });

  it("writes nothing when nothing changes", async () => {
    const first = await ada.put("/client-data/profile", { body: { about: "Countess", marketing: { email: true } } });
    const since = await api.mark();
    const again = await ada.put("/client-data/profile", { body: { about: "Countess", marketing: { email: true } } });
    expect(again.status).to.equal(200);
    expect(again.body).to.deep.equal(first.body);
    expect(again.headers.get("etag")).to.equal(first.headers.get("etag"));
    expect(await facts(since)).to.deep.equal([]);
  });

  it("leaves absent fields, clears nulls, and merges marketing and metadata", async () => {
    await ada.put("/client-data/profile", {
      body: {
        about: "Countess",
        phone: "+4930123456",
        marketing: { email: true },
        metadata: { shoeSize: 38, tier: "a" },
      },
    });
    const { body } = await ada.put("/client-data/profile", {
      body: { phone: null, marketing: { sms: true }, metadata: { tier: null } },
    });
    expect(body.data).to.deep.include({
      about: "Countess",
      phone: null,
      marketing: { email: true, sms: true, push: false },
      metadata: { shoeSize: 38 },
    });
  });

  const refusals: [what: string, body: unknown, status: number, code: string, field?: string][] = [
    ["nothing at all", {}, 400, "EMPTY_UPDATE"],
    ["a version and nothing else", { version: 0 }, 400, "EMPTY_UPDATE"],
    ["an unknown field", { nickname: "Ada", name: "Ada" }, 400, "UNKNOWN_FIELD", "nickname"],
    ["a customer id", { customerId: "bob", name: "Bob" }, 400, "UNKNOWN_FIELD", "customerId"],
    ["what only we may say", { emailVerified: true }, 400, "UNKNOWN_FIELD", "emailVerified"],
    ["an unknown channel", { marketing: { pigeon: true } }, 400, "UNKNOWN_FIELD", "marketing.pigeon"],
    ["a metadata key of nobody", { metadata: { hat: 1 } }, 400, "UNKNOWN_FIELD", "metadata.hat"],
    ["an empty name", { name: "  " }, 400, "VALIDATION_FAILED", "name"],
    ["an empty phone", { phone: "" }, 400, "VALIDATION_FAILED", "phone"],
    ["a phone without country", { phone: "030123456" }, 400, "VALIDATION_FAILED", "phone"],
    ["an empty language", { language: "" }, 400, "VALIDATION_FAILED", "language"],
    ["a language that is none", { language: "klingon_1" }, 400, "VALIDATION_FAILED", "language"],
    ["an empty time zone", { timezone: "" }, 400, "VALIDATION_FAILED", "timezone"],
    ["a time zone nobody knows", { timezone: "Europe/Atlantis" }, 400, "VALIDATION_FAILED", "timezone"],
    ["an empty e-mail", { email: "" }, 400, "VALIDATION_FAILED", "email"],
    ["too long a text", { about: "x".repeat(2001) }, 400, "VALIDATION_FAILED", "about"],
    ["control characters", { about: "a\u0000b" }, 400, "VALIDATION_FAILED", "about"],
    ["a wrong type", { name: 7 }, 400, "VALIDATION_FAILED", "name"],
    ["too much metadata", { metadata: { tier: "x".repeat(4100) } }, 400, "VALIDATION_FAILED", "metadata"],
    ["another e-mail address", { email: "ada@elsewhere.example" }, 422, "EMAIL_CHANGE_NEEDS_VERIFICATION"],
    ["no e-mail address", { email: null }, 422, "EMAIL_CHANGE_NEEDS_VERIFICATION"],
    ["a photo", { photo: "file-1" }, 422, "PHOTO_NOT_USABLE"],
  ];
  for (const [what, body, status, code, field] of refusals) {
    it(`refuses ${what}: ${status} ${code}`, async () => {
      await ada.put("/client-data/profile", { body: { name: "Ada" } });
      const since = await api.mark();
      const answer = await ada.put("/client-data/profile", { body });
      expect(answer.status).to.equal(status);
      expect(answer.body.code).to.equal(code);
      if (field) expect(answer.body.errors.map((error: { field: string }) => error.field)).to.include(field);
      expect(await facts(since)).to.deep.equal([]);
    });
  }

  it("counts text in code points, in NFC", async () => {
    const { status, body } = await ada.put("/client-data/profile", {
      body: { about: "😀".repeat(2000), name: "Zoe\u0308" },
    });
    expect(status).to.equal(200);
    expect(body.data.name).to.equal("Zo\u00eb");
  });

  it("holds on to a version named in If-Match or in the body", async () => {
    await ada.put("/client-data/profile", { body: { about: "one" } });
    const matching = await ada.put("/client-data/profile", { body: { about: "two" }, headers: { "if-match": '"1"' } });
    expect(matching.status).to.equal(200);
    expect(matching.headers.get("etag")).to.equal('"2"');
    const stale = await ada.put("/client-data/profile", { body: { about: "three" }, headers: { "if-match": '"1"' } });
    expect([stale.status, stale.body.code]).to.deep.equal([412, "PRECONDITION_FAILED"]);
    const conflict = await ada.put("/client-data/profile", { body: { about: "three", version: 1 } });
    expect([conflict.status, conflict.body.code, conflict.body.currentVersion]).to.deep.equal([
      409,
      "VERSION_CONFLICT",
      2,
    ]);
    const agreed = await ada.put("/client-data/profile", { body: { about: "three", version: 2 } });
    expect(agreed.status).to.equal(200);
  });

  it("gives the first answer again for the same Idempotency-Key, also when time has gone on", async () => {
    const headers = { "idempotency-key": "k-1" };
    const first = await ada.put("/client-data/profile", { body: { about: "one" }, headers });
    await ada.put("/client-data/profile", { body: { about: "two" } });
    const since = await api.mark();
    const again = await ada.put("/client-data/profile", { body: { about: "one" }, headers });
    expect(again.status).to.equal(200);
    expect(again.headers.get("idempotency-replayed")).to.equal("true");
    expect(again.headers.get("x-log-position")).to.equal(first.headers.get("x-log-position"));
    expect(again.body).to.deep.equal(first.body);
    const other = await ada.put("/client-data/profile", { body: { about: "three" }, headers });
    expect([other.status, other.body.code]).to.deep.equal([422, "IDEMPOTENCY_KEY_REUSED"]);
    expect(await facts(since)).to.deep.equal([]);
  });

  it("loses no field when two tabs save different ones at once", async () => {
    await ada.put("/client-data/profile", { body: { name: "Ada" } });
    const saved = await Promise.all([
      ada.put("/client-data/profile", { body: { about: "Countess" } }),
      ada.put("/client-data/profile", { body: { language: "de" } }),
      ada.put("/client-data/profile", { body: { marketing: { push: true } } }),
    ]);
    expect(saved.map(({ status }) => status)).to.deep.equal([200, 200, 200]);
    const { body } = await ada.put("/client-data/profile", { body: { name: "Ada" } });
    expect(body.data).to.deep.include({ about: "Countess", language: "de" });
    expect(body.data.marketing.push).to.equal(true);
  });

  it("keeps personal fields out of what is stored", async () => {
    const since = await api.mark();
    await ada.put("/client-data/profile", { body: { name: "Secretia Hidden", phone: "+4930555555", language: "fr" } });
    let seen = 0;
    for await (const stored of api.eventStore.readLog({ after: since })) {
      if (stored.stream === stream()) seen += 1;
      expect(JSON.stringify(stored.data)).not.to.match(/Secretia|4930555555|Example\.com/i);
    }
    expect(seen).to.equal(2);
  });

  describe("read back", () => {
    it("shows what the token says before the first command, with a version that If-Match takes", async () => {
      const { status, body } = await ada.get("/client-data/profile");
      expect([status, body.version]).to.deep.equal([200, 0]);
      expect(body.data).to.include({ email: "Ada@example.com", name: "Ada Lovelace", language: null });
      const first = await ada.put("/client-data/profile", { body: { language: "de" }, headers: { "if-match": '"0"' } });
      expect(first.status).to.equal(200);
    });

    it("shows the very record that the command answered with", async () => {
      const body = { name: "Ada", about: "Countess", marketing: { sms: true }, metadata: { shoeSize: 38 } };
      const written = await ada.put("/client-data/profile", { body });
      const read = await ada.get("/client-data/profile", once(written));
      expect(read.status).to.equal(200);
      expect(read.body).to.deep.equal(written.body);
    });

    it("answers 304 until it changes, whoever else writes", async () => {
      const written = await ada.put("/client-data/profile", { body: { name: "Ada" } });
      const read = await ada.get("/client-data/profile", once(written));
      const etag = read.headers.get("etag") ?? "";
      expect(etag).to.match(/^W\//);
      const bob = await api.as(`bob-${customer}`);
      await api.caughtUp();
      await bob.put("/client-data/profile", { body: { name: "Bob" } });
      await api.caughtUp();
      const same = await ada.get("/client-data/profile", { headers: { "if-none-match": etag } });
      expect([same.status, same.body]).to.deep.equal([304, ""]);
      const other = await bob.get("/client-data/profile", { headers: { "if-none-match": etag } });
      expect([other.status, other.body.data.name]).to.deep.equal([200, "Bob"]);
      const changed = await ada.put("/client-data/profile", { body: { name: "Ada K." } });
      const fresh = await ada.get("/client-data/profile", {
        headers: { ...once(changed).headers, "if-none-match": etag },
      });
      expect([fresh.status, fresh.body.data.name]).to.deep.equal([200, "Ada K."]);
    });
  });

  describe("fed by the platform", () => {
    const path = () => `/internal/ingest/customers/ada-${customer}`;

    it("gives birth to a customer, and changes it only by newer revisions", async () => {
      const platform = await api.asService();
      const since = await api.mark();
      const born = await platform.put(path(), {
        body: { sourceRevision: 5, name: "Ada", email: "ada@Shop.example", emailVerified: true, phone: "+4930123456" },
      });
      expect([born.status, born.body]).to.deep.equal([200, { applied: true }]);
      expect(born.headers.get("x-log-position")).to.match(/\.\d+$/);
      for (const sourceRevision of [5, 4]) {
        const late = await platform.put(path(), { body: { sourceRevision, name: "Late" } });
        expect([late.status, late.body]).to.deep.equal([200, { applied: false }]);
      }
      expect(await facts(since)).to.deep.equal([
        {
          type: "profile.Registered.v1",
          data: {
            name: "Ada",
            email: "ada@shop.example",
            emailVerified: true,
            phone: "+4930123456",
            source: "platform",
            sourceRevision: 5,
          },
        },
      ]);
      const { body } = await ada.put("/client-data/profile", { body: { language: "de" } });
      expect(body.data).to.include({ name: "Ada", email: "ada@shop.example", emailVerified: true, language: "de" });
    });

    it("takes times with any offset as revisions", async () => {
      const platform = await api.asService();
      await platform.put(path(), { body: { sourceRevision: "2026-01-02T00:00:00+02:00", name: "Ada" } });
      const older = await platform.put(path(), { body: { sourceRevision: "2026-01-01T21:59:59Z", name: "Late" } });
      expect(older.body).to.deep.equal({ applied: false });
      const newer = await platform.put(path(), { body: { sourceRevision: "2026-01-01T22:00:01Z", name: "New" } });
      expect(newer.body).to.deep.equal({ applied: true });
    });

    it("is not for customers, and names what is wrong", async () => {
      const asCustomer = await ada.put(path(), { body: { sourceRevision: 1, name: "Ada" } });
      expect(asCustomer.status).to.equal(403);
      const platform = await api.asService();
      const faulty = await platform.put(path(), { body: { name: "", nickname: "x" } });
      expect([faulty.status, faulty.body.code]).to.deep.equal([400, "UNKNOWN_FIELD"]);
      const without = await platform.put(path(), { body: { name: "Ada" } });
      expect(without.body.errors[0].field).to.equal("sourceRevision");
    });
  });
});
