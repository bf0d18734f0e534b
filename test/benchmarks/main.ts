/**
 * Measures the product against floors, against itself at other sizes, and against a peer, each pair in one run:
 *
 *     npm run bench -- [name ...] [--quick] [--json FILE]
 *
 * Without names, everything. `--quick` shows in a few minutes that all of it works; its figures say little. Progress
 * and a table go to stderr; the JSON document with the machine, the commit and every row goes to stdout, or to FILE.
 * Exits 1 when a benchmark could not run; an aim missed is a result, not a failure.
 */
import { writeFileSync } from "node:fs";
import { parseArgs } from "node:util";
import type { Benchmark, BenchResult } from "./bench-result.js";
import { Benches } from "./bench-stack.js";
import { catchUp } from "./catch-up.bench.js";
import { dashboard } from "./dashboard.bench.js";
import { emmett } from "./emmett.bench.js";
import { eventStore } from "./event-store.bench.js";
import { freshness } from "./freshness.bench.js";
import { growth } from "./growth.bench.js";
import { longStreams } from "./long-streams.bench.js";
import { commitRunning, machineFacts } from "./machine.js";
import { reservations } from "./reservations.bench.js";
import { wishlist } from "./wishlist.bench.js";

const benchmarks: readonly Benchmark<Benches>[] = [
  dashboard,
  wishlist,
  eventStore,
  freshness,
  longStreams,
  emmett,
  growth,
  catchUp,
  reservations,
];

function line(row: BenchResult): string {
  const aim = `${row.better === "higher" ? ">=" : "<="} ${row.aim}`;
  const figures = `${row.product} against ${row.floor} ${row.unit}`;
  return `${row.met ? "met   " : "MISSED"} ${row.name.padEnd(24)} ${String(row.ratio).padStart(7)} (${aim}): ${figures}`;
}

async function main(): Promise<void> {
  const { values, positionals } = parseArgs({
    allowPositionals: true,
    options: { quick: { type: "boolean", default: false }, json: { type: "string" } },
  });
  const unknown = positionals.filter((name) => !benchmarks.some((benchmark) => benchmark.name === name));
  if (unknown.length > 0) {
    const names = benchmarks.map(({ name }) => name).join(", ");
    process.stderr.write(`There is no benchmark ${unknown.join(", ")}; there are ${names}.\n`);
    process.exitCode = 2;
    return;
  }
  const log = (text: string) => process.stderr.write(`${text}\n`);
  const document = {
    startedAt: new Date().toISOString(),
    commit: commitRunning(),
    quick: values.quick,
    machine: machineFacts(),
    rows: [] as BenchResult[],
    failed: [] as { benchmark: string; error: string }[],
  };
  const context = new Benches(values.quick, log);
  const stopEarly = () => void context.stop().finally(() => process.exit(130));
  process.once("SIGINT", stopEarly).once("SIGTERM", stopEarly);
  try {
    for (const benchmark of benchmarks) {
      if (positionals.length > 0 && !positionals.includes(benchmark.name)) continue;
      log(`${benchmark.name} ...`);
      try {
        const rows = await benchmark.run(context);
        for (const row of rows) log(`  ${line(row)}`);
        document.rows.push(...rows);
      } catch (error) {
        log(`  could not run: ${error instanceof Error ? error.stack : error}`);
        document.failed.push({ benchmark: benchmark.name, error: String(error) });
      }
    }
  } finally {
    await context.stop();
  }
  const text = `${JSON.stringify(document, null, 2)}\n`;
  if (values.json) writeFileSync(values.json, text);
  else process.stdout.write(text);
  process.exitCode = document.failed.length > 0 ? 1 : 0;
}

await main();
