import type { RecordedEvent } from "#domain/core/recorded-event.js";
import type { ReservationsEvent } from "#domain/reservations/reservations.events.js";
import type { SlotbookEvent } from "#domain/reservations/slotbook.events.js";
import type { AreaDuties } from "#projectors/runner/duties.js";

/** Whoever asked for a place has it settled within milliseconds; what is open so long was left by a crash. */
export const unfinishedAfterMs = 10_000;

type Consumed =
  | Extract<
      ReservationsEvent,
      {
        type:
          | "reservations.Requested.v1"
          | "reservations.Booked.v1"
          | "reservations.Refused.v1"
          | "reservations.MoveRequested.v1"
          | "reservations.Moved.v1"
          | "reservations.MoveRefused.v1";
      }
    >
  | Extract<
      SlotbookEvent,
      {
        type:
          | "reservations.PlaceHeld.v1"
          | "reservations.PlaceClaimed.v1"
          | "reservations.HeldPlaceReleased.v1"
          | "reservations.HeldPlaceLapsed.v1";
      }
    >;

const unfinished = (
  _: unknown,
  { stream, at, data }: RecordedEvent<Consumed & { data: { reservationId: string } }>,
) => ({
  duty: "reservations-finish",
  dueAt: new Date(Date.parse(at) + unfinishedAfterMs).toISOString(),
  stream,
  subject: data.reservationId,
});

/** What was begun and left open, and holds that end unused: those who wait for the place are to hear of it. */
export const reservationDuties: AreaDuties<Consumed> = {
  area: "reservations",
  idOf: (event) => {
    switch (event.type) {
      case "reservations.PlaceHeld.v1":
      case "reservations.PlaceClaimed.v1":
      case "reservations.HeldPlaceReleased.v1":
      case "reservations.HeldPlaceLapsed.v1":
        return event.data.holdId === null ? null : `hold.${event.data.holdId}`;
      default:
        return `open.${event.data.reservationId}`;
    }
  },
  on: {
    "reservations.Requested.v1": unfinished,
    "reservations.Booked.v1": () => null,
    "reservations.Refused.v1": () => null,
    "reservations.MoveRequested.v1": unfinished,
    "reservations.Moved.v1": () => null,
    "reservations.MoveRefused.v1": () => null,
    "reservations.PlaceHeld.v1": (_, { stream, data: { holdId, expiresAt } }) => ({
      duty: "reservations-hold-lapses",
      dueAt: expiresAt,
      stream,
      subject: holdId,
    }),
    "reservations.PlaceClaimed.v1": () => null,
    "reservations.HeldPlaceReleased.v1": () => null,
    "reservations.HeldPlaceLapsed.v1": () => null,
  },
};
