import { setTimeout as delay } from "node:timers/promises";
import { Agent, request } from "undici";
import { type Owner, streams } from "#domain/core/identifiers.js";
import type { Random } from "../support/random.js";
import type { Ledger, LedgerEntry } from "./ledger.js";

/** Where requests go and as whom. */
export type Target = {
  readonly gateway: string;
  /** Ingestion is not served by the gateway. */
  readonly commandApi: string;
  readonly org: string;
  readonly tokens: ReadonlyMap<string, string>;
  readonly serviceToken: string;
};

/** A whole answer later than this counts as a hang. */
const patienceMs = 15_000;
/** A customer that repeats does so until it is answered, but no longer than this: then the product did not recover. */
const repeatForMs = 60_000;

type Call = {
  readonly base: string;
  readonly method: "GET" | "POST" | "PUT" | "DELETE";
  readonly path: string;
  readonly token: string;
  readonly body?: object;
  readonly headers?: Record<string, string>;
};

type Answer = { readonly status: number; readonly position?: string };

type Wish = {
  readonly call: Call;
  readonly entry: LedgerEntry;
  /** With an `Idempotency-Key`, without one but harmless to repeat, or sent once only. */
  readonly repeat: "with-key" | "as-it-is" | "never";
  readonly succeeded?: () => void;
};

/**
 * Customers and the platform, writing and reading all the time, who never know what is being killed. What they learn
 * goes to the ledger; what no client should ever see goes to `faults`.
 */
export class Customers {
  readonly faults: string[] = [];
  /** How many answers of each status, and of none at all. */
  readonly answers: Record<string, number> = {};
  slowestMs = 0;
  readonly #target: Target;
  readonly #ledger: Ledger;
  readonly #random: Random;
  readonly #agent = new Agent({ connections: 64, pipelining: 1 });
  readonly #ids: readonly string[];
  /** Products known to be on each list, so that some can be taken off again. */
  readonly #listed = new Map<string, string[]>();
  #counter = 0;
  #paused = true;
  #stopped = false;
  #lanes: Promise<void>[] = [];
  #busy = 0;

  constructor(target: Target, ledger: Ledger, random: Random) {
    this.#target = target;
    this.#ledger = ledger;
    this.#random = random;
    this.#ids = [...target.tokens.keys()];
  }

