import { randomBytes } from "node:crypto";
import { existsSync } from "node:fs";
import { join } from "node:path";
import {
  type BackingService,
  backingEnvironment,
  backingServices,
  backingSpec,
  prepareFolders,
} from "./backing-services.js";
import { type Child, type ChildSpec, startChild } from "./child.js";
import { type DataFolder, defaultCacheFolder, openDataFolder } from "./data-folder.js";
import { createIssuerKey, type Issuer, type IssuerKey, signToken, startIssuer, type TokenSubject } from "./identity.js";
import { localOrgSettings } from "./local-org.js";
import { localOrg, people } from "./people.js";
import { isPortFree, pickPorts } from "./ports.js";
import { type ProductProcess, productSpec } from "./products.js";
import { standInEnvironment } from "./providers/stand-ins.js";
import type { Settings } from "./settings.js";

/** `DATA_DIR/stack.json`: what runs where, for people, tests and `npm run token`. There only while the stack is ready. */
export type StackFile = {
  gateway: string;
  commandApi: string;
  queryApi: string;
  projectors: string;
  eventStore: string;
  mongodb: string;
  redis: string;
  s3: string;
  /** Base URL of the providers' stand-ins and their control endpoint. */
  providers: string;
  issuer: string;
  docs: string;
  org: string;
  customers: { id: string; name: string; token: string }[];
  serviceToken: string;
  /** Only of processes that this stack started. */
  pids: Partial<Record<BackingService | ProductProcess, number>>;
};

export const stackFileName = "stack.json";
export const issuerKeyFileName = "issuer-key.json";
const portsFileName = "ports.json";
const secretsFileName = "secrets.json";
const serverKeyFileName = "server-key.json";
const sampleDataFileName = "sample-data.json";

/** An empty MongoDB already takes 300 MB, for its journal. */
const freeBytesNeeded = 400 * 1024 ** 2;
/** Tokens in stack.json are good for a day and renewed long before they have less than 12 h left. */
const tokenSeconds = 24 * 3600;
const renewEveryMs = 6 * 3600 * 1000;

/** A fixed port is taken; the message is one plain sentence. */
export class PortTaken extends Error {}

export type Stack = {
  readonly file: StackFile;
  /** What products and people reach the backing services by. */
  readonly environment: NodeJS.ProcessEnv;
  /** Writes stack.json, from now on at each restart of a child too. */
  publish(): Promise<void>;
  /** Stops everything, the entrance first and the stores last; within 10 s. */
  stop(): Promise<void>;
};

type PortName = BackingService | ProductProcess | "smtp" | "clamav" | "issuer" | "gatewayHealth";
const portNames: readonly PortName[] = [
  "eventStore",
  "mongodb",
  "redis",
  "s3",
  "providers",
  "smtp",
  "clamav",
  "issuer",
  "commandApi",
  "queryApi",
  "projectors",
  "worker",
  "gateway",
  "gatewayHealth",
];

/**
 * Starts the whole local stack on a data folder: the backing services that the environment does not name, the token
 * issuer, then our own processes. Ports are those of the last run where they are still free, so that addresses and
 * tokens outlive a restart.
 *
 * The issuer lives in this process: it is a few requests an hour, and a Node process of its own would cost 50 MB.
 *
 * @param signal aborts the start; what was started until then is stopped again
 * @throws DataFolderUnusable, PortTaken, ServerMissing, StartFailed
 */
