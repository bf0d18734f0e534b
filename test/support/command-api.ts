import type { CommandHandler } from "#infrastructure/command-handler.js";
import { readEnvironment } from "#infrastructure/environment.js";
import { createAuthenticator } from "#infrastructure/http/principal.js";
import { listen } from "#infrastructure/http/server.js";
import { createLogger } from "#infrastructure/log.js";
import { createRegistry } from "#infrastructure/metrics.js";
import { createCommandApi } from "../../command-api/application.js";
import { commandEnvironment, openCommandDependencies } from "../../command-api/dependencies.js";
import type { TestApi } from "./api.js";

export type AnotherCommandApi = { readonly url: string; readonly stop: () => Promise<void> };

/**
 * Another command API on a test's servers: its own connection to the store, its own cache, its own queue of commands.
 *
 * @param through puts something between its routes and its command handler
 */
export async function startCommandApi(
  { environment }: TestApi,
  clock: () => Date,
  through: (commands: CommandHandler) => CommandHandler = (commands) => commands,
): Promise<AnotherCommandApi> {
  const cleanUp: (() => unknown)[] = [];
  const onStop = (_: string, close: () => unknown) => void cleanUp.push(close);
  const log = createLogger({ service: "command-api", level: "silent" });
  const registry = createRegistry("command-api", "test");
  const deps = await openCommandDependencies(readEnvironment(commandEnvironment, environment), {
    ...{ log, registry, onStop },
  });
  const commands = through(deps.commands);
  const authenticator = createAuthenticator({ ...deps, keysCooldownMs: 0 });
  const { app } = createCommandApi({ ...deps, commands, clock, authenticator, log, registry });
  const server = await listen(app, { host: "127.0.0.1", port: 0 });
  return {
    url: server.url,
    stop: async () => {
      await server.close(0);
      for (const close of cleanUp.reverse()) await close();
    },
  };
}
