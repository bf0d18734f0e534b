import { lastPartOf } from "#domain/core/identifiers.js";
import type { RecordedEvent } from "#domain/core/recorded-event.js";
import type { OrderEvent } from "#domain/orders/orders.events.js";
import { type ActivityEntries, activityEntryOf } from "../activity-entry.js";

/** A newer message of the platform that says nothing new is no news to the customer. */
export type OrderActivity = Exclude<OrderEvent, { type: "orders.Reconfirmed.v1" }>;

const about = ({ stream }: RecordedEvent<OrderActivity>, what: string, title: string) =>
  activityEntryOf("orders", lastPartOf(stream), what, title);

export const orderEntries: ActivityEntries<OrderActivity> = {
  "orders.Placed.v1": (event) => {
    const { orderNumber, placedAt } = event.data;
    return { ...about(event, "order.placed", `Order ${orderNumber} placed`), happenedAt: placedAt };
  },
  "orders.StatusChanged.v1": (event) => {
    const { status, previousStatus, statusAt } = event.data;
    const changed = about(event, `order.${status}`, `Order ${orderWords[status]}`);
    return { ...changed, happenedAt: statusAt, changes: [{ field: "status", from: previousStatus, to: status }] };
  },
  "orders.DetailsChanged.v1": (event) => {
    const { sourceRevision: _, ...fields } = event.data;
    const changes = Object.keys(fields).map((field) => ({ field }));
    return { ...about(event, "order.changed", "Order changed"), changes, news: false };
  },
};

const orderWords = {
  new: "received",
  processing: "being prepared",
  shipped: "shipped",
  delivered: "delivered",
  completed: "completed",
  "on-hold": "on hold",
  cancelled: "cancelled",
  refunded: "refunded",
} as const;
