/**
 * Floor of the catch-up: reads the whole log with the official client and counts what is not the system's. A child
 * process: answers any message with `{events, seconds}`. Environment: EVENTSTORE_URL.
 */
import { EventStoreDBClient } from "@eventstore/db-client";

const store = EventStoreDBClient.connectionString(process.env.EVENTSTORE_URL ?? "");

process.on("message", async () => {
  const started = performance.now();
  let events = 0;
  for await (const { event } of store.readAll()) {
    if (event && !event.type.startsWith("$")) events += 1;
  }
  process.send?.({ events, seconds: (performance.now() - started) / 1000 });
});
process.on("disconnect", () => process.exit(0));
