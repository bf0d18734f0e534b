import { request } from "undici";
import type { Stack } from "../../embedded/stack.js";
import { startOwnStack } from "../support/own-stack.js";
import { customerIds, customerLine, ingest, purchaseLines } from "../support/population.js";
import type { Issuer } from "../support/token-issuer.js";
import type { BenchContext } from "./bench-result.js";
import { type LoadGenerator, startLoadGenerator } from "./rounds.js";

/** Database of the read models. */
export const database = "client-data";

/** Customers that requests are sent for; each store holds these, whatever else it holds. */
const sampleSize = 1_000;

/** The whole product running on servers of its own, with customers in it and load ready to be sent. */
export type BenchStack = {
  readonly stack: Stack;
  readonly issuer: Issuer;
  /** For logs and whatever else goes when the stack stops. */
  readonly folder: string;
  /** Ids of the customers whose tokens the load generator has. */
  readonly sample: readonly string[];
  /** Customers in the store. */
  readonly customers: number;
  readonly load: LoadGenerator;
  readonly serviceToken: string;
  /** A token of one customer. */
  tokenOf(customer: string): Promise<string>;
};

/**
 * What benchmarks share: stacks that are started when first asked for and stopped at the end.
 */
export class Benches implements BenchContext {
  readonly #stacks = new Map<number, Promise<BenchStack>>();
  readonly #cleanUp: (() => Promise<unknown>)[] = [];

  constructor(
    readonly quick: boolean,
    readonly log: (line: string) => void,
  ) {}

  /**
   * How long a turn sends load: the counted ones for a while, the first (turn 0) until every caller has been served
   * twice, whatever the speed, so that both sides are measured with warm caches.
   */
  lengthOf(turn: number): { readonly milliseconds: number } | { readonly requestsEach: number } {
    return turn === 0 ? { requestsEach: 2 } : { milliseconds: this.rounds.milliseconds };
  }

  /** How many counted turns there are, and how long each is. */
  get rounds(): { readonly count: number; readonly milliseconds: number } {
    return this.quick ? { count: 2, milliseconds: 1_500 } : { count: 5, milliseconds: 5_000 };
  }

  /** A stack with the thousand sample customers. */
  small(): Promise<BenchStack> {
    return this.#stackOf(sampleSize);
  }

  /** A stack without customers, for what must not meet the events of others. */
  empty(): Promise<BenchStack> {
    return this.#stackOf(0);
  }

  /** A stack with two hundred thousand customers, the sample among them. */
  large(): Promise<BenchStack> {
    return this.#stackOf(this.quick ? 5_000 : 200_000);
  }

  /** Registers what has to be stopped at the end. */
  onStop(cleanUp: () => Promise<unknown>): void {
    this.#cleanUp.push(cleanUp);
  }

  async stop(): Promise<void> {
    for (const cleanUp of this.#cleanUp.splice(0).reverse()) await cleanUp().catch(this.log);
  }

  #stackOf(customers: number): Promise<BenchStack> {
    let stack = this.#stacks.get(customers);
    if (!stack) {
      stack = this.#start(customers);
      this.#stacks.set(customers, stack);
    }
    return stack;
  }

  async #start(customers: number): Promise<BenchStack> {
    this.log(`  starting a stack and ingesting ${customers} customers ...`);
    const started = performance.now();
    const { stack, issuer, folder, stop } = await startOwnStack((line) => this.log(`  ${line}`));
    this.onStop(stop);

    const serviceToken = await issuer.serviceToken();
    const target = { commandApi: stack.file.commandApi, org: issuer.org, serviceToken };
    // The sample is spread evenly over all customers, so that its documents share no pages in a large store.
    const every = Math.max(1, customers / sampleSize);
    const sample = customerIds(0, customers).filter((_, index) => index % every === 0);
    const positions = await ingest(target, population(customers, new Set(sample)));
    const [token] = await issuer.tokensOf(sample.slice(0, 1));
    if (token) await untilVisible(stack.file.queryApi, issuer.org, token, positions);
    const load = await startLoadGenerator({ orgid: issuer.org, tokens: await issuer.tokensOf(sample) });
    this.onStop(() => load.stop());
    this.log(`  ready after ${((performance.now() - started) / 1000).toFixed(1)} s`);
    return {
      stack,
      issuer,
      folder,
      sample,
      customers,
      load,
      serviceToken,
      tokenOf: async (customer) => (await issuer.tokensOf([customer]))[0] as string,
    };
  }
}

function* population(customers: number, sample: ReadonlySet<string>) {
  for (const id of customerIds(0, customers)) {
    yield customerLine(id);
    if (sample.has(id)) yield* purchaseLines(id);
  }
}

/** Waits until a customer's dashboard is built from a log that reaches these positions. */
export async function untilVisible(
  queryApi: string,
  org: string,
  token: string,
  positions: readonly string[],
): Promise<void> {
  for (;;) {
    const { statusCode, body } = await request(`${queryApi}/client-data/dashboard`, {
      headers: {
        orgid: org,
        authorization: `Bearer ${token}`,
        "x-min-log-position": positions.join(","),
        prefer: "wait=10",
      },
    });
    const text = await body.text();
    if (statusCode === 200) return;
    if (statusCode !== 503) throw new Error(`the dashboard was answered with ${statusCode}: ${text.slice(0, 500)}`);
  }
}
