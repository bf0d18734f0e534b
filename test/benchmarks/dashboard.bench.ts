import { MongoClient } from "mongodb";
import { generationName, generationRows, readModelKey } from "#infrastructure/read-models.js";
import { dashboardDocument } from "#projectors/dashboard/dashboard.document.js";
import { type Benchmark, benchResult, median } from "./bench-result.js";
import { type Benches, database } from "./bench-stack.js";
import { startProcess } from "./child-process.js";
import { CpuTime } from "./cpu-time.js";
import { inTurns, summary } from "./rounds.js";

const get = { method: "GET", path: "/client-data/dashboard", expect: [200] } as const;

/** GET dashboard against the least any server must do for it. */
export const dashboard: Benchmark<Benches> = {
  name: "dashboard",
  run: async (context) => {
    const { stack, issuer, load, sample } = await context.small();
    const floor = await startProcess<{ port: number }>("floors/dashboard-floor.js", {
      TOKENS: JSON.stringify(issuer.check),
      MONGODB_URL: stack.file.mongodb,
      DATABASE: database,
      ...(await whereDashboardsAre(stack.file.mongodb)),
    });
    context.onStop(() => floor.stop());
    const floorUrl = `http://127.0.0.1:${floor.hello.port}`;
    const { pids } = stack.file;
    const { count } = context.rounds;
    const rows = [];
    for (const connections of [16, 64]) {
      const plan = (turn: number) => ({ ...get, connections, ...context.lengthOf(turn) });
      const [cpu, floorCpu] = [new CpuTime(pids), new CpuTime({ ...pids, floor: floor.pid })];
      const figures = await inTurns(count, {
        product: (turn) => cpu.during(() => load.send({ ...plan(turn), url: stack.file.queryApi })),
        floor: (turn) => floorCpu.during(() => load.send({ ...plan(turn), url: floorUrl })),
      });
      rows.push(
        benchResult({
          name: `dashboard-${connections}`,
          unit: "requests/s",
          product: median(figures.product.map(({ perSecond }) => perSecond)),
          floor: median(figures.floor.map(({ perSecond }) => perSecond)),
          aim: 0.7,
          better: "higher",
          details: {
            floor: "bare node:http, jose verify (ES256), one findOne by _id on the same collection",
            connections,
            customers: sample.length,
            product: { ...summary(figures.product), cpuMicrosecondsPerRequest: cpu.perRequest() },
            floorLoad: { ...summary(figures.floor), cpuMicrosecondsPerRequest: floorCpu.perRequest() },
          },
        }),
      );
    }
    return rows;
  },
};

/** Collection of the live generation, and what follows the owner in a dashboard's `_id`. */
async function whereDashboardsAre(mongodb: string): Promise<{ COLLECTION: string; ID_SUFFIX: string }> {
  const client = await new MongoClient(mongodb).connect();
  try {
    const key = readModelKey(dashboardDocument);
    const row = await generationRows(client.db(database)).findOne({ _id: key });
    const COLLECTION = generationName(key, row?.live ?? 0);
    const any = await client.db(database).collection<{ _id: string; owner: string }>(COLLECTION).findOne({});
    if (!any) throw new Error(`there is no dashboard in ${COLLECTION}`);
    return { COLLECTION, ID_SUFFIX: any._id.slice(any.owner.length) };
  } finally {
    await client.close();
  }
}
