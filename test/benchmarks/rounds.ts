import { startProcess } from "./child-process.js";
import type { Callers, LoadPlan, LoadReport } from "./load-generator.js";
import { median } from "./bench-result.js";

/** The figures of both sides, one per round. */
export type Rounds<Figure> = { readonly product: readonly Figure[]; readonly floor: readonly Figure[] };

/**
 * Measures two things in turns (product, floor, product, floor, ...), so that whatever else the machine does in the
 * meantime falls on both. The first turn of each is not counted: it warms caches and compiled code.
 *
 * @param rounds counted turns of each
 * @param measure takes the number of the turn, 0 for the uncounted one
 */
export async function inTurns<Figure>(
  rounds: number,
  measure: { product: (turn: number) => Promise<Figure>; floor: (turn: number) => Promise<Figure> },
): Promise<Rounds<Figure>> {
  const product: Figure[] = [];
  const floor: Figure[] = [];
  for (let turn = 0; turn <= rounds; turn++) {
    const ours = await measure.product(turn);
    const theirs = await measure.floor(turn);
    if (turn === 0) continue;
    product.push(ours);
    floor.push(theirs);
  }
  return { product, floor };
}

/** Sends load from a process of its own. */
export type LoadGenerator = { send(plan: LoadPlan): Promise<LoadReport>; stop(): Promise<void> };

/** Starts a load generator that sends as these callers. */
export async function startLoadGenerator(callers: Callers): Promise<LoadGenerator> {
  const process = await startProcess("load-generator.js", {}, false);
  await process.ask({ callers });
  return {
    send: async (plan) => (await process.ask<{ report: LoadReport }>({ plan })).report,
    stop: () => process.stop(),
  };
}

/** The medians of some load reports, for the details of a row. */
export function summary(reports: readonly LoadReport[]) {
  const of = (pick: (report: LoadReport) => number) => Number(median(reports.map(pick)).toPrecision(4));
  return {
    perSecond: of((report) => report.perSecond),
    p50: of((report) => report.p50),
    p90: of((report) => report.p90),
    p99: of((report) => report.p99),
    worst: Number(Math.max(...reports.map((report) => report.max)).toPrecision(4)),
    unavailable: reports.reduce((sum, report) => sum + report.unavailable, 0),
    generatorCpu: of((report) => report.generatorCpu),
    eachRound: reports.map((report) => Math.round(report.perSecond)),
  };
}
