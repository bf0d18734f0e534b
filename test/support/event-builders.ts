import type { EventMetadata } from "#domain/core/recorded-event.js";
import type { EventToStore, StoredEvent } from "#infrastructure/event-store.js";

/** Metadata as a customer's command leaves it. */
export const sampleMetadata: EventMetadata = {
  orgId: "acme",
  customerId: "ada",
  actor: { type: "customer", id: "ada" },
  commandId: "8c2f1f36-5a8e-5b2f-9d5e-0a4f0e1c2b3d",
  step: 0,
  $correlationId: "request-1",
  $causationId: "8c2f1f36-5a8e-5b2f-9d5e-0a4f0e1c2b3d",
  occurredAt: "2026-03-01T10:00:00.000Z",
};

/** An event as it would come back from the store: through JSON, at some place in the log. */
export function stored(event: EventToStore, place: Partial<StoredEvent> = {}): StoredEvent {
  return {
    stream: "wishlist-acme.ada",
    revision: 0,
    position: "00000000000000000100",
    created: new Date("2026-03-01T10:00:00.000Z"),
    ...(JSON.parse(JSON.stringify(event)) as EventToStore),
    ...place,
  };
}
