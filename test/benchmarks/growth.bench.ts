import { type Benchmark, type BenchResult, benchResult, median } from "./bench-result.js";
import type { Benches } from "./bench-stack.js";
import { inTurns, summary } from "./rounds.js";

/** The same requests for the same thousand customers, alone in the store and among two hundred thousand. */
export const growth: Benchmark<Benches> = {
  name: "growth",
  run: async (context) => {
    const small = await context.small();
    const large = await context.large();
    const { count } = context.rounds;
    const rows: BenchResult[] = [];
    for (const what of ["dashboard", "command"] as const) {
      const plan = (url: { queryApi: string; commandApi: string }, turn: number) =>
        what === "dashboard"
          ? ({ url: url.queryApi, method: "GET", path: "/client-data/dashboard", expect: [200] } as const)
          : ({
              url: url.commandApi,
              method: "POST",
              path: `/client-data/wishlist/growth-${turn}-{n}`,
              expect: [201],
            } as const);
      const figures = await inTurns(count, {
        product: (turn) =>
          large.load.send({ ...plan(large.stack.file, turn), connections: 16, ...context.lengthOf(turn) }),
        floor: (turn) =>
          small.load.send({ ...plan(small.stack.file, turn), connections: 16, ...context.lengthOf(turn) }),
      });
      const timeOf = (reports: readonly { perSecond: number }[]) =>
        median(reports.map(({ perSecond }) => 16_000 / perSecond));
      rows.push(
        benchResult({
          name: `growth-${what}`,
          unit: "ms",
          product: timeOf(figures.product),
          floor: timeOf(figures.floor),
          aim: 1.3,
          better: "lower",
          details: {
            floor: `the product itself with ${small.customers} customers in the store`,
            customers: large.customers,
            connections: 16,
            product: summary(figures.product),
            floorLoad: summary(figures.floor),
          },
        }),
      );
    }
    return rows;
  },
};