  /** Starts some that write and some that read; they wait for `resume`. */
  start(writers: number, readers: number): void {
    const lane = async (act: () => Promise<void>) => {
      while (!this.#stopped) {
        if (!this.#paused) {
          this.#busy += 1;
          await act().finally(() => {
            this.#busy -= 1;
          });
        }
        await delay(5 + this.#random.below(20));
      }
    };
    for (let index = 0; index < writers; index++) this.#lanes.push(lane(() => this.#write()));
    for (let index = 0; index < readers; index++) this.#lanes.push(lane(() => this.#read()));
  }

  resume(): void {
    this.#paused = false;
  }

  /** Lets everyone finish what they are at. */
  async pause(): Promise<void> {
    this.#paused = true;
    while (this.#busy > 0) await delay(10);
  }

  async stop(): Promise<void> {
    this.#stopped = true;
    await Promise.all(this.#lanes);
    await this.#agent.close();
  }

  /** One read and one write that succeed: the product works. */
  async works(): Promise<boolean> {
    const [customer = ""] = this.#ids;
    const token = this.#target.tokens.get(customer) as string;
    const base = this.#target.gateway;
    const read = await this.#send({ base, method: "GET", path: "/client-data/dashboard", token });
    const write = await this.#send({ base, method: "PUT", path: "/client-data/profile", token, body: this.#about() });
    return read?.status === 200 && write?.status === 200;
  }

  #about(): object {
    this.#counter += 1;
    return { about: `Line ${this.#counter} about me` };
  }

  async #read(): Promise<void> {
    const token = this.#target.tokens.get(this.#random.pick(this.#ids)) as string;
    const path = this.#random.pick(["/client-data/dashboard", "/client-data/wishlist", "/client-data/orders"]);
    await this.#send({ base: this.#target.gateway, method: "GET", path, token });
  }

  async #write(): Promise<void> {
    const { call, entry, repeat, succeeded } = this.#wish();
    const headers: Record<string, string> = { "x-request-id": entry.requestId };
    if (repeat === "with-key") headers["idempotency-key"] = entry.requestId;
    const giveUpAt = Date.now() + repeatForMs;
    do {
      entry.sent += 1;
      const answer = await this.#send({ ...call, headers });
      if (answer && answer.status < 300) {
        entry.outcome = "acknowledged";
        if (answer.position) entry.position = answer.position;
        succeeded?.();
        return;
      }
      // Other refusals are faults already; a refusal after an unanswered try leaves the outcome unknown.
      if (answer && answer.status < 500) {
        if (entry.sent === 1) entry.outcome = "refused";
        return;
      }
      if (repeat === "never") return;
      await delay(100 + this.#random.below(400));
    } while (Date.now() < giveUpAt);
    this.faults.push(`${entry.what} was not answered for ${repeatForMs / 1000} s, sent ${entry.sent} times`);
  }

  /** What somebody wants next. */
  #wish(): Wish {
    const customer = this.#random.pick(this.#ids);
    const owner: Owner = { org: this.#target.org, customer };
    const token = this.#target.tokens.get(customer) as string;
    const number = this.#counter++;
    const fromCustomer = { base: this.#target.gateway, token };
    const fromPlatform = { base: this.#target.commandApi, token: this.#target.serviceToken };
    const listed = this.#listed.get(customer) ?? [];
    this.#listed.set(customer, listed);
    switch (this.#random.below(listed.length > 300 ? 2 : 6)) {
      case 0: {
        const entry = this.#ledger.open("a changed profile", streams.profile(owner));
        // The same wish again after somebody else's change would be a second change: only a key makes it one.
        const repeat = this.#random.pick(["with-key", "never"] as const);
        return {
          call: { ...fromCustomer, method: "PUT", path: "/client-data/profile", body: this.#about() },
          entry,
          repeat,
        };
      }
      case 1: {
        const product = listed.splice(this.#random.below(listed.length), 1)[0];
        if (product !== undefined) {
          const entry = this.#ledger.open("a product taken off a list", streams.wishlist(owner));
          const path = `/client-data/wishlist/${product}`;
          return { call: { ...fromCustomer, method: "DELETE", path }, entry, repeat: this.#anyRepeat() };
        }
        return this.#addProduct(owner, fromCustomer, number, listed);
      }
      case 2: {
        const id = `order-${number}`;
        const entry = this.#ledger.open("an ingested order", streams.order(owner, id));
        const call = { ...fromPlatform, method: "PUT", path: `/internal/ingest/orders/${id}` } as const;
        return { call: { ...call, body: order(customer, id) }, entry, repeat: this.#anyRepeat() };
      }
      case 3: {
        const id = `transaction-${number}`;
        const entry = this.#ledger.open("an ingested transaction", streams.transaction(owner, id));
        const call = { ...fromPlatform, method: "PUT", path: `/internal/ingest/transactions/${id}` } as const;
        return { call: { ...call, body: transaction(customer) }, entry, repeat: this.#anyRepeat() };
      }
      default:
        return this.#addProduct(owner, fromCustomer, number, listed);
    }
  }

  #addProduct(owner: Owner, from: Pick<Call, "base" | "token">, number: number, listed: string[]): Wish {
    const product = `product-${number}`;
    const entry = this.#ledger.open("a product put on a list", streams.wishlist(owner));
    const call: Call = { ...from, method: "POST", path: `/client-data/wishlist/${product}`, body: { quantity: 1 } };
    return { call, entry, repeat: this.#anyRepeat(), succeeded: () => listed.push(product) };
  }

  #anyRepeat() {
    return this.#random.pick(["with-key", "as-it-is", "never"] as const);
  }

  /** Sends once. Undefined when the connection broke. Notes what no client should see. */
  async #send(call: Call): Promise<Answer | undefined> {
    const started = Date.now();
    const name = `${call.method} ${call.path}`;
    try {
      const { statusCode, headers, body } = await request(call.base + call.path, {
        method: call.method,
        headers: {
          orgid: this.#target.org,
          authorization: `Bearer ${call.token}`,
          ...(call.body ? { "content-type": "application/json" } : {}),
          ...call.headers,
        },
        body: call.body ? JSON.stringify(call.body) : null,
        dispatcher: this.#agent,
        signal: AbortSignal.timeout(patienceMs),
      });
      const text = await body.text();
      this.#note(String(statusCode), started);
      if (statusCode >= 400) this.#judge(name, statusCode, headers["retry-after"], text);
      const position = headers["x-log-position"];
      return typeof position === "string" ? { status: statusCode, position } : { status: statusCode };
    } catch (error) {
      const late = error instanceof Error && error.name === "TimeoutError";
      this.#note(late ? "late" : "broken", started);
      if (late) this.faults.push(`${name} had no answer after ${patienceMs / 1000} s`);
      // Ingestion speaks to the command API itself, whose death breaks connections; the gateway's callers never see it.
      else if (call.base === this.#target.gateway) this.faults.push(`${name} broke: ${error}`);
      return undefined;
    }
  }

  #note(what: string, started: number): void {
    this.answers[what] = (this.answers[what] ?? 0) + 1;
    this.slowestMs = Math.max(this.slowestMs, Date.now() - started);
  }

  #judge(name: string, status: number, retryAfter: string | string[] | undefined, text: string): void {
    if (![502, 503, 504].includes(status)) this.faults.push(`${name} answered ${status}: ${text.slice(0, 300)}`);
    else if (retryAfter === undefined) this.faults.push(`${name} answered ${status} without Retry-After`);
  }
}

const placedAt = "2026-03-01T12:00:00.000Z";

function order(customerId: string, id: string): object {
  return {
    customerId,
    orderNumber: id,
    status: "processing",
    placedAt,
    currency: "EUR",
    totalMinor: 4_200,
    items: [{ sku: "sku-1", title: "A thing", quantity: 2, unitPriceMinor: 2_100 }],
    sourceRevision: 1,
  };
}

function transaction(customerId: string): object {
  return {
    customerId,
    type: "earning",
    status: "completed",
    amountMinor: 150,
    direction: "credit",
    currency: "EUR",
    createdAt: placedAt,
    sourceRevision: 1,
  };
}
