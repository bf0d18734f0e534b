import type { DomainEvent } from "#domain/core/decider.js";
import type { OwnerKey } from "#domain/core/identifiers.js";
import type { RecordedEvent } from "#domain/core/recorded-event.js";
import type { DutyDocument } from "../due-work.document.js";
import type { Evolve } from "./projection.js";

/**
 * The duties of one area: which facts begin, move and end them. Pure, like a projection, because it is part of one
 * (`due-work`): a duty goes when the EVENT that fulfils it is projected, so a job that was lost is only late.
 */
export type AreaDuties<Event extends DomainEvent = DomainEvent> = {
  /** The area's word; ids of different areas cannot collide. */
  readonly area: string;
  /** Id of the duty an event concerns, null for none. One subject has one row: the next thing that is due for it. */
  readonly idOf: (event: RecordedEvent<Event>) => string | null;
  readonly on: { readonly [E in Event as E["type"]]: Evolve<DutyDocument, E> };
};

/** A duty that is due, as its performer gets it. */
export type DueDuty = DutyDocument & {
  readonly owner: OwnerKey;
  readonly rowId: string;
  /** Of the last event folded into the row: it tells one duty from the next, also where both fall due at one moment. */
  readonly position: string;
};

/**
 * Does what is due. Called at least once, and again until an event has moved or removed the row: it looks at the
 * stream before it acts, and its command id comes from {@link DueDuty} (see `dutyContext`).
 */
export type DutyPerformer = {
  /** The `duty` of the rows it performs. */
  readonly duty: string;
  /** Throws to be called again later. */
  readonly perform: (due: DueDuty) => Promise<void>;
};
