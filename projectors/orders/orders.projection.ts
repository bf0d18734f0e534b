import { type Patch, patched } from "#domain/core/changes.js";
import { parseStreamName } from "#domain/core/identifiers.js";
import type { RecordedEvent } from "#domain/core/recorded-event.js";
import { searchText } from "#domain/core/search-text.js";
import type { OrderDetails, OrderEvent, TimelineEntry } from "#domain/orders/orders.events.js";
import { withTimelineEntry } from "#domain/orders/orders.policy.js";
import type { Projection } from "#projectors/runner/projection.js";
import { type OrderDocument, orderDocument } from "./orders.document.js";

type Consumed = Exclude<OrderEvent, { type: "orders.Reconfirmed.v1" }>;

/** The document with what an event changed of it, under the event's revision and time. */
function touched(
  document: Pick<OrderDocument, "id" | "createdAt" | "erased">,
  event: RecordedEvent,
  data: OrderDocument["data"],
  timeline: readonly TimelineEntry[],
): OrderDocument {
  const search = searchedIn(data);
  const after = { ...document, version: event.revision, modifiedAt: event.at, data, timeline, search };
  return document.erased ? withoutPersonalParts(after) : after;
}

function searchedIn({ orderNumber, items, shipments = [] }: OrderDocument["data"]): string {
  return searchText(orderNumber, ...items.map(({ title }) => title), ...shipments.map(({ tracking }) => tracking));
}

/**
 * The order stays, the person goes: no addresses, no card, no way of the parcel, no history that may hold free text.
 * Also what the law keeps in the log has no place here any more.
 */
function withoutPersonalParts(document: OrderDocument): OrderDocument {
  const { shippingAddress: _s, billingAddress: _b, paymentMethod: _p, shipments: _w, ...data } = document.data;
  return { ...document, data, timeline: [], search: searchedIn(data), erased: true };
}

export const orderProjection: Projection<OrderDocument, Consumed> = {
  definition: orderDocument,
  idOf: (event) => parseStreamName(event.stream)?.id ?? null,
  on: {
    "orders.Placed.v1": (_, event) => {
      const { sourceRevision: _revision, statusAt, timeline, ...data } = event.data;
      const id = parseStreamName(event.stream)?.id ?? "";
      const entries = timeline ?? [{ at: statusAt, status: data.status }];
      return touched({ id, createdAt: event.at }, event, data, entries);
    },
    "orders.StatusChanged.v1": (document, event) => {
      if (!document) return null;
      const { status, statusAt, note } = event.data;
      const entry = { at: statusAt, status, ...(note === undefined ? {} : { note }) };
      return touched(document, event, { ...document.data, status }, withTimelineEntry(document.timeline, entry));
    },
    "orders.DetailsChanged.v1": (document, event) => {
      if (!document) return null;
      const { sourceRevision: _revision, timeline, ...changes } = event.data;
      const data = patched(
        document.data,
        changes as Patch<Omit<OrderDetails, "timeline">> as Patch<typeof document.data>,
      );
      return touched(document, event, data, timeline ?? document.timeline);
    },
  },
  onErased: withoutPersonalParts,
};
