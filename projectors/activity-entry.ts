import type { DomainEvent } from "#domain/core/decider.js";
import { type Area, areas, recordKey } from "#domain/core/identifiers.js";
import type { RecordedEvent } from "#domain/core/recorded-event.js";

export type FieldChange = { readonly field: string; readonly from?: unknown; readonly to?: unknown };

/** An event in a customer's words: a line of the audit trail, and of the newest few on the dashboard. */
export type ActivityEntry = {
  /** Kind, `order.shipped`; clients choose icons and texts by it. */
  readonly what: string;
  /** English, for clients without a text for the kind. */
  readonly title: string;
  readonly area: Area;
  readonly ref: { readonly datatype: string; readonly pk: string };
  /** When it happened in the world, where that is not when we were told. */
  readonly happenedAt?: string;
  readonly changes?: readonly FieldChange[];
  /** Worth a line among the newest few on the dashboard; the audit trail has all. */
  readonly news: boolean;
};

/**
 * What an area's events mean to the customer, by stored name. Facts a customer would not call something that
 * happened (a repeat confirmed, a step of ours) are left out.
 */
export type ActivityEntries<Event extends DomainEvent> = {
  readonly [E in Event as E["type"]]: (event: RecordedEvent<E>) => ActivityEntry;
};

/**
 * An entry about one record of an area, news by default.
 *
 * @param id the record's own id
 */
export function activityEntryOf(area: Area, id: string, what: string, title: string): ActivityEntry {
  const { datatype } = areas[area];
  return { what, title, area, ref: { datatype, pk: recordKey(datatype, id) }, news: true };
}
