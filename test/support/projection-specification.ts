import { expect } from "chai";
import type { DomainEvent } from "#domain/core/decider.js";
import { orgKey, type Owner, ownerKey, parseStreamName } from "#domain/core/identifiers.js";
import type { EventMetadata, RecordedEvent } from "#domain/core/recorded-event.js";
import { CustomerErased } from "#domain/privacy/privacy.events.js";
import type { Evolve, Projection } from "#projectors/runner/projection.js";
import { specificationStart } from "./decider-specification.js";

/** The customer of the specifications. */
export const ada: Owner = { org: "acme", customer: "ada" };

/** A fact and the stream it lies in; `at` and `metadata` only where they matter. */
export type Fact = {
  readonly stream: string;
  readonly event: DomainEvent;
  readonly at?: string;
  readonly metadata?: Partial<EventMetadata>;
};

/** Facts as a log holds them: position after position, a minute apart, revisions counted per stream. */
export function recorded(facts: readonly Fact[]): RecordedEvent[] {
  const revisions = new Map<string, number>();
  return facts.map(({ stream, event, at, metadata }, index) => {
    const revision = (revisions.get(stream) ?? -1) + 1;
    revisions.set(stream, revision);
    const identity = parseStreamName(stream);
    if (!identity) throw new Error(`not a stream of this system: ${stream}`);
    const { org, customer } = identity;
    const occurredAt = at ?? new Date(specificationStart + index * 60_000).toISOString();
    const id = `00000000-0000-4000-8000-${String(index).padStart(12, "0")}`;
    return {
      type: event.type,
      data: JSON.parse(JSON.stringify(event.data)),
      id,
      stream,
      revision,
      position: String((index + 1) * 100).padStart(20, "0"),
      owner: customer === undefined ? orgKey(org) : ownerKey({ org, customer }),
      at: occurredAt,
      metadata: {
        orgId: org,
        ...(customer === undefined ? {} : { customerId: customer }),
        actor: { type: "customer", id: customer ?? "platform" },
        commandId: id,
        step: 0,
        $correlationId: id,
        $causationId: id,
        occurredAt,
        ...metadata,
      },
    };
  });
}

/**
 * The language in which projections are specified: `project(projection).given(fact, fact).then({ <id>: document })`.
 * The fold is in memory; what the runner adds (`_id`, `_pos`) is not the projection's business.
 */
export function project<Document, Event extends DomainEvent>(projection: Projection<Document, Event>) {
  return {
    given: (...facts: Fact[]) => {
      const documents = foldDocuments(projection, recorded(facts));
      return {
        documents,
        then(expected: Record<string, unknown>) {
          expect(Object.fromEntries(documents)).to.deep.equal(expected);
        },
        thenNothing() {
          expect(Object.fromEntries(documents)).to.deep.equal({});
        },
      };
    },
  };
}

/** Folds events of one owner into documents by their ids, as the runner does. */
export function foldDocuments<Document, Event extends DomainEvent>(
  projection: Projection<Document, Event>,
  events: readonly RecordedEvent[],
): Map<string, Document> {
  const documents = new Map<string, Document>();
  const put = (id: string, document: Document | null) =>
    document === null ? documents.delete(id) : documents.set(id, document);
  const evolves = projection.on as unknown as Record<string, Evolve<Document, DomainEvent> | undefined>;
  for (const event of events) {
    const evolve = evolves[event.type];
    if (evolve) {
      const id = projection.idOf(event as RecordedEvent<Event>);
      if (id !== null) put(id, evolve(documents.get(id) ?? null, event));
    } else if (event.type === CustomerErased.type) {
      for (const [id, document] of [...documents]) put(id, projection.onErased?.(document) ?? null);
    }
  }
  return documents;
}
