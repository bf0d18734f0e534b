import { expect } from "chai";
import { type Caller, startApi, type TestApi } from "../support/api.js";
import { transaction } from "../support/platform.js";

/** Reads CSV of RFC 4180. */
function parseCsv(text: string): string[][] {
  const rows: string[][] = [];
  let row: string[] = [];
  const cell = /(?:"((?:[^"]|"")*)"|([^,"\r\n]*))(,|\r\n)/gy;
  for (let match = cell.exec(text); match; match = cell.exec(text)) {
    row.push(match[1] === undefined ? (match[2] ?? "") : match[1].replaceAll('""', '"'));
    if (match[3] !== ",") {
      rows.push(row);
      row = [];
    }
  }
  return rows;
}

describe("transactions over HTTP", () => {
  let api: TestApi;
  let platform: Caller;
  let ada: Caller;

  const send = async (lines: readonly { id: string; body: object }[]) => {
    const body = lines.map(({ id, body }) => JSON.stringify({ path: `transactions/${id}`, body })).join("\n");
    const headers = { "content-type": "application/x-ndjson" };
    const answer = await platform.post("/internal/ingest/batch", { body, headers });
    const answers = String(answer.body)
      .trim()
      .split("\n")
      .map((line) => JSON.parse(line));
    expect(answers.filter(({ applied }) => applied !== true)).to.deep.equal([]);
    return answer;
  };

  before(async () => {
    api = await startApi({ projections: true });
    platform = await api.asService();
    ada = await api.as("ada");
    const of = (changes: object) => transaction("ada", { ...changes });
    await send([
      { id: "t1", body: of({ amountMinor: 10_000, createdAt: "2026-01-01T10:00:00Z", type: "earning" }) },
      {
        id: "t2",
        body: of({
          amountMinor: 2_550,
          direction: "debit",
          type: "payment",
          createdAt: "2026-01-02T10:00:00Z",
          orderId: "order-o1",
          paymentMethod: { pk: "payment_method-pm1", type: "card", brand: "visa", last4: "4242" },
          description: '=HYPERLINK("http://evil.example","x")',
          reference: "-1+2",
          runningBalanceMinor: -50,
        }),
      },
      { id: "t3", body: of({ amountMinor: 700, status: "pending", createdAt: "2026-01-03T10:00:00Z" }) },
      {
        id: "t4",
        body: of({ amountMinor: 300, status: "held", direction: "debit", createdAt: "2026-01-04T10:00:00Z" }),
      },
      {
        id: "t5",
        body: of({
          amountMinor: 99,
          status: "failed",
          failureReason: "declined",
          createdAt: "2026-01-05T10:00:00Z",
          paymentMethod: { type: "paypal" },
        }),
      },
      { id: "t6", body: of({ amountMinor: 0, createdAt: "2026-01-06T10:00:00Z", orderId: "o1" }) },
      { id: "t7", body: of({ amountMinor: 500, currency: "JPY", createdAt: "2026-01-07T10:00:00Z" }) },
      { id: "x1", body: transaction("grace", { amountMinor: 1 }) },
    ]);
    await api.caughtUp();
  });
  after(() => api?.stop());

  const list = async (query: string, caller = ada) => {
    const { status, body } = await caller.get(`/client-data/transactions?${query}`);
    expect(status, JSON.stringify(body)).to.equal(200);
    return body;
  };
  const ids = async (query: string) =>
    (await list(query)).data.map(({ pk }: { pk: string }) => pk.replace("transaction-", ""));

  it("lists the customer's own entries, latest first, with the sums over the whole filter", async () => {
    const page = await list("ps=2");
    expect(page).to.include({ total: 7, hasNext: true, totalPages: 4 });
    expect(page.summary).to.deep.equal([
      { inMinor: 10_000 + 700 + 99, outMinor: 2_550 + 300, currency: "EUR" },
      { inMinor: 500, outMinor: 0, currency: "JPY" },
    ]);
    expect(page.data[0]).to.deep.include({ pk: "transaction-t7", datatype: "transaction", state: "completed" });
    expect(page.data[0].data).to.include({ amount: 500, amountMinor: 500, currency: "JPY", direction: "credit" });
    const [debit] = (await list("type=payment")).data;
    expect(debit.data).to.deep.include({
      amount: 25.5,
      runningBalance: -0.5,
      runningBalanceMinor: -50,
      paymentMethod: { pk: "payment_method-pm1", type: "card", brand: "visa", last4: "4242" },
    });
    expect(await list("count=false")).not.to.have.any.keys("summary", "total");
  });

  it("filters by everything the contract names", async () => {
    expect(await ids("status=pending,held&st=asc")).to.deep.equal(["t3", "t4"]);
    expect(await ids("type=earning")).to.deep.equal(["t1"]);
    for (const name of ["payment_method-pm1", "pm1", "card"]) {
      expect(await ids(`paymentMethod=${name}`), name).to.deep.equal(["t2"]);
    }
    expect(await ids("paymentMethod=paypal")).to.deep.equal(["t5"]);
    for (const name of ["o1", "order-o1"]) expect(await ids(`orderId=${name}`), name).to.deep.equal(["t6", "t2"]);
    expect(await ids("minAmount=25.50&maxAmount=100")).to.deep.equal(["t2", "t1"]);
    expect(await ids("maxAmount=0")).to.deep.equal(["t6"]);
    expect(await ids("minAmount=500")).to.deep.equal(["t7"]);
    expect(await ids("from=2026-01-02&to=2026-01-03")).to.deep.equal(["t3", "t2"]);
    expect((await list("status=held")).summary).to.deep.equal([{ inMinor: 0, outMinor: 300, currency: "EUR" }]);
    expect((await list("status=refunded")).summary).to.deep.equal([]);
  });

  it("refuses filters and sorts it does not know", async () => {
    const codeOf = async (query: string) => (await ada.get(`/client-data/transactions?${query}`)).body.code;
    for (const query of [
      "type=gift",
      "status=lost",
      "minAmount=1e3",
      "minAmount=x",
      "orderId=a%20b",
      "from=yesterday",
    ]) {
      expect(await codeOf(query), query).to.equal("INVALID_QUERY");
    }
    expect(await codeOf("s=description")).to.equal("SORT_NOT_ALLOWED");
    expect(await ids("s=data.amountMinor&st=asc&ps=2")).to.deep.equal(["t6", "t5"]);
  });

  it("keeps the wallet: completed entries make the balance, pending and held stay apart, all moves with its entry", async () => {
    const wallet = async (caller: Caller) => (await caller.get("/client-data/dashboard")).body.data.wallet;
    expect(await wallet(ada)).to.include({
      balance: 74.5,
      balanceMinor: 7_450,
      pending: 7,
      held: -3,
      currency: "EUR",
    });
    const grace = await api.as("grace");
    expect(await wallet(grace)).to.include({ balanceMinor: 1 });
    expect(await wallet(await api.as("nobody"))).to.equal(null);
    const settled = transaction("grace", { amountMinor: 1, status: "refunded", sourceRevision: 2 });
    await send([{ id: "x1", body: settled }]);
    await api.caughtUp();
    expect(await wallet(grace)).to.include({ balanceMinor: 0 });
  });

  it("gives a statement as CSV, every row of the filter, in which nothing is a formula", async () => {
    const csv = await ada.get("/client-data/transactions?st=asc&ps=1", { headers: { accept: "text/csv" } });
    expect(csv.status).to.equal(200);
    expect(csv.headers.get("content-type")).to.match(/^text\/csv; charset=utf-8/);
    expect(csv.headers.get("content-disposition")).to.equal('attachment; filename="transactions.csv"');
    expect(csv.headers.get("vary")).to.match(/Accept(,|$)/);
    const [header = [], ...rows] = parseCsv(csv.body);
    expect(rows).to.have.length((await list("ps=1")).total);
    const cell = (row: number, name: string) => rows[row]?.[header.indexOf(name)];
    expect(cell(0, "pk")).to.equal("transaction-t1");
    expect(cell(0, "amount")).to.equal("100.00");
    expect(cell(6, "amount")).to.equal("500");
    expect(cell(1, "description")).to.equal(`'=HYPERLINK("http://evil.example","x")`);
    expect(cell(1, "reference")).to.equal("'-1+2");
    expect(cell(1, "runningBalance")).to.equal("-0.50");
    expect(rows.flat().filter((text) => /^[=+@\t\r]/.test(text))).to.deep.equal([]);

    const tag = csv.headers.get("etag") ?? "";
    expect(tag).to.match(/^W\/"/);
    const same = await ada.get("/client-data/transactions?st=asc&ps=1", {
      headers: { accept: "text/csv", "if-none-match": tag },
    });
    expect([same.status, same.body]).to.deep.equal([304, ""]);
    const json = await ada.get("/client-data/transactions?st=asc&ps=1", { headers: { "if-none-match": tag } });
    expect(json.status).to.equal(200);

    const filtered = await ada.get("/client-data/transactions?status=held", { headers: { accept: "text/csv" } });
    expect(parseCsv(filtered.body)).to.have.length(2);
    const none = await (await api.as("nobody")).get("/client-data/transactions", { headers: { accept: "text/csv" } });
    expect(parseCsv(none.body)).to.deep.equal([header]);
    const head = await ada.head("/client-data/transactions", { headers: { accept: "text/csv" } });
    expect([head.status, head.headers.get("content-type")?.split(";")[0]]).to.deep.equal([200, "text/csv"]);
  });

  it("answers JSON when it is liked better, and nothing else", async () => {
    const accept = async (value: string) =>
      (await ada.get("/client-data/transactions", { headers: { accept: value } })).headers.get("content-type") ?? "";
    expect(await accept("*/*")).to.match(/^application\/json/);
    expect(await accept("text/csv;q=0.5, application/json")).to.match(/^application\/json/);
    expect(await accept("text/csv, application/json;q=0.5")).to.match(/^text\/csv/);
    expect(await accept("text/csv; charset=utf-8")).to.match(/^text\/csv/);
    expect(await accept("image/png")).to.match(/^application\/problem\+json/);
  });
});
