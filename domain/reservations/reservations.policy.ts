import { type Placed, unreachable } from "../core/decider.js";
import { kept } from "./opening-hours.js";
import type { By, Candidate, Place, Refusal, ReservationsEvent } from "./reservations.events.js";

/** Limits of CONTRACT §13. */
export const reservationLimits = {
  notes: 1_000,
  reason: 500,
  partySize: 100,
  rescheduling: 3,
  holdMinutes: 5,
  offerMinutes: 30,
  rangeDays: 31,
  alternatives: 3,
  holdId: 160,
  /** Open reservations of one customer over all definitions. */
  open: 200,
  waitlist: 20,
  history: 50,
} as const;

/** What a reservation may be, as customers see it. */
export const reservationStatuses = ["pending", "confirmed", "cancelled", "completed", "no_show"] as const;
export type ReservationStatus = (typeof reservationStatuses)[number];

/** What was asked for and is not settled yet: the first place, or another one. */
export type OpenWish = {
  readonly move: number;
  readonly partySize: number;
  readonly candidates: readonly Candidate[];
  readonly holdId: string | null;
  readonly notes?: string | null | undefined;
};

export type HistoryEntry = {
  readonly at: string;
  readonly what: string;
  readonly from?: string;
  readonly to?: string;
  readonly by: By;
};

export type Reservation = {
  readonly reservationId: string;
  readonly reservationNumber: string;
  readonly definitionId: string;
  readonly title: string;
  readonly durationMinutes: number;
  readonly bufferMinutes: number;
  readonly partySize: number;
  readonly notes: string | null;
  readonly priceMinor: number | null;
  readonly currency: string | null;
  readonly requiresConfirmation: boolean;
  readonly cancelNoticeMinutes: number;
  readonly rescheduleNoticeMinutes: number;
  /** `requested` and `refused` are no reservations yet, or never were: nobody is shown them. */
  readonly status: ReservationStatus | "requested" | "refused";
  readonly refusal: Refusal | null;
  /** The place it has; null before it has one. */
  readonly place: Place | null;
  /** Under which move the place was claimed. */
  readonly placeMove: number;
  /** Number of the last move asked for, granted or not. */
  readonly moves: number;
  readonly wish: OpenWish | null;
  readonly rescheduleCount: number;
  readonly lateCancel: boolean;
  readonly cancelReason: string | null;
  readonly history: readonly HistoryEntry[];
  readonly createdAt: string;
  readonly modifiedAt: string;
  /** Revision of the last event that touched it. */
  readonly version: number;
};

/** Facts about one reservation, by its id. */
export type ReservationEvent = Extract<ReservationsEvent, { data: { reservationId: string } }>;

/** A reservation after one more fact; the decider and the read model fold with it, so they never differ. */
export function reservationAfter(before: Reservation | null, event: Placed<ReservationEvent>): Reservation | null {
  const { at, revision } = event;
  if (event.type === "reservations.Requested.v1") {
    const { by, candidates, holdId, notes = null, ...data } = event.data;
    return {
      ...data,
      notes,
      status: "requested",
      refusal: null,
      place: null,
      placeMove: 0,
      moves: 0,
      wish: { move: 0, partySize: data.partySize, candidates, holdId },
      rescheduleCount: 0,
      lateCancel: false,
      cancelReason: null,
      history: [],
      createdAt: at,
      modifiedAt: at,
      version: revision,
    };
  }
  if (!before) return null;
  const touched = { ...before, modifiedAt: at, version: revision };
  const history = (what: string, by: By, change: { from?: string; to?: string } = {}) =>
    [...before.history, { at, what, ...change, by }].slice(-reservationLimits.history);
  switch (event.type) {
    case "reservations.Booked.v1": {
      const { status, place, partySize, by } = event.data;
      const booked = history("booked", by, { to: place.slot.start });
      return { ...touched, status, place, partySize, wish: null, history: booked };
    }
    case "reservations.Refused.v1":
      return { ...touched, status: "refused", refusal: event.data.code, wish: null };
    case "reservations.MoveRequested.v1": {
      const { move, partySize, candidates, notes } = event.data;
      return { ...touched, moves: move, wish: { move, partySize, candidates, holdId: null, notes } };
    }
    case "reservations.Moved.v1": {
      const { move, status, place, partySize, by, previous } = event.data;
      const notes = before.wish?.notes === undefined ? before.notes : before.wish.notes;
      const rescheduled = isReschedule(previous.place, place);
      const change = { from: previous.place.slot.start, to: place.slot.start };
      return {
        ...touched,
        status,
        place,
        placeMove: move,
        partySize,
        notes,
        wish: null,
        rescheduleCount: before.rescheduleCount + (rescheduled ? 1 : 0),
        history: history(rescheduled ? "moved" : "party-size-changed", by, change),
      };
    }
    case "reservations.MoveRefused.v1":
      return { ...touched, wish: null };
    case "reservations.NotesChanged.v1":
      return { ...touched, notes: event.data.notes };
    case "reservations.Confirmed.v1":
      return { ...touched, status: "confirmed", history: history("confirmed", event.data.by) };
    case "reservations.Cancelled.v1": {
      const { late, reason = null, by } = event.data;
      return {
        ...touched,
        status: "cancelled",
        lateCancel: late,
        cancelReason: reason,
        history: history("cancelled", by),
      };
    }
    case "reservations.Completed.v1":
      return { ...touched, status: "completed", history: history("completed", event.data.by) };
    case "reservations.NoShowRecorded.v1":
      return { ...touched, status: "no_show", history: history("no_show", event.data.by) };
    default:
      return unreachable(event);
  }
}

