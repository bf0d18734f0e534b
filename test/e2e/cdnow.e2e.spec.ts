import { execFile } from "node:child_process";
import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { promisify } from "node:util";
import { expect } from "chai";
import { entry } from "../../embedded/backing-services.js";
import { cdnowFile, cdnowImportFile } from "../../embedded/cdnow.js";
import { type IssuerKey, signToken } from "../../embedded/identity.js";
import { issuerKeyFileName } from "../../embedded/stack.js";
import { type Answer, sendRequest } from "../support/api.js";
import { order } from "../support/platform.js";
import { type RunningStack, startStack } from "../support/stack.js";

/** `all`, or how many of the data set's customers; the whole set has its own command, `npm run test:cdnow`. */
const wanted = process.env.CDNOW_CUSTOMERS ?? "300";

const comparedAtOnce = 8;

type Tallied = { day: string; discs: number; cents: number };

/** Tallies the file by itself: columns at fixed places, nothing shared with the converter. */
async function tally(file: string, customers: number): Promise<Map<string, Tallied[]>> {
  const byCustomer = new Map<string, Tallied[]>();
  for (const line of (await readFile(file, "latin1")).split("\n").slice(1)) {
    if (line === "") continue;
    const id = line.slice(1, 6);
    if (!byCustomer.has(id) && byCustomer.size === customers) break;
    const day = `${line.slice(7, 11)}-${line.slice(11, 13)}-${line.slice(13, 15)}`;
    const [discs = "", dollars = ""] = line.slice(15).trim().split(/ +/);
    const purchases = byCustomer.get(id) ?? [];
    purchases.push({ day, discs: Number(discs), cents: Math.round(Number(dollars) * 100) });
    byCustomer.set(id, purchases);
  }
  return byCustomer;
}

