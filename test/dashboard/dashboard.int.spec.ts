import { expect } from "chai";
import { type Caller, startApi, type TestApi } from "../support/api.js";

const zeros = {
  orders: { total: 0, byStatus: {} },
  tickets: { pending: 0, awaitingMyReply: 0 },
  messages: { unread: 0 },
  notifications: { unread: 0 },
  wallet: null,
  recentActivity: [],
  reservations: { upcoming: 0, next: null },
  wishlist: { count: 0 },
  todos: [],
  asOf: null,
};

describe("dashboard over HTTP", () => {
  let api: TestApi;
  let platform: Caller;

  before(async () => {
    api = await startApi({ projections: true });
    platform = await api.asService();
  });
  after(() => api?.stop());

  const order = (id: string, customerId: string, sourceRevision: number, status: string) =>
    platform.put(`/internal/ingest/orders/${id}`, {
      body: {
        sourceRevision,
        customerId,
        orderNumber: `N-${id}`,
        status,
        placedAt: "2026-01-05T10:00:00Z",
        currency: "EUR",
        totalMinor: 1000,
        items: [{ sku: "cd", title: "CD", quantity: 1, unitPriceMinor: 1000 }],
      },
    });
  const payment = (id: string, customerId: string, sourceRevision: number, more: object) =>
    platform.put(`/internal/ingest/transactions/${id}`, {
      body: {
        sourceRevision,
        customerId,
        type: "earning",
        status: "completed",
        amountMinor: 1000,
        direction: "credit",
        currency: "EUR",
        createdAt: "2026-01-06T10:00:00Z",
        ...more,
      },
    });

  it("is all zeros for a customer without any event", async () => {
    const { status, headers, body } = await (await api.as("nobody")).get("/client-data/dashboard");
    expect(status).to.equal(200);
    expect(body).to.deep.equal({ data: zeros });
    expect(headers.get("etag")).to.match(/^W\//);
    expect(headers.get("x-log-position")).to.match(/\.\d+$/);
  });

  it("adds up what orders, wallet, wishlist and profile feed it", async () => {
    const ada = await api.as("ada", { email: "ada@example.com" });
    const accepted = [
      await order("1", "ada", 1, "new"),
      await order("2", "ada", 1, "new"),
      await order("1", "ada", 2, "shipped"),
      await payment("1", "ada", 1, {}),
      await payment("2", "ada", 1, { status: "pending", amountMinor: 250 }),
      await payment("3", "ada", 1, { direction: "debit", amountMinor: 300 }),
      await payment("4", "ada", 1, { status: "held", amountMinor: 70 }),
      await payment("2", "ada", 2, { amountMinor: 200 }),
      await ada.post("/client-data/wishlist/a"),
      await ada.post("/client-data/wishlist/b"),
      await ada.delete("/client-data/wishlist/a"),
      await ada.put("/client-data/profile", { body: { phone: "+4930123456" } }),
    ];
    for (const answer of accepted) expect(answer.status, JSON.stringify(answer.body)).to.be.within(200, 204);
    await api.caughtUp();
    const { body } = await ada.get("/client-data/dashboard");
    const { recentActivity, asOf, ...rest } = body.data;
    expect(rest).to.deep.equal({
      orders: { total: 2, byStatus: { new: 1, shipped: 1 } },
      tickets: { pending: 0, awaitingMyReply: 0 },
      messages: { unread: 0 },
      notifications: { unread: 0 },
      wallet: {
        balance: 9,
        balanceMinor: 900,
        pending: 0,
        pendingMinor: 0,
        held: 0.7,
        heldMinor: 70,
        currency: "EUR",
      },
      reservations: { upcoming: 0, next: null },
      wishlist: { count: 1 },
      todos: [
        { code: "VERIFY_EMAIL", ref: { datatype: "customer", pk: "customer-ada" } },
        { code: "VERIFY_PHONE", ref: { datatype: "customer", pk: "customer-ada" } },
      ],
    });
    expect(recentActivity.length).to.equal(10);
    expect(recentActivity[0]).to.deep.include({
      kind: "profile.updated",
      title: "Profile updated",
      actor: { type: "customer", name: null },
      ref: { datatype: "customer", pk: "customer-ada" },
    });
    const times = recentActivity.map(({ at }: { at: string }) => at);
    expect(times).to.deep.equal([...times].sort().reverse());
    expect(asOf).to.equal(times[0]);
  });

  it("answers only the sections asked for", async () => {
    const bob = await api.as("bob");
    await bob.post("/client-data/wishlist/a");
    await api.caughtUp();
    const { body } = await bob.get("/client-data/dashboard?include=wishlist,wallet");
    expect(Object.keys(body.data).sort()).to.deep.equal(["asOf", "wallet", "wishlist"]);
    expect(body.data.wishlist).to.deep.equal({ count: 1 });
    const faulty = await bob.get("/client-data/dashboard?include=wishlist,horoscope");
    expect([faulty.status, faulty.body.code]).to.deep.equal([400, "INVALID_QUERY"]);
    expect(faulty.body.errors[0].field).to.equal("include");
  });

  it("shows a write to the reader who waits for it", async () => {
    const cleo = await api.as("cleo");
    for (let count = 1; count <= 5; count++) {
      const { headers } = await cleo.post(`/client-data/wishlist/p-${count}`);
      const { body } = await cleo.get("/client-data/dashboard", {
        headers: { "x-min-log-position": headers.get("x-log-position") ?? "", prefer: "wait=10" },
      });
      expect(body.data.wishlist.count).to.equal(count);
    }
  });

  it("is not disturbed by another customer's writes: 304", async () => {
    const dora = await api.as("dora");
    await dora.post("/client-data/wishlist/a");
    await api.caughtUp();
    const { headers } = await dora.get("/client-data/dashboard");
    await (await api.as("emil")).post("/client-data/wishlist/a");
    await api.caughtUp();
    const etag = headers.get("etag") ?? "";
    expect((await dora.get("/client-data/dashboard", { headers: { "if-none-match": etag } })).status).to.equal(304);
    const emil = await (await api.as("emil")).get("/client-data/dashboard", { headers: { "if-none-match": etag } });
    expect(emil.status).to.equal(200);
  });
});
