import { readEnvironment } from "#infrastructure/environment.js";
import { createAuthenticator } from "#infrastructure/http/principal.js";
import { listen } from "#infrastructure/http/server.js";
import { runProcess } from "#infrastructure/lifecycle.js";
import { packageVersion } from "#infrastructure/log.js";
import { createRegistry } from "#infrastructure/metrics.js";
import { createQueryApi, queryDocuments } from "./application.js";
import { openQueryDependencies, queryEnvironment } from "./dependencies.js";

/** The process that serves every GET. */
runProcess("query-api", async ({ log, onStop }) => {
  const environment = readEnvironment(queryEnvironment);
  const registry = createRegistry("query-api", packageVersion);
  const deps = await openQueryDependencies(environment, queryDocuments, { log, registry, onStop });
  const authenticator = createAuthenticator(deps);
  const { app } = createQueryApi({ ...deps, authenticator, log, registry });
  const server = await listen(app, { host: environment.HOST, port: environment.PORT });
  onStop("http", () => server.close());
  log.info({ port: server.port }, "listening");
});
