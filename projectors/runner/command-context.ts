import { v5 as uuidV5 } from "uuid";
import { parseStreamName } from "#domain/core/identifiers.js";
import type { RecordedEvent } from "#domain/core/recorded-event.js";
import type { CommandContext } from "#infrastructure/command-handler.js";
import type { EventSerializer } from "#infrastructure/event-serializer.js";
import type { EventStore } from "#infrastructure/event-store.js";
import type { DueDuty } from "./duties.js";
import type { Reaction } from "./reactor.js";

/** Namespace of the command ids of the system's own commands; drawn once. Changing it would repeat what was done. */
const systemNamespace = "0b8f7c36-97a1-4b8a-8f5f-3d2c7a1c6e90";

/** The command id of what an event or a duty causes: the same cause and purpose give the same id, for ever. */
export function systemCommandId(cause: string, purpose: string): string {
  return uuidV5(JSON.stringify([cause, purpose]), systemNamespace);
}

/** Loads the event that called for a reaction; null when the log no longer has it, or nobody can read it any more. */
export async function causeOf(
  deps: { readonly eventStore: Pick<EventStore, "readStream">; readonly serializer: EventSerializer },
  { eventId, stream, revision }: Reaction,
): Promise<RecordedEvent | null> {
  const [stored] = await deps.eventStore.readStream(stream, { from: revision, limit: 1 });
  // The log has the last word: a job left over from another store does nothing.
  if (stored?.id !== eventId) return null;
  const opened = await deps.serializer.deserialize(stored);
  return opened.kind === "event" ? opened.event : null;
}

/** Context of a command that an event causes. */
export function reactionContext(cause: RecordedEvent, purpose: string, now: Date): CommandContext {
  const { metadata } = cause;
  return {
    ...systemContext(cause.stream, systemCommandId(cause.id, purpose), purpose, now),
    correlationId: metadata.$correlationId,
    causationId: cause.id,
    ...(metadata.traceparent === undefined ? {} : { traceparent: metadata.traceparent }),
  };
}

/** Context of a command that a duty causes: a row that an event has touched since is another command. */
export function dutyContext(due: DueDuty, now: Date): CommandContext {
  const commandId = systemCommandId(`${due.rowId} ${due.position}`, due.duty);
  return { ...systemContext(due.stream, commandId, due.duty, now), correlationId: commandId, causationId: commandId };
}

function systemContext(stream: string, commandId: string, purpose: string, now: Date) {
  const identity = parseStreamName(stream);
  if (!identity) throw new Error("a command of the system is about one of its streams");
  const { org, customer } = identity;
  return {
    commandId,
    idempotent: true,
    owner: customer === undefined ? null : { org, customer },
    org,
    actor: { type: "system", id: purpose },
    now,
  } as const;
}
