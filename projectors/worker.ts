/** The worker's process: reactors turn facts into jobs, and workers do them. */
import { Queue, QueueEvents, Worker } from "bullmq";
import { readEnvironment } from "#infrastructure/environment.js";
import { createHealthApplication } from "#infrastructure/http/application.js";
import type { ReadinessCheck } from "#infrastructure/http/health.js";
import { listen } from "#infrastructure/http/server.js";
import { runProcess } from "#infrastructure/lifecycle.js";
import { createRegistry } from "#infrastructure/metrics.js";
import { failFastConnection, queueNames, workerConnection } from "#infrastructure/queue.js";
import { openStores, storeEnvironment } from "#infrastructure/stores.js";
import { createReactors } from "./registry.js";
import { eraseAgain } from "./privacy/privacy.reactor.js";
import { pause } from "./runner/lease.js";
import type { Reaction } from "./runner/reactor.js";
import { ReactorRunner } from "./runner/reactor-runner.js";
import { ForeignStore } from "./runner/subscription.js";

/** A loop that has not turned for so long hangs. */
const heartbeatWithinMs = 45_000;
/** Failed effects are tried again for as long as it takes, at most this far apart. */
const longestPauseMs = 60_000;

/** Tries until it succeeds or `signal` aborts. */
async function retry<Result>(
  work: () => Promise<Result>,
  signal: AbortSignal,
  onFailure: (error: unknown) => void,
): Promise<Result | undefined> {
  while (!signal.aborted) {
    try {
      return await work();
    } catch (error) {
      if (signal.aborted) return undefined;
      onFailure(error);
      await pause(5_000, signal);
    }
  }
  return undefined;
}

runProcess("worker", async ({ log, onStop, signal, stop }) => {
  const environment = readEnvironment([...storeEnvironment, "REDIS_URL"]);
  const { REDIS_URL, HOST, PORT } = environment;
  const { eventStore, database, keys } = openStores(environment, { name: "worker", log, onStop });
  const registry = createRegistry("worker", process.env.npm_package_version ?? "0.1.0");
  const reactors = createReactors({ eventStore, keys });

  const onRedisError = (err: Error) => log.warn({ err }, "Redis is away, trying again");
  const adding = failFastConnection(REDIS_URL, onRedisError);
  const blocking = workerConnection(REDIS_URL, onRedisError);
  onStop("Redis", () => {
    adding.disconnect();
    blocking.disconnect();
  });
  const queue = new Queue<Reaction>(queueNames.reactions, {
    connection: adding,
    // BullMQ's own check of the server's version waits for a connection; `add` below must not.
    skipVersionCheck: true,
    defaultJobOptions: {
      attempts: Number.MAX_SAFE_INTEGER,
      backoff: { type: "bounded" },
      removeOnComplete: true,
      removeOnFail: false,
    },
  });
  const done = new QueueEvents(queueNames.reactions, { connection: blocking.duplicate() });
  const worker = new Worker<Reaction>(
    queueNames.reactions,
    async (job) => {
      const reactor = reactors.find(({ purpose }) => purpose === job.name);
      // A job of another release: the worker that knows it will do it.
      if (!reactor) throw new Error(`no reactor for ${job.name}`);
      await reactor.react(job.data);
    },
    {
      connection: blocking,
      concurrency: 8,
      settings: { backoffStrategy: (attempts = 1) => Math.min(250 * 2 ** Math.min(attempts, 10), longestPauseMs) },
    },
  );
  queue.on("error", onRedisError);
  done.on("error", onRedisError);
  worker.on("error", onRedisError);
  worker.on("failed", (job, err) => log.warn({ err, jobId: job?.id, attempt: job?.attemptsMade }, "effect failed"));
  // Closing waits for Redis, which may be away (taskforcesh/bullmq issue 4656): not longer than a job may take to end.
  onStop("queue", async () => {
    const closing = Promise.allSettled([worker.close(), queue.close(), done.close()]);
    await Promise.race([closing, new Promise((resolve) => setTimeout(resolve, 1_500))]);
  });

  const runner = new ReactorRunner({
    database,
    eventStore,
    reactors,
    queue: {
      add: async (id, purpose, reaction) => {
        await queue.add(purpose, reaction, { jobId: id });
      },
      onDone: (listener) => void done.on("completed", ({ jobId }) => listener(jobId)),
    },
    log,
  });
  const readiness: readonly ReadinessCheck[] = [
    {
      name: "heartbeat",
      probe: () => {
        const age = Date.now() - runner.health().heartbeat;
        if (age > heartbeatWithinMs) throw new Error(`the reactors have not turned for ${Math.round(age / 1_000)} s`);
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
    { name: "redis", probe: async () => void (await adding.ping()) },
    { name: "event store", probe: async () => void (await eventStore.head()) },
  ];
  const server = await listen(createHealthApplication({ log, registry, readiness }), { host: HOST, port: PORT });
  onStop("health", () => server.close());

  // Beside the rest: a million profiles take seconds to read, and nobody waits for it.
  const erasing = retry(
    () => eraseAgain({ eventStore, keys }, signal),
    signal,
    (err) => log.warn({ err }, "erasures not applied again yet"),
  ).then((returned) => returned && log.warn({ returned }, "destroyed data keys that had come back"));
  onStop("erasures", async () => void (await erasing));
  const running = runner.run(signal).catch((error: unknown) => {
    if (!(error instanceof ForeignStore)) throw error;
    log.fatal({ err: error }, "refusing to run");
    process.stderr.write(`worker: ${error.message}\n`);
    stop("foreign event store", 4);
  });
  onStop("reactors", () => running);
  log.info({ port: server.port }, "listening");
});
