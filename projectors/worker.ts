/** The worker's process: reactors turn facts into jobs, duties fall due, and workers do them. */
import { readEnvironment } from "#infrastructure/environment.js";
import { createHealthApplication } from "#infrastructure/http/application.js";
import { listen } from "#infrastructure/http/server.js";
import { runProcess } from "#infrastructure/lifecycle.js";
import { createRegistry, workerMetrics } from "#infrastructure/metrics.js";
import { createDutyPerformers, createPeriodicTasks, createReactors } from "./registry.js";
import { eraseAgain } from "./privacy/privacy.reactor.js";
import { createEffects } from "./runner/effects.js";
import { pause } from "./runner/lease.js";
import { ForeignStore } from "./runner/subscription.js";
import { openWorkerDependencies, workerEnvironment } from "./worker-dependencies.js";

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
  const environment = readEnvironment(workerEnvironment);
  const { REDIS_URL, HOST, PORT } = environment;
  const registry = createRegistry("worker", process.env.npm_package_version ?? "0.1.0");
  const deps = await openWorkerDependencies(environment, { log, registry, onStop });
  const effects = createEffects({
    deps,
    reactors: createReactors(deps),
    performers: createDutyPerformers(deps),
    periodic: createPeriodicTasks(deps),
    redisUrl: REDIS_URL,
    onStop,
    metrics: workerMetrics(registry),
  });
  const { readiness } = effects;
  const server = await listen(createHealthApplication({ log, registry, readiness }), { host: HOST, port: PORT });
  onStop("health", () => server.close());

  // Beside the rest: a million profiles take seconds to read, and nobody waits for it.
  const erasing = retry(
    () => eraseAgain(deps, signal),
    signal,
    (err) => log.warn({ err }, "erasures not applied again yet"),
  ).then((returned) => returned && log.warn({ returned }, "destroyed data keys that had come back"));
  onStop("erasures", async () => void (await erasing));
  const running = effects.run(signal).catch((error: unknown) => {
    if (!(error instanceof ForeignStore)) throw error;
    log.fatal({ err: error }, "refusing to run");
    process.stderr.write(`worker: ${error.message}\n`);
    stop("foreign event store", 4);
  });
  onStop("effects", () => running);
  log.info({ port: server.port }, "listening");
});
