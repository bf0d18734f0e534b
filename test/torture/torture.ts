import { readFile } from "node:fs/promises";
import { setTimeout as delay } from "node:timers/promises";
import { MongoClient } from "mongodb";
import { type EventStore, logStart } from "#infrastructure/event-store.js";
import { createEventStore } from "#infrastructure/eventstoredb.js";
import { cursorRows } from "#infrastructure/read-models.js";
import { seededRandom } from "../support/random.js";
import { Customers } from "./customers.js";
import { blows, nameOf, strike, type Victim } from "./killer.js";
import { Ledger } from "./ledger.js";

/** A running stack, as `stack.json` describes it. */
export type TortureStack = {
  /** Path of the stack's `stack.json`: rewritten whenever a child is started again. */
  readonly stackFile: string;
  readonly gateway: string;
  readonly commandApi: string;
  readonly eventStore: string;
  readonly mongodb: string;
  readonly database: string;
  readonly org: string;
  /** Tokens of customers that are known already, by customer id. */
  readonly tokens: ReadonlyMap<string, string>;
  readonly serviceToken: string;
  /** Compares every read model with one built in memory from the log; gives what differs. */
  readonly verify: () => Promise<string[]>;
};

export type TortureReport = {
  readonly seed: number;
  readonly blows: readonly { readonly blow: string; readonly struck: boolean; readonly recoveredAfterMs: number }[];
  readonly commands: ReturnType<Ledger["counts"]>;
  readonly answers: Readonly<Record<string, number>>;
  readonly slowestAnswerMs: number;
  /** Everything that must not happen; empty when the product holds. */
  readonly faults: readonly string[];
};

/** The supervisor waits up to 10 s before it starts a process again that keeps dying. */
const recoverWithinMs = 45_000;

/**
 * Lets customers write and read while one process after the other is killed. After each recovery: no acknowledged
 * write lost, none doubled, read models equal to what the log says; in between, no client sees anything but success
 * or "try again later".
 *
 * @param until when to stop striking (the round under way is finished)
 */
export async function torture(
  stack: TortureStack,
  options: { readonly seed: number; readonly until: number; readonly say: (line: string) => void },
): Promise<TortureReport> {
  const random = seededRandom(options.seed);
  const ledger = new Ledger();
  const customers = new Customers(stack, ledger, random);
  const mongo = new MongoClient(stack.mongodb, { serverSelectionTimeoutMS: 2_000 });
  const store = createEventStore(stack.eventStore, { deadlineMs: 10_000 });
  const done: TortureReport["blows"][number][] = [];
  const faults: string[] = [];
  const killing = { pidOf: (victim: Victim) => pids[victim], mongo, database: stack.database };
  let pids = await readPids(stack.stackFile);

  customers.start(8, 2);
  try {
    for (const blow of blows(random)) {
      customers.resume();
      await delay(300 + random.below(700));
      pids = await readPids(stack.stackFile);
      const struck = await strike(blow, killing);
      const started = performance.now();
      const recovered = await within(recoverWithinMs, () => customers.works());
      const recoveredAfterMs = Math.round(performance.now() - started);
      options.say(
        `${nameOf(blow)}: ${struck ? `works again after ${recoveredAfterMs} ms` : "the moment did not come"}`,
      );
      if (!recovered) faults.push(`does not work ${recoverWithinMs / 1000} s after: ${nameOf(blow)}`);
      done.push({ blow: nameOf(blow), struck, recoveredAfterMs });
      await customers.pause();
      faults.push(...(await check(nameOf(blow))));
      if (faults.length + customers.faults.length > 0 || Date.now() >= options.until) break;
    }
  } finally {
    await customers.stop();
    await store.close();
    await mongo.close();
  }
  return {
    seed: options.seed,
    blows: done,
    commands: ledger.counts(),
    answers: customers.answers,
    slowestAnswerMs: customers.slowestMs,
    faults: [...faults, ...customers.faults],
  };

  async function check(after: string): Promise<string[]> {
    if (!(await within(recoverWithinMs, () => caughtUp(store, mongo, stack.database)))) {
      return [`after ${after}: the read models did not catch up in ${recoverWithinMs / 1000} s`];
    }
    const lost = await ledger.faults(store.readLog({ after: logStart }));
    const differing = await stack.verify();
    return [...lost, ...differing].map((fault) => `after ${after}: ${fault}`);
  }
}

async function readPids(file: string): Promise<Partial<Record<Victim, number>>> {
  return JSON.parse(await readFile(file, "utf8")).pids;
}

/** Asks again and again until the answer is yes; false when it was not in time. Errors count as no. */
async function within(milliseconds: number, ask: () => Promise<boolean>): Promise<boolean> {
  const deadline = performance.now() + milliseconds;
  while (!(await ask().catch(() => false))) {
    if (performance.now() > deadline) return false;
    await delay(50);
  }
  return true;
}

/** Whether every cursor has reached the end of the log. */
async function caughtUp(store: EventStore, mongo: MongoClient, database: string): Promise<boolean> {
  const head = await store.head();
  const rows = await cursorRows(mongo.db(database)).find().toArray();
  return rows.length > 0 && rows.every(({ position }) => position >= head);
}
