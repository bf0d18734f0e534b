import { type StoredEvent, StoreUnavailable } from "#infrastructure/event-store.js";
import { isMongoUnavailable } from "#infrastructure/mongo.js";
import type { EventOpener, LogEvent } from "./fold.js";

export type OpeningOptions = {
  readonly opener: EventOpener;
  /** Newest name of each stored type. */
  readonly newest: ReadonlyMap<string, string>;
  /** Types that somebody needs opened; absent means all. */
  readonly needed?: ReadonlySet<string>;
};

/**
 * Opens events for projections; keys are fetched for all of them at once. One that cannot be opened is `bad`, for every
 * projection alike.
 *
 * @throws whatever says that a service is away, rather than that an event is bad
 */
export async function openEvents(events: readonly StoredEvent[], options: OpeningOptions): Promise<LogEvent[]> {
  const { opener, newest, needed } = options;
  const opened: LogEvent[] = [];
  const waiting: Promise<void>[] = [];
  for (const [place, stored] of events.entries()) {
    const type = newest.get(stored.type) ?? stored.type;
    opened.push({ stored, type, opened: { kind: "sealed" } });
    if (needed && !needed.has(type)) continue;
    const fill = (result: LogEvent["opened"]) => {
      opened[place] = { stored, type, opened: result };
    };
    try {
      const result = opener.deserialize(stored);
      if (result instanceof Promise) waiting.push(result.then(fill, (error) => fill(bad(error))));
      else fill(result);
    } catch (error) {
      // Thrown together with what else is on its way, should it be no fault of the event.
      waiting.push((async () => fill(bad(error)))());
    }
  }
  if (waiting.length > 0) await Promise.all(waiting);
  return opened;
}

function bad(error: unknown): LogEvent["opened"] {
  if (isInfrastructureError(error)) throw error;
  return { kind: "bad", error };
}

function isInfrastructureError(error: unknown): boolean {
  return (
    error instanceof StoreUnavailable ||
    isMongoUnavailable(error) ||
    // Wrong master keys: no event can be opened, and none is to blame.
    (error instanceof Error && error.name === "MasterKeyMismatch")
  );
}