/** Whether another place is another appointment: a larger party at the same table is none. */
export function isReschedule(from: Place, to: Place): boolean {
  return from.resourceId !== to.resourceId || from.slot.start !== to.slot.start;
}

/** Whether it may still take place: it takes a part of the customer's time, and counts against the limit. */
export function isOpen({ status }: Pick<Reservation, "status">): boolean {
  return status === "requested" || status === "pending" || status === "confirmed";
}

/** Until when a reservation may be cancelled and moved freely, epoch milliseconds. */
export function windowsOf(
  reservation: Pick<Reservation, "cancelNoticeMinutes" | "rescheduleNoticeMinutes">,
  start: number,
): { readonly cancellableUntil: number; readonly reschedulableUntil: number } {
  return {
    cancellableUntil: start - reservation.cancelNoticeMinutes * 60_000,
    reschedulableUntil: start - reservation.rescheduleNoticeMinutes * 60_000,
  };
}

/** Start and end under the zone's rules as they are now; of the first wish while there is no place yet. */
export function timesOf(reservation: Pick<Reservation, "place" | "wish">): { start: number; end: number } {
  const place = reservation.place ?? reservation.wish?.candidates[0];
  return place ? kept(place.slot) : { start: 0, end: 0 };
}

/** Number that customers and staff tell each other; made of the id, so it needs no counter. */
export function reservationNumberOf(reservationId: string): string {
  const alphabet = "23456789ABCDEFGHJKMNPQRSTUVWXYZ";
  let number = BigInt(`0x${reservationId.replaceAll("-", "").slice(0, 16)}`);
  let digits = "";
  for (let index = 0; index < 10; index++) {
    digits += alphabet[Number(number % 31n)];
    number /= 31n;
  }
  return `R-${digits.slice(0, 5)}-${digits.slice(5)}`;
}

/** A customer's place in a waitlist. */
export type WaitlistEntry = {
  readonly waitlistId: string;
  readonly definitionId: string;
  readonly title: string;
  readonly from: string;
  readonly to: string;
  readonly partySize: number;
  readonly joinedAt: string;
  readonly modifiedAt: string;
  readonly version: number;
  /** The newest offer; it ends by time alone. */
  readonly offer: { readonly holdId: string; readonly place: Place; readonly expiresAt: string } | null;
  /** Slots offered so far, `<resource> <start>`: what was let pass is not offered again. */
  readonly offered: readonly string[];
  readonly fulfilledBy: string | null;
};

/** Name of a slot of a resource, for the list of what was offered. */
export function offerKey(place: Place): string {
  return `${place.resourceId} ${place.slot.start}`;
}

export type WaitlistEvent = Extract<
  ReservationsEvent,
  { type: "reservations.WaitlistJoined.v1" | "reservations.WaitlistLeft.v1" | "reservations.WaitlistOffered.v1" }
>;

/** A waitlist entry after one more fact; null once it is left. The decider and the read model fold with it. */
export function waitlistEntryAfter(
  before: WaitlistEntry | null,
  event: Placed<WaitlistEvent | Extract<ReservationsEvent, { type: "reservations.Booked.v1" }>>,
): WaitlistEntry | null {
  const { at, revision } = event;
  switch (event.type) {
    case "reservations.WaitlistJoined.v1":
      return {
        ...event.data,
        joinedAt: at,
        modifiedAt: at,
        version: revision,
        offer: null,
        offered: [],
        fulfilledBy: null,
      };
    case "reservations.WaitlistLeft.v1":
      return null;
    case "reservations.WaitlistOffered.v1": {
      if (!before) return null;
      const { holdId, place, expiresAt } = event.data;
      const offered = [...before.offered, offerKey(place)].slice(-50);
      return { ...before, offer: { holdId, place, expiresAt }, offered, modifiedAt: at, version: revision };
    }
    case "reservations.Booked.v1":
      return before && { ...before, fulfilledBy: event.data.reservationId, modifiedAt: at, version: revision };
    default:
      return unreachable(event);
  }
}

/** Whether an entry waits for a place to come free: it is not fulfilled, not over, and has no live offer. */
export function isWaiting(entry: WaitlistEntry, now: number): boolean {
  if (entry.fulfilledBy !== null || Date.parse(entry.to) <= now) return false;
  return entry.offer === null || Date.parse(entry.offer.expiresAt) <= now;
}
