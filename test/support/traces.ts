import { Redis } from "ioredis";
import { Binary, type Document, MongoClient } from "mongodb";
import { parseStreamName } from "#domain/core/identifiers.js";
import type { RecordedEvent } from "#domain/core/recorded-event.js";
import { storedEvents } from "#domain/stored-events.js";
import { createEventSerializer } from "#infrastructure/event-serializer.js";
import { type EventStore, logStart } from "#infrastructure/event-store.js";
import type { ObjectStorage } from "#infrastructure/object-storage.js";
import type { PersonalDataKeys } from "#infrastructure/personal-data-keys.js";

/** Something that is kept, as text: where it lies, and all of it. */
export type Kept = { readonly where: string; readonly text: string };

/** How each kind of Redis's values is read as a whole. */
const readers: Readonly<Record<string, readonly string[]>> = {
  string: ["GET"],
  hash: ["HGETALL"],
  list: ["LRANGE", "0", "-1"],
  set: ["SMEMBERS"],
  zset: ["ZRANGE", "0", "-1", "WITHSCORES"],
  stream: ["XRANGE", "-", "+"],
};

/** Every document of a MongoDB's databases: of these, or of all but its own bookkeeping. */
export async function* keptInMongo(url: string, names?: readonly string[]): AsyncGenerator<Kept> {
  const mongo = new MongoClient(url);
  const isWanted = (name: string) => names?.includes(name) ?? !["admin", "config", "local"].includes(name);
  try {
    const { databases } = await mongo.db().admin().listDatabases({ nameOnly: true });
    for (const { name } of databases.filter((one) => isWanted(one.name))) {
      const database = mongo.db(name);
      for (const { name: collection } of await database.listCollections({}, { nameOnly: true }).toArray()) {
        for await (const document of database.collection<Document>(collection).find()) {
          const text = JSON.stringify(document, (_, value: unknown) =>
            value instanceof Binary ? Buffer.from(value.buffer).toString("latin1") : value,
          );
          yield { where: `${name}.${collection} ${String(document._id)}`, text };
        }
      }
    }
  } finally {
    await mongo.close();
  }
}

/** Every key of a Redis with its value. */
export async function* keptInRedis(url: string): AsyncGenerator<Kept> {
  const redis = new Redis(url);
  try {
    for (const key of await redis.keys("*")) {
      const [command = "DUMP", ...range] = readers[await redis.type(key)] ?? [];
      yield { where: `redis ${key}`, text: `${key} ${JSON.stringify(await redis.call(command, key, ...range))}` };
    }
  } finally {
    redis.disconnect();
  }
}

/** Every object with its key. */
export async function* keptAsObjects(storage: ObjectStorage): AsyncGenerator<Kept> {
  for await (const { key } of storage.list("")) {
    const chunks: Buffer[] = [];
    for await (const chunk of (await storage.read(key)) ?? []) chunks.push(chunk as Buffer);
    yield { where: `object ${key}`, text: `${key} ${Buffer.concat(chunks).toString("latin1")}` };
  }
}

/** Every event as it lies in the store, streams and metadata included. */
export async function* keptInTheLog(eventStore: EventStore): AsyncGenerator<Kept> {
  for await (const event of eventStore.readLog({ after: logStart })) {
    yield { where: `event ${event.type} in ${event.stream}`, text: JSON.stringify(event) };
  }
}

/** Every event that the keys there still are can open, of whatever owner. */
export async function* opened(eventStore: EventStore, keys: PersonalDataKeys): AsyncGenerator<RecordedEvent> {
  const serializer = createEventSerializer(storedEvents, keys);
  for await (const stored of eventStore.readLog({ after: logStart })) {
    if (parseStreamName(stored.stream) === null) continue;
    const read = await serializer.deserialize(stored);
    if (read.kind === "event") yield read.event;
  }
}
