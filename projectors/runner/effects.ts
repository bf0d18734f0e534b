import { Queue, QueueEvents, Worker } from "bullmq";
import type { ReadinessCheck } from "#infrastructure/http/health.js";
import { failFastConnection, queueNames, workerConnection } from "#infrastructure/queue.js";
import { live } from "#infrastructure/read-models.js";
import { dueWorkDocument } from "../due-work.document.js";
import type { WorkerDependencies } from "../worker-dependencies.js";
import type { DutyPerformer } from "./duties.js";
import { type DutyJob, DutyPoller } from "./duty-poller.js";
import type { LeaseTimes } from "./lease.js";
import { type PeriodicTask, runPeriodically } from "./periodic.js";
import type { Reaction, Reactor } from "./reactor.js";
import { ReactorRunner } from "./reactor-runner.js";

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
  readonly times?: { readonly lease?: LeaseTimes; readonly pollMs?: number; readonly addAgainMs?: number };
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
/** Failed effects are tried again for as long as it takes, at most this far apart. */
const longestPauseMs = 60_000;
const concurrency = 8;
/**
 * A job whose worker was killed is taken over within this time, however often that happens: by BullMQ's default it
 * would have failed for good at the second time, and its id would have blocked it for ever.
 */
const takenOver = { lockDuration: 10_000, stalledInterval: 5_000, maxStalledCount: Number.MAX_SAFE_INTEGER };

/**
 * Reactions and duties as BullMQ jobs. Redis is only the road: reactors start again before the oldest fact whose effect
 * is open, and duties are rows of a read model, so a wiped Redis is filled again.
 */
export function createEffects(options: EffectsOptions): Effects {
  const { deps, reactors, performers, redisUrl, queuePrefix, onStop, times = {} } = options;
  const { eventStore, database, readModels, clock, log } = deps;
  const prefix = queuePrefix === undefined ? {} : { prefix: queuePrefix };

  const onRedisError = (err: Error) => log.warn({ err }, "Redis is away, trying again");
  const adding = failFastConnection(redisUrl, onRedisError);
  const blocking = workerConnection(redisUrl, onRedisError);
  const listening = workerConnection(redisUrl, onRedisError);
  onStop("Redis", () => {
    for (const redis of [adding, blocking, listening]) redis.disconnect();
  });
  const open = <Job>(name: string, work: (kind: string, job: Job) => Promise<void>) => {
    const queue = new Queue<Job, void, string>(name, {
      ...prefix,
      connection: adding,
      // BullMQ's own check of the server's version waits for a connection; `add` must not.
      skipVersionCheck: true,
      defaultJobOptions: {
        attempts: Number.MAX_SAFE_INTEGER,
        backoff: { type: "bounded" },
        removeOnComplete: true,
        removeOnFail: false,
      },
    });
    const worker = new Worker<Job, void, string>(name, (job) => work(job.name, job.data), {
      ...prefix,
      connection: blocking,
      concurrency,
      ...takenOver,
      settings: { backoffStrategy: (attempts = 1) => Math.min(250 * 2 ** Math.min(attempts, 10), longestPauseMs) },
    });
    queue.on("error", onRedisError);
    worker.on("error", onRedisError);
    worker.on("failed", (job, err) => log.warn({ err, jobId: job?.id, attempt: job?.attemptsMade }, "effect failed"));
    return { queue, worker };
  };

  const reactions = open<Reaction>(queueNames.reactions, async (purpose, reaction) => {
    const reactor = reactors.find((one) => one.purpose === purpose);
    // A job of another release: the worker that knows it will do it.
    if (!reactor) throw new Error(`no reactor for ${purpose}`);
    await reactor.react(reaction);
  });
  const duties = open<DutyJob>(queueNames.duties, async (duty, { rowId, dueAt }) => {
    const row = await readModels.collection(dueWorkDocument).findOne({ _id: rowId, ...live });
    // Done meanwhile, or due at another time: that is another job.
    if (!row || row.duty !== duty || row.dueAt !== dueAt) return;
    const performer = performers.find((one) => one.duty === duty);
    if (!performer) throw new Error(`nobody performs ${duty}`);
    const { stream, subject, owner } = row;
    await performer.perform({ rowId, duty, dueAt, stream, subject, owner });
  });
  const done = new QueueEvents(queueNames.reactions, { ...prefix, connection: listening });
  done.on("error", onRedisError);
  // Closing waits for Redis, which may be away (taskforcesh/bullmq issue 4656): not longer than a job may take to end.
  onStop("queues", async () => {
    const all = [reactions.worker, duties.worker, reactions.queue, duties.queue, done];
    const closing = Promise.allSettled(all.map((one) => one.close()));
    await Promise.race([closing, new Promise((resolve) => setTimeout(resolve, 1_500))]);
  });

  const lease = times.lease === undefined ? {} : { leaseTimes: times.lease };
  const again = times.addAgainMs === undefined ? {} : { addAgainMs: times.addAgainMs };
  const runner = new ReactorRunner({
    database,
    eventStore,
    reactors,
    queue: {
      add: async (id, purpose, reaction) => {
        await reactions.queue.add(purpose, reaction, { jobId: id });
      },
      onDone: (listener) => void done.on("completed", ({ jobId }) => listener(jobId)),
    },
    log,
    ...lease,
    ...again,
  });
  const poller = new DutyPoller({
    database,
    readModels,
    clock,
    add: async (id, job) => {
      await duties.queue.add(job.duty, job, { jobId: id });
    },
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
