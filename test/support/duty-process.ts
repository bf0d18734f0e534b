/**
 * The worker in a process of its own, for tests that kill it: the product's reactors and performers of duties, with
 * short times, by a clock that the test moves with messages `{aheadMs}`. Told `{dieAt: n}` it kills itself at the nth
 * of the steps its effects are made of from then on: before and after each command, and each data key destroyed.
 */
import { readEnvironment } from "#infrastructure/environment.js";
import { createLogger } from "#infrastructure/log.js";
import { createRegistry, workerMetrics } from "#infrastructure/metrics.js";
import { createDutyPerformers, createReactors } from "#projectors/registry.js";
import { createEffects } from "#projectors/runner/effects.js";
import { openWorkerDependencies, workerEnvironment } from "#projectors/worker-dependencies.js";

let stepsToLive = Number.POSITIVE_INFINITY;
function step(): void {
  if (--stepsToLive <= 0) process.kill(process.pid, "SIGKILL");
}

/** The same function, with a step on either side. */
function stepping<Args extends unknown[], Result>(work: (...args: Args) => Promise<Result>) {
  return async (...args: Args): Promise<Result> => {
    step();
    const result = await work(...args);
    step();
    return result;
  };
}

let aheadMs = Number(process.env.CLOCK_AHEAD_MS ?? 0);
process.on("message", (message: { aheadMs: number } | { dieAt: number }) => {
  if ("aheadMs" in message) aheadMs = message.aheadMs;
  else {
    stepsToLive = message.dieAt;
    process.send?.("told");
  }
});
process.on("disconnect", () => process.exit(0));

const log = createLogger({ service: "worker", level: process.env.LOG_LEVEL ?? "silent" });
const registry = createRegistry("worker", "test");
const onStop = () => {}; // it is killed
const opened = await openWorkerDependencies(readEnvironment(workerEnvironment), {
  ...{ log, registry, onStop },
  clock: () => new Date(Date.now() + aheadMs),
});
const { commands, keys } = opened;
const deps: typeof opened = {
  ...opened,
  commands: { ...commands, handle: stepping(commands.handle) as typeof commands.handle },
  keys: { ...keys, destroy: stepping(keys.destroy) },
};
const effects = createEffects({
  deps,
  reactors: createReactors(deps),
  performers: createDutyPerformers(deps),
  redisUrl: readEnvironment(["REDIS_URL"]).REDIS_URL,
  onStop,
  times: {
    lease: { ttlMs: 1_500, renewMs: 300 },
    pollMs: 50,
    addAgainMs: 500,
    jobs: { stalledMs: 3_000 },
  },
  metrics: workerMetrics(registry),
});
await effects.run(new AbortController().signal);
