import { setTimeout as delay } from "node:timers/promises";
import { request } from "undici";

/** A line of `POST /internal/ingest/batch`. */
export type IngestLine = { readonly path: string; readonly body: Record<string, unknown> };

/** Customers of the benchmarks: `customer-0`, `customer-1`, ... */
export function customerIds(from: number, count: number): string[] {
  return Array.from({ length: count }, (_, index) => `customer-${from + index}`);
}

const day = 86_400_000;
const firstDay = Date.UTC(2026, 0, 1);

/** A customer as the platform ingests one. */
export function customerLine(id: string): IngestLine {
  const body = { name: `Sample ${id}`, email: `${id}@benchmark.example`, emailVerified: true, sourceRevision: 1 };
  return { path: `customers/${id}`, body };
}

/** Three orders and their payments, so that a dashboard has something to show. */
export function purchaseLines(id: string): IngestLine[] {
  return [0, 1, 2].flatMap((index) => {
    const at = new Date(firstDay + index * day).toISOString();
    const amountMinor = 1_999 + index * 500;
    const orderId = `${id}-order-${index}`;
    return [
      {
        path: `orders/${orderId}`,
        body: {
          customerId: id,
          orderNumber: orderId,
          status: "completed",
          placedAt: at,
          currency: "EUR",
          totalMinor: amountMinor,
          items: [{ sku: `sku-${index}`, title: "A thing", quantity: 1, unitPriceMinor: amountMinor }],
          sourceRevision: 1,
        },
      },
      {
        path: `transactions/${id}-payment-${index}`,
        body: {
          customerId: id,
          type: "earning",
          status: "completed",
          amountMinor,
          direction: "credit",
          currency: "EUR",
          createdAt: at,
          orderId,
          sourceRevision: 1,
        },
      },
    ];
  });
}

/** Where and as whom to ingest. */
export type IngestTarget = { readonly commandApi: string; readonly org: string; readonly serviceToken: string };

/**
 * Sends lines to the batch ingestion, a thousand at a time, two batches under way.
 *
 * @returns `X-Log-Position` of the last batch of each lane
 * @throws Error when a line is not accepted
 */
export async function ingest(target: IngestTarget, lines: Iterable<IngestLine>): Promise<string[]> {
  const source = lines[Symbol.iterator]();
  const lane = async () => {
    let position = "";
    for (;;) {
      const batch: string[] = [];
      while (batch.length < 1_000) {
        const { value, done } = source.next();
        if (done) break;
        batch.push(JSON.stringify(value));
      }
      if (batch.length === 0) return position;
      // What the product was too busy for is sent again: ingestion is safe to repeat.
      for (let left = batch, tries = 0; left.length > 0; tries++) {
        if (tries > 0) await delay(250);
        const answer = await sendBatch(target, left, tries < 40);
        position = answer.position || position;
        left = answer.unavailable.map((index) => left[index] as string);
      }
    }
  };
  return (await Promise.all([lane(), lane()])).filter((position) => position !== "");
}

async function sendBatch(
  target: IngestTarget,
  batch: readonly string[],
  mayRepeat: boolean,
): Promise<{ position: string; unavailable: number[] }> {
  const { statusCode, headers, body } = await request(`${target.commandApi}/internal/ingest/batch`, {
    method: "POST",
    headers: {
      orgid: target.org,
      authorization: `Bearer ${target.serviceToken}`,
      "content-type": "application/x-ndjson",
    },
    body: batch.join("\n"),
  });
  const text = await body.text();
  if (statusCode !== 200) throw new Error(`the batch was answered with ${statusCode}: ${text.slice(0, 500)}`);
  const statuses = text
    .trimEnd()
    .split("\n")
    .map((line) => ({ line, status: JSON.parse(line).status as number }));
  const isPassing = (status: number) => mayRepeat && status === 503;
  const refused = statuses.find(({ status }) => status >= 300 && !isPassing(status));
  if (refused) throw new Error(`a line was refused: ${refused.line}`);
  return {
    position: String(headers["x-log-position"] ?? ""),
    unavailable: statuses.flatMap(({ status }, index) => (isPassing(status) ? [index] : [])),
  };
}