export async function startStack(settings: Settings, say: (line: string) => void, signal: AbortSignal): Promise<Stack> {
  const folder = await openDataFolder(settings.dataFolder, freeBytesNeeded);
  const children = new Map<BackingService | ProductProcess, Child>();
  let issuer: Issuer | undefined;
  let renewal: NodeJS.Timeout | undefined;
  let published = false;
  let stopping: Promise<void> | undefined;

  const stop = async () => {
    clearInterval(renewal);
    published = false;
    await folder.remove(stackFileName);
    const groups: [number, (BackingService | ProductProcess)[]][] = [
      [1_500, ["gateway"]],
      [2_500, ["commandApi", "queryApi"]],
      [2_500, ["worker", "projectors"]],
      [2_500, ["providers", "s3", "redis", "eventStore", "mongodb"]],
    ];
    for (const [timeoutMs, names] of groups) {
      await Promise.all(names.map((name) => children.get(name)?.stop(timeoutMs)));
    }
    await issuer?.stop();
    await folder.recordProcesses([]);
    await folder.release();
  };
  const stopOnce = () => {
    stopping ??= stop();
    return stopping;
  };

  signal.addEventListener("abort", () => void stopOnce(), { once: true });
  try {
    signal.throwIfAborted();
    await folder.remove(stackFileName);
    const sample = await sampleDataWanted(folder, settings);
    const ports = await choosePorts(folder, settings);
    const key = await keptIn<IssuerKey>(folder, issuerKeyFileName, createIssuerKey);
    const started = await startIssuer({ key, port: ports.issuer, org: localOrg, people });
    issuer = started;
    const environment = await productEnvironment(folder, settings, ports, started.url);

    const launch = async (name: BackingService | ProductProcess, spec: ChildSpec): Promise<void> => {
      signal.throwIfAborted();
      const child = startChild(spec, {
        say,
        started: () => {
          void recordChildren();
        },
      });
      children.set(name, child);
      await child.ready;
      signal.throwIfAborted();
    };
    const recordChildren = async () => {
      const pids = [...children.values()].flatMap((child) => child.pid ?? []);
      await folder.recordProcesses(pids);
      if (published) await folder.write(stackFileName, { ...file, pids: pidsOf(children) });
    };

    const plan = (name: BackingService) => ({
      port: ports[name],
      dataFolder: join(folder.path, directoryOf[name]),
      logFile: join(folder.path, "logs", `${directoryOf[name]}.log`),
    });
    const provision = { cacheFolder: defaultCacheFolder, say, signal };
    const backing = backingServices.filter((name) => settings.given[name] === undefined);
    await allOrFirstFailure(
      backing.map(async (name) => {
        await prepareFolders(plan(name));
        await launch(name, await backingSpec(name, plan(name), { provision, ports }));
      }),
    );

    const startProduct = (name: ProductProcess) =>
      launch(
        name,
        productSpec(name, {
          host: name === "gateway" ? settings.host : "127.0.0.1",
          port: ports[name],
          healthPort: name === "gateway" ? ports.gatewayHealth : ports[name],
          environment,
          logFile: join(folder.path, "logs", `${directoryOf[name]}.log`),
        }),
      );
    await allOrFirstFailure((["commandApi", "queryApi", "projectors", "worker", "gateway"] as const).map(startProduct));

    const gateway = `http://127.0.0.1:${ports.gateway}`;
    const file: StackFile = {
      gateway,
      commandApi: `http://127.0.0.1:${ports.commandApi}`,
      queryApi: `http://127.0.0.1:${ports.queryApi}`,
      projectors: `http://127.0.0.1:${ports.projectors}`,
      eventStore: environment.EVENTSTORE_URL ?? "",
      mongodb: environment.MONGODB_URL ?? "",
      redis: environment.REDIS_URL ?? "",
      s3: environment.S3_ENDPOINT ?? "",
      providers: `http://127.0.0.1:${ports.providers}`,
      issuer: started.url,
      docs: `${gateway}/docs`,
      org: localOrg,
      ...(await signTokens(key, started.url)),
      pids: pidsOf(children),
    };
    if (sample) {
      say("Loading sample data ...");
      const { loadSampleData } = await import("./sample-data.js");
      await loadSampleData(file);
      await folder.write(sampleDataFileName, { loaded: true });
    }
    signal.throwIfAborted();
    return {
      file,
      environment,
      publish: async () => {
        published = true;
        await folder.write(stackFileName, { ...file, pids: pidsOf(children) });
        renewal = setInterval(() => {
          void signTokens(key, started.url).then(async (tokens) => {
            Object.assign(file, tokens);
            if (published) await folder.write(stackFileName, { ...file, pids: pidsOf(children) });
          });
        }, renewEveryMs);
      },
      stop: stopOnce,
    };
  } catch (error) {
    await stopOnce();
    throw error;
  }
}

/** Folder and log file of each process, in the words of the top-level folders. */
const directoryOf: Record<BackingService | ProductProcess, string> = {
  eventStore: "event-store",
  mongodb: "mongodb",
  redis: "redis",
  s3: "s3",
  providers: "providers",
  commandApi: "command-api",
  queryApi: "query-api",
  projectors: "projectors",
  worker: "worker",
  gateway: "gateway",
};

/** Waits for all, so that nothing is still being started when the first failure is told. */
async function allOrFirstFailure(tasks: readonly Promise<unknown>[]): Promise<void> {
  const results = await Promise.allSettled(tasks);
  const failed = results.find((result) => result.status === "rejected");
  if (failed) throw failed.reason;
}

async function choosePorts(folder: DataFolder, settings: Settings): Promise<Record<PortName, number>> {
  if (settings.port !== 0 && !(await isPortFree(settings.port, settings.host))) {
    throw new PortTaken(
      `Port ${settings.port} is taken by another program: stop that, or set PORT to another port (0 = any free one).`,
    );
  }
  const last = (await folder.read<Partial<Record<PortName, number>>>(portsFileName)) ?? {};
  const ports = await pickPorts(portNames, last);
  if (settings.port !== 0) ports.gateway = settings.port;
  await folder.write(portsFileName, ports);
  return ports;
}

