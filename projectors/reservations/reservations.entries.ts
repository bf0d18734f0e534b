import type { Place, ReservationsEvent } from "#domain/reservations/reservations.events.js";
import { isReschedule } from "#domain/reservations/reservations.policy.js";
import { type ActivityEntries, activityEntryOf } from "../activity-entry.js";

/** What is only begun, or did not come about, is no news to whoever asked for it. */
export type ReservationActivity = Extract<
  ReservationsEvent,
  {
    type:
      | "reservations.Booked.v1"
      | "reservations.Moved.v1"
      | "reservations.NotesChanged.v1"
      | "reservations.Confirmed.v1"
      | "reservations.Cancelled.v1"
      | "reservations.Completed.v1"
      | "reservations.NoShowRecorded.v1"
      | "reservations.WaitlistJoined.v1"
      | "reservations.WaitlistOffered.v1";
  }
>;

const about = (id: string, what: string, title: string) => activityEntryOf("reservations", id, what, title);

/** As the clock on the wall shows it there: `2026-06-01 09:00`. */
function wallClock({ slot }: Place): string {
  const wall = new Date(Date.parse(slot.start) + slot.offsetMinutes * 60_000);
  return wall.toISOString().slice(0, 16).replace("T", " ");
}

export const reservationEntries: ActivityEntries<ReservationActivity> = {
  "reservations.Booked.v1": ({ data: { reservationId, title, place, status } }) => {
    const verb = status === "pending" ? "requested" : "booked";
    return about(reservationId, `reservation.${verb}`, `${title} ${verb} for ${wallClock(place)}`);
  },
  "reservations.Moved.v1": ({ data: { reservationId, title, place, partySize, previous } }) => {
    const changes = [
      { field: "slot.start", from: previous.place.slot.start, to: place.slot.start },
      { field: "resource.id", from: previous.place.resourceId, to: place.resourceId },
      { field: "partySize", from: previous.partySize, to: partySize },
    ].filter(({ from, to }) => from !== to);
    const moved = isReschedule(previous.place, place);
    const what = moved ? "reservation.moved" : "reservation.changed";
    return { ...about(reservationId, what, `${title} ${moved ? `moved to ${wallClock(place)}` : "changed"}`), changes };
  },
  "reservations.NotesChanged.v1": ({ data: { reservationId, notes } }) => ({
    ...about(reservationId, "reservation.changed", "Notes on a reservation changed"),
    changes: [{ field: "notes", to: notes }],
    news: false,
  }),
  "reservations.Confirmed.v1": ({ data: { reservationId, title, place } }) =>
    about(reservationId, "reservation.confirmed", `${title} on ${wallClock(place)} confirmed`),
  "reservations.Cancelled.v1": ({ data: { reservationId, title, place, previousStatus } }) => ({
    ...about(reservationId, "reservation.cancelled", `${title} on ${wallClock(place)} cancelled`),
    changes: [{ field: "status", from: previousStatus, to: "cancelled" }],
  }),
  "reservations.Completed.v1": ({ data: { reservationId, title } }) =>
    about(reservationId, "reservation.completed", `${title} completed`),
  "reservations.NoShowRecorded.v1": ({ data: { reservationId, title } }) =>
    about(reservationId, "reservation.no-show", `${title} missed`),
  "reservations.WaitlistJoined.v1": ({ data: { waitlistId, title } }) => ({
    ...about(waitlistId, "reservation.waitlist-joined", `Waiting for ${title}`),
    news: false,
  }),
  "reservations.WaitlistOffered.v1": ({ data: { waitlistId, title, place } }) =>
    about(waitlistId, "reservation.offered", `${title} on ${wallClock(place)} came free`),
};
