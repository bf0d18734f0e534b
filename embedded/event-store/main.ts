/**
 * The embedded event store as a process of its own. Prints one line when it is ready:
 *
 *     event store ready on esdb://127.0.0.1:2113?tls=false
 *
 * Exit code 0 after a stop by signal, 1 when it cannot start or cannot go on; the reason stands on stderr.
 */

import { readCommandLine, USAGE } from "./command-line.js";
import { explain } from "./database.js";
import type { RunningServer } from "./server.js";
import { startServer } from "./server.js";
import { StartupError } from "./startup-error.js";

/** A stop that takes longer than this is cut short; every acknowledged write is on disk by then. */
const STOP_TIMEOUT_MS = 4000;

try {
  await main();
} catch (error) {
  if (!(error instanceof StartupError)) throw error;
  fail(error.message);
}

async function main(): Promise<void> {
  const options = readCommandLine(process.argv.slice(2), process.env);
  if (options === undefined) {
    console.log(USAGE);
    return;
  }
  const server = await startServer(options, {
    onFailure: (error) =>
      fail(`The event store stops: ${explain(error, options.databaseFolder ?? "the memory database")}`),
    onFault: (error) => console.error("A call failed by a fault of the event store:", error),
  });
  for (const signal of ["SIGTERM", "SIGINT"] as const) process.once(signal, () => void stop(server));
  const host = options.host.includes(":") ? `[${options.host}]` : options.host;
  console.log(`event store ready on esdb://${host}:${server.port}?tls=${options.tls !== undefined}`);
}

async function stop(server: RunningServer): Promise<void> {
  setTimeout(() => process.exit(0), STOP_TIMEOUT_MS).unref();
  await server.stop();
  process.exit(0);
}

function fail(message: string): never {
  console.error(message);
  process.exit(1);
}
