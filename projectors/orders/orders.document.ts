import type { OrderDetails, OrderStatus, TimelineEntry } from "#domain/orders/orders.events.js";
import { defineDocument } from "#projectors/runner/projection.js";

/** One order as its customer sees it; amounts in minor units, the query derives the rest. */
export type OrderDocument = {
  readonly id: string;
  /** Revision of the last event that touched it. */
  readonly version: number;
  readonly createdAt: string;
  readonly modifiedAt: string;
  readonly data: Omit<OrderDetails, "timeline"> & { readonly status: OrderStatus };
  readonly timeline: readonly TimelineEntry[];
  /** What `q` looks into: number, item titles, tracking. */
  readonly search: string;
  /** The customer is gone: what comes later loses its personal parts too. */
  readonly erased?: true;
};

export const orderDocument = defineDocument<OrderDocument>({
  name: "orders",
  version: 1,
  indexes: [
    { key: { modifiedAt: -1, _id: -1 } },
    { key: { "data.placedAt": -1, _id: -1 } },
    { key: { "data.orderNumber": 1 } },
  ],
});
