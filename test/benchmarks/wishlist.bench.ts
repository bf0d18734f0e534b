import { type Benchmark, type BenchResult, benchResult, median } from "./bench-result.js";
import type { Benches } from "./bench-stack.js";
import { startProcess } from "./child-process.js";
import { CpuTime } from "./cpu-time.js";
import { inTurns, summary } from "./rounds.js";

/** POST wishlist over a thousand streams against the least any server must do for it. */
export const wishlist: Benchmark<Benches> = {
  name: "wishlist",
  run: async (context) => {
    const { stack, issuer, load, sample } = await context.small();
    const floor = await startProcess<{ port: number }>("floors/wishlist-floor.js", {
      TOKENS: JSON.stringify(issuer.check),
      EVENTSTORE_URL: stack.file.eventStore,
    });
    context.onStop(() => floor.stop());
    const floorUrl = `http://127.0.0.1:${floor.hello.port}`;
    const { pids } = stack.file;
    const { count } = context.rounds;
    const rows: BenchResult[] = [];
    for (const inFlight of [1, 16, 64]) {
      const plan = (turn: number) =>
        ({
          connections: inFlight,
          ...context.lengthOf(turn),
          method: "POST",
          path: `/client-data/wishlist/product-${inFlight}-${turn}-{n}`,
          expect: [201],
        }) as const;
      const [cpu, floorCpu] = [new CpuTime(pids), new CpuTime({ ...pids, floor: floor.pid })];
      const figures = await inTurns(count, {
        product: (turn) => cpu.during(() => load.send({ ...plan(turn), url: stack.file.commandApi })),
        floor: (turn) => floorCpu.during(() => load.send({ ...plan(turn), url: floorUrl })),
      });
      const details = {
        floor: "bare node:http, jose verify (ES256), readStream and appendToStream by the official client",
        inFlight,
        streams: sample.length,
        product: { ...summary(figures.product), cpuMicrosecondsPerRequest: cpu.perRequest() },
        floorLoad: { ...summary(figures.floor), cpuMicrosecondsPerRequest: floorCpu.perRequest() },
      };
      rows.push(
        benchResult({
          name: `wishlist-${inFlight}`,
          unit: "requests/s",
          product: median(figures.product.map(({ perSecond }) => perSecond)),
          floor: median(figures.floor.map(({ perSecond }) => perSecond)),
          aim: 0.7,
          better: "higher",
          details,
        }),
        benchResult({
          name: `wishlist-${inFlight}-p99`,
          unit: "ms",
          product: median(figures.product.map(({ p99 }) => p99)),
          floor: median(figures.floor.map(({ p99 }) => p99)),
          aim: 2,
          better: "lower",
          details,
        }),
      );
    }
    return rows;
  },
};
