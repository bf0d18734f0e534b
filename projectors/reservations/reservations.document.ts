import type { Reservation } from "#domain/reservations/reservations.policy.js";
import { defineDocument } from "#projectors/runner/projection.js";

/** A reservation as its stream tells it, also while it is being settled: readers show only what came about. */
export const reservationDocument = defineDocument<Reservation>({
  name: "reservations",
  version: 1,
  indexes: [
    { key: { "place.slot.start": 1, _id: 1 } },
    // Staff know a reservation by its id, not whose it is.
    { key: { reservationId: 1 }, acrossOwners: true },
  ],
});
