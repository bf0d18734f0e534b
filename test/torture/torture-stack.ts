import { cp } from "node:fs/promises";
import { dirname, join } from "node:path";
import { storedEvents } from "#domain/stored-events.js";
import { readEnvironment } from "#infrastructure/environment.js";
import { createEventSerializer } from "#infrastructure/event-serializer.js";
import { createEventStore } from "#infrastructure/eventstoredb.js";
import { createMongoClient } from "#infrastructure/mongo.js";
import { createPersonalDataKeys } from "#infrastructure/personal-data-keys.js";
import { projections } from "#projectors/registry.js";
import { verifyProjections } from "#projectors/runner/verify.js";
import { projectFolder } from "../../embedded/data-folder.js";
import { startOwnStack } from "../support/own-stack.js";
import { customerIds, customerLine, ingest } from "../support/population.js";
import type { TortureStack } from "./torture.js";

/** Few, so that commands often meet on one stream. */
const customers = customerIds(0, 12);

/**
 * Starts a stack to be tortured, with customers that the platform has made known. `keepLogs` saves the processes' logs
 * from going with the stack, and says where they are.
 */
export async function startTortureStack(
  say: (line: string) => void,
): Promise<TortureStack & { keepLogs(seed: number): Promise<string>; stop(): Promise<void> }> {
  const { stack, issuer, stackFile, stop } = await startOwnStack(say);
  try {
    const serviceToken = await issuer.serviceToken();
    const { gateway, commandApi, eventStore, mongodb } = stack.file;
    await ingest({ commandApi, org: issuer.org, serviceToken }, customers.map(customerLine));
    const tokens = await issuer.tokensOf(customers);
    const { MONGODB_DATABASE } = readEnvironment(["MONGODB_DATABASE"], stack.environment);
    return {
      stackFile,
      gateway,
      commandApi,
      eventStore,
      mongodb,
      database: MONGODB_DATABASE,
      org: issuer.org,
      tokens: new Map(customers.map((customer, index) => [customer, tokens[index] as string])),
      serviceToken,
      verify: () => differences(stack.environment),
      async keepLogs(seed) {
        const kept = join(projectFolder, ".cache", "torture", String(seed));
        await cp(join(dirname(stackFile), "logs"), kept, { recursive: true });
        return kept;
      },
      stop,
    };
  } catch (error) {
    await stop();
    throw error;
  }
}

/** Builds every read model in memory from the log and compares: what `projections verify` does, with fresh connections. */
async function differences(source: NodeJS.ProcessEnv): Promise<string[]> {
  const names = ["EVENTSTORE_URL", "MONGODB_URL", "MONGODB_DATABASE", "KEYS_DATABASE", "MASTER_KEYS"] as const;
  const environment = readEnvironment(names, source);
  const mongo = createMongoClient(environment.MONGODB_URL);
  const eventStore = createEventStore(environment.EVENTSTORE_URL);
  try {
    const keys = createPersonalDataKeys(mongo, environment.KEYS_DATABASE, environment.MASTER_KEYS);
    const results = await verifyProjections(projections, {
      database: mongo.db(environment.MONGODB_DATABASE),
      eventStore,
      opener: createEventSerializer(storedEvents, keys),
      storedEvents,
    });
    return results.flatMap(({ projection, differences: found, parked }) => [
      ...found.map(({ id, path }) => `${projection} ${id} ${path || "(whole document)"} is not what the log says`),
      ...parked.map((owner) => `${projection} has parked ${owner}`),
    ]);
  } finally {
    await eventStore.close();
    await mongo.close();
  }
}
