import { mkdir, readFile, writeFile } from "node:fs/promises";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import type { ChildSpec } from "./child.js";
import { accepts, askLine } from "./ports.js";
import { findServer, type ProvisionOptions } from "./provision.js";

const dist = dirname(dirname(fileURLToPath(import.meta.url)));

/** The servers that stand in, on this machine, for what an installation runs elsewhere. */
export const backingServices = ["eventStore", "mongodb", "redis", "s3", "providers"] as const;
export type BackingService = (typeof backingServices)[number];

export type BackingServicePlan = {
  readonly port: number;
  /** The server keeps everything it stores below this folder. */
  readonly dataFolder: string;
  readonly logFile: string;
};

const s3Bucket = "client-data";
/** Fixed by the local S3 server, which serves this machine only. */
const s3Credentials = { accessKey: "S3RVER", secretKey: "S3RVER" };

/** Compiled entry of one of our own processes, for `node`. */
export function entry(path: string): string {
  return join(dist, path);
}

/** How a service is started; its program is found or fetched first. */
export async function backingSpec(
  service: BackingService,
  plan: BackingServicePlan,
  also: { readonly provision: ProvisionOptions; readonly ports: Parameters<typeof providersSpec>[1] },
): Promise<ChildSpec> {
  switch (service) {
    case "eventStore":
      return eventStoreSpec(plan);
    case "mongodb":
      return mongodSpec(await findServer("mongod", also.provision), plan);
    case "redis":
      return valkeySpec(await findServer("valkey", also.provision), plan);
    case "s3":
      return s3Spec(plan);
    case "providers":
      return providersSpec(plan, also.ports);
  }
}

/** The environment by which our processes find a service on this machine; each provider has its own variables. */
export const backingEnvironment: Readonly<
  Record<Exclude<BackingService, "providers">, (port: number) => Record<string, string>>
> = {
  eventStore: (port) => ({ EVENTSTORE_URL: `esdb://127.0.0.1:${port}?tls=false` }),
  mongodb: (port) => ({ MONGODB_URL: `mongodb://127.0.0.1:${port}/?replicaSet=${replicaSet}` }),
  redis: (port) => ({ REDIS_URL: `redis://127.0.0.1:${port}` }),
  s3: (port) => ({
    S3_ENDPOINT: `http://127.0.0.1:${port}`,
    S3_ACCESS_KEY: s3Credentials.accessKey,
    S3_SECRET_KEY: s3Credentials.secretKey,
    S3_BUCKET: s3Bucket,
    S3_REGION: "us-east-1",
  }),
};

/** The embedded event store, talking the EventStoreDB protocol. */
function eventStoreSpec({ port, dataFolder, logFile }: BackingServicePlan): ChildSpec {
  return {
    name: "eventStore",
    title: "event store",
    command: process.execPath,
    args: [entry("embedded/event-store/main.js"), "--http-port", String(port), "--db", dataFolder, "--insecure"],
    logFile,
    isReady: () => accepts(port),
  };
}

/** A mongod as a replica set of one: transactions and change streams need a replica set. */
function mongodSpec(program: string, { port, dataFolder, logFile }: BackingServicePlan): ChildSpec {
  // prettier-ignore
  const args = [
    "--replSet",
    replicaSet,
    "--bind_ip",
    "127.0.0.1",
    "--port",
    String(port),
    "--dbpath",
    dataFolder,
    "--nounixsocket",
    "--quiet",
    "--wiredTigerCacheSizeGB",
    "0.25",
    "--oplogSize",
    "512",
    // A change stream shows a write only once it is journaled. At the default of 100 ms a write with w:1 was seen
    // after 87 ms (median), at 2 ms after 3 ms.
    "--journalCommitInterval",
    "5",
    "--setParameter",
    "diagnosticDataCollectionEnabled=false",
  ];
  return {
    name: "mongodb",
    title: "MongoDB server",
    command: program,
    args,
    logFile,
    isReady: () => serves(port, dataFolder),
  };
}

