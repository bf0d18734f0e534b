import { expect } from "chai";
import { streams } from "#domain/core/identifiers.js";
import { type Caller, startApi, type TestApi } from "./support/api.js";
import { order, transaction } from "./support/platform.js";

describe("ingest", () => {
  let api: TestApi;
  let platform: Caller;

  before(async () => {
    api = await startApi();
    platform = await api.asService();
  });
  after(() => api?.stop());

  const batch = async (lines: readonly (object | string)[], more: Readonly<Record<string, string>> = {}) => {
    const body = lines.map((line) => (typeof line === "string" ? line : JSON.stringify(line))).join("\n");
    const answer = await platform.post("/internal/ingest/batch", {
      body,
      headers: { "content-type": "application/x-ndjson", ...more },
    });
    const answers = String(answer.body).split("\n").filter(Boolean);
    return { ...answer, lines: answer.status === 200 ? answers.map((line) => JSON.parse(line)) : [] };
  };
  const codes = (lines: readonly { status: number; problem?: { code: string } }[]) =>
    lines.map(({ status, problem }) => problem?.code ?? status);

  describe("one by one", () => {
    it("records an order of a customer not known yet, once", async () => {
      const mark = await api.mark();
      const first = await platform.put("/internal/ingest/orders/o1", { body: order("unknown-1") });
      expect([first.status, first.body]).to.deep.equal([200, { applied: true }]);
      expect(first.headers.get("x-log-position")).to.match(/^[^.]+\.\d+$/);
      const again = await platform.put("/internal/ingest/orders/o1", { body: order("unknown-1") });
      expect([again.status, again.body]).to.deep.equal([200, { applied: false }]);
      expect(again.headers.get("x-log-position")).to.equal(null);

      const events = await api.newEvents(mark);
      expect(events.map(({ type, stream }) => [type, stream])).to.deep.equal([
        ["orders.Placed.v1", streams.order({ org: api.org, customer: "unknown-1" }, "o1")],
      ]);
      expect(events[0]?.metadata).to.include({ orgId: api.org, customerId: "unknown-1" });
      expect(events[0]?.metadata.actor).to.deep.equal({ type: "system", id: "platform" });
      expect(events[0]?.metadata.client).to.equal(undefined);
    });

    it("refuses what came late, by counter and by time, to the microsecond", async () => {
      const put = async (sourceRevision: unknown, status: string) =>
        (
          await platform.put("/internal/ingest/transactions/t-late", {
            body: transaction("c-late", { sourceRevision, status }),
          })
        ).body.applied;
      expect(await put(7, "pending")).to.equal(true);
      expect(await put(6, "failed")).to.equal(false);
      expect(await put("2026-03-01T10:00:00.000002Z", "held")).to.equal(true);
      expect(await put("2026-03-01T10:00:00.000001Z", "failed")).to.equal(false);
      expect(await put("2026-03-01T11:00:00.000003+01:00", "completed")).to.equal(true);
      const mark = await api.mark();
      expect(await put("2026-03-01T10:00:00.000003Z", "failed")).to.equal(false);
      expect(await api.newEvents(mark)).to.deep.equal([]);
    });

    it("seals addresses and free text, and keeps amounts as they were given", async () => {
      const mark = await api.mark();
      const body = order("c-sealed", {
        totalMinor: 0,
        subtotalMinor: 7,
        shippingAddress: { name: "Ada Lovelace", line1: "12 St James's Square", city: null },
      });
      await platform.put("/internal/ingest/orders/sealed", { body });
      const [event] = await api.newEvents(mark);
      expect(event?.data).to.deep.include({
        totalMinor: 0,
        subtotalMinor: 7,
        shippingAddress: { name: "Ada Lovelace", line1: "12 St James's Square" },
      });
      for await (const stored of api.eventStore.readLog({ after: mark })) {
        if (stored.id === event?.id) expect(JSON.stringify(stored.data)).not.to.match(/Ada|James/);
      }
    });

    it("rebuilds the first answer for the same Idempotency-Key", async () => {
      const headers = { "idempotency-key": "ingest-1" };
      const first = await platform.put("/internal/ingest/orders/keyed", { body: order("c-keyed"), headers });
      const again = await platform.put("/internal/ingest/orders/keyed", { body: order("c-keyed"), headers });
      expect([again.status, again.body]).to.deep.equal([200, { applied: true }]);
      expect(again.headers.get("x-log-position")).to.equal(first.headers.get("x-log-position"));
      expect([first, again].map((answer) => answer.headers.get("idempotency-replayed"))).to.deep.equal([null, "true"]);
      const other = await platform.put("/internal/ingest/orders/keyed", {
        body: order("c-keyed", { sourceRevision: 2 }),
        headers,
      });
      expect([other.status, other.body.code]).to.deep.equal([422, "IDEMPOTENCY_KEY_REUSED"]);
    });

    it("refuses a line total too large to be counted exactly", async () => {
      const items = [{ sku: "s", title: "t", quantity: 1_000_000, unitPriceMinor: 9_007_199_254_740_991 }];
      const { status, body } = await platform.put("/internal/ingest/orders/large", { body: order("c1", { items }) });
      expect([status, body.errors?.[0]?.field]).to.deep.equal([400, "items[0].lineTotalMinor"]);
    });

    it("names what is wrong with a body", async () => {
      const wrong = await platform.put("/internal/ingest/orders/wrong", {
        body: {
          ...order("c1"),
          placedAt: "2026-03-01T10:00:00",
          totalMinor: 1.5,
          currency: "euro",
          sourceRevision: undefined,
        },
      });
      expect(wrong.status).to.equal(400);
      expect(wrong.body.errors.map(({ field }: { field: string }) => field)).to.have.members([
        "placedAt",
        "totalMinor",
        "currency",
        "sourceRevision",
      ]);
      const unknown = await platform.put("/internal/ingest/transactions/wrong", {
        body: { ...transaction("c1"), amount: 12.5 },
      });
      expect([unknown.status, unknown.body.code]).to.deep.equal([400, "UNKNOWN_FIELD"]);
    });

    it("lets nobody in but a service", async () => {
      const customer = await api.as("c1");
      const put = await customer.put("/internal/ingest/orders/o1", { body: order("c1") });
      expect([put.status, put.body.code]).to.deep.equal([403, "SERVICE_PRINCIPAL_REQUIRED"]);
      expect((await customer.post("/internal/ingest/batch", { body: "" })).status).to.equal(403);
    });
  });

  describe("in batches", () => {
    it("answers line by line, the highest position in the header", async () => {
      const mark = await api.mark();
      const answer = await batch([
        { path: "customers/b1", body: { sourceRevision: 1, name: "Ada Lovelace" } },
        { path: "orders/b1-1", body: order("b1") },
        { path: "transactions/b1-1", body: transaction("b1") },
        {
          path: "products/kettle-b1",
          body: {
            sourceRevision: 1,
            name: "Kettle",
            slug: "kettle",
            priceMinor: 1,
            currency: "EUR",
            inStock: true,
            available: true,
          },
        },
        { path: "orders/b1-1", body: order("b1") },
      ]);
      expect(answer.headers.get("content-type")).to.equal("application/x-ndjson");
      expect(answer.lines).to.deep.equal([
        { path: "customers/b1", status: 200, applied: true },
        { path: "orders/b1-1", status: 200, applied: true },
        { path: "transactions/b1-1", status: 200, applied: true },
        { path: "products/kettle-b1", status: 200, applied: true },
        { path: "orders/b1-1", status: 200, applied: false },
      ]);
      const [, position = ""] = (answer.headers.get("x-log-position") ?? "").split(".");
      expect(position.padStart(20, "0")).to.equal((await api.newEvents(mark)).at(-1)?.position);
    });

    it("lets one bad line spoil no other", async () => {
      const tooLarge = { path: "orders/large", body: { ...order("b2"), statusNote: "x".repeat(256 * 1024) } };
      const answer = await batch([
        { path: "orders/b2-1", body: order("b2") },
        "{not json",
        "",
        "null",
        "[]",
        '"orders/b2-2"',
        { path: "orders/b2-2" },
        { path: 5, body: order("b2") },
        { path: "orders/b2-2", body: order("b2"), more: 1 },
        { path: "orders", body: order("b2") },
        { path: "orders/b2-2/items", body: order("b2") },
        { path: "orders/b2%202", body: order("b2") },
        { path: "constructor/b2-2", body: order("b2") },
        { path: "orders/b2-2", body: { ...order("b2"), status: "lost" } },
        { path: "orders/b2-2", body: JSON.parse('{"__proto__":{"customerId":"b2"}}') },
        tooLarge,
        { path: "orders/b2-3", body: order("b2") },
      ]);
      expect(codes(answer.lines)).to.deep.equal([
        200,
        "MALFORMED_JSON",
        "VALIDATION_FAILED",
        "VALIDATION_FAILED",
        "VALIDATION_FAILED",
        "VALIDATION_FAILED",
        "VALIDATION_FAILED",
        "UNKNOWN_FIELD",
        "VALIDATION_FAILED",
        "ROUTE_NOT_FOUND",
        "VALIDATION_FAILED",
        "ROUTE_NOT_FOUND",
        "VALIDATION_FAILED",
        "UNKNOWN_FIELD",
        "BODY_TOO_LARGE",
        200,
      ]);
      const problem = answer.lines[12].problem;
      expect(problem.errors[0]).to.include({ field: "status", code: "NOT_ALLOWED" });
      expect(problem.requestId).to.equal(answer.headers.get("x-request-id"));
    });

    it("keeps the order of the lines of one stream", async () => {
      const mark = await api.mark();
      const steps = ["new", "processing", "shipped", "delivered", "completed"];
      const lines = Array.from({ length: 40 }, (_, number) => `b3-${number}`).flatMap((id) =>
        steps.map((status, index) => ({
          path: `orders/${id}`,
          body: order("b3", { status, sourceRevision: index + 1 }),
        })),
      );
      // Dealt out like cards: the lines of one order lie far apart.
      const dealt = steps.flatMap((_, step) => lines.filter((_line, index) => index % steps.length === step));
      const answer = await batch(dealt);
      expect(answer.lines.every(({ applied }) => applied)).to.equal(true);
      const byStream = new Map<string, string[]>();
      for (const { stream, data } of await api.newEvents(mark)) {
        byStream.set(stream, [...(byStream.get(stream) ?? []), (data as { status: string }).status]);
      }
      expect(byStream.size).to.equal(40);
      for (const seen of byStream.values()) expect(seen).to.deep.equal(steps);
    });

    it("takes one stream for one, however its path is encoded", async () => {
      const steps = ["new", "processing", "shipped", "delivered", "completed"];
      const lines = steps.map((status, index) => ({
        path: `orders/b7${index % 2 === 0 ? "-" : "%2D"}1`,
        body: order("b7", { status, sourceRevision: index + 1 }),
      }));
      expect((await batch(lines)).lines.map(({ applied }) => applied)).to.deep.equal(steps.map(() => true));
    });

    it("rebuilds the answers for the same Idempotency-Key, line by line", async () => {
      const key = { "idempotency-key": "batch-1" };
      const lines = [
        { path: "orders/b8-1", body: order("b8") },
        "nonsense",
        { path: "orders/b8-2", body: order("b8") },
      ];
      const first = await batch(lines, key);
      expect(first.headers.get("idempotency-replayed")).to.equal(null);
      const mark = await api.mark();
      const again = await batch(lines, key);
      expect(again.lines.map(({ applied }) => applied)).to.deep.equal([true, undefined, true]);
      expect(again.headers.get("idempotency-replayed")).to.equal("true");
      expect(again.headers.get("x-log-position")).to.equal(first.headers.get("x-log-position"));
      const other = await batch([{ path: "orders/b8-1", body: order("b8", { sourceRevision: 2 }) }], key);
      expect(codes(other.lines)).to.deep.equal(["IDEMPOTENCY_KEY_REUSED"]);
      expect(await api.newEvents(mark)).to.deep.equal([]);
    });

    it("takes a thousand lines and no more, five mebibytes and no more", async () => {
      const lines = Array.from({ length: 1_000 }, (_, number) => ({
        path: `transactions/b4-${number}`,
        body: transaction("b4"),
      }));
      const full = await batch(lines);
      expect(full.lines).to.have.length(1_000);
      expect(full.lines.every(({ applied }) => applied)).to.equal(true);
      const more = await batch([...lines, lines[0] as object]);
      expect([more.status, more.body.code]).to.deep.equal([413, "BODY_TOO_LARGE"]);
      const large = await batch(Array.from({ length: 30 }, () => "x".repeat(200 * 1024)));
      expect([large.status, large.body.code]).to.deep.equal([413, "BODY_TOO_LARGE"]);
    });

    it("takes an empty batch, another line end, and no other media type", async () => {
      expect((await batch([])).lines).to.deep.equal([]);
      const windows = await batch([`${JSON.stringify({ path: "orders/b5", body: order("b5") })}\r`, "\r"]);
      expect(codes(windows.lines)).to.deep.equal([200]);
      const json = await platform.post("/internal/ingest/batch", { body: [] });
      expect([json.status, json.body.code]).to.deep.equal([415, "UNSUPPORTED_MEDIA_TYPE"]);
    });

    it("refuses a line that is not UTF-8", async () => {
      const line = JSON.stringify({ path: "orders/b6", body: order("b6", { orderNumber: "M\u00fc" }) });
      const answer = await platform.post("/internal/ingest/batch", {
        body: Buffer.from(line, "latin1"),
        headers: { "content-type": "application/x-ndjson" },
      });
      expect(JSON.parse(answer.body)).to.deep.include({ path: null, status: 400 });
    });
  });
});
