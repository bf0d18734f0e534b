import { performance } from "node:perf_hooks";
import { ConfigurationError, readEnvironment, type VariableName } from "#infrastructure/environment.js";
import { cursorRows, generationRows } from "#infrastructure/read-models.js";
import { parkedRows } from "../runner/parked.js";
import { type CliContext, withContext } from "./context.js";
import { exitCodes, type Outcome, table } from "./output.js";

type Verdict = { readonly status: "ok" | "warn" | "fail"; readonly detail: string };
type Check = Verdict & { readonly name: string };

const ok = (detail: string): Verdict => ({ status: "ok", detail });
const warn = (detail: string): Verdict => ({ status: "warn", detail });
const fail = (detail: string): Verdict => ({ status: "fail", detail });

const everything: readonly VariableName[] = [
  "EVENTSTORE_URL",
  "MONGODB_URL",
  "MONGODB_DATABASE",
  "KEYS_DATABASE",
  "REDIS_URL",
  "S3_ENDPOINT",
  "S3_ACCESS_KEY",
  "S3_SECRET_KEY",
  "S3_BUCKET",
  "S3_REGION",
  "ORG_SETTINGS_FILE",
  "MASTER_KEYS",
];

/** `doctor`: every check is made even when others fail; a failed one says what to do. */
export async function doctor(options: { readonly afterRestore?: boolean }): Promise<Outcome> {
  return withContext(async (context) => {
    const checks: [string, () => Promise<Verdict | Verdict[]>][] = [
      ["configuration", async () => configuration()],
      ["event store", () => eventStore(context)],
      ["mongodb", () => mongodb(context)],
      ["clocks", () => clocks(context)],
      ["data keys", () => dataKeys(context)],
      ["redis", () => redis()],
      ["object store", () => objectStore()],
      ["key sets", () => keySets(context)],
      ["lease", () => lease(context)],
      ["cursor", () => cursors(context, options.afterRestore === true)],
      ["read model", () => readModels(context)],
      ["parked", () => parked(context)],
    ];
    const results = await Promise.all(
      checks.map(async ([name, run]): Promise<Check[]> => {
        try {
          return [await run()].flat().map((verdict) => ({ name, ...verdict }));
        } catch (error) {
          const reason = error instanceof ConfigurationError ? error.faults.join("; ") : (error as Error).message;
          return [{ name, ...fail(reason.split("\n", 1)[0] ?? "") }];
        }
      }),
    );
    const found = results.flat();
    const failed = found.filter(({ status }) => status === "fail");
    return {
      status: failed.length > 0 ? "found" : "ok",
      data: { checks: found, exit: failed.length > 0 ? exitCodes.found : exitCodes.ok },
      problems: failed.map(({ name, detail }) => `${name}: ${detail}`),
      text: table(
        ["", "check", "what was seen"],
        found.map(({ name, status, detail }) => [status, name, detail]),
      ),
    };
  });
}

function configuration(): Verdict {
  const { NODE_ENV } = readEnvironment(everything);
  return ok(`complete, NODE_ENV=${NODE_ENV}`);
}

async function eventStore(context: CliContext): Promise<Verdict> {
  const store = await context.eventStore();
  const head = await store.head();
  const started = performance.now();
  await store.head();
  const epoch = await store.epoch();
  return ok(`epoch ${epoch}, end at ${Number(head)}, answers in ${milliseconds(started)}`);
}

async function mongodb(context: CliContext): Promise<Verdict> {
  const client = await context.mongo();
  const hello = await client.db("admin").command({ hello: 1 });
  const started = performance.now();
  await client.db("admin").command({ ping: 1 });
  const took = milliseconds(started);
  if (!hello.setName && hello.msg !== "isdbgrid") {
    return fail("is no replica set, so there are no change streams: start mongod with --replSet and initiate it");
  }
  return ok(`${hello.setName ?? "sharded cluster"}, answers in ${took}`);
}

async function clocks(context: CliContext): Promise<Verdict> {
  const client = await context.mongo();
  const asked = Date.now();
  const { localTime } = await client.db("admin").command({ hello: 1 });
  const offMs = Math.abs((localTime as Date).getTime() - (asked + Date.now()) / 2);
  // Leases use the server's clock alone; what suffers from a wrong one here is token expiry and occurredAt.
  return offMs > 5_000
    ? warn(`this machine and MongoDB differ by ${Math.round(offMs / 1_000)} s: check NTP`)
    : ok(`this machine and MongoDB differ by ${Math.round(offMs)} ms`);
}

async function dataKeys(context: CliContext): Promise<Verdict> {
  await (await context.keys()).check();
  return ok("every data key opens under the master keys given");
}

