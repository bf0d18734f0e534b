/** What the platform would send of an order; `changes` overrides any field. */
export function order(customerId: string, changes: Readonly<Record<string, unknown>> = {}): Record<string, unknown> {
  return {
    sourceRevision: 1,
    customerId,
    orderNumber: "A-17",
    status: "new",
    placedAt: "2026-03-01T08:00:00.000Z",
    currency: "EUR",
    totalMinor: 1998,
    items: [{ id: "1", sku: "B-1", title: "A book", quantity: 2, unitPriceMinor: 999 }],
    ...changes,
  };
}

/** What the platform would send of a ledger entry; `changes` overrides any field. */
export function transaction(
  customerId: string,
  changes: Readonly<Record<string, unknown>> = {},
): Record<string, unknown> {
  return {
    sourceRevision: 1,
    customerId,
    type: "bonus",
    status: "completed",
    amountMinor: 1250,
    direction: "credit",
    currency: "EUR",
    createdAt: "2026-03-01T08:00:00.000Z",
    ...changes,
  };
}
