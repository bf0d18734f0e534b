import type { EventDefinition } from "#domain/core/event-definition.js";
import { type OwnerKey, ownerOfStream } from "#domain/core/identifiers.js";
import type { RecordedEvent } from "#domain/core/recorded-event.js";
import { CustomerErased } from "#domain/privacy/privacy.events.js";
import { type LogPosition, logStart, type StoredEvent } from "#infrastructure/event-store.js";
import { type AnyProjection, documentId } from "./projection.js";

/** What opening a stored event gives; the shape of `EventSerializer.deserialize`. */
export type Opened =
  | { readonly kind: "event"; readonly event: RecordedEvent }
  | { readonly kind: "erased" }
  | { readonly kind: "unknown" };

/** Opens stored events: synchronous wherever no key has to be fetched first. */
export type EventOpener = { deserialize(stored: StoredEvent): Opened | Promise<Opened> };

/** An event on its way through projections. */
export type LogEvent = {
  readonly stored: StoredEvent;
  /** Newest name of its type. */
  readonly type: string;
  /** `sealed`: nobody needed it opened. `bad`: it could not be opened, for every projection alike. */
  readonly opened: Opened | { readonly kind: "sealed" } | { readonly kind: "bad"; readonly error: unknown };
};

/** A document as the fold holds it. The document is a pure function of its position, so two holders never disagree. */
export type Entry = {
  /** Null: there is none, or it was removed. */
  document: object | null;
  /** Of the last event folded into it; {@link logStart} when there never was one. */
  position: LogPosition;
};

/** Where an event goes in one projection. `erasure`: to each of the owner's documents. */
export type Target =
  | { readonly kind: "document"; readonly id: string; readonly owner: OwnerKey; readonly event: RecordedEvent }
  | { readonly kind: "erasure"; readonly owner: OwnerKey }
  | { readonly kind: "fault"; readonly owner: OwnerKey; readonly error: unknown };

type Handler = (document: any, event: any) => object | null;

export const erasureType = CustomerErased.type;

/**
 * Maps each stored name, also of older versions, to the newest name of that event.
 *
 * @param definitions newest version of every stored event
 */
export function newestTypes(definitions: readonly EventDefinition[]): ReadonlyMap<string, string> {
  const newest = new Map<string, string>();
  for (const definition of definitions) {
    for (let version: EventDefinition | undefined = definition; version; version = version.previous?.definition) {
      newest.set(version.type, definition.type);
    }
  }
  return newest;
}

/** One projection's rules, without any store: which document an event goes to, and what it makes of it. Pure. */
export class Fold {
  readonly projection: AnyProjection;
  readonly #handlers: ReadonlyMap<string, Handler>;

  constructor(projection: AnyProjection) {
    this.projection = projection;
    this.#handlers = new Map(Object.entries(projection.on as Record<string, Handler>));
  }

  /** Types whose events must be opened for this projection. */
  get types(): Iterable<string> {
    return this.#handlers.keys();
  }

  /** Where an event goes; null when it does not concern this projection. Never throws. */
  target(event: LogEvent): Target | null {
    if (event.type === erasureType) return { kind: "erasure", owner: ownerOf(event.stored) };
    if (!this.#handlers.has(event.type)) return null;
    switch (event.opened.kind) {
      case "event":
        return this.#route(event.opened.event);
      case "bad":
        return { kind: "fault", owner: ownerOf(event.stored), error: event.opened.error };
      default:
        return null;
    }
  }

  #route(event: RecordedEvent): Target | null {
    const { owner } = event;
    try {
      const id = this.projection.idOf(event as never);
      return id === null ? null : { kind: "document", id: documentId(owner, id), owner, event };
    } catch (error) {
      return { kind: "fault", owner, error };
    }
  }

  /**
   * Folds an event into its document.
   *
   * @param entry changed in place
   * @returns whether the document changed; not when the event is in it already, or `evolve` gave back what it got
   * @throws whatever `evolve` throws; the entry is then as it was
   */
  apply(entry: Entry, event: RecordedEvent): boolean {
    if (entry.position >= event.position) return false;
    const evolve = this.#handlers.get(event.type);
    if (!evolve) return false;
    const next = evolve(entry.document, event);
    if (next === undefined)
      throw new TypeError(`${this.projection.definition.name} gave no document for ${event.type}`);
    if (next === entry.document) return false;
    entry.document = next;
    entry.position = event.position;
    return true;
  }

  /**
   * Lets go of the person in one of the owner's documents.
   *
   * @returns whether the document changed
   */
  erase(entry: Entry, position: LogPosition): boolean {
    if (entry.document === null || entry.position >= position) return false;
    let remains: object | null = null;
    try {
      remains = this.projection.onErased?.(entry.document) ?? null;
    } catch {
      // A document that cannot be cleaned goes as a whole: an erasure is never parked.
    }
    if (remains === entry.document) return false;
    entry.document = remains;
    entry.position = position;
    return true;
  }
}

/** An empty place for a document. */
export function newEntry(): Entry {
  return { document: null, position: logStart };
}

/** Smallest and first greater `_id` of an owner's documents: `.` and `/` are neighbours, and no part contains either. */
export function idRange(owner: OwnerKey): { readonly $gte: string; readonly $lt: string } {
  return { $gte: `${owner}.`, $lt: `${owner}/` };
}

/** A foreign stream owns itself, so that its faults stay its own. */
export function ownerOf(stored: StoredEvent): OwnerKey {
  return ownerOfStream(stored.stream) ?? stored.stream;
}