/**
 * Sample data are for an empty store of our own: when this is its first start, or an earlier load was interrupted.
 * A store that somebody else runs is never taken for empty.
 */
async function sampleDataWanted(folder: DataFolder, settings: Settings): Promise<boolean> {
  if (!settings.sampleData || settings.given.eventStore !== undefined) return false;
  const earlier = await folder.read<{ loaded: boolean }>(sampleDataFileName);
  if (earlier === undefined && existsSync(join(folder.path, directoryOf.eventStore))) return false;
  if (earlier === undefined) await folder.write(sampleDataFileName, { loaded: false });
  return !earlier?.loaded;
}

/** Reads what an earlier start made and kept, or makes it now. */
async function keptIn<T>(folder: DataFolder, name: string, make: () => T | Promise<T>): Promise<T> {
  const kept = await folder.read<T>(name);
  if (kept !== undefined) return kept;
  const made = await make();
  await folder.write(name, made);
  return made;
}

/** The environment of our own processes, on top of what this process was given. */
async function productEnvironment(
  folder: DataFolder,
  settings: Settings,
  ports: Record<PortName, number>,
  issuerUrl: string,
): Promise<NodeJS.ProcessEnv> {
  const { given } = settings;
  const secrets = await keptIn(folder, secretsFileName, () => ({
    masterKeys: `local-1:${randomBytes(32).toString("base64")}`,
  }));
  const { serverKey } = await keptIn(folder, serverKeyFileName, () => ({
    serverKey: randomBytes(32).toString("base64"),
  }));
  const orgSettingsFile = settings.orgSettingsFile ?? join(folder.path, "org-settings.json");
  if (!settings.orgSettingsFile) await folder.write("org-settings.json", localOrgSettings(localOrg, issuerUrl));
  const environment = {
    NODE_ENV: process.env.NODE_ENV || "development",
    ...(given.eventStore ? { EVENTSTORE_URL: given.eventStore } : backingEnvironment.eventStore(ports.eventStore)),
    ...(given.mongodb ? { MONGODB_URL: given.mongodb } : backingEnvironment.mongodb(ports.mongodb)),
    ...(given.redis ? { REDIS_URL: given.redis } : backingEnvironment.redis(ports.redis)),
    ...(given.s3 ? {} : backingEnvironment.s3(ports.s3)),
    ORG_SETTINGS_FILE: orgSettingsFile,
    MASTER_KEYS: settings.masterKeys ?? secrets.masterKeys,
    SERVER_KEY: settings.serverKey ?? serverKey,
    PUBLIC_URL: process.env.PUBLIC_URL || `http://127.0.0.1:${ports.gateway}`,
    ...givenOrStandIn(standInEnvironment(`http://127.0.0.1:${ports.providers}`, ports)),
    COMMAND_API_URL: `http://127.0.0.1:${ports.commandApi}`,
    QUERY_API_URL: `http://127.0.0.1:${ports.queryApi}`,
    HEALTH_PORT: String(ports.gatewayHealth),
  };
  // For `npm run cli`, which operates this stack when its own environment names no other.
  await folder.write("environment.json", environment);
  return { ...process.env, ...environment };
}

/** A provider's endpoint or secret that the environment gives is used as it is. */
function givenOrStandIn(standIns: Readonly<Record<string, string>>): Record<string, string> {
  return Object.fromEntries(Object.entries(standIns).map(([name, value]) => [name, process.env[name] || value]));
}

function pidsOf(children: ReadonlyMap<BackingService | ProductProcess, Child>): StackFile["pids"] {
  const pids: StackFile["pids"] = {};
  for (const [name, child] of children) if (child.pid !== undefined) pids[name] = child.pid;
  return pids;
}

/** What the platform's own systems call `/internal/*` with, and a proxy acts for customers with. */
export const serviceSubject: TokenSubject = {
  org: localOrg,
  typ: "service",
  id: "local-platform",
  scope: "act-for-customer",
};

async function signTokens(key: IssuerKey, issuer: string): Promise<Pick<StackFile, "customers" | "serviceToken">> {
  const sign = (subject: TokenSubject) => signToken(key, issuer, subject, tokenSeconds);
  return {
    customers: await Promise.all(
      people.map(async ({ id, name, email }) => ({
        id,
        name,
        token: await sign({ org: localOrg, typ: "customer", id, name, email }),
      })),
    ),
    serviceToken: await sign(serviceSubject),
  };
}