describe(`the purchase history of CDNOW (${wanted} customers)`, () => {
  let stack: RunningStack;
  let history: Map<string, Tallied[]>;
  let importFile: string;
  /** A customer's own view, under one token. */
  let as: (customer: string) => Promise<(path: string, headers?: Record<string, string>) => Promise<Answer>>;

  before(async function () {
    this.timeout(120_000);
    let source: string;
    try {
      source = await cdnowFile();
    } catch (error) {
      console.log(`      the data set could not be fetched: ${(error as Error).message}`);
      return this.skip();
    }
    const customers = wanted === "all" ? Number.POSITIVE_INFINITY : Number(wanted);
    history = await tally(source, customers);
    importFile = await cdnowImportFile(wanted === "all" ? {} : { customers });
    stack = await startStack({ env: { LOG_LEVEL: "warn" } });
    const { file } = stack;
    const key = JSON.parse(await readFile(join(stack.folder, issuerKeyFileName), "utf8")) as IssuerKey;
    as = async (customer) => {
      const subject = { org: file.org, typ: "customer" as const, id: `cdnow-${customer}` };
      const authorization = `Bearer ${await signToken(key, file.issuer, subject, 3600)}`;
      return (path, headers = {}) =>
        sendRequest(file.gateway, "GET", path, { headers: { orgid: file.org, authorization, ...headers } });
    };
  });
  after(() => stack?.stop());

  const runImport = async () => {
    const { stdout } = await promisify(execFile)(process.execPath, [entry("embedded/import.js"), importFile], {
      env: { ...process.env, DATA_DIR: stack.folder },
    });
    const figure = (name: string) => Number(new RegExp(`([\\d,]+) ${name}`).exec(stdout)?.[1]?.replaceAll(",", ""));
    console.log(`      ${stdout.trim()}`);
    return {
      lines: figure("lines:"),
      applied: figure("applied"),
      known: figure("known already"),
      refused: figure("refused"),
    };
  };
  const lines = () => [...history.values()].reduce((sum, purchases) => sum + 1 + 2 * purchases.length, 0);

  it("is imported, every line of it", async function () {
    this.timeout(wanted === "all" ? 0 : 120_000);
    const came = await runImport();
    expect(came).to.include({ lines: lines(), refused: 0 });
    // A line whose answer did not come in time is sent again, and may be known by then.
    expect(came.applied + came.known).to.equal(lines());
  });

  it("is imported once, however often", async function () {
    this.timeout(wanted === "all" ? 0 : 120_000);
    expect(await runImport()).to.deep.equal({ lines: lines(), applied: 0, known: lines(), refused: 0 });
  });

  it("is what each customer sees: dashboard, orders and ledger", async function () {
    this.timeout(wanted === "all" ? 0 : 120_000);
    if (wanted === "all") expect([history.size, lines()]).to.deep.equal([23_570, 23_570 + 2 * 69_659]);
    await seen();
    const customers = [...history];
    let checked = 0;
    const check = async () => {
      for (let next = customers.pop(); next; next = customers.pop()) {
        await compare(...next);
        checked += 1;
        if (checked % 2_000 === 0) console.log(`      ${checked} of ${history.size} customers compared`);
      }
    };
    const started = performance.now();
    await Promise.all(Array.from({ length: comparedAtOnce }, check));
    expect(checked).to.equal(history.size);
    const seconds = (performance.now() - started) / 1_000;
    console.log(`      ${checked} customers compared in ${seconds.toFixed(0)} s: dashboard, every order, ledger`);
  });

  /** Waits until the read models have what was imported, by the position of one more order. */
  async function seen(): Promise<void> {
    const { file } = stack;
    const headers = { orgid: file.org, authorization: `Bearer ${file.serviceToken}` };
    const last = await sendRequest(file.commandApi, "PUT", "/internal/ingest/orders/last", {
      headers,
      body: order("last"),
    });
    const position = last.headers.get("x-log-position") ?? "";
    const get = await as([...history.keys()][0] ?? "");
    for (const path of ["/client-data/dashboard", "/client-data/orders", "/client-data/transactions"]) {
      let answer: Answer;
      do answer = await get(path, { "x-min-log-position": position, prefer: "wait=10" });
      while (answer.status === 503 && answer.body.code === "PROJECTION_BEHIND");
      expect(answer.status).to.equal(200);
    }
  }

  async function compare(customer: string, purchases: readonly Tallied[]): Promise<void> {
    const get = await as(customer);
    const cents = purchases.reduce((sum, purchase) => sum + purchase.cents, 0);
    const dashboard = (await get("/client-data/dashboard")).body.data;
    expect(dashboard.orders, customer).to.deep.equal({
      total: purchases.length,
      byStatus: { ...dashboard.orders.byStatus, completed: purchases.length },
    });
    const counts = Object.values(dashboard.orders.byStatus) as number[];
    expect(
      counts.reduce((sum, count) => sum + count, 0),
      customer,
    ).to.equal(purchases.length);
    expect(dashboard.wallet, customer).to.include({ balanceMinor: -cents + 0, pending: 0, held: 0, currency: "USD" });

    const found: Tallied[] = [];
    let next: string | undefined;
    do {
      const cursor = next === undefined ? "" : `&cursor=${next}`;
      const { status, body } = await get(`/client-data/orders?ps=200&s=placedAt&st=asc${cursor}`);
      expect([status, body.total], customer).to.deep.equal([200, purchases.length]);
      for (const { data } of body.data) {
        found.push({ day: data.placedAt.slice(0, 10), discs: data.items[0].quantity, cents: data.totalMinor });
      }
      next = body.nextCursor;
    } while (next !== undefined);
    expect(sorted(found), customer).to.deep.equal(sorted(purchases));

    const ledger = (await get("/client-data/transactions?ps=1")).body;
    expect(ledger.total, customer).to.equal(purchases.length);
    expect(ledger.summary, customer).to.deep.equal([{ inMinor: 0, outMinor: cents, currency: "USD" }]);
  }

  /** Purchases of one day have no order among themselves. */
  function sorted(purchases: readonly Tallied[]): string[] {
    return purchases.map(({ day, discs, cents }) => `${day} ${discs} ${cents}`).sort();
  }
});
