import type { Db } from "mongodb";
import type { Logger } from "pino";
import type { Environment } from "./environment.js";
import type { EventStore } from "./event-store.js";
import { createEventStore, type EventStoreOptions } from "./eventstoredb.js";
import { createMongoClient } from "./mongo.js";
import { createPersonalDataKeys, type PersonalDataKeys } from "./personal-data-keys.js";

/** The part of the environment that names the log, the read models and the data keys. */
export const storeEnvironment = [
  "EVENTSTORE_URL",
  "MONGODB_URL",
  "MONGODB_DATABASE",
  "KEYS_MONGODB_URL",
  "KEYS_DATABASE",
  "MASTER_KEYS",
] as const;

/** What every process that reads events works with. */
export type Stores = { readonly eventStore: EventStore; readonly database: Db; readonly keys: PersonalDataKeys };

/**
 * Opens the event store, the read models' database and the key store. Nothing here waits for a server.
 *
 * @param process_ name of the process, for the servers' logs; where to log; and what is closed when it stops
 */
export function openStores(
  environment: Pick<Environment, (typeof storeEnvironment)[number]>,
  process_: {
    readonly name: string;
    readonly log: Logger;
    readonly onStop: (name: string, stop: () => void | Promise<void>) => void;
    readonly onAppend?: NonNullable<EventStoreOptions["onAppend"]>;
    /** Longest silence of a MongoDB that hangs; see `createMongoClient`. */
    readonly silenceMs?: number;
  },
): Stores {
  const { name, log, onStop, onAppend, silenceMs } = process_;
  const patience = silenceMs === undefined ? {} : { silenceMs };
  const eventStore = createEventStore(environment.EVENTSTORE_URL, {
    onProblem: (problem, err) => log.warn({ err }, problem),
    ...(onAppend ? { onAppend } : {}),
  });
  onStop("event store", () => eventStore.close());
  const mongo = createMongoClient(environment.MONGODB_URL, { appName: name, ...patience });
  onStop("MongoDB", () => mongo.close());
  const keysMongo = environment.KEYS_MONGODB_URL
    ? createMongoClient(environment.KEYS_MONGODB_URL, { appName: `${name} keys`, ...patience })
    : mongo;
  if (keysMongo !== mongo) onStop("key store", () => keysMongo.close());
  return {
    eventStore,
    database: mongo.db(environment.MONGODB_DATABASE),
    keys: createPersonalDataKeys(keysMongo, environment.KEYS_DATABASE, environment.MASTER_KEYS),
  };
}
