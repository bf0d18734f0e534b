import { type Reservation, type ReservationEvent, reservationAfter } from "#domain/reservations/reservations.policy.js";
import type { Projection } from "#projectors/runner/projection.js";
import { reservationDocument } from "./reservations.document.js";

export const reservationProjection: Projection<Reservation, ReservationEvent> = {
  definition: reservationDocument,
  idOf: (event) => event.data.reservationId,
  on: {
    "reservations.Requested.v1": reservationAfter,
    "reservations.Booked.v1": reservationAfter,
    "reservations.Refused.v1": () => null,
    "reservations.MoveRequested.v1": reservationAfter,
    "reservations.Moved.v1": reservationAfter,
    "reservations.MoveRefused.v1": reservationAfter,
    "reservations.NotesChanged.v1": reservationAfter,
    "reservations.Confirmed.v1": reservationAfter,
    "reservations.Cancelled.v1": reservationAfter,
    "reservations.Completed.v1": reservationAfter,
    "reservations.NoShowRecorded.v1": reservationAfter,
  },
};
