import { readFileSync } from "node:fs";
import { join, resolve } from "node:path";
import type { Db, MongoClient } from "mongodb";
import { storedEvents } from "#domain/stored-events.js";
import { readEnvironment, type VariableName } from "#infrastructure/environment.js";
import { createEventSerializer, type EventSerializer } from "#infrastructure/event-serializer.js";
import { type EventStore, StoreUnavailable } from "#infrastructure/event-store.js";
import { createPersonalDataKeys, type PersonalDataKeys } from "#infrastructure/personal-data-keys.js";
import { CommandFailed } from "./output.js";

/** What a verb works with; each part is opened on first use and closed at the end. */
export type CliContext = {
  readonly production: boolean;
  eventStore(): Promise<EventStore>;
  mongo(): Promise<MongoClient>;
  database(): Promise<Db>;
  keys(): Promise<PersonalDataKeys>;
  serializer(): Promise<EventSerializer>;
};

/** Variables that tell whether this shell was given a system to operate. */
const marker = "EVENTSTORE_URL";

/**
 * Without addresses in the environment the command operates the stack that `npm start` runs in `DATA_DIR`.
 *
 * @throws CommandFailed (usage) when there is neither
 */
export function loadLocalEnvironment(environment: NodeJS.ProcessEnv = process.env): void {
  if (environment[marker]) return;
  const file = join(resolve(environment.DATA_DIR || ".local"), "environment.json");
  try {
    Object.assign(environment, { ...JSON.parse(readFileSync(file, "utf8")), ...environment });
  } catch (cause) {
    throw new CommandFailed(
      "usage",
      `nothing to operate: give ${marker}, MONGODB_URL, … in the environment, or start the local stack (npm start)`,
      cause,
    );
  }
}

/** Opens what `work` asks for, runs it, and closes everything again. */
export async function withContext<Result>(work: (context: CliContext) => Promise<Result>): Promise<Result> {
  loadLocalEnvironment();
  const closers: (() => Promise<void>)[] = [];
  const once = <Part>(open: () => Promise<Part>) => {
    let opened: Promise<Part> | undefined;
    return () => {
      opened ??= open();
      return opened;
    };
  };
  const read = <Name extends VariableName>(...names: Name[]) => readEnvironment(names);

  const mongoAt = (url: string) => async () => {
    const { createMongoClient } = await import("#infrastructure/mongo.js");
    const client = createMongoClient(url, { appName: "client-data-cli" });
    closers.push(() => client.close());
    return client;
  };
  const mongo = once(() => mongoAt(read("MONGODB_URL").MONGODB_URL)());
  const keysMongo = once(async () => {
    const { KEYS_MONGODB_URL } = read("KEYS_MONGODB_URL");
    return KEYS_MONGODB_URL ? mongoAt(KEYS_MONGODB_URL)() : mongo();
  });
  const keys = once(async () => {
    const { KEYS_DATABASE, MASTER_KEYS } = read("KEYS_DATABASE", "MASTER_KEYS");
    return createPersonalDataKeys(await keysMongo(), KEYS_DATABASE, MASTER_KEYS);
  });
  const context: CliContext = {
    production: read().NODE_ENV === "production",
    mongo,
    database: once(async () => (await mongo()).db(read("MONGODB_DATABASE").MONGODB_DATABASE)),
    keys,
    serializer: once(async () => createEventSerializer(storedEvents, await keys())),
    eventStore: once(async () => {
      const { createEventStore } = await import("#infrastructure/eventstoredb.js");
      const store = createEventStore(read("EVENTSTORE_URL").EVENTSTORE_URL);
      closers.push(() => store.close());
      return store;
    }),
  };
  try {
    return await work(context);
  } catch (error) {
    if (error instanceof StoreUnavailable) {
      throw new CommandFailed("unreachable", "the event store does not answer: check EVENTSTORE_URL", error);
    }
    throw error;
  } finally {
    await Promise.allSettled(closers.map((close) => close()));
  }
}

/**
 * Asks for `--yes` before a verb changes something in production.
 *
 * @throws CommandFailed (refused)
 */
export function allowChange(context: CliContext, options: { yes?: boolean }, what: string): void {
  if (context.production && !options.yes) {
    throw new CommandFailed("refused", `${what} changes a production system: repeat with --yes`);
  }
}
