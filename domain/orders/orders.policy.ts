import type { OrderStatus, TimelineEntry } from "./orders.events.js";

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
