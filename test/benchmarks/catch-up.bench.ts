import { join } from "node:path";
import { MongoClient } from "mongodb";
import { startChild } from "../../embedded/child.js";
import { pickPorts } from "../../embedded/ports.js";
import { productSpec } from "../../embedded/products.js";
import type { Stack } from "../../embedded/stack.js";
import { type Benchmark, benchResult, median, rounded } from "./bench-result.js";
import type { Benches } from "./bench-stack.js";
import { startProcess } from "./child-process.js";
import { inTurns } from "./rounds.js";

type Read = { readonly events: number; readonly seconds: number };

/**
 * A projection runner on an empty database, from its start until every read model is built from the whole log,
 * against reading the same events and throwing them away.
 */
export const catchUp: Benchmark<Benches> = {
  name: "catch-up",
  run: async (context) => {
    const { stack, folder } = await context.large();
    const floor = await startProcess("floors/log-reader.js", { EVENTSTORE_URL: stack.file.eventStore }, false);
    context.onStop(() => floor.stop());
    const read = () => floor.ask<Read>({ read: true });
    const { events } = await read();
    const figures = await inTurns(context.quick ? 1 : 3, {
      floor: read,
      product: async (turn) => ({ events, seconds: await buildReadModels(stack, folder, turn) }),
    });
    const perSecond = (reads: readonly Read[]) => median(reads.map(({ seconds }) => events / seconds));
    return [
      benchResult({
        name: "catch-up",
        unit: "events/s",
        product: perSecond(figures.product),
        floor: perSecond(figures.floor),
        aim: 0.4,
        better: "higher",
        details: {
          floor: "readAll of the same log by the official client, counting",
          product: "a runner on an empty database, from the start of its process until /readyz says that all is built",
          events,
          seconds: figures.product.map(({ seconds }) => rounded(seconds)),
          floorSeconds: figures.floor.map(({ seconds }) => rounded(seconds)),
        },
      }),
    ];
  },
};

/** Builds all read models in a database of their own, and drops it. Gives the seconds it took. */
async function buildReadModels(stack: Stack, folder: string, turn: number): Promise<number> {
  const database = `benchmark-catch-up-${turn}`;
  const { projectors: port } = await pickPorts(["projectors"]);
  const spec = productSpec("projectors", {
    host: "127.0.0.1",
    port,
    healthPort: port,
    environment: { ...stack.environment, MONGODB_DATABASE: database },
    logFile: join(folder, `${database}.log`),
  });
  const started = performance.now();
  const runner = startChild({ ...spec, startTimeoutMs: 600_000 });
  try {
    await runner.ready;
    return (performance.now() - started) / 1000;
  } finally {
    await runner.stop();
    const client = new MongoClient(stack.environment.MONGODB_URL ?? "");
    await client.db(database).dropDatabase();
    await client.close();
  }
}
