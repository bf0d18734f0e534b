import { type ChildProcess, spawn } from "node:child_process";
import { mkdtemp, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import {
  type BackingService,
  backingEnvironment,
  backingSpec,
  entry,
  prepareFolders,
} from "../../embedded/backing-services.js";
import { type Child, diesWithParent, startChild } from "../../embedded/child.js";
import { defaultCacheFolder } from "../../embedded/data-folder.js";
import { pickPorts } from "../../embedded/ports.js";
import { type StackFile, stackFileName } from "../../embedded/stack.js";

/** Running servers for a test, each on a free port, with data in a folder that goes when they stop. */
export type BackingServices = {
  /** EVENTSTORE_URL, MONGODB_URL, REDIS_URL, S3_ENDPOINT ... of the services that were asked for. */
  readonly env: Record<string, string>;
  /** Process ids, for tests that kill; a killed server is started again at the same address. */
  readonly pids: Partial<Record<BackingService, number>>;
  kill(service: BackingService, signal?: NodeJS.Signals): void;
  stop(): Promise<void>;
};

const everyService: readonly BackingService[] = ["eventStore", "mongodb", "redis", "s3"];

/**
 * Starts servers of this test's own. For specs that kill them, or that read the whole log: others share one set
 * and use `backingServices()`.
 */
export async function startBackingServices(
  options: { services?: readonly BackingService[] } = {},
): Promise<BackingServices> {
  const services = options.services ?? everyService;
  const folder = await mkdtemp(join(tmpdir(), "client-data-test-"));
  const ports = await pickPorts(services);
  const children = new Map<BackingService, Child>();
  const stop = async () => {
    await Promise.all([...children.values()].map((child) => child.stop()));
    await rm(folder, { recursive: true, force: true });
  };
  try {
    await Promise.all(
      services.map(async (service) => {
        const plan = {
          port: ports[service],
          dataFolder: join(folder, service),
          logFile: join(folder, "logs", `${service}.log`),
        };
        await prepareFolders(plan);
        const child = startChild(
          await backingSpec(service, plan, { provision, ports: await pickPorts(["smtp", "clamav"]) }),
        );
        children.set(service, child);
        await child.ready;
      }),
    );
  } catch (error) {
    await stop();
    throw error;
  }
  return {
    env: Object.assign({}, ...services.map((service) => environmentOf[service](ports[service]))),
    get pids() {
      return Object.fromEntries([...children].map(([service, child]) => [service, child.pid]));
    },
    kill(service, signal = "SIGKILL") {
      children.get(service)?.kill(signal);
    },
    stop,
  };
}

const provision = { cacheFolder: defaultCacheFolder, say: (line: string) => process.stderr.write(`${line}\n`) };

const environmentOf: Record<BackingService, (port: number) => Record<string, string>> = {
  ...backingEnvironment,
  providers: (port) => ({ STRIPE_API_BASE: `http://127.0.0.1:${port}` }),
};

const sharedVariable = "TEST_BACKING_SERVICES";

/** One set for all integration specs of a run; called by `test/run.mjs`, which hands the result on as `env`. */
export async function startSharedServices(): Promise<BackingServices> {
  const services = await startBackingServices();
  return { ...services, env: { [sharedVariable]: JSON.stringify(services.env) } };
}

/**
 * The backing services of an integration spec: the set that the run shares, or, when the spec runs by itself, a set
 * of its own. Specs keep out of each other's way by a database name and an org of their own.
 *
 * @returns the addresses as environment variables, and `stop` for the `after` hook
 */
export async function backingServices(): Promise<Pick<BackingServices, "env" | "stop">> {
  const shared = process.env[sharedVariable];
  if (shared) return { env: JSON.parse(shared), stop: async () => {} };
  return startBackingServices();
}

/** The whole local stack, started by the real supervisor as `npm start` does it. */
export type RunningStack = {
  /** DATA_DIR. */
  readonly folder: string;
  /** The supervisor's process. */
  readonly process: ChildProcess;
  /** stack.json as it was when the stack became ready. */
  readonly file: StackFile;
  /** Everything the supervisor printed so far. */
  output(): string;
  /** stack.json as it is now: process ids change when a child is started again. */
  read(): Promise<StackFile>;
  /** SIGTERM, and waits for the end; removes the data folder unless it was given. */
  stop(): Promise<void>;
};

/**
 * Starts the whole stack on free ports and waits until it is ready.
 *
 * @param options.folder data folder to use and keep; default a new one that goes with the stack
 * @param options.env further variables; sample data are left out unless it says otherwise
 * @throws Error with what the supervisor printed, when it ends before it is ready
 */
export async function startStack(
  options: { folder?: string; env?: Record<string, string> } = {},
): Promise<RunningStack> {
  const folder = options.folder ?? (await mkdtemp(join(tmpdir(), "client-data-test-")));
  const supervisor = runSupervisor({ DATA_DIR: folder, ...options.env });
  const read = async (): Promise<StackFile> => JSON.parse(await readFile(join(folder, stackFileName), "utf8"));
  const cleanUp = async () => {
    if (!options.folder) await rm(folder, { recursive: true, force: true });
  };
  for (;;) {
    const file = await read().catch(() => undefined);
    // The file is written when all is ready; the greeting that follows ends the start.
    if (file && supervisor.output().includes("Ctrl-C")) {
      const stop = async () => {
        supervisor.process.kill("SIGTERM"); // nothing, where it has ended already
        await supervisor.ended;
        await cleanUp();
      };
      return { folder, process: supervisor.process, file, output: supervisor.output, read, stop };
    }
    if (await Promise.race([supervisor.ended.then(() => true), delay(20)])) {
      await cleanUp();
      throw new Error(`the stack did not start:\n${supervisor.output()}`);
    }
  }
}

/** Runs `npm start` without npm: its output so far, and its exit code (null after a signal) when it ends. */
export function runSupervisor(env: Record<string, string>): {
  readonly process: ChildProcess;
  readonly ended: Promise<number | null>;
  output(): string;
} {
  // A test process that crashes takes its stack with it.
  const [command, args] = diesWithParent(process.execPath, ["--enable-source-maps", entry("embedded/start.js")]);
  const child = spawn(command, args, {
    env: { ...process.env, PORT: "0", SAMPLE_DATA: "0", LOG_LEVEL: "info", ...env },
    stdio: ["ignore", "pipe", "pipe"],
    detached: true, // leads a process group, as it would in a terminal
  });
  let output = "";
  child.stdout.on("data", (chunk) => {
    output += chunk;
  });
  child.stderr.on("data", (chunk) => {
    output += chunk;
  });
  const ended = new Promise<number | null>((resolve) => child.once("close", resolve));
  return { process: child, ended, output: () => output };
}
