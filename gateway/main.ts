import express, { type Express } from "express";
import type { Registry } from "prom-client";
import { request } from "undici";
import { readEnvironment } from "#infrastructure/environment.js";
import { createHealth, type ReadinessCheck } from "#infrastructure/http/health.js";
import { listen } from "#infrastructure/http/server.js";
import { runProcess } from "#infrastructure/lifecycle.js";
import { packageVersion } from "#infrastructure/log.js";
import { createRegistry } from "#infrastructure/metrics.js";
import { createGateway } from "./application.js";

/** How long running requests may still take when the process stops; event streams are cut then. */
const graceMs = 1_000;

/** The process in front of both APIs. Its port is public, so health and metrics have a port of their own. */
runProcess("gateway", async ({ log, onStop }) => {
  const { COMMAND_API_URL, QUERY_API_URL, HEALTH_PORT, HOST, PORT } = readEnvironment([
    "COMMAND_API_URL",
    "QUERY_API_URL",
    "HEALTH_PORT",
  ]);
  const gateway = createGateway({ commandApi: COMMAND_API_URL, queryApi: QUERY_API_URL, log });
  onStop("connections", () => gateway.close());
  if (HEALTH_PORT !== undefined) {
    const registry = createRegistry("gateway", packageVersion);
    const readiness = [
      apiCheck("command-api", COMMAND_API_URL),
      apiCheck("query-api", QUERY_API_URL),
      // Without it a method that nobody serves is answered by an API that knows only half of them.
      { name: "routes", probe: () => gateway.learn() },
    ];
    const health = await listen(healthApplication(readiness, registry), { host: HOST, port: HEALTH_PORT });
    onStop("health", () => health.close(0));
  }
  const server = await listen(gateway.handle, { host: HOST, port: PORT, requestTimeoutMs: 300_000 });
  onStop("http", () => server.close(graceMs));
  log.info({ port: server.port }, "listening");
});

/** The routes every process has on a port that is not public. */
function healthApplication(readiness: readonly ReadinessCheck[], registry: Registry): Express {
  const { healthz, readyz, metrics } = createHealth(readiness, registry);
  return express().disable("x-powered-by").get("/healthz", healthz).get("/readyz", readyz).get("/metrics", metrics);
}

/** An API is ready when it says so: each serves its own half of the paths, so both are needed. */
function apiCheck(name: string, url: string): ReadinessCheck {
  return {
    name,
    probe: async () => {
      const { statusCode, body } = await request(`${url}/readyz`, { signal: AbortSignal.timeout(2_000) });
      await body.dump();
      if (statusCode !== 200) throw new Error(`answers ${statusCode}`);
    },
  };
}
