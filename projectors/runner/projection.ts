import type { DomainEvent } from "#domain/core/decider.js";
import type { OwnerKey } from "#domain/core/identifiers.js";
import type { RecordedEvent } from "#domain/core/recorded-event.js";

/**
 * A read model's contract with whoever reads it: collection name, shape version, indexes. Import-safe for the query
 * API; bump `version` whenever `evolve` or the shape changes, and a new generation is built beside the old.
 */
export type DocumentDefinition<Document> = {
  readonly name: string;
  readonly version: number;
  /**
   * Besides `{owner, _id}` and `{owner, _pos}`, which every collection has. Keys are prefixed with `owner`. Never
   * unique: a read model records facts, it does not judge them.
   */
  readonly indexes: readonly {
    readonly key: Readonly<Record<string, 1 | -1>>;
    /** Across all owners: for duties and sweeps of the system itself, never for a customer's request. */
    readonly acrossOwners?: true;
  }[];
  /** Phantom: ties the definition to its document type. */
  readonly document?: Document;
};

/** What the runner adds to each document. `_deletedAt` marks a tombstone: kept for a while so a replay cannot resurrect it. */
export type Stored<Document> = Document & {
  readonly _id: string;
  readonly owner: OwnerKey;
  /** Position of the last event folded into this document. */
  readonly _pos: string;
  readonly _deletedAt?: Date | null;
};

/** Declares a read model's collection. */
export function defineDocument<Document>(
  definition: Omit<DocumentDefinition<Document>, "document">,
): DocumentDefinition<Document> {
  return definition;
}

/** The `_id` of an owner's document; no two owners share one, because an owner key has a fixed number of dots. */
export function documentId(owner: OwnerKey, id: string): string {
  return `${owner}.${id}`;
}

/** Folds one event into one document; null in: there is none yet, null out: remove it. Pure. */
export type Evolve<Document, Event extends DomainEvent> = (
  document: Document | null,
  event: RecordedEvent<Event>,
) => Document | null;

/**
 * A projection: which document an event belongs to, and how it changes that document. No I/O, no Mongo operators:
 * analysts and tests run it in memory. The event types it consumes are the keys of `on`.
 */
export type Projection<Document = unknown, Event extends DomainEvent = DomainEvent> = {
  readonly definition: DocumentDefinition<Document>;
  /** Local id of the document an event belongs to (the stored `_id` is `<owner>.<id>`), null when it touches none. */
  readonly idOf: (event: RecordedEvent<Event>) => string | null;
  readonly on: { readonly [E in Event as E["type"]]: Evolve<Document, E> };
  /**
   * What remains of each of the owner's documents after `privacy.CustomerErased`; default: nothing. May keep only
   * what comes from events that an erasure leaves readable, or a rebuild would give another document.
   */
  readonly onErased?: (document: Document) => Document | null;
};

/** A projection whose type parameters are hidden, for the registry and the runner. */
export type AnyProjection = Projection<any, any>;
