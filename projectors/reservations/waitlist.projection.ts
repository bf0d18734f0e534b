import type { ReservationsEvent } from "#domain/reservations/reservations.events.js";
import { type WaitlistEvent, waitlistEntryAfter } from "#domain/reservations/reservations.policy.js";
import type { RecordedEvent } from "#domain/core/recorded-event.js";
import type { Projection } from "#projectors/runner/projection.js";
import { type WaitlistDocument, waitlistDocument } from "./waitlist.document.js";

type Consumed = WaitlistEvent | Extract<ReservationsEvent, { type: "reservations.Booked.v1" }>;

function after(document: WaitlistDocument | null, event: RecordedEvent<Consumed>): WaitlistDocument | null {
  const entry = waitlistEntryAfter(document, event);
  return entry && { ...entry, joined: document?.joined ?? event.position };
}

export const waitlistProjection: Projection<WaitlistDocument, Consumed> = {
  definition: waitlistDocument,
  idOf: ({ data }) => data.waitlistId,
  on: {
    "reservations.WaitlistJoined.v1": after,
    "reservations.WaitlistLeft.v1": after,
    "reservations.WaitlistOffered.v1": after,
    "reservations.Booked.v1": after,
  },
};
