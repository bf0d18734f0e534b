import { type ChildProcess, spawn } from "node:child_process";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { EventStoreDBClient } from "@eventstore/db-client";

const program = fileURLToPath(new URL("../../embedded/event-store/main.js", import.meta.url));

/** How a server process ended. */
export type ServerExit = { readonly code: number | null; readonly signal: string | null; readonly stderr: string };

/** The embedded event store, running as a process of its own. */
export type EventStoreServer = {
  readonly connectionString: string;
  readonly port: number;
  readonly pid: number;
  readonly ended: Promise<ServerExit>;
  /** Sends the signal and waits for the end. */
  stop(signal?: NodeJS.Signals): Promise<ServerExit>;
};

/** What a server process is allowed. */
export type Limits = {
  /** No file may become larger than this: what a full disk looks like, without one. */
  readonly maxFileKilobytes?: number;
};

function launch(
  args: readonly string[],
  env: NodeJS.ProcessEnv,
  { maxFileKilobytes }: Limits = {},
): { child: ChildProcess; ended: Promise<ServerExit> } {
  const command = [process.execPath, "--enable-source-maps", program, ...args];
  // The shell counts in blocks of 512 bytes, and becomes the server: the process id stays the same.
  if (maxFileKilobytes) command.unshift("/bin/sh", "-c", `ulimit -f ${maxFileKilobytes * 2}; exec "$0" "$@"`);
  const [executable, ...rest] = command as [string, ...string[]];
  const child = spawn(executable, rest, {
    env: { ...process.env, ...env },
    stdio: ["ignore", "pipe", "pipe"],
  });
  let stderr = "";
  child.stderr?.on("data", (chunk) => {
    stderr += chunk;
  });
  const ended = new Promise<ServerExit>((resolve) => {
    child.once("close", (code, signal) => resolve({ code, signal, stderr }));
  });
  return { child, ended };
}

/**
 * Starts a server and waits until it says that it is ready.
 *
 * @param args of its command line; the port is any free one unless given
 */
export async function startEventStore(
  args: readonly string[],
  env: NodeJS.ProcessEnv = {},
  limits: Limits = {},
): Promise<EventStoreServer> {
  const port = args.includes("--http-port") ? [] : ["--http-port", "0"];
  const { child, ended } = launch([...args, ...port], env, limits);
  const address = await new Promise<string>((resolve, reject) => {
    let output = "";
    child.stdout?.on("data", (chunk) => {
      output += chunk;
      const ready = /event store ready on (esdb:\S+)\n/.exec(output);
      if (ready) resolve(ready[1] as string);
    });
    void ended.then(({ code, stderr }) => reject(new Error(`the event store ended (${code}): ${stderr}`)));
  });
  return {
    connectionString: address,
    port: Number(new URL(address).port),
    pid: child.pid as number,
    ended,
    stop(signal = "SIGTERM") {
      child.kill(signal);
      return ended;
    },
  };
}

/** Starts a server that is expected to refuse, and waits for its end. */
export async function refusedStart(args: readonly string[], env: NodeJS.ProcessEnv = {}): Promise<ServerExit> {
  const { child, ended } = launch(args, env);
  const timer = setTimeout(() => child.kill("SIGKILL"), 10_000);
  const exit = await ended;
  clearTimeout(timer);
  return exit;
}

/** A folder that is removed by the returned function. */
export async function temporaryFolder(): Promise<{ path: string; remove(): Promise<void> }> {
  const path = await mkdtemp(join(tmpdir(), "event-store-"));
  return { path, remove: () => rm(path, { recursive: true, force: true }) };
}

/** The official client for a server. `dispose` it, or its channel keeps trying to reach a stopped server. */
export function clientOf(server: { readonly connectionString: string }): EventStoreDBClient {
  return EventStoreDBClient.connectionString(server.connectionString);
}

/** All that an async iterable gives, up to `limit` items. */
export async function collect<T>(items: AsyncIterable<T>, limit = Number.POSITIVE_INFINITY): Promise<T[]> {
  const collected: T[] = [];
  for await (const item of items) {
    collected.push(item);
    if (collected.length >= limit) break;
  }
  return collected;
}
