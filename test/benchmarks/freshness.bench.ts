import { EventStoreDBClient, jsonEvent, streamNameFilter } from "@eventstore/db-client";
import { MongoClient } from "mongodb";
import { Client } from "undici";
import { type Benchmark, benchResult, percentile, rounded } from "./bench-result.js";
import { type BenchStack, type Benches } from "./bench-stack.js";

/**
 * How long after a command's answer its effect is in the customer's dashboard, against how long the event store
 * takes to hand an appended event to a bare subscription. Also measured: a majority-acknowledged MongoDB write, which
 * the projection cannot do without.
 */
export const freshness: Benchmark<Benches> = {
  name: "freshness",
  run: async (context) => {
    const bench = await context.small();
    const samples = context.quick ? 60 : 500;
    const writes = await mongoWrites(bench.stack.file.mongodb, samples);
    const bare = await bareSubscription(bench.stack.file.eventStore);
    const visible = await dashboardProbe(bench);
    const product: number[] = [];
    const floor: number[] = [];
    for (let index = 0; index < samples; index++) {
      product.push(await visible.measure(index));
      floor.push(await bare.measure());
    }
    await visible.close();
    await bare.close();
    const [p99, floorP99, writeP99] = [product, floor, writes].map((values) => percentile(values, 0.99)) as [
      number,
      number,
      number,
    ];
    const spread = (values: readonly number[]) => ({
      p50: rounded(percentile(values, 0.5)),
      p90: rounded(percentile(values, 0.9)),
      p99: rounded(percentile(values, 0.99)),
      worst: rounded(percentile(values, 1)),
    });
    return [
      benchResult({
        name: "freshness-p99",
        unit: "ms",
        product: p99,
        floor: floorP99,
        // Three times the floor and one write, as a ratio to the floor.
        aim: rounded((3 * floorP99 + writeP99) / floorP99),
        better: "lower",
        details: {
          floor: "append by the official client until its event reaches a bare filtered subscription to $all",
          product: "answer to POST wishlist until a plain GET dashboard, repeated without pause, shows the product",
          samples,
          answerToVisible: spread(product),
          appendToEvent: spread(floor),
          mongoWrite: spread(writes),
        },
      }),
    ];
  },
};

type Probe = { measure(index: number): Promise<number>; close(): Promise<void> };

/** Adds a product, then asks for the dashboard until it counts it. */
async function dashboardProbe(bench: BenchStack): Promise<Probe> {
  const { commandApi, queryApi } = bench.stack.file;
  const commands = new Client(commandApi);
  const queries = new Client(queryApi);
  const headersOf = async (customer: string) => ({
    orgid: bench.issuer.org,
    authorization: `Bearer ${await bench.tokenOf(customer)}`,
  });
  const count = async (headers: Record<string, string>): Promise<number> => {
    const { body } = await queries.request({ method: "GET", path: "/client-data/dashboard", headers });
    return ((await body.json()) as { data: { wishlist: { count: number } } }).data.wishlist.count;
  };
  return {
    async measure(index) {
      const customer = bench.sample[index % bench.sample.length] as string;
      const headers = await headersOf(customer);
      const before = await count(headers);
      const path = `/client-data/wishlist/fresh-${index}`;
      const { statusCode, body } = await commands.request({ method: "POST", path, headers });
      await body.text();
      if (statusCode !== 201) throw new Error(`POST ${path} answered ${statusCode}`);
      const answered = performance.now();
      while ((await count(headers)) === before) {
        if (performance.now() - answered > 10_000) throw new Error("the dashboard did not show the product in 10 s");
      }
      return performance.now() - answered;
    },
    async close() {
      await commands.close();
      await queries.close();
    },
  };
}

async function bareSubscription(url: string): Promise<{ measure(): Promise<number>; close(): Promise<void> }> {
  const client = EventStoreDBClient.connectionString(url);
  const subscription = client.subscribeToAll({
    fromPosition: "end",
    filter: streamNameFilter({ prefixes: ["floor-"] }),
  });
  let arrived = (_id: string) => {};
  subscription.on("data", ({ event }) => {
    if (event) arrived(event.id);
  });
  await new Promise((resolve) => subscription.once("confirmation", resolve));
  return {
    async measure() {
      const event = jsonEvent({ type: "floor.Timed.v1", data: {} });
      const arrival = new Promise<number>((resolve) => {
        arrived = (id) => {
          if (id === event.id) resolve(performance.now());
        };
      });
      const started = performance.now();
      await client.appendToStream("floor-freshness", event);
      return (await arrival) - started;
    },
    async close() {
      await subscription.unsubscribe();
      await client.dispose();
    },
  };
}

/** Times majority-acknowledged updates of one document each. */
async function mongoWrites(url: string, samples: number): Promise<number[]> {
  const client = await new MongoClient(url, { writeConcern: { w: "majority", journal: true } }).connect();
  const collection = client.db("benchmark").collection<{ _id: number; count: number }>("writes");
  const times: number[] = [];
  for (let index = 0; index < samples; index++) {
    const started = performance.now();
    await collection.updateOne({ _id: index % 100 }, { $inc: { count: 1 } }, { upsert: true });
    times.push(performance.now() - started);
  }
  await client.close();
  return times;
}
