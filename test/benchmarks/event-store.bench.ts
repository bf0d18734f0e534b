import { startEventStore, temporaryFolder } from "../support/event-store-server.js";
import { type BenchContext, type Benchmark, type BenchResult, benchResult, median, rounded } from "./bench-result.js";
import { startProcess } from "./child-process.js";
import type { AppendPlan, AppendReport } from "./event-store-load.js";
import { inTurns } from "./rounds.js";

/**
 * Durable appends per second through the protocol, against durable inserts into the database underneath it, in
 * transactions of as many rows as there are appends in flight. Server, load and floor are processes of their own.
 */
export const eventStore: Benchmark<BenchContext & { readonly rounds: Rounds }> = {
  name: "event-store",
  run: async ({ rounds, log }) => {
    const folder = await temporaryFolder();
    const server = await startEventStore(["--db", folder.path]);
    const load = await startProcess("event-store-load.js", { EVENTSTORE_URL: server.connectionString }, false);
    const floor = await startProcess("floors/event-store-floor.js", { FOLDER: folder.path }, false);
    const { milliseconds } = rounds;
    const rows: BenchResult[] = [];
    try {
      for (const inFlight of [1, 16, 64]) {
        const append = (client: AppendPlan["client"]) =>
          load.ask<AppendReport>({ client, inFlight, milliseconds } satisfies AppendPlan);
        const insert = () => floor.ask<{ perSecond: number }>({ group: inFlight, milliseconds });
        const official: AppendReport[] = [];
        const lean: AppendReport[] = [];
        const measured = await inTurns(rounds.count, {
          product: async (turn) => {
            const [byOfficial, byLean] = [await append("official"), await append("lean")];
            if (turn > 0) {
              official.push(byOfficial);
              lean.push(byLean);
            }
            return byLean.perSecond;
          },
          floor: async () => (await insert()).perSecond,
        });
        const [product, base] = [median(measured.product), median(measured.floor)];
        const byOfficial = summary(official);
        rows.push(
          benchResult({
            name: `event-store-append-${inFlight}`,
            unit: "appends/s",
            product,
            floor: base,
            aim: 0.6,
            better: "higher",
            details: {
              floor: `libsql, WAL, synchronous = FULL, ${inFlight} rows in a transaction, the store's columns and keys`,
              product: "BatchAppend at the exact revision, 1000 streams, by a lean client",
              lean: summary(lean),
              officialClient: { ...byOfficial, ratio: rounded(byOfficial.perSecond / base) },
              eachRound: { product: measured.product.map(Math.round), floor: measured.floor.map(Math.round) },
            },
          }),
        );
        log(`event-store: ${inFlight} in flight done`);
      }
    } finally {
      await load.stop();
      await floor.stop();
      await server.stop();
      await folder.remove();
    }
    return rows;
  },
};

type Rounds = { readonly count: number; readonly milliseconds: number };

function summary(reports: readonly AppendReport[]) {
  const of = (pick: (report: AppendReport) => number) => rounded(median(reports.map(pick)));
  return {
    perSecond: of((report) => report.perSecond),
    p50: of((report) => report.p50),
    p99: of((report) => report.p99),
    worst: rounded(Math.max(...reports.map((report) => report.worst))),
  };
}
