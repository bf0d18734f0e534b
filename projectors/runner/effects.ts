import { QueueEvents } from "bullmq";
import type { ReadinessCheck } from "#infrastructure/http/health.js";
import { dutyQueueName, failFastConnection, queueNames, workerConnection } from "#infrastructure/queue.js";
import { live } from "#infrastructure/read-models.js";
import type { WorkerMetrics } from "#infrastructure/metrics.js";
import { dueWorkDocument } from "../due-work.document.js";
import type { WorkerDependencies } from "../worker-dependencies.js";
import type { DutyPerformer } from "./duties.js";
import { type DutyJob, DutyPoller } from "./duty-poller.js";
import { type JobQueue, type JobTimes, openQueue, openWorkedQueue } from "./job-queue.js";
import type { LeaseTimes } from "./lease.js";
import { type PeriodicTask, runPeriodically } from "./periodic.js";
import type { Reaction, Reactor } from "./reactor.js";
import { ReactorRunner } from "./reactor-runner.js";

export type EffectTimes = {
  readonly lease?: LeaseTimes;
  readonly pollMs?: number;
  readonly addAgainMs?: number;
  readonly jobs?: JobTimes;
};

export type EffectsOptions = {
  readonly deps: WorkerDependencies;
  readonly reactors: readonly Reactor[];
  readonly performers: readonly DutyPerformer[];
  /** Default none. */
  readonly periodic?: readonly PeriodicTask[];
  readonly redisUrl: string;
  /** Keeps installations that share a Redis apart; default BullMQ's own. */
  readonly queuePrefix?: string;
  readonly onStop: (name: string, stop: () => void | Promise<void>) => void;
  /** Shorter times for tests that wait for a repeat. */
  readonly times?: EffectTimes;
  readonly metrics: WorkerMetrics;
};

export type Effects = {
  /**
   * Turns facts and due duties into jobs, and does jobs, until `signal` aborts.
   *
   * @throws ForeignStore when the log is not the one the reactors' cursor belongs to
   */
  run(signal: AbortSignal): Promise<void>;
  readonly readiness: readonly ReadinessCheck[];
  /** Whether this process reads the log for the reactors. */
  readonly leads: () => boolean;
  /** Whether every fact so far has had its effects and nothing is due. */
  isIdle(): Promise<boolean>;
};

/** A loop that has not turned for so long hangs. */
const heartbeatWithinMs = 45_000;

/**
 * Reactions and duties as BullMQ jobs. Redis is only the road: reactors start again before the oldest fact whose effect
 * is open, and duties are rows of a read model, so a wiped Redis is filled again.
 */
