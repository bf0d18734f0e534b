import type { Db } from "mongodb";
import type { Logger } from "pino";
import { lead } from "./leading.js";
import { Lease, type LeaseTimes, pause } from "./lease.js";

/** What is looked after now and then, whether or not anything happened: a sweep. A run more or fewer does no harm. */
export type PeriodicTask = {
  /** Kebab-case, for logs. */
  readonly name: string;
  /** From the end of one run to the beginning of the next; the first is soon after the start. */
  readonly everyMs: number;
  readonly run: (signal: AbortSignal) => Promise<void>;
};

/** A task that failed is tried again so soon. */
const againMs = 60_000;

/**
 * Runs periodic tasks, one leader at a time, until `signal` aborts. When each ran last is not kept: another leader runs
 * them anew.
 */
export async function runPeriodically(
  options: {
    readonly database: Db;
    readonly tasks: readonly PeriodicTask[];
    readonly log: Logger;
    readonly leaseTimes?: LeaseTimes;
  },
  signal: AbortSignal,
): Promise<void> {
  const { database, tasks, log, leaseTimes } = options;
  if (tasks.length === 0) return;
  const lease = new Lease(database, "periodic", leaseTimes);
  await lead(signal, {
    lease,
    work: (held) => runInTurn(lease, tasks, log, held),
    onFailure: (err, retryInMs) => log.warn({ err, retryInMs }, "periodic tasks stand still, trying again"),
  });
}

async function runInTurn(
  lease: Lease,
  tasks: readonly PeriodicTask[],
  log: Logger,
  signal: AbortSignal,
): Promise<void> {
  const nextAt = new Map<PeriodicTask, number>();
  while (!signal.aborted && lease.valid) {
    for (const task of tasks) {
      if (performance.now() < (nextAt.get(task) ?? 0) || signal.aborted) continue;
      const failed = await task.run(signal).then(
        () => false,
        (err: unknown) => {
          if (!signal.aborted) log.warn({ err, task: task.name }, "a periodic task failed");
          return true;
        },
      );
      nextAt.set(task, performance.now() + (failed ? Math.min(againMs, task.everyMs) : task.everyMs));
    }
    await pause(1_000, signal);
  }
}
