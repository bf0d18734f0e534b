import type { DomainEvent } from "#domain/core/decider.js";
import type { EventMetadata, RecordedEvent } from "#domain/core/recorded-event.js";
import { type CommandHandler, CommandRejected } from "#infrastructure/command-handler.js";

/** The process died. */
export class Crash extends Error {}

/**
 * Commands on streams in memory, for models that run more of them than any server would in the time: reads, decides,
 * appends, one at a time. It can be told to die before or after its next append.
 */
export class MemoryCommands implements CommandHandler {
  readonly log: RecordedEvent[] = [];
  readonly #streams = new Map<string, RecordedEvent[]>();
  /** Appends until the process dies; `after` says whether the last one still comes about. */
  crash: { appends: number; after: boolean } | null = null;

  handle: CommandHandler["handle"] = async (request) => {
    const { decider, stream, command, context, guard } = request;
    const past = this.#streams.get(stream) ?? [];
    const state = past.reduce((folded, event) => decider.evolve(folded, event as never), decider.initial);
    const refused = guard?.(state);
    if (refused) throw new CommandRejected(refused);
    const { events, rejection } = decider.decide(command, state);
    const dies = events.length > 0 && this.crash !== null && --this.crash.appends < 0 ? this.crash : null;
    if (dies) this.crash = null;
    if (dies && !dies.after) throw new Crash();
    const recorded = this.append(stream, events, context.now, context.commandId);
    if (dies) throw new Crash();
    if (rejection) throw new CommandRejected(rejection);
    const after = recorded.reduce((folded, event) => decider.evolve(folded, event as never), state);
    return { state: after, revision: past.length - 1, events: recorded, replayed: false };
  };

  load: CommandHandler["load"] = async ({ decider, stream }) => {
    const past = this.#streams.get(stream) ?? [];
    const state = past.reduce((folded, event) => decider.evolve(folded, event as never), decider.initial);
    return { state, revision: past.length - 1 };
  };

  forget(): void {}

  append(stream: string, events: readonly DomainEvent[], now: Date, commandId = ""): RecordedEvent[] {
    const past = this.#streams.get(stream) ?? [];
    this.#streams.set(stream, past);
    return events.map((event) => {
      const position = String(this.log.length).padStart(20, "0");
      const at = now.toISOString();
      const metadata = { commandId, occurredAt: at } as EventMetadata;
      const data = JSON.parse(JSON.stringify(event.data)) as unknown;
      const placed = { type: event.type, data, revision: past.length, at };
      const recorded = { ...placed, id: position, stream, position, owner: "", metadata };
      past.push(recorded);
      this.log.push(recorded);
      return recorded;
    });
  }
}