export function createEffects(options: EffectsOptions): Effects {
  const { deps, reactors, performers, redisUrl, queuePrefix, onStop, times = {}, metrics } = options;
  const { eventStore, database, readModels, clock, log } = deps;
  const prefix = queuePrefix === undefined ? {} : { prefix: queuePrefix };

  const onRedisError = (err: Error) => log.warn({ err }, "Redis is away, trying again");
  const adding = failFastConnection(redisUrl, onRedisError);
  const blocking = workerConnection(redisUrl, onRedisError);
  const listening = workerConnection(redisUrl, onRedisError);
  onStop("Redis", () => {
    for (const redis of [adding, blocking, listening]) redis.disconnect();
  });
  const queueOptions = {
    ...{ adding, working: blocking, prefix: queuePrefix, times: times.jobs, log, onRedisError },
    onFailure: (kind: string) => metrics.failures.inc({ kind }),
  };

  const reactions = openWorkedQueue<Reaction>({
    ...queueOptions,
    name: queueNames.reactions,
    work: async (purpose, reaction) => {
      const reactor = reactors.find((one) => one.purpose === purpose);
      // A job of another release: the worker that knows it will do it.
      if (!reactor) throw new Error(`no reactor for ${purpose}`);
      await reactor.react(reaction);
    },
  });
  // A queue for each kind of duty: one that is slow or fails holds up its own kind only.
  const duties = new Map<string, JobQueue<DutyJob>>(
    performers.map((performer) => [performer.duty, openWorkedQueue({ ...queueOptions, ...dutyWork(performer) })]),
  );
  function dutyWork(performer: DutyPerformer) {
    const { duty } = performer;
    return {
      name: dutyQueueName(duty),
      work: async (_: string, { rowId, position }: DutyJob) => {
        const row = await readModels.collection(dueWorkDocument).findOne({ _id: rowId, ...live });
        // Done meanwhile, or due at another time: that is another job.
        if (!row || row.duty !== duty || row._pos !== position) return;
        const { dueAt, stream, subject, owner } = row;
        await performer.perform({ rowId, position, duty, dueAt, stream, subject, owner });
      },
    };
  }
  /** What only another release knows how to do waits in its queue until that release's worker comes. */
  function queueOf(duty: string): JobQueue<DutyJob> {
    const queue = duties.get(duty) ?? openQueue<DutyJob>({ ...queueOptions, name: dutyQueueName(duty) });
    duties.set(duty, queue);
    return queue;
  }
  const done = new QueueEvents(queueNames.reactions, { ...prefix, connection: listening });
  done.on("error", onRedisError);
  // Closing waits for Redis, which may be away (taskforcesh/bullmq issue 4656): not longer than a job may take to end.
  onStop("queues", async () => {
    const closing = Promise.allSettled([reactions, ...duties.values(), done].map((one) => one.close()));
    await Promise.race([closing, new Promise((resolve) => setTimeout(resolve, 1_500))]);
  });

  const lease = times.lease === undefined ? {} : { leaseTimes: times.lease };
  const again = times.addAgainMs === undefined ? {} : { addAgainMs: times.addAgainMs };
  const runner = new ReactorRunner({
    database,
    eventStore,
    reactors,
    queue: {
      add: reactions.add,
      onDone: (listener) => void done.on("completed", ({ jobId }) => listener(jobId)),
    },
    onTurn: (open) => metrics.reactionsOpen.set(open),
    log,
    ...lease,
    ...again,
  });
  const poller = new DutyPoller({
    database,
    readModels,
    clock,
    add: (id, job) => queueOf(job.duty).add(id, job.duty, job),
    onLook: (seconds) => metrics.dueWorkOldest.set(seconds),
    log,
    ...lease,
    ...again,
    ...(times.pollMs === undefined ? {} : { pollMs: times.pollMs }),
  });

  const turning = (what: string, heartbeat: number) => {
    const age = Date.now() - heartbeat;
    if (age > heartbeatWithinMs) throw new Error(`${what} have not turned for ${Math.round(age / 1_000)} s`);
  };
  return {
    async run(signal) {
      const tasks = options.periodic ?? [];
      await Promise.all([
        runner.run(signal),
        poller.run(signal),
        runPeriodically({ database, tasks, log, ...lease }, signal),
      ]);
    },
    readiness: [
      {
        name: "heartbeat",
        probe: () => {
          turning("the reactors", runner.health().heartbeat);
          turning("the duties", poller.health().heartbeat);
        },
      },
      {
        name: "reactors",
        probe: () => {
          const { role, problem, pending } = runner.health();
          if (problem !== undefined) throw new Error(problem);
          return `${role}, ${pending} effect(s) out`;
        },
      },
      {
        name: "due work",
        probe: () => {
          const { problem, oldestDueAt } = poller.health();
          if (problem !== undefined) throw new Error(problem);
          return oldestDueAt === undefined ? "nothing is due" : `due since ${oldestDueAt}`;
        },
      },
      { name: "redis", probe: async () => void (await adding.ping()) },
      { name: "event store", probe: async () => void (await eventStore.head()) },
    ],
    leads: () => runner.health().role === "leader",
    async isIdle() {
      const due = { dueAt: { $lte: clock().toISOString() }, ...live };
      return (await runner.isDone()) && (await readModels.collection(dueWorkDocument).countDocuments(due)) === 0;
    },
  };
}
