import { readEnvironment } from "#infrastructure/environment.js";
import { createAuthenticator } from "#infrastructure/http/principal.js";
import { listen } from "#infrastructure/http/server.js";
import { runProcess } from "#infrastructure/lifecycle.js";
import { packageVersion } from "#infrastructure/log.js";
import { createRegistry } from "#infrastructure/metrics.js";
import { createCommandApi } from "./application.js";
import { commandEnvironment, openCommandDependencies } from "./dependencies.js";

/** The process that serves every POST, PUT and DELETE. */
runProcess("command-api", async ({ log, onStop }) => {
  const environment = readEnvironment(commandEnvironment);
  const registry = createRegistry("command-api", packageVersion);
  const deps = await openCommandDependencies(environment, { log, registry, onStop });
  const authenticator = createAuthenticator(deps);
  const { app } = createCommandApi({ ...deps, authenticator, log, registry });
  const server = await listen(app, { host: environment.HOST, port: environment.PORT, requestTimeoutMs: 300_000 });
  onStop("http", () => server.close());
  log.info({ port: server.port }, "listening");
});
