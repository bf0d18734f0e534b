/**
 * The load of the HTTP benchmarks, in a process of its own so that it shares no event loop with what it measures.
 * Closed loop: each connection sends its next request when the last is answered. A child with an IPC channel:
 * takes a {@link LoadOrder}, answers `{report: LoadReport}`.
 *
 * It reads answers through undici's dispatch without building bodies, which costs about 20 µs a request where the
 * servers measured here spend several hundred: it is not the limit.
 */
import { Client } from "undici";
import { seededRandom } from "../support/random.js";
import { percentile } from "./bench-result.js";

/** Who sends: headers of each caller, prepared before the measured time. */
export type Callers = { readonly orgid: string; readonly tokens: readonly string[] };

export type LoadPlan = {
  /** Base URL, without a path. */
  readonly url: string;
  readonly connections: number;
  /** How long to send; absent to send `requestsEach` instead. */
  readonly milliseconds?: number;
  /** Sends exactly this many requests as each caller, in turn. */
  readonly requestsEach?: number;
  readonly method: "GET" | "POST";
  /** Path and query; `{n}` becomes a number that grows with every request of the run. */
  readonly path: string;
  /** First value of `{n}`; the caller keeps rounds apart with it. */
  readonly from?: number;
  /** Status codes that count as an answer; any other one but 503 fails the run. */
  readonly expect: readonly number[];
};

export type LoadOrder = { readonly callers?: Callers; readonly plan?: LoadPlan };

export type LoadReport = {
  readonly requests: number;
  /** Answers 503, which do not count as requests: the server was too busy, or its machine was. */
  readonly unavailable: number;
  readonly perSecond: number;
  /** Milliseconds from sending to the last byte. */
  readonly p50: number;
  readonly p90: number;
  readonly p99: number;
  readonly max: number;
  /** Share of one core that this process used: near 1 it would be the limit. */
  readonly generatorCpu: number;
};

let callers: Callers = { orgid: "", tokens: [] };

/** Sends one request; gives its status. */
function send(client: Client, plan: LoadPlan, headers: Record<string, string>, path: string): Promise<number> {
  return new Promise((resolve, reject) => {
    let status = 0;
    let size = 0;
    let start = "";
    client.dispatch(
      { method: plan.method, path, headers },
      {
        onRequestStart() {},
        onResponseStart(_controller, statusCode) {
          status = statusCode;
        },
        onResponseData(_controller, chunk) {
          if (size === 0) start = chunk.subarray(0, 300).toString("utf8");
          size += chunk.length;
        },
        onResponseEnd() {
          if (status === 503 || (plan.expect.includes(status) && size > 0)) resolve(status);
          else reject(new Error(`${plan.method} ${path} answered ${status}: ${start}`));
        },
        onResponseError(_controller, error) {
          reject(error);
        },
      },
    );
  });
}

async function run(plan: LoadPlan): Promise<LoadReport> {
  const headersOf = callers.tokens.map((token) => ({ orgid: callers.orgid, authorization: `Bearer ${token}` }));
  const latencies: number[] = [];
  let unavailable = 0;
  const random = seededRandom(plan.connections);
  let sequence = plan.from ?? 0;
  const cpu = process.cpuUsage();
  const started = performance.now();
  const deadline = started + (plan.milliseconds ?? Number.POSITIVE_INFINITY);
  // Each connection has callers of its own: two requests for one stream at once are another question.
  const lane = async (lane: number) => {
    const own = headersOf.filter((_, index) => index % plan.connections === lane);
    const client = new Client(plan.url, { pipelining: 1, keepAliveTimeout: 60_000 });
    const most = plan.requestsEach === undefined ? Number.POSITIVE_INFINITY : plan.requestsEach * own.length;
    try {
      for (let sent = 0; sent < most && performance.now() < deadline; sent++) {
        const turn = plan.requestsEach === undefined ? random.below(own.length) : sent % own.length;
        const headers = own[turn] as Record<string, string>;
        const path = plan.path.replace("{n}", String(sequence++));
        const sentAt = performance.now();
        if ((await send(client, plan, headers, path)) === 503) unavailable += 1;
        else latencies.push(performance.now() - sentAt);
      }
    } finally {
      await client.close();
    }
  };
  await Promise.all(Array.from({ length: plan.connections }, (_, index) => lane(index)));
  const seconds = (performance.now() - started) / 1000;
  const used = process.cpuUsage(cpu);
  return {
    requests: latencies.length,
    unavailable,
    perSecond: latencies.length / seconds,
    p50: percentile(latencies, 0.5),
    p90: percentile(latencies, 0.9),
    p99: percentile(latencies, 0.99),
    max: percentile(latencies, 1),
    generatorCpu: (used.user + used.system) / 1e6 / seconds,
  };
}

process.on("message", async (order: LoadOrder) => {
  if (order.callers) callers = order.callers;
  if (!order.plan) return process.send?.({ ready: true });
  try {
    process.send?.({ report: await run(order.plan) });
  } catch (error) {
    process.send?.({ failed: error instanceof Error ? error.message : String(error) });
  }
});
process.on("disconnect", () => process.exit(0));
