import { expect } from "chai";
import { streams } from "#domain/core/identifiers.js";
import { type Answer, type Caller, startApi, type TestApi } from "../support/api.js";

const path = "/client-data/addresses";
const home = { line1: "Oranienstraße 25", city: "Berlin", postalCode: "10999", country: "DE" };
const work = { line1: "71 Upper Street", city: "London", postalCode: "n1  0ny", country: "gb" };

describe("addresses over HTTP", () => {
  let api: TestApi;
  let ada: Caller;
  let customer = 0;

  before(async () => {
    api = await startApi({ projections: true });
  });
  after(() => api?.stop());
  beforeEach(async () => {
    customer += 1;
    ada = await api.as(`ada-${customer}`);
  });

  const owner = () => ({ org: api.org, customer: `ada-${customer}` });
  const types = async (since: string) =>
    (await api.newEvents(since, streams.addresses(owner()))).map(({ type }) => type.replace(/^addresses\./, ""));
  const post = (body: unknown, headers: Record<string, string> = {}) => ada.post(path, { body, headers });
  const list = async () => {
    await api.caughtUp();
    return (await ada.get(path)).body;
  };
  const codeOf = ({ status, body }: Answer) => [status, body.code];

  describe("adding", () => {
    it("answers 201 with the record; the first address is both defaults", async () => {
      const since = await api.mark();
      const full = {
        ...{ ...home, label: "Home", name: "Ada Lovelace", company: "Analytical Engines", line2: "2. Hinterhof" },
        ...{ region: "Berlin", phone: "+4930123456", instructions: "Ring twice,\nthen wait" },
        ...{ location: { lat: 52.5008, lng: 13.4233 }, placeId: "ChIJ_local_oranienstrasse" },
      };
      const { status, headers, body } = await post(full);
      expect(status).to.equal(201);
      expect(headers.get("location")).to.equal(`${path}/${body.pk.replace("address-", "")}`);
      expect([headers.get("etag"), body.version, body.datatype, body.state]).to.deep.equal([
        '"0"',
        0,
        "address",
        "active",
      ]);
      const defaults = { isDefaultShipping: true, isDefaultBilling: true };
      expect(body.data).to.deep.equal({ ...full, verified: false, ...defaults });
      const [added] = await api.newEvents(since, streams.addresses(owner()));
      expect(added?.data).to.deep.equal({ addressId: body.pk.slice("address-".length), address: full, ...defaults });
    });

    it("writes codes as they are written, and takes an empty text for none", async () => {
      const { status, body } = await post({ ...work, label: "", line2: null, location: { lat: -0, lng: 180 } });
      expect(status).to.equal(201);
      expect(body.data).to.include({ country: "GB", postalCode: "N1 0NY" }).and.not.have.any.keys("label", "line2");
      expect(body.data.location).to.deep.equal({ lat: 0, lng: 180 });
      const again = await post({ ...work, location: { lat: 0, lng: 180 } });
      expect([again.status, again.body.pk]).to.deep.equal([200, body.pk]);
    });

    it("answers 200 with the one that is exactly equal, and writes nothing", async () => {
      const first = await post(home);
      const since = await api.mark();
      const again = await post(home);
      expect([again.status, again.body]).to.deep.equal([200, first.body]);
      expect(again.headers.get("location")).to.equal(null);
      expect(await types(since)).to.deep.equal([]);
      expect((await post({ ...home, label: "Home" })).status).to.equal(201);
    });

    it("moves a default to a new address, and each record has a version of its own", async () => {
      const first = await post(home);
      const since = await api.mark();
      const second = await post({ ...work, isDefaultShipping: true });
      expect(second.body.data).to.include({ isDefaultShipping: true, isDefaultBilling: false });
      expect(await types(since)).to.deep.equal(["Added.v1", "DefaultChanged.v1"]);
      const { data } = await list();
      expect(data.map(({ pk }: { pk: string }) => pk)).to.have.members([first.body.pk, second.body.pk]);
      const shown = data.find(({ pk }: { pk: string }) => pk === first.body.pk);
      expect([second.body.version, shown.version]).to.deep.equal([1, 2]);
      expect(shown.data).to.include({ isDefaultShipping: false, isDefaultBilling: true });
    });

    it("rebuilds the first answer for the same Idempotency-Key, though the address was changed and removed", async () => {
      const key = { "idempotency-key": "add-home" };
      const first = await post(home, key);
      const { pk } = first.body;
      await post({ id: pk, label: "Home" });
      await ada.delete(`${path}/${pk}`);
      const since = await api.mark();
      const again = await post(home, key);
      expect([again.status, again.body]).to.deep.equal([201, first.body]);
      expect(again.headers.get("idempotency-replayed")).to.equal("true");
      expect(again.headers.get("location")).to.equal(first.headers.get("location"));
      expect(codeOf(await post(work, key))).to.deep.equal([422, "IDEMPOTENCY_KEY_REUSED"]);
      expect(await types(since)).to.deep.equal([]);
    });

    it("refuses what the country's post could not deliver, and says how to mend it", async () => {
      const noCode = await post({ ...home, postalCode: "D-10999" });
      expect(codeOf(noCode)).to.deep.equal([422, "POSTAL_CODE_INVALID"]);
      expect(noCode.body).to.include({ country: "DE", required: true, example: "26133" });
      expect(codeOf(await post({ ...home, postalCode: null }))).to.deep.equal([422, "POSTAL_CODE_INVALID"]);
      const noRegion = await post({ line1: "1 Main St", city: "Springfield", postalCode: "62701", country: "US" });
      expect(codeOf(noRegion)).to.deep.equal([422, "REGION_REQUIRED"]);
      expect((await post({ line1: "8 Queen's Road", city: "Central", region: "HK", country: "HK" })).status).to.equal(
        201,
      );
    });

    it("has room for fifty, exactly, however many come at once", async () => {
      for (let index = 0; index < 45; index++) await post({ ...home, line1: `Street ${index}` });
      const since = await api.mark();
      const answers = await Promise.all(
        Array.from({ length: 12 }, (_, index) => post({ ...home, line1: `Rush ${index}` })),
      );
      const statuses = answers.map(({ status }) => status);
      expect(statuses.filter((status) => status === 201)).to.have.length(5);
      const refused = answers.filter(({ status }) => status !== 201);
      for (const answer of refused) {
        expect(codeOf(answer)).to.deep.equal([422, "ADDRESS_LIMIT_REACHED"]);
        expect(answer.body.limit).to.equal(50);
      }
      expect(await types(since)).to.have.length(5);
      expect((await post({ ...home, line1: "Street 7" })).status).to.equal(200);
      expect((await list()).total).to.equal(50);
    });

    it("makes one record of the same address sent twice at once", async () => {
      const since = await api.mark();
      const answers = await Promise.all(Array.from({ length: 6 }, () => post(home)));
      expect(answers.map(({ status }) => status).sort()).to.deep.equal([200, 200, 200, 200, 200, 201]);
      expect(new Set(answers.map(({ body }) => body.pk)).size).to.equal(1);
      expect(await types(since)).to.deep.equal(["Added.v1"]);
    });

    it("keeps one default of a kind when several addresses want it at once", async () => {
      await post(home);
      const wishes = Array.from({ length: 6 }, (_, index) =>
        post({ ...home, line1: `Street ${index}`, isDefaultBilling: true }),
      );
      expect((await Promise.all(wishes)).map(({ status }) => status)).to.deep.equal(Array(6).fill(201));
      const { data } = await list();
      const are = (kind: string) => data.filter((one: { data: Record<string, unknown> }) => one.data[kind]);
      expect([are("isDefaultBilling").length, are("isDefaultShipping").length]).to.deep.equal([1, 1]);
    });
  });

  describe("changing", () => {
    it("changes the fields given, clears with null, by id or pk; nothing new writes nothing", async () => {
      const { body: added } = await post({ ...home, label: "Home", phone: "+4930123456" });
      const id = added.pk.slice("address-".length);
      const changed = await post({ id, line1: "Oranienstraße 26", phone: null });
      expect([changed.status, changed.body.version, changed.body.pk]).to.deep.equal([200, 1, added.pk]);
      expect(changed.body.data).to.include({ line1: "Oranienstraße 26", label: "Home" }).and.not.have.key("phone");
      expect(changed.body.createdate).to.equal(added.createdate);
      const since = await api.mark();
      const same = await post({ id: added.pk, line1: "Oranienstraße 26" });
      expect([same.status, same.body]).to.deep.equal([200, changed.body]);
      expect((await post({ id })).status).to.equal(200);
      expect(await types(since)).to.deep.equal([]);
    });

    it("holds on to a version the client names", async () => {
      const { body } = await post(home);
      await post({ id: body.pk, label: "Home" });
      const stale = await post({ id: body.pk, label: "x" }, { "if-match": '"0"' });
      expect(codeOf(stale)).to.deep.equal([412, "PRECONDITION_FAILED"]);
      const conflict = await post({ id: body.pk, label: "x", version: 0 });
      expect([...codeOf(conflict), conflict.body.currentVersion]).to.deep.equal([409, "VERSION_CONFLICT", 1]);
      expect((await post({ id: body.pk, label: "x", version: 1 })).status).to.equal(200);
      expect((await post({ id: body.pk, label: "y" }, { "if-match": '"2"' })).status).to.equal(200);
      expect(codeOf(await post({ ...work, version: 3 }))).to.deep.equal([409, "VERSION_CONFLICT"]);
    });

    it("never creates what is unknown, removed or another customer's: 404, whatever version is named", async () => {
      const { body } = await post(home);
      const bob = await api.as(`bob-${customer}`);
      const { body: bobs } = await bob.post(path, { body: work });
      const { body: gone } = await post(work);
      await ada.delete(`${path}/${gone.pk}`);
      const since = await api.mark();
      for (const id of ["5f1c9a3e-5a5e-5b0a-9d58-0d2f4c2b7a11", "x", "__proto__", gone.pk, bobs.pk]) {
        expect(codeOf(await post({ id, label: "mine" })), id).to.deep.equal([404, "ADDRESS_NOT_FOUND"]);
        expect(codeOf(await post({ id, ...home, version: 0 })), id).to.deep.equal([404, "ADDRESS_NOT_FOUND"]);
      }
      expect(codeOf(await bob.post(path, { body: { id: body.pk, label: "bob's" } }))).to.deep.equal([
        404,
        "ADDRESS_NOT_FOUND",
      ]);
      expect(await api.newEvents(since)).to.deep.equal([]);
    });

    it("moves defaults with true, and refuses to unset one with false", async () => {
      const { body: first } = await post(home);
      const { body: second } = await post(work);
      const refused = await post({ id: first.pk, isDefaultShipping: false });
      expect(codeOf(refused)).to.deep.equal([422, "DEFAULT_CANNOT_BE_UNSET"]);
      const moved = await post({ id: second.pk, isDefaultShipping: true, isDefaultBilling: true });
      expect(moved.body.data).to.include({ isDefaultShipping: true, isDefaultBilling: true });
      expect((await post({ id: first.pk, isDefaultShipping: false })).status).to.equal(200);
      const { data } = await list();
      expect(data.map(({ pk }: { pk: string }) => pk)).to.deep.equal([second.pk, first.pk]);
    });
  });

  describe("removing", () => {
    it("answers 204, again and again, and hands the defaults to the address last used", async () => {
      const { body: first } = await post(home);
      const { body: second } = await post(work);
      await post({ ...home, line1: "Street 3" });
      await post({ id: second.pk, label: "Work" });
      const since = await api.mark();
      const gone = await ada.delete(`${path}/${first.pk}`);
      expect([gone.status, gone.body]).to.deep.equal([204, ""]);
      expect(await types(since)).to.deep.equal(["DefaultChanged.v1", "Removed.v1"]);
      expect((await ada.delete(`${path}/${first.pk}`)).status).to.equal(204);
      expect((await ada.delete(`${path}/${first.pk.slice("address-".length)}`)).status).to.equal(204);
      expect(await types(since)).to.have.length(2);
      const { data } = await list();
      expect(data).to.have.length(2);
      expect(data[0]).to.deep.include({ pk: second.pk });
      expect(data[0].data).to.include({ isDefaultShipping: true, isDefaultBilling: true });
      expect(codeOf(await ada.get(`${path}/${first.pk}`))).to.deep.equal([404, "ADDRESS_NOT_FOUND"]);
    });

    it("is 404 for what never was the customer's, and holds on to a version named", async () => {
      const { body } = await post(home);
      const bob = await api.as(`bob-${customer}`);
      expect(codeOf(await bob.delete(`${path}/${body.pk}`))).to.deep.equal([404, "ADDRESS_NOT_FOUND"]);
      expect(codeOf(await ada.delete(`${path}/unknown`))).to.deep.equal([404, "ADDRESS_NOT_FOUND"]);
      await post({ id: body.pk, label: "Home" });
      const stale = await ada.delete(`${path}/${body.pk}`, { headers: { "if-match": '"0"' } });
      expect(codeOf(stale)).to.deep.equal([412, "PRECONDITION_FAILED"]);
      expect(codeOf(await ada.delete(`${path}/${body.pk}`, { body: { version: 0 } }))).to.deep.equal([
        409,
        "VERSION_CONFLICT",
      ]);
      expect((await ada.delete(`${path}/${body.pk}`, { headers: { "if-match": '"1"' } })).status).to.equal(204);
    });

    it("lets the next address be the first again", async () => {
      const { body } = await post(home);
      await ada.delete(`${path}/${body.pk}`);
      const next = await post(work);
      expect([next.status, next.body.data.isDefaultShipping, next.body.data.isDefaultBilling]).to.deep.equal([
        201,
        true,
        true,
      ]);
    });
  });

  describe("read back", () => {
    it("is an empty list for a new customer", async () => {
      expect((await list()).data).to.deep.equal([]);
    });

    it("shows the very record that the command answered with, by pk and by id, with an ETag that holds", async () => {
      const { body } = await post({ ...home, label: "Home" });
      await api.caughtUp();
      const byPk = await ada.get(`${path}/${body.pk}`);
      expect([byPk.status, byPk.body]).to.deep.equal([200, body]);
      const byId = await ada.get(`${path}/${body.pk.slice("address-".length)}`);
      expect(byId.body).to.deep.equal(body);
      const tag = { "if-none-match": byPk.headers.get("etag") ?? "" };
      expect((await ada.get(`${path}/${body.pk}`, { headers: tag })).status).to.equal(304);
      await post({ id: body.pk, label: "Den" });
      await api.caughtUp();
      expect((await ada.get(`${path}/${body.pk}`, { headers: tag })).status).to.equal(200);
    });

    it("lists the defaults first, then what was modified last; pages and sorts on demand", async () => {
      const pks: string[] = [];
      for (const city of ["Aachen", "Zwickau", "Mainz"]) pks.push((await post({ ...home, city })).body.pk);
      await post({ id: pks[1], isDefaultBilling: true });
      const { data, total } = await list();
      expect(total).to.equal(3);
      expect(data.map(({ data }: { data: { city: string } }) => data.city)).to.deep.equal([
        "Aachen",
        "Zwickau",
        "Mainz",
      ]);
      const byCity = await ada.get(`${path}?s=city&st=asc&ps=2`);
      expect(byCity.body.data.map(({ data }: { data: { city: string } }) => data.city)).to.deep.equal([
        "Aachen",
        "Mainz",
      ]);
      const rest = await ada.get(`${path}?s=city&st=asc&ps=2&cursor=${byCity.body.nextCursor}`);
      expect(rest.body.data[0].data.city).to.equal("Zwickau");
      expect(codeOf(await ada.get(`${path}?s=line1`))).to.deep.equal([400, "SORT_NOT_ALLOWED"]);
    });

    it("reads its own write by log position", async () => {
      const { headers } = await post(home);
      const position = headers.get("x-log-position") ?? "";
      const seen = await ada.get(path, { headers: { "x-min-log-position": position, prefer: "wait=10" } });
      expect([seen.status, seen.body.total]).to.deep.equal([200, 1]);
    });

    it("belongs to its customer alone", async () => {
      const { body } = await post(home);
      await api.caughtUp();
      const bob = await api.as(`bob-${customer}`);
      expect((await bob.get(path)).body.total).to.equal(0);
      expect(codeOf(await bob.get(`${path}/${body.pk}`))).to.deep.equal([404, "ADDRESS_NOT_FOUND"]);
    });

    it("stands in the audit trail and among the news", async () => {
      const { body } = await post(home);
      await post({ id: body.pk, label: "Home" });
      await api.caughtUp();
      const trail = await ada.get("/client-data/activity?area=addresses");
      expect(trail.body.data.map(({ what, ref }: { what: string; ref: string }) => [what, ref])).to.deep.equal([
        ["address.changed", { datatype: "address", pk: body.pk }],
        ["address.added", { datatype: "address", pk: body.pk }],
      ]);
      const dashboard = await ada.get("/client-data/dashboard");
      expect(dashboard.body.data.recentActivity.map(({ kind }: { kind: string }) => kind)).to.include("address.added");
    });
  });

  const long = (length: number) => "😀".repeat(length);
  const refusals: [what: string, body: unknown, field: string, code: string][] = [
    ["no line1", { ...home, line1: undefined }, "line1", "REQUIRED"],
    ["an empty line1", { ...home, line1: " " }, "line1", "TOO_SHORT"],
    ["a null city", { ...home, city: null }, "city", "TYPE"],
    ["no country", { ...home, country: undefined }, "country", "REQUIRED"],
    ["a country that is none", { ...home, country: "XX" }, "country", "PATTERN"],
    ["a country's name", { ...home, country: "Germany" }, "country", "PATTERN"],
    ["too long a line1", { ...home, line1: long(201) }, "line1", "TOO_LONG"],
    ["too long a line2", { ...home, line2: long(201) }, "line2", "TOO_LONG"],
    ["too long a city", { ...home, city: long(121) }, "city", "TOO_LONG"],
    ["too long a region", { ...home, region: long(121) }, "region", "TOO_LONG"],
    ["too long a label", { ...home, label: long(61) }, "label", "TOO_LONG"],
    ["too long a name", { ...home, name: long(201) }, "name", "TOO_LONG"],
    ["too long a company", { ...home, company: long(201) }, "company", "TOO_LONG"],
    ["too long instructions", { ...home, instructions: long(501) }, "instructions", "TOO_LONG"],
    ["too long a postal code", { ...home, postalCode: "1".repeat(21) }, "postalCode", "TOO_LONG"],
    ["a control character", { ...home, line1: "Street\u00071" }, "line1", "CONTROL_CHARACTER"],
    ["half a surrogate pair", { ...home, line1: "\ud83d" }, "line1", "CONTROL_CHARACTER"],
    ["a number for text", { ...home, line1: 25 }, "line1", "TYPE"],
    ["a national phone number", { ...home, phone: "030 123456" }, "phone", "PATTERN"],
    ["an empty phone number", { ...home, phone: "" }, "phone", "PATTERN"],
    ["a latitude beyond the pole", { ...home, location: { lat: 90.1, lng: 0 } }, "location.lat", "TOO_LARGE"],
    ["a longitude beyond the date line", { ...home, location: { lat: 0, lng: -181 } }, "location.lng", "TOO_SMALL"],
    ["half a location", { ...home, location: { lat: 1 } }, "location.lng", "REQUIRED"],
    ["more than a location", { ...home, location: { lat: 1, lng: 1, alt: 2 } }, "location.alt", "UNKNOWN_FIELD"],
    ["a place id with a slash", { ...home, placeId: "../x" }, "placeId", "PATTERN"],
    ["too long a place id", { ...home, placeId: "x".repeat(301) }, "placeId", "PATTERN"],
    ["text for a flag", { ...home, isDefaultShipping: "true" }, "isDefaultShipping", "TYPE"],
    ["verified, which only we say", { ...home, verified: true }, "verified", "UNKNOWN_FIELD"],
    ["a customer's id", { ...home, customerId: "grace" }, "customerId", "UNKNOWN_FIELD"],
    ["an id that is no text", { id: 5, label: "x" }, "id", "TYPE"],
    ["an id with a space", { id: "a b", label: "x" }, "id", "PATTERN"],
    ["an unknown field of a change", { id: "a", colour: "red" }, "colour", "UNKNOWN_FIELD"],
    ["a cleared line1 of a change", { id: "a", line1: null }, "line1", "TYPE"],
    ["half a version", { ...home, version: 0.5 }, "version", "TYPE"],
    ["a list of addresses", [home], "", "TYPE"],
    ["no body", undefined, "", "REQUIRED"],
  ];
  for (const [what, body, field, code] of refusals) {
    it(`refuses ${what}`, async () => {
      const answer = await post(body);
      expect(answer.status).to.equal(400);
      expect(answer.body.code).to.equal(code === "UNKNOWN_FIELD" ? code : "VALIDATION_FAILED");
      const errors = answer.body.errors.map((error: { field: string; code: string }) => [error.field, error.code]);
      expect(errors).to.deep.include([field, code]);
    });
  }

  it("takes what is exactly as long as it may be, counted in characters", async () => {
    const full = {
      ...{ line1: long(200), line2: long(200), city: long(120), region: long(120), label: long(60) },
      ...{ name: long(200), company: long(200), instructions: long(500), placeId: "x".repeat(300) },
      ...{ country: "HK", postalCode: "1".repeat(20) },
    };
    expect((await post(full)).status).to.equal(201);
  });

  it("keeps addresses sealed in the log, and out of what is logged", async () => {
    const secret = { ...home, line1: "Geheimstraße 99", name: "Whoever Lives There" };
    const since = await api.mark();
    const { body } = await post(secret);
    await post({ id: body.pk, instructions: "Key under the mat" });
    for await (const { data } of api.eventStore.readLog({ after: since })) {
      expect(JSON.stringify(data)).not.to.match(/Geheim|Whoever|10999|mat/);
    }
    expect(api.logLines.join("")).not.to.match(/Geheim|Whoever|10999|under the mat/);
  });

  it("has only the methods it has", async () => {
    expect(codeOf(await ada.put(path, { body: home }))).to.deep.equal([405, "METHOD_NOT_ALLOWED"]);
    expect(codeOf(await ada.put(`${path}/x`, { body: home }))).to.deep.equal([405, "METHOD_NOT_ALLOWED"]);
  });
});