const replicaSet = "client-data";

/** Names the port at which the data below a folder are a replica set already. */
const replicaSetMark = "replica-set-port";

/**
 * Whether the mongod on this port serves; makes it a replica set of one, at this port, where it is not yet. That is
 * once for each data folder and port: afterwards the driver, 20 MB of it, is not even loaded.
 */
async function serves(port: number, dataFolder: string): Promise<boolean> {
  if (!(await accepts(port))) return false;
  const mark = join(dataFolder, replicaSetMark);
  if ((await readFile(mark, "utf8").catch(() => "")) === String(port)) return true;
  if (!(await isPrimary(port))) return false;
  await writeFile(mark, String(port));
  return true;
}

async function isPrimary(port: number): Promise<boolean> {
  const { MongoClient } = await import("mongodb");
  const host = `127.0.0.1:${port}`;
  const client = new MongoClient(`mongodb://${host}/?directConnection=true`, { serverSelectionTimeoutMS: 2_000 });
  try {
    const admin = client.db("admin");
    const hello = await admin.command({ hello: 1 });
    if (hello.isWritablePrimary) return true;
    if (hello.setName === undefined && hello.isreplicaset) {
      const config = { _id: replicaSet, members: [{ _id: 0, host }], settings: { electionTimeoutMillis: 1_000 } };
      await admin.command({ replSetInitiate: config }).catch(async (error: { codeName?: string }) => {
        // The data were last served at another port: the member has to find itself under its new address.
        if (error.codeName !== "AlreadyInitialized") throw error;
        const { config: last } = await admin.command({ replSetGetConfig: 1 });
        const members = [{ ...last.members[0], host }];
        await admin.command({ replSetReconfig: { ...last, members, version: last.version + 1 }, force: true });
      });
    }
    return false;
  } finally {
    await client.close();
  }
}

/** Valkey or Redis, durable to within a second, never evicting: BullMQ's jobs are not a cache. */
function valkeySpec(program: string, { port, dataFolder, logFile }: BackingServicePlan): ChildSpec {
  // prettier-ignore
  const args = [
    "--bind",
    "127.0.0.1",
    "--port",
    String(port),
    "--dir",
    dataFolder,
    "--appendonly",
    "yes",
    "--appendfsync",
    "everysec",
    "--save",
    "",
    "--maxmemory-policy",
    "noeviction",
  ];
  return {
    name: "redis",
    title: "Valkey server",
    command: program,
    args,
    logFile,
    isReady: async () => (await askLine(port, "PING\r\n")).startsWith("+PONG"),
  };
}

function s3Spec({ port, dataFolder, logFile }: BackingServicePlan): ChildSpec {
  // prettier-ignore
  const args = [
    entry("embedded/s3-server.js"),
    "--port",
    String(port),
    "--directory",
    dataFolder,
    "--bucket",
    s3Bucket,
  ];
  return {
    name: "s3",
    title: "S3 server",
    command: process.execPath,
    args,
    logFile,
    isReady: () => accepts(port),
  };
}

/** Stripe, PayPal, Google Places, Twilio, a mail server and a virus scanner, played by one process. */
function providersSpec(
  { port, dataFolder, logFile }: BackingServicePlan,
  ports: { readonly smtp: number; readonly clamav: number },
): ChildSpec {
  // prettier-ignore
  const args = [
    entry("embedded/providers/main.js"),
    "--http-port",
    String(port),
    "--smtp-port",
    String(ports.smtp),
    "--clamav-port",
    String(ports.clamav),
    "--directory",
    dataFolder,
  ];
  return {
    name: "providers",
    title: "providers' stand-ins",
    command: process.execPath,
    args,
    logFile,
    isReady: () => accepts(port),
  };
}

/** Makes the folders a plan needs. */
export async function prepareFolders(plan: BackingServicePlan): Promise<void> {
  await mkdir(plan.dataFolder, { recursive: true });
  await mkdir(dirname(plan.logFile), { recursive: true });
}
