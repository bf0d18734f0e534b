import { setTimeout as delay } from "node:timers/promises";
import type { MongoClient } from "mongodb";
import { cursorRows, generationName, generationRows } from "#infrastructure/read-models.js";
import type { Random } from "../support/random.js";

/** Processes that are killed; names as in stack.json. */
export const victims = ["eventStore", "commandApi", "projectors", "mongodb", "redis"] as const;
export type Victim = (typeof victims)[number];

/** One thing that goes wrong. */
export type Blow =
  /** SIGKILL, to all of them at the same moment. */
  | { readonly kind: "kill"; readonly victims: readonly Victim[] }
  /** SIGSTOP, so that it neither answers nor closes its connections, and SIGKILL after a while. */
  | { readonly kind: "freeze"; readonly victim: Victim; readonly milliseconds: number }
  /** SIGKILL of the runner at a moment when documents are written whose position is not yet in the cursor. */
  | { readonly kind: "between-documents-and-cursor" };

/** What a blow is called in reports. */
export function nameOf(blow: Blow): string {
  if (blow.kind === "kill") return `kill ${blow.victims.join(" and ")}`;
  if (blow.kind === "freeze") return `freeze ${blow.victim} for ${blow.milliseconds} ms, then kill it`;
  return "kill projectors between documents and cursor";
}

/** An endless row of blows: each kind once in random order, then again in another order. */
export function* blows(random: Random): Generator<Blow, never> {
  for (;;) {
    const deck: Blow[] = [
      ...victims.map((victim) => ({ kind: "kill", victims: [victim] }) as const),
      { kind: "between-documents-and-cursor" },
      { kind: "freeze", victim: random.pick(["eventStore", "mongodb"]), milliseconds: 2_000 + random.below(2_000) },
      { kind: "kill", victims: twoOf(random) },
    ];
    while (deck.length > 0) yield deck.splice(random.below(deck.length), 1)[0] as Blow;
  }
}

function twoOf(random: Random): readonly Victim[] {
  const first = random.pick(victims);
  return [first, random.pick(victims.filter((victim) => victim !== first))];
}

export type Killing = {
  /** Process id of a victim as it runs now; undefined while it is down. */
  readonly pidOf: (victim: Victim) => number | undefined;
  readonly mongo: MongoClient;
  readonly database: string;
};

/**
 * Strikes, and returns when the deed is done (the victim is dead; nothing is said of its recovery).
 *
 * @returns false when there was nobody to strike, or the moment did not come
 */
export async function strike(blow: Blow, killing: Killing): Promise<boolean> {
  if (blow.kind === "between-documents-and-cursor") return killBetweenDocumentsAndCursor(killing);
  const struck = blow.kind === "kill" ? blow.victims : [blow.victim];
  const pids = struck.flatMap((victim) => killing.pidOf(victim) ?? []);
  if (blow.kind === "freeze") {
    for (const pid of pids) signal(pid, "SIGSTOP");
    await delay(blow.milliseconds);
  }
  for (const pid of pids) signal(pid, "SIGKILL");
  return pids.length > 0;
}

function signal(pid: number, name: NodeJS.Signals): void {
  try {
    process.kill(pid, name);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== "ESRCH") throw error;
  }
}

/**
 * Holds the cursors by writing to them in a transaction: the runner goes on to write documents, and its own cursor
 * update waits for the end of ours. As soon as a document is ahead of the cursor the runner dies, and the
 * transaction is rolled back.
 */
async function killBetweenDocumentsAndCursor({ mongo, database, pidOf }: Killing): Promise<boolean> {
  const db = mongo.db(database);
  const session = mongo.startSession();
  try {
    session.startTransaction();
    await cursorRows(db).updateMany({}, { $set: { held: true } } as object, { session });
    const deadline = Date.now() + 5_000;
    while (Date.now() < deadline) {
      if (await someDocumentIsAhead()) {
        const pid = pidOf("projectors");
        if (pid !== undefined) signal(pid, "SIGKILL");
        return pid !== undefined;
      }
      await delay(2);
    }
    return false;
  } finally {
    await session.abortTransaction().catch(() => {});
    await session.endSession();
  }

  async function someDocumentIsAhead(): Promise<boolean> {
    for (const { _id, live } of await generationRows(db).find().toArray()) {
      if (live === null) continue;
      const cursor = await cursorRows(db).findOne({ members: { $elemMatch: memberOf(_id, live) } });
      if (!cursor) continue;
      const ahead = { _pos: { $gt: cursor.position } };
      if (await db.collection(generationName(_id, live)).findOne(ahead, { projection: { _id: 1 } })) return true;
    }
    return false;
  }
}

function memberOf(key: string, generation: number) {
  const [, projection = "", version = ""] = /^(.+)\.v(\d+)$/.exec(key) ?? [];
  return { projection, version: Number(version), generation };
}
