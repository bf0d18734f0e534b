import { Client } from "undici";
import { type Benchmark, benchResult, median, percentile, rounded } from "./bench-result.js";
import type { BenchStack, Benches } from "./bench-stack.js";

/** The same command on a stream of ten events and on one of ten thousand. */
export const longStreams: Benchmark<Benches> = {
  name: "long-streams",
  run: async (context) => {
    const bench = await context.small();
    const long = context.quick ? 500 : 10_000;
    const [shortOne, longOne] = ["short-stream", "long-stream"];
    const shortStream = await customerWith(bench, shortOne, 10);
    const longStream = await customerWith(bench, longOne, long);
    // Alternating on and off keeps the list short while the stream grows by one event each time.
    const samples = context.quick ? 100 : 500;
    const times = { short: [] as number[], long: [] as number[] };
    for (let index = 0; index < samples; index++) {
      times.short.push(await shortStream.command());
      times.long.push(await longStream.command());
    }
    await shortStream.close();
    await longStream.close();
    const spread = (values: readonly number[]) => ({
      p50: rounded(percentile(values, 0.5)),
      p99: rounded(percentile(values, 0.99)),
    });
    return [
      benchResult({
        name: "long-streams",
        unit: "ms",
        product: median(times.long),
        floor: median(times.short),
        aim: 1.5,
        better: "lower",
        details: {
          floor: "the same command of the product on a stream that had 10 events before",
          events: long,
          samples,
          long: spread(times.long),
          short: spread(times.short),
        },
      }),
    ];
  },
};

/** A customer whose wishlist stream holds that many events, each written by a command; and one more command on it. */
async function customerWith(bench: BenchStack, customer: string, events: number) {
  const client = new Client(bench.stack.file.commandApi);
  const headers = { orgid: bench.issuer.org, authorization: `Bearer ${await bench.tokenOf(customer)}` };
  let present = false;
  const toggle = async () => {
    const method = present ? "DELETE" : "POST";
    const { statusCode, body } = await client.request({ method, path: "/client-data/wishlist/on-and-off", headers });
    await body.text();
    if (statusCode !== (present ? 204 : 201)) throw new Error(`${method} wishlist answered ${statusCode}`);
    present = !present;
  };
  for (let written = 0; written < events; written++) await toggle();
  return {
    async command(): Promise<number> {
      const started = performance.now();
      await toggle();
      return performance.now() - started;
    },
    close: () => client.close(),
  };
}
