import { ownerOfStream } from "#domain/core/identifiers.js";
import { CustomerErased } from "#domain/privacy/privacy.events.js";
import { type EventStore, logStart } from "#infrastructure/event-store.js";
import type { PersonalDataKeys } from "#infrastructure/personal-data-keys.js";
import type { Reactor } from "../runner/reactor.js";

type PrivacyReactorDependencies = {
  readonly eventStore: Pick<EventStore, "readStream">;
  readonly keys: Pick<PersonalDataKeys, "destroy">;
};

/** An erased customer's data key is destroyed: what it sealed, in every event and backup of the log, is gone with it. */
export function eraseReactor({ eventStore, keys }: PrivacyReactorDependencies): Reactor {
  return {
    purpose: "destroy-data-key",
    on: [CustomerErased],
    async react({ eventId, stream, revision }) {
      const [event] = await eventStore.readStream(stream, { from: revision, limit: 1 });
      const owner = ownerOfStream(stream);
      // The log has the last word: a job left over from another store destroys nothing.
      if (event?.id !== eventId || event.type !== CustomerErased.type || owner === null) return;
      await keys.destroy(owner);
    },
  };
}

/**
 * Applies every erasure in the log to the key store: a key database restored from a backup may hold keys that were
 * destroyed after it was taken.
 *
 * @returns how many keys had come back
 */
export async function eraseAgain(
  dependencies: {
    readonly eventStore: Pick<EventStore, "readLog">;
    readonly keys: Pick<PersonalDataKeys, "destroy" | "find">;
  },
  signal: AbortSignal,
): Promise<number> {
  const { eventStore, keys } = dependencies;
  let returned = 0;
  const streamPrefixes = [`${CustomerErased.category}-`];
  for await (const { type, stream } of eventStore.readLog({ after: logStart, streamPrefixes, signal })) {
    const owner = type === CustomerErased.type ? ownerOfStream(stream) : null;
    if (owner === null || (await keys.find(owner))?.customer === null) continue;
    await keys.destroy(owner);
    returned++;
  }
  return returned;
}
