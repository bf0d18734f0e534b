import { unreachable } from "#domain/core/decider.js";
import { type Area, areas, decodePart, recordKey } from "#domain/core/identifiers.js";
import { majorAmount } from "#domain/core/money.js";
import type { RecordedEvent } from "#domain/core/recorded-event.js";
import type { OrderEvent } from "#domain/orders/orders.events.js";
import type { ProfileEvent } from "#domain/profile/profile.events.js";
import type { TransactionEvent } from "#domain/transactions/transactions.events.js";
import type { WishlistEvent } from "#domain/wishlist/wishlist.events.js";
import { entryId } from "#domain/wishlist/wishlist.policy.js";

/** Facts a customer would call something that happened; what only confirms is none. */
export type ActivityEvent = Exclude<
  ProfileEvent | WishlistEvent | OrderEvent | TransactionEvent,
  { type: "profile.Reconfirmed.v1" | "orders.Reconfirmed.v1" | "transactions.Reconfirmed.v1" }
>;

export type FieldChange = { readonly field: string; readonly from?: unknown; readonly to?: unknown };

/** An event in a customer's words. */
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

/** Says what an event means to the customer; dashboard and audit trail share it. */
export function activityEntry(event: RecordedEvent<ActivityEvent>): ActivityEntry {
  switch (event.type) {
    case "profile.Registered.v1":
      return entry(event, "profile", "profile.registered", "Account created");
    case "profile.Updated.v1":
      return { ...entry(event, "profile", "profile.updated", "Profile updated"), changes: profileChanges(event.data) };
    case "wishlist.ProductAdded.v1": {
      const name = event.data.product?.name ?? "A product";
      return entry(event, "wishlist", "wishlist.product-added", `${name} added to the wishlist`);
    }
    case "wishlist.ProductChanged.v1": {
      const { productId: _p, variantId: _v, ...to } = event.data;
      const changes = Object.entries(to).map(([field, value]) => ({ field, to: value }));
      const changed = entry(event, "wishlist", "wishlist.product-changed", "Wishlist entry changed");
      return { ...changed, changes, news: false };
    }
    case "wishlist.ProductRemoved.v1":
      return entry(event, "wishlist", "wishlist.product-removed", "A product removed from the wishlist");
    case "orders.Placed.v1": {
      const { orderNumber, placedAt } = event.data;
      return { ...entry(event, "orders", "order.placed", `Order ${orderNumber} placed`), happenedAt: placedAt };
    }
    case "orders.StatusChanged.v1": {
      const { status, previousStatus, statusAt } = event.data;
      const changed = entry(event, "orders", `order.${status}`, `Order ${orderWords[status]}`);
      return { ...changed, happenedAt: statusAt, changes: [{ field: "status", from: previousStatus, to: status }] };
    }
    case "orders.DetailsChanged.v1": {
      const { sourceRevision: _, ...fields } = event.data;
      const changes = Object.keys(fields).map((field) => ({ field }));
      return { ...entry(event, "orders", "order.changed", "Order changed"), changes, news: false };
    }
    case "transactions.Recorded.v1": {
      const { createdAt, status } = event.data;
      return {
        ...entry(event, "transactions", `transaction.${status}`, transactionTitle(event.data)),
        happenedAt: createdAt,
      };
    }
    case "transactions.Changed.v1": {
      const { status, previous } = event.data;
      const moved = (["status", "direction", "amountMinor", "currency"] as const)
        .filter((field) => event.data[field] !== previous[field])
        .map((field) => ({ field, from: previous[field], to: event.data[field] }));
      const what = status === previous.status ? "transaction.changed" : `transaction.${status}`;
      const changed = entry(event, "transactions", what, transactionTitle(event.data));
      return { ...changed, changes: moved, news: status !== previous.status };
    }
    default:
      return unreachable(event);
  }
}

function entry(event: RecordedEvent<ActivityEvent>, area: Area, what: string, title: string): ActivityEntry {
  const { datatype } = areas[area];
  return { what, title, area, ref: { datatype, pk: recordKey(datatype, recordId(event)) }, news: true };
}

function recordId(event: RecordedEvent<ActivityEvent>): string {
  if ("productId" in event.data) return entryId(event.data.productId, event.data.variantId);
  // The last part of a stream's name: the record's id, or the customer's where there is one record per customer.
  return decodePart(event.stream.slice(event.stream.lastIndexOf(".") + 1));
}

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

function transactionTitle(data: { type?: string | undefined; status: string; amountMinor: number; currency: string }) {
  const type = data.type ?? "transaction";
  const amount = `${majorAmount(data.amountMinor, data.currency)} ${data.currency}`;
  return `${type.charAt(0).toUpperCase()}${type.slice(1)} of ${amount} ${data.status}`;
}

/** Field by field, `marketing` and `metadata` key by key. */
function profileChanges(data: Extract<ActivityEvent, { type: "profile.Updated.v1" }>["data"]): FieldChange[] {
  const { source: _s, sourceRevision: _r, previous, ...fields } = data;
  const before = previous as Record<string, unknown>;
  return Object.entries(fields).flatMap(([field, to]) => {
    const from = before[field];
    if (field !== "marketing" && field !== "metadata") return [{ field, from: from ?? null, to }];
    const keyed = (from ?? {}) as Record<string, unknown>;
    return Object.entries(to as object).map(([key, value]) => ({
      field: `${field}.${key}`,
      from: keyed[key] ?? null,
      to: value,
    }));
  });
}
