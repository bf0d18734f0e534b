import { randomUUID } from "node:crypto";
import { hostname, userInfo } from "node:os";
import type { EventDefinition } from "#domain/core/event-definition.js";
import { encodePart } from "#domain/core/identifiers.js";
import type { RecordedEvent } from "#domain/core/recorded-event.js";
import { storedEvents } from "#domain/stored-events.js";
import { WrongExpectedRevision } from "#infrastructure/event-store.js";
import type { CliContext } from "./context.js";
import { CommandFailed } from "./output.js";

export type RevealOptions = { readonly reveal?: boolean; readonly reason?: string };

const definitions = new Map<string, EventDefinition>(storedEvents.map((definition) => [definition.type, definition]));
const mask = "•••";

/**
 * How this run shows events: masked, or, with `--reveal --reason`, open after a record of who looked at what and why.
 *
 * @param org whose log the record goes to: stream `operations-<org>`
 * @param subject what is opened, e.g. a stream name
 * @throws CommandFailed (refused) for `--reveal` without a reason of 8 to 500 characters
 */
export async function viewOf(
  context: CliContext,
  options: RevealOptions,
  org: string,
  subject: string,
): Promise<(event: RecordedEvent) => RecordedEvent> {
  if (!options.reveal) return maskPersonal;
  const reason = options.reason?.trim() ?? "";
  if (reason.length < 8 || reason.length > 500) {
    throw new CommandFailed("refused", "--reveal needs --reason with 8 to 500 characters: it is recorded");
  }
  await recordReveal(context, org, { subject, reason, operator: userInfo().username, host: hostname() });
  return (event) => event;
}

/** An event with its personal fields and its client masked, shape kept so that it still folds. */
export function maskPersonal(event: RecordedEvent): RecordedEvent {
  const { personal = [], kept = [] } = definitions.get(event.type) ?? {};
  const data = { ...(event.data as Record<string, unknown>) };
  for (const field of new Set([...personal, ...kept.map((path) => path.split(".")[0] ?? "")])) {
    if (data[field] !== undefined) data[field] = masked(data[field]);
  }
  const metadata = event.metadata.client === undefined ? event.metadata : { ...event.metadata, client: mask };
  return { ...event, data, metadata };
}

function masked(value: unknown): unknown {
  if (typeof value === "string") return mask;
  if (typeof value === "number") return 0;
  if (Array.isArray(value)) return value.map(masked);
  if (value === null || typeof value !== "object") return value;
  return Object.fromEntries(Object.entries(value).map(([key, inner]) => [key, masked(inner)]));
}

/** Appends to the org's operations stream before anything is shown: no record, no reveal. */
async function recordReveal(context: CliContext, org: string, data: Record<string, string>): Promise<void> {
  const store = await context.eventStore();
  const stream = `operations-${encodePart(org)}`;
  const id = randomUUID();
  const metadata = { orgId: org, actor: { type: "staff", id: data.operator }, commandId: id, occurredAt: new Date() };
  for (;;) {
    const existing = await store.readStream(stream);
    const last = existing.at(-1);
    try {
      await store.append(stream, last ? last.revision : "no-stream", [
        { id, type: "operations.PersonalDataRevealed.v1", data, metadata },
      ]);
      return;
    } catch (error) {
      // Two operators at once: the loser reads again and records its own after the other's.
      if (!(error instanceof WrongExpectedRevision)) throw error;
    }
  }
}
