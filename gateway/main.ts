/** The gateway's process. Its port is public; health and metrics have a port of their own (HEALTH_PORT). */
import { createServer, type Server } from "node:http";
import { collectDefaultMetrics, register } from "prom-client";
import { request } from "undici";
import { readEnvironment } from "#infrastructure/environment.js";
import { runProcess } from "#infrastructure/lifecycle.js";
import { createGateway } from "./application.js";

const probeMs = 2_000;

runProcess("gateway", async ({ log, onStop }) => {
  const { COMMAND_API_URL, QUERY_API_URL, HEALTH_PORT, HOST, PORT } = readEnvironment([
    "COMMAND_API_URL",
    "QUERY_API_URL",
    "HEALTH_PORT",
  ]);
  if (HEALTH_PORT !== undefined) {
    const health = healthServer({ COMMAND_API_URL, QUERY_API_URL });
    await listen(health, HEALTH_PORT, HOST);
    onStop("health", () => {
      health.closeAllConnections();
      health.close();
    });
  }
  const gateway = createGateway({ commandApi: COMMAND_API_URL, queryApi: QUERY_API_URL, log });
  await listen(gateway.server, PORT, HOST);
  onStop("gateway", () => gateway.close());
  log.info({ port: (gateway.server.address() as { port: number }).port }, "listening");
});

function listen(server: Server, port: number, host: string): Promise<void> {
  return new Promise((resolve, reject) => {
    server.once("error", reject);
    server.listen(port, host, () => resolve());
  });
}

/** /healthz: the event loop turns. /readyz: both APIs are ready, since each serves half of the paths. /metrics. */
function healthServer(apis: Record<string, string>): Server {
  collectDefaultMetrics();
  return createServer((incoming, response) => {
    const send = (status: number, type: string, body: string) =>
      response.writeHead(status, { "content-type": type, "cache-control": "no-store" }).end(body);
    const answer = async () => {
      if (incoming.url === "/healthz") return send(200, "application/json", '{"status":"ok"}');
      if (incoming.url === "/metrics") return send(200, register.contentType, await register.metrics());
      if (incoming.url !== "/readyz") return send(404, "text/plain", "not found\n");
      const checks = await Promise.all(
        Object.entries(apis).map(async ([name, url]) => ({ name, status: (await isReady(url)) ? "ok" : "failed" })),
      );
      const ready = checks.every(({ status }) => status === "ok");
      return send(ready ? 200 : 503, "application/json", JSON.stringify({ status: ready ? "ok" : "failed", checks }));
    };
    answer().catch(() => response.destroy());
  });
}

async function isReady(api: string): Promise<boolean> {
  try {
    const { statusCode, body } = await request(`${api}/readyz`, { signal: AbortSignal.timeout(probeMs) });
    await body.dump();
    return statusCode === 200;
  } catch {
    return false;
  }
}
