/** What is appended in the event store's benchmark, the same for every load and for the floor. */

export const streamCount = 1_000;
export const eventType = "bench.Happened.v1";

/** About 260 bytes of JSON, as the product's events are. */
export const eventData = {
  productId: "p-4711",
  name: "x".repeat(160),
  price: { amount: 1999, currency: "EUR" },
  n: 123456,
};
export const eventMetadata = { orgId: "bench" };

/** Bytes of such an event in the store's table. */
export const recordSize = 440;
