import { expect } from "chai";
import { type Caller, startApi, type TestApi } from "../support/api.js";

describe("activity over HTTP", () => {
  let api: TestApi;
  let ada: Caller;

  before(async () => {
    api = await startApi({ projections: true });
    ada = await api.as("ada");
    for (const id of ["a", "b", "c", "d", "e"]) await ada.post(`/client-data/wishlist/${id}`);
    await ada.delete("/client-data/wishlist/e");
    await ada.put("/client-data/profile", { body: { language: "de", marketing: { email: true } } });
    const platform = await api.asService();
    await platform.put("/internal/ingest/customers/ada", { body: { sourceRevision: 1, about: "Countess" } });
    await (await api.as("bob")).post("/client-data/wishlist/secret");
    await api.caughtUp();
  });
  after(() => api?.stop());

  type Line = { id: string; at: string; what: string; area: string; actor: { type: string }; changes?: unknown[] };
  const read = async (query = "") => (await ada.get(`/client-data/activity${query}`)).body;
  const whats = (body: { data: Line[] }) => body.data.map(({ what }) => what);

  it("tells what happened, newest first, who did it and what changed", async () => {
    const body = await read();
    expect(whats(body)).to.deep.equal([
      "profile.updated",
      "profile.updated",
      "wishlist.product-removed",
      ...Array(5).fill("wishlist.product-added"),
      "profile.registered",
    ]);
    expect(body).to.include({ hasNext: false, page: 1, pageSize: 20 }).and.not.have.property("total");
    const [byPlatform, byAda] = body.data;
    expect(byPlatform).to.deep.include({
      area: "profile",
      ref: { datatype: "customer", pk: "customer-ada" },
      actor: { type: "system" },
      changes: [{ field: "about", from: null, to: "Countess" }],
    });
    expect(byAda.actor).to.deep.equal({ type: "customer" });
    expect(byAda.changes).to.deep.equal([
      { field: "language", from: null, to: "de" },
      { field: "marketing.email", from: false, to: true },
    ]);
    expect(byAda.id).to.be.a("string");
    expect(byAda.at).to.match(/^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$/);
  });

  it("goes on with a cursor, without gap or repeat, also while new lines come", async () => {
    const first = await read("?ps=4");
    expect(first.hasNext).to.equal(true);
    await ada.post("/client-data/wishlist/f");
    await api.caughtUp();
    const second = await read(`?ps=4&cursor=${first.nextCursor}`);
    const third = await read(`?ps=4&cursor=${second.nextCursor}`);
    expect(third).to.include({ hasNext: false }).and.not.have.property("nextCursor");
    const ids = [first, second, third].flatMap(({ data }) => data.map(({ id }: Line) => id));
    expect(new Set(ids).size).to.equal(9);
    expect(ids.length).to.equal(9);
  });

  it("can be narrowed to an area and a time", async () => {
    const profile = await read("?area=profile");
    expect(new Set(profile.data.map(({ area }: Line) => area))).to.deep.equal(new Set(["profile"]));
    expect(profile.data.length).to.equal(3);
    const from = profile.data[0].at;
    const since = await read(`?from=${encodeURIComponent(from)}`);
    expect(since.data.every(({ at }: Line) => at >= from)).to.equal(true);
    expect((await read(`?to=${encodeURIComponent("2020-01-01")}`)).data).to.deep.equal([]);
    const faulty = await ada.get("/client-data/activity?area=horoscope");
    expect([faulty.status, faulty.body.errors[0].field]).to.deep.equal([400, "area"]);
    const tooMany = await ada.get("/client-data/activity?ps=101");
    expect([tooMany.status, tooMany.body.code]).to.deep.equal([400, "INVALID_QUERY"]);
  });
});
