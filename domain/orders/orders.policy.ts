import { majorAmount } from "../core/money.js";
import type { OrderDetails, OrderStatus, TimelineEntry } from "./orders.events.js";

export { orderStatuses } from "./orders.events.js";

/** Statuses in which nothing has left the house yet. */
const beforeDispatch: readonly OrderStatus[] = ["new", "processing", "on-hold"];

/** Whether a customer may still cancel: the platform's own word where it gave one, else as long as nothing was sent. */
export function cancellable(order: { status: OrderStatus; cancellable?: boolean | undefined }): boolean {
  return order.cancellable ?? beforeDispatch.includes(order.status);
}

/** How platforms call a payment that has been made. */
const paid = /^(completed|succeeded|captured|paid|settled)$/i;

/** Whether money is known to be owed: the platform told of the payments, and they do not cover an open order. */
export function awaitsPayment(order: {
  status: OrderStatus;
  totalMinor: number;
  payments?: readonly { status: string; amountMinor: number }[] | undefined;
}): boolean {
  if (!order.payments || !beforeDispatch.includes(order.status)) return false;
  const covered = order.payments.filter(({ status }) => paid.test(status));
  return covered.reduce((sum, { amountMinor }) => sum + amountMinor, 0) < order.totalMinor;
}

/** A history longer than this loses its oldest entries. */
const timelineLimit = 200;

/** An order's history with one more entry; the same entry twice is one. */
export function withTimelineEntry(timeline: readonly TimelineEntry[], entry: TimelineEntry): TimelineEntry[] {
  if (timeline.some(({ at, status }) => at === entry.at && status === entry.status)) return [...timeline];
  return [...timeline, entry].slice(-timelineLimit);
}

/** Amounts of an order that stand in major units beside the minor ones. */
export const orderAmounts = ["subtotal", "discount", "shipping", "tax", "total"] as const;

/**
 * The payload of an order's record: amounts also in major units, and whether it can be cancelled.
 *
 * @param timeline left out in a list
 */
export function orderShown(
  data: Omit<OrderDetails, "timeline"> & { readonly status: OrderStatus },
  timeline?: readonly TimelineEntry[],
): Record<string, unknown> {
  const { currency } = data;
  const shown: Record<string, unknown> = {
    ...data,
    items: data.items.map((item) => ({
      ...item,
      unitPrice: majorAmount(item.unitPriceMinor, currency),
      lineTotal: majorAmount(item.lineTotalMinor, currency),
    })),
    cancellable: cancellable(data),
  };
  for (const name of orderAmounts) {
    const minor = data[`${name}Minor`];
    if (minor !== undefined) shown[name] = majorAmount(minor, currency);
  }
  if (timeline) shown.timeline = timeline;
  return shown;
}
