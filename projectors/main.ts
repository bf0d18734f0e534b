/** The projection runner's process. */
import { storedEvents } from "#domain/stored-events.js";
import { readEnvironment } from "#infrastructure/environment.js";
import { createEventSerializer } from "#infrastructure/event-serializer.js";
import { createHealthApplication } from "#infrastructure/http/application.js";
import { listen } from "#infrastructure/http/server.js";
import { runProcess } from "#infrastructure/lifecycle.js";
import { createRegistry, runnerMetrics } from "#infrastructure/metrics.js";
import { openStores, storeEnvironment } from "#infrastructure/stores.js";
import { projections } from "./registry.js";
import { Runner } from "./runner/runner.js";
import { ForeignStore } from "./runner/subscription.js";

/** A loop that has not turned for so long hangs. */
const heartbeatWithinMs = 45_000;

runProcess("projectors", async ({ log, onStop, signal, stop }) => {
  const environment = readEnvironment(storeEnvironment);
  const { HOST, PORT } = environment;
  const { eventStore, database, keys } = openStores(environment, { name: "projectors", log, onStop });
  const registry = createRegistry("projectors", process.env.npm_package_version ?? "0.1.0");

  const runner = new Runner({
    database,
    eventStore,
    opener: createEventSerializer(storedEvents, keys),
    isErased: async (owner) => (await keys.find(owner))?.customer === null,
    projections,
    storedEvents,
    log,
    metrics: runnerMetrics(registry),
  });
  const readiness = [
    {
      name: "heartbeat",
      probe: () => {
        const age = Date.now() - runner.health().heartbeat;
        if (age > heartbeatWithinMs) throw new Error(`the runner has not turned for ${Math.round(age / 1000)} s`);
      },
    },
    {
      name: "projections",
      probe: () => {
        const { role, problems } = runner.health();
        if (problems.length > 0) throw new Error(problems.join("; "));
        return role;
      },
    },
  ];
  const server = await listen(createHealthApplication({ log, registry, readiness }), { host: HOST, port: PORT });
  onStop("health", () => server.close());

  const running = runner.run(signal).catch((error: unknown) => {
    if (!(error instanceof ForeignStore)) throw error;
    log.fatal({ err: error }, "refusing to run");
    process.stderr.write(`projectors: ${error.message}\n`);
    stop("foreign event store", 4);
  });
  onStop("runner", () => running);
  log.info({ port: server.port }, "listening");
});
