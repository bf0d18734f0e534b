import { expect } from "chai";
import { type Caller, startApi, type TestApi } from "../support/api.js";
import { order } from "../support/platform.js";

describe("orders over HTTP", () => {
  let api: TestApi;
  let platform: Caller;
  let ada: Caller;

  before(async () => {
    api = await startApi({ projections: true });
    platform = await api.asService();
    ada = await api.as("ada");
    await put("o1", order("ada", { orderNumber: "N-1", placedAt: "2026-01-31T23:30:00Z", totalMinor: 0 }));
    await put(
      "o2",
      order("ada", {
        orderNumber: "N-2",
        status: "shipped",
        placedAt: "2026-02-01T00:30:00Z",
        totalMinor: 3050,
        subtotalMinor: 3000,
        shippingMinor: 50,
        shippingAddress: { name: "Ada Lovelace", city: "London" },
        paymentMethod: { type: "card", brand: "visa", last4: "4242" },
        shipments: [{ carrier: "DHL", tracking: "JD0146", status: "in transit", items: [{ id: "1", quantity: 2 }] }],
      }),
    );
    await put(
      "o3",
      order("ada", { orderNumber: "N-3", currency: "JPY", placedAt: "2026-03-01T08:00:00Z", totalMinor: 500 }),
    );
    await put(
      "o1",
      order("ada", {
        orderNumber: "N-1",
        placedAt: "2026-01-31T23:30:00Z",
        status: "cancelled",
        statusAt: "2026-02-02T00:00:00Z",
        sourceRevision: 2,
        totalMinor: 0,
      }),
    );
    await put("o9", order("grace", { orderNumber: "N-9" }));
    await put(
      "N-2",
      order("ada", {
        orderNumber: "N-4",
        placedAt: "2026-03-02T08:00:00Z",
        status: "completed",
        items: [{ sku: "C-1", title: "Crème brûlée (.*)", quantity: 1, unitPriceMinor: 700 }],
      }),
    );
    await put("o5", order("grace", { orderNumber: "№ 10/5" }));
    await api.caughtUp();
  });
  after(() => api?.stop());

  const put = async (id: string, body: object) => {
    const answer = await platform.put(`/internal/ingest/orders/${id}`, { body });
    expect([answer.status, answer.body.applied], JSON.stringify(answer.body)).to.deep.equal([200, true]);
    return answer;
  };
  const list = async (query: string) => {
    const { status, body } = await ada.get(`/client-data/orders?${query}`);
    expect(status, JSON.stringify(body)).to.equal(200);
    return body;
  };
  const numbers = async (query: string) =>
    (await list(query)).data.map(({ data }: { data: { orderNumber: string } }) => data.orderNumber);

  it("lists the customer's own orders in short form, newest change first", async () => {
    const page = await list("");
    expect(page).to.include({ total: 4, hasNext: false, page: 1, pageSize: 50, totalPages: 1 });
    expect(page.data.map(({ pk }: { pk: string }) => pk)).to.deep.equal([
      "order-N-2",
      "order-o1",
      "order-o3",
      "order-o2",
    ]);
    for (const { data } of page.data) expect(data).not.to.have.any.keys("timeline", "search");
    expect(page.data[3]).to.include({
      pk: "order-o2",
      sk: `${api.org}/order/o2`,
      datatype: "order",
      version: 0,
      state: "shipped",
    });
    expect(page.data[3].data).to.deep.include({
      orderNumber: "N-2",
      status: "shipped",
      placedAt: "2026-02-01T00:30:00.000Z",
      total: 30.5,
      totalMinor: 3050,
      subtotal: 30,
      shipping: 0.5,
      cancellable: false,
      items: [
        {
          id: "1",
          sku: "B-1",
          title: "A book",
          quantity: 2,
          unitPrice: 9.99,
          unitPriceMinor: 999,
          lineTotal: 19.98,
          lineTotalMinor: 1998,
        },
      ],
    });
    expect(page.data[2].data).to.include({ currency: "JPY", total: 500, totalMinor: 500 });
    expect(page.data[1].data).to.include({ total: 0, totalMinor: 0, cancellable: false });
  });

  it("shows one order with its timeline, by pk, id or number; the pk and the id come first", async () => {
    for (const name of ["order-o1", "o1", "N-1"]) {
      const { status, body, headers } = await ada.get(`/client-data/orders/${name}`);
      expect([status, body.pk], name).to.deep.equal([200, "order-o1"]);
      expect(body.version).to.equal(1);
      expect(body.data.timeline).to.deep.equal([
        { at: "2026-01-31T23:30:00.000Z", status: "new" },
        { at: "2026-02-02T00:00:00.000Z", status: "cancelled" },
      ]);
      const again = await ada.get(`/client-data/orders/${name}`, {
        headers: { "if-none-match": headers.get("etag") ?? "" },
      });
      expect(again.status).to.equal(304);
    }
    expect((await ada.get("/client-data/orders/N-2")).body.pk).to.equal("order-N-2");
    expect((await ada.get("/client-data/orders/N-4")).body.pk).to.equal("order-N-2");
  });

  it("finds an order by whatever number the platform gave it", async () => {
    const grace = await api.as("grace");
    const { status, body } = await grace.get(`/client-data/orders/${encodeURIComponent("№ 10/5")}`);
    expect([status, body.pk]).to.deep.equal([200, "order-o5"]);
    expect((await grace.get("/client-data/orders/a%20b")).body.code).to.equal("ORDER_NOT_FOUND");
    expect((await grace.get("/client-data/orders/a%00b")).status).to.equal(400);
  });

  it("knows no order of somebody else, and no other", async () => {
    for (const name of ["o9", "order-o9", "N-9", "nothing"]) {
      const { status, body } = await ada.get(`/client-data/orders/${name}`);
      expect([status, body.code], name).to.deep.equal([404, "ORDER_NOT_FOUND"]);
    }
    const grace = await api.as("grace");
    const own = (await grace.get("/client-data/orders?s=pk")).body.data.map(({ pk }: { pk: string }) => pk);
    expect(own).to.deep.equal(["order-o9", "order-o5"]);
    const nobody = await api.as("nobody");
    expect((await nobody.get("/client-data/orders")).body).to.deep.include({ data: [], total: 0 });
  });

  it("filters by status, day in a time zone, and text", async () => {
    expect(await numbers("status=new,shipped&s=orderNumber&st=asc")).to.deep.equal(["N-2", "N-3"]);
    expect(await numbers("to=2026-01-31")).to.deep.equal(["N-1"]);
    expect(await numbers("from=2026-02-01&to=2026-02-01")).to.deep.equal(["N-2"]);
    expect(await numbers("from=2026-02-01&to=2026-02-01&timezone=Europe/Berlin&s=orderNumber&st=asc")).to.deep.equal([
      "N-1",
      "N-2",
    ]);
    expect(await numbers("from=2026-02-01T00:30:00Z&to=2026-03-01T08:00:00Z")).to.deep.equal(["N-2"]);
    expect(await numbers("q=n-3")).to.deep.equal(["N-3"]);
    expect(await numbers("q=CREME BRULEE")).to.deep.equal(["N-4"]);
    expect(await numbers(`q=${encodeURIComponent("(.*)")}`)).to.deep.equal(["N-4"]);
    expect(await numbers("q=jd0146")).to.deep.equal(["N-2"]);
    expect(await numbers("q=ada")).to.deep.equal([]);
  });

  it("sorts by every scalar it shows and by nothing else", async () => {
    expect(await numbers("s=data.placedAt&st=asc&ps=3")).to.deep.equal(["N-1", "N-2", "N-3"]);
    expect(await numbers("s=total")).to.deep.equal(["N-2", "N-4", "N-3", "N-1"]);
    for (const sort of [
      "status",
      "currency",
      "data.subtotalMinor",
      "tax",
      "discount",
      "shipping",
      "createdate",
      "version",
      "pk",
      "sk",
      "state",
      "datatype",
    ]) {
      expect((await list(`s=${sort}`)).data, sort).to.have.length(4);
    }
    const refused = await ada.get("/client-data/orders?s=shippingAddress");
    expect([refused.status, refused.body.code]).to.deep.equal([400, "SORT_NOT_ALLOWED"]);
    const unknown = await ada.get("/client-data/orders?status=lost");
    expect([unknown.status, unknown.body.code]).to.deep.equal([400, "INVALID_QUERY"]);
  });

  it("pages by number and by cursor, each order once", async () => {
    const seen: string[] = [];
    let cursor = "";
    do {
      const page = await list(`ps=1&s=data.subtotal&st=asc${cursor}`);
      seen.push(page.data[0].pk);
      cursor = page.nextCursor ? `&cursor=${page.nextCursor}` : "";
    } while (cursor !== "");
    expect(seen).to.have.length(4);
    expect(new Set(seen).size).to.equal(4);
    expect(await numbers("ps=2&p=2&s=orderNumber&st=asc")).to.deep.equal(["N-3", "N-4"]);
    expect(await list("p=9&ps=50")).to.deep.include({ data: [], total: 4, hasNext: false });
  });

  it("counts orders by status in the dashboard, and moves the counts with the orders", async () => {
    const orders = async () => (await ada.get("/client-data/dashboard")).body.data.orders;
    expect(await orders()).to.deep.equal({ total: 4, byStatus: { cancelled: 1, completed: 1, new: 1, shipped: 1 } });
    const moved = order("ada", {
      orderNumber: "N-3",
      currency: "JPY",
      placedAt: "2026-03-01T08:00:00Z",
      totalMinor: 500,
      status: "completed",
      sourceRevision: 9,
    });
    const { headers } = await put("o3", moved);
    const answer = await ada.get("/client-data/dashboard", {
      headers: { "x-min-log-position": headers.get("x-log-position") ?? "", prefer: "wait=10" },
    });
    expect(answer.body.data.orders.total).to.equal(4);
    expect(answer.body.data.orders.byStatus).to.deep.include({ completed: 2, shipped: 1, cancelled: 1 });
    expect(answer.body.data.orders.byStatus.new ?? 0).to.equal(0);
  });
});
