import type { Logger } from "pino";
import { ConfigurationError } from "./environment.js";
import { createLogger } from "./log.js";

/** A running process, as its entry file sees it. */
export type Lifecycle = {
  readonly log: Logger;
  /** Aborts when the process begins to stop. */
  readonly signal: AbortSignal;
  /** Registers what must be closed; closed one after the other, the last registered first. */
  onStop(name: string, stop: () => void | Promise<void>): void;
  /** Stops the process as a signal would, with this exit code. */
  stop(reason: string, exitCode?: number): void;
};

/** The whole graceful stop may take this long, then the process ends anyway. */
const stopWithinMs = 5_000;

/**
 * Runs a process: starts it, stops it in order on SIGTERM, SIGINT or when the channel to its parent closes, and ends
 * it whatever hangs. Wrong configuration prints every fault and exits with 2; an unexpected error is logged and exits
 * with 1, for a supervisor to start the process again: after it nothing in memory can be trusted.
 *
 * @param service name of the process in logs and metrics
 * @param start builds everything; registers with `onStop` what it opens
 */
export function runProcess(service: string, start: (lifecycle: Lifecycle) => Promise<void>): void {
  const log = createLogger({ service, level: process.env.LOG_LEVEL || "info" });
  const aborter = new AbortController();
  const stops: { name: string; stop: () => void | Promise<void> }[] = [];
  let stopping = false;

  const end = (exitCode: number) => {
    // Standard output may be a pipe with lines still in it.
    log.flush(() => process.exit(exitCode));
    setTimeout(() => process.exit(exitCode), 500);
  };

  async function stop(reason: string, exitCode = 0): Promise<void> {
    if (stopping) return;
    stopping = true;
    log.info({ reason }, "stopping");
    const deadline = setTimeout(() => {
      log.error({ stillOpen: stops.map(({ name }) => name) }, "did not stop in time");
      end(1);
    }, stopWithinMs);
    aborter.abort();
    for (let next = stops.pop(); next; next = stops.pop()) {
      try {
        await next.stop();
      } catch (error) {
        log.error({ err: error, part: next.name }, "failed while stopping");
      }
    }
    clearTimeout(deadline);
    end(exitCode);
  }

  const fail = (error: unknown) => {
    log.fatal({ err: error }, "unexpected error");
    void stop("unexpected error", 1);
  };
  process.on("uncaughtException", fail);
  process.on("unhandledRejection", fail);
  for (const signal of ["SIGTERM", "SIGINT"] as const) {
    process.on(signal, () => {
      // Whoever asks a second time does not want to wait.
      if (stopping) process.exit(1);
      void stop(signal);
    });
  }
  if (process.channel) process.on("disconnect", () => void stop("the parent went away"));

  const lifecycle: Lifecycle = {
    log,
    signal: aborter.signal,
    onStop: (name, close) => {
      stops.push({ name, stop: close });
    },
    stop: (reason, exitCode) => void stop(reason, exitCode),
  };
  start(lifecycle).catch((error: unknown) => {
    if (error instanceof ConfigurationError) {
      process.stderr.write(`${service}: ${error.message}\n`);
      void stop("wrong configuration", 2);
    } else {
      log.fatal({ err: error }, "could not start");
      void stop("could not start", 1);
    }
  });
}
