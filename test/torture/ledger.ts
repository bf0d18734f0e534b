import { randomUUID } from "node:crypto";
import type { StoredEvent } from "#infrastructure/event-store.js";

/** How a command ended, as far as the one who sent it knows. */
export type Outcome =
  /** Under way, or given up without an answer: its event may or may not be there. */
  | "unknown"
  /** Answered with success: its event must be there, once. */
  | "acknowledged"
  /** Answered with a refusal: no event. */
  | "refused";

/** A command that writes exactly one event if it is carried out. All its repeats carry the same request id. */
export type LedgerEntry = {
  readonly requestId: string;
  readonly what: string;
  readonly stream: string;
  outcome: Outcome;
  /** `X-Log-Position` of the answer. */
  position?: string;
  /** Times it was sent. */
  sent: number;
};

/**
 * What the customers of a torture run asked for and what they were told, kept outside of everything that is killed.
 * The product stores the request id beside each event, so the log says which commands were carried out how often.
 */
export class Ledger {
  readonly #entries = new Map<string, LedgerEntry>();
  /** Tells the requests of this run from those of others. */
  readonly #prefix = `torture-${randomUUID().slice(0, 8)}`;

  /** Opens an entry; send `requestId` as `X-Request-Id` with every try. */
  open(what: string, stream: string): LedgerEntry {
    const requestId = `${this.#prefix}-${this.#entries.size}`;
    const entry: LedgerEntry = { requestId, what, stream, outcome: "unknown", sent: 0 };
    this.#entries.set(requestId, entry);
    return entry;
  }

  /** How many commands ended how. */
  counts(): Record<Outcome, number> & { repeated: number } {
    const counts = { unknown: 0, acknowledged: 0, refused: 0, repeated: 0 };
    for (const { outcome, sent } of this.#entries.values()) {
      counts[outcome] += 1;
      if (sent > 1) counts.repeated += 1;
    }
    return counts;
  }

  /**
   * Compares the whole log with what customers were told.
   *
   * @returns every acknowledged write that is lost, doubled or elsewhere than said, and every write nobody asked for;
   *   empty when all is well
   */
  async faults(log: AsyncIterable<StoredEvent>): Promise<string[]> {
    const found = new Map<string, StoredEvent[]>();
    const faults: string[] = [];
    const revisions = new Map<string, number>();
    for await (const event of log) {
      const expected = (revisions.get(event.stream) ?? -1) + 1;
      if (event.revision !== expected) {
        faults.push(`stream ${event.stream} goes on with revision ${event.revision} instead of ${expected}`);
      }
      revisions.set(event.stream, event.revision);
      const { requestId } = (event.metadata ?? {}) as { requestId?: string };
      if (!requestId?.startsWith(this.#prefix)) continue;
      const events = found.get(requestId);
      if (events) events.push(event);
      else found.set(requestId, [event]);
    }
    for (const requestId of found.keys()) {
      if (!this.#entries.has(requestId)) faults.push(`an event of ${requestId}, which nobody sent`);
    }
    for (const entry of this.#entries.values()) {
      const fault = faultOf(entry, found.get(entry.requestId) ?? []);
      if (fault) faults.push(`${entry.what} (${entry.requestId}, sent ${entry.sent} times): ${fault}`);
    }
    return faults;
  }
}

function faultOf(entry: LedgerEntry, events: readonly StoredEvent[]): string | undefined {
  const [event] = events;
  if (events.length > 1) return `written ${events.length} times`;
  if (entry.outcome === "refused") return event ? "refused, but written" : undefined;
  if (!event) return entry.outcome === "acknowledged" ? "acknowledged, but lost" : undefined;
  if (event.stream !== entry.stream) return `written to ${event.stream} instead of ${entry.stream}`;
  if (entry.position && !entry.position.endsWith(`.${event.position}`) && !sameNumber(entry.position, event.position)) {
    return `said to be at ${entry.position}, but is at ${event.position}`;
  }
  return undefined;
}

/** Positions on the wire are `<epoch>.<position>`, where leading zeros may be left out. */
function sameNumber(wire: string, position: string): boolean {
  const digits = wire.slice(wire.lastIndexOf(".") + 1);
  return /^\d+$/.test(digits) && BigInt(digits) === BigInt(position);
}