async function redis(): Promise<Verdict> {
  const { workerConnection } = await import("#infrastructure/queue.js");
  let lastError: Error | undefined;
  const connection = workerConnection(readEnvironment(["REDIS_URL"]).REDIS_URL, (error) => {
    lastError = error;
  });
  try {
    const late = new Promise<never>((_, reject) => {
      setTimeout(() => reject(lastError ?? new Error("does not answer within 3 s")), 3_000).unref();
    });
    const [, policy] = (await Promise.race([connection.config("GET", "maxmemory-policy"), late])) as string[];
    return policy === "noeviction"
      ? ok("answers, noeviction")
      : fail(`maxmemory-policy is ${policy}: jobs may vanish, set it to noeviction`);
  } finally {
    connection.disconnect();
  }
}

async function objectStore(): Promise<Verdict> {
  const { createObjectStorage } = await import("#infrastructure/object-storage.js");
  const storage = createObjectStorage(
    readEnvironment(["S3_ENDPOINT", "S3_ACCESS_KEY", "S3_SECRET_KEY", "S3_BUCKET", "S3_REGION"]),
  );
  await storage.ping();
  return ok(`bucket ${storage.bucket} is there`);
}

async function keySets(context: CliContext): Promise<Verdict[]> {
  const { openOrgSettings } = await import("#infrastructure/org-settings.js");
  const settings = openOrgSettings(readEnvironment(["ORG_SETTINGS_FILE"]).ORG_SETTINGS_FILE, {
    production: context.production,
  });
  try {
    return await Promise.all(
      settings.orgs().map(async (org) => {
        const uri = settings.of(org)?.jwksUri ?? "";
        try {
          const response = await fetch(uri, { signal: AbortSignal.timeout(3_000) });
          const { keys } = (await response.json()) as { keys?: unknown[] };
          if (response.ok && keys?.length) return ok(`${org}: ${keys.length} key(s)`);
          return fail(`${org}: ${uri} answers ${response.status} without keys`);
        } catch (error) {
          return fail(`${org}: ${uri} does not answer (${(error as Error).name})`);
        }
      }),
    );
  } finally {
    settings.close();
  }
}

async function lease(context: CliContext): Promise<Verdict | Verdict[]> {
  const rows = await (await context.database())
    .collection<{ _id: string; host: string; pid: number; epoch: number; expiresAt: Date }>("leases")
    .find()
    .toArray();
  if (rows.length === 0) return warn("nobody has ever led: start the projectors");
  return rows.map(({ _id, host, pid, epoch, expiresAt }) =>
    expiresAt.getTime() > Date.now()
      ? ok(`${_id}: process ${pid} on ${host}, epoch ${epoch}`)
      : fail(`${_id}: expired at ${expiresAt.toISOString()}, nobody leads: start the projectors`),
  );
}

/** Each cursor's event must still be in the store, and not lie past its end: else the store is another one. */
async function cursors(context: CliContext, afterRestore: boolean): Promise<Verdict | Verdict[]> {
  const rows = await cursorRows(await context.database())
    .find()
    .toArray();
  if (rows.length === 0) return warn("no projection has run yet");
  const store = await context.eventStore();
  const [epoch, head] = [await store.epoch(), await store.head()];
  const verdicts = rows.map(async (row) => {
    const where = `${row._id} at ${Number(row.position)}`;
    if (row.position > head) return fail(`${where} lies past the end of the log (${Number(head)}): rebuild`);
    if (row.storeEpoch !== epoch)
      return fail(`${where} is of epoch ${row.storeEpoch}, the store's is ${epoch}: rebuild`);
    const event = row.event && (await store.eventAt(row.event.position));
    if (row.event && event?.id !== row.event.id) return fail(`${where}: its event is not in the store: rebuild`);
    if (row.stopped) return fail(`${where} stopped: ${row.stopped.reason}`);
    return ok(afterRestore ? `${where} lies within the restored log` : where);
  });
  return Promise.all(verdicts);
}

async function readModels(context: CliContext): Promise<Verdict | Verdict[]> {
  const database = await context.database();
  const rows = await generationRows(database).find().toArray();
  if (rows.length === 0) return warn("none is built yet");
  const unbuilt = rows.filter(({ live }) => live === null).map(({ _id }) => warn(`${_id} has no live generation yet`));
  return unbuilt.length > 0 ? unbuilt : ok(`${rows.length} live`);
}

async function parked(context: CliContext): Promise<Verdict> {
  const owners = await parkedRows(await context.database()).distinct("owner");
  return owners.length === 0
    ? ok("no owner waits")
    : fail(`${owners.length} owner(s) wait: see "projections parked list", mend, then "projections parked retry"`);
}

function milliseconds(since: number): string {
  return `${(performance.now() - since).toFixed(1)} ms`;
}
