import { accept, type Decider, type Decision, type Placed, refuse, unreachable } from "../core/decider.js";
import { PersistentMap } from "../core/persistent-map.js";
import { type Rejection, rejection } from "../core/rejection.js";
import { kept } from "./opening-hours.js";
import {
  Booked,
  type By,
  Cancelled,
  type Candidate,
  Completed,
  Confirmed,
  HoldPlaced,
  HoldReleased,
  Moved,
  MoveRefused,
  MoveRequested,
  NoShowRecorded,
  NotesChanged,
  type Place,
  type Refusal,
  Refused,
  Requested,
  type ReservationsEvent,
  WaitlistJoined,
  WaitlistLeft,
  WaitlistOffered,
} from "./reservations.events.js";
import {
  isOpen,
  isReschedule,
  isWaiting,
  type OpenWish,
  offerKey,
  type Reservation,
  reservationAfter,
  reservationLimits,
  timesOf,
  type WaitlistEntry,
  waitlistEntryAfter,
  windowsOf,
} from "./reservations.policy.js";
import type { Judged } from "./slots.policy.js";

export type CustomerHold = {
  readonly holdId: string;
  readonly definitionId: string;
  readonly place: Place;
  readonly partySize: number;
  readonly expiresAt: string;
};

export type ReservationsState = {
  readonly reservations: PersistentMap<Reservation>;
  /** By definition: a customer keeps one place at a time of each. */
  readonly holds: PersistentMap<CustomerHold>;
  readonly waitlist: PersistentMap<WaitlistEntry>;
  /** Ids of the newest holds that are over and entries that were left: to end them again is no mistake. */
  readonly ended: readonly string[];
};

/** What the slotbook said. */
export type Outcome =
  | { readonly kind: "granted"; readonly place: Place }
  | { readonly kind: "refused"; readonly code: Refusal; readonly params?: Record<string, unknown> };

/** Another slot, resource or party size. */
export type MoveWish = {
  readonly start: number;
  /** Null leaves the choice to us. */
  readonly resourceId: string | null;
  readonly partySize: number;
  readonly judged: Judged;
};

type Conditions = Pick<
  Reservation,
  | "definitionId"
  | "title"
  | "durationMinutes"
  | "bufferMinutes"
  | "priceMinor"
  | "currency"
  | "requiresConfirmation"
  | "cancelNoticeMinutes"
  | "rescheduleNoticeMinutes"
>;

export type ReservationsCommand =
  | ({
      readonly type: "RequestReservation";
      readonly reservationId: string;
      readonly reservationNumber: string;
      readonly partySize: number;
      readonly notes: string | null;
      readonly holdId: string | null;
      readonly openReservationLimit: number;
      readonly judged: Judged;
      readonly by: By;
      readonly now: number;
    } & Conditions)
  | { readonly type: "SettleRequest"; readonly reservationId: string; readonly outcome: Outcome; readonly by: By }
  | {
      readonly type: "ChangeReservation";
      readonly reservationId: string;
      /** Absent when only the notes change. */
      readonly move?: MoveWish | undefined;
      readonly notes?: string | null | undefined;
      readonly by: By;
      readonly now: number;
    }
  | {
      readonly type: "SettleMove";
      readonly reservationId: string;
      readonly move: number;
      readonly outcome: Outcome;
      readonly by: By;
    }
  | {
      readonly type: "CancelReservation";
      readonly reservationId: string;
      readonly reason: string | null;
      /** After the window: refuse, or cancel and say that it was late. */
      readonly whenLate: "refuse" | "mark";
      readonly by: By;
      readonly now: number;
    }
  | { readonly type: "ConfirmReservation"; readonly reservationId: string; readonly by: By }
  | {
      readonly type: "CompleteReservation" | "RecordNoShow";
      readonly reservationId: string;
      readonly by: By;
      readonly now: number;
    }
  | ({ readonly type: "PlaceHold"; readonly title: string } & CustomerHold)
  | { readonly type: "ReleaseHold"; readonly holdId: string }
  | {
      readonly type: "JoinWaitlist";
      readonly waitlistId: string;
      readonly definitionId: string;
      readonly title: string;
      readonly from: string;
      readonly to: string;
      readonly partySize: number;
      readonly now: number;
    }
  | { readonly type: "LeaveWaitlist"; readonly waitlistId: string }
  | {
      readonly type: "RecordOffer";
      readonly waitlistId: string;
      readonly holdId: string;
      readonly place: Place;
      readonly expiresAt: string;
      readonly now: number;
    };

/** One customer's reservations, holds and waitlist entries: stream `reservations-<org>.<customer>`. */
export const reservationsDecider: Decider<ReservationsState, ReservationsCommand, ReservationsEvent> = {
  initial: {
    reservations: PersistentMap.empty(),
    holds: PersistentMap.empty(),
    waitlist: PersistentMap.empty(),
    ended: [],
  },
  evolve,
  decide,
};

function evolve(state: ReservationsState, event: Placed<ReservationsEvent>): ReservationsState {
  switch (event.type) {
    case "reservations.HoldPlaced.v1": {
      const { holdId, definitionId, place, partySize, expiresAt, replaces } = event.data;
      const holds = state.holds.set(definitionId, { holdId, definitionId, place, partySize, expiresAt });
      return { ...state, holds, ended: replaces === null ? state.ended : withEnded(state, replaces) };
    }
    case "reservations.HoldReleased.v1":
      return withoutHold(state, event.data.holdId);
    case "reservations.WaitlistJoined.v1":
    case "reservations.WaitlistLeft.v1":
    case "reservations.WaitlistOffered.v1":
      return withEntry(state, event.data.waitlistId, event);
    default: {
      const { reservationId } = event.data;
      const after = reservationAfter(state.reservations.get(reservationId) ?? null, event);
      const next = after ? { ...state, reservations: state.reservations.set(reservationId, after) } : state;
      if (event.type !== "reservations.Booked.v1") return next;
      const { holdId, waitlistId } = event.data;
      const used = holdId === null ? next : withoutHold(next, holdId);
      return waitlistId === null ? used : withEntry(used, waitlistId, event);
    }
  }
}

/** The customer's hold by its id; undefined when it was never theirs, or is used up or released. */
export function holdOf(state: ReservationsState, holdId: string): CustomerHold | undefined {
  return [...state.holds.values()].find((candidate) => candidate.holdId === holdId);
}

function withoutHold(state: ReservationsState, holdId: string): ReservationsState {
  const hold = holdOf(state, holdId);
  return hold ? { ...state, holds: state.holds.delete(hold.definitionId), ended: withEnded(state, holdId) } : state;
}

function withEnded(state: ReservationsState, id: string): readonly string[] {
  return [...state.ended, id].slice(-50);
}

function withEntry(
  state: ReservationsState,
  waitlistId: string,
  event: Parameters<typeof waitlistEntryAfter>[1],
): ReservationsState {
  const after = waitlistEntryAfter(state.waitlist.get(waitlistId) ?? null, event);
  if (after) return { ...state, waitlist: state.waitlist.set(waitlistId, after) };
  return { ...state, waitlist: state.waitlist.delete(waitlistId), ended: withEnded(state, waitlistId) };
}

function decide(command: ReservationsCommand, state: ReservationsState): Decision<ReservationsEvent> {
  switch (command.type) {
    case "RequestReservation":
      return request(command, state);
    case "SettleRequest":
      return settleRequest(command, state);
    case "ChangeReservation":
      return change(command, state);
    case "SettleMove":
      return settleMove(command, state);
    case "CancelReservation":
      return cancel(command, state);
    case "ConfirmReservation": {
      const found = placed(state, command.reservationId);
      if (!found) return refuse(notFound);
      const { reservationId, title, place, status } = found;
      if (status === "confirmed") return accept();
      if (status !== "pending") return refuse(notChangeable(found));
      return accept(Confirmed.create({ reservationId, title, place, by: command.by }));
    }
    case "CompleteReservation":
    case "RecordNoShow": {
      const found = placed(state, command.reservationId);
      if (!found) return refuse(notFound);
      const { reservationId, title, place, status } = found;
      if (status === (command.type === "RecordNoShow" ? "no_show" : "completed")) return accept();
      const started = timesOf(found).start <= command.now;
      if (!isOpen(found) || found.wish || !started) return refuse(notChangeable(found));
      const event = command.type === "RecordNoShow" ? NoShowRecorded : Completed;
      return accept(event.create({ reservationId, title, place, by: command.by }));
    }
    case "PlaceHold": {
      const { type: _, ...hold } = command;
      if (state.holds.get(hold.definitionId)?.holdId === hold.holdId) return accept();
      return accept(HoldPlaced.create({ ...hold, replaces: state.holds.get(hold.definitionId)?.holdId ?? null }));
    }
    case "ReleaseHold": {
      const known = holdOf(state, command.holdId);
      return known ? accept(HoldReleased.create({ holdId: known.holdId, definitionId: known.definitionId })) : accept();
    }
    case "JoinWaitlist":
      return join(command, state);
    case "LeaveWaitlist": {
      const { waitlistId } = command;
      return state.waitlist.has(waitlistId) ? accept(WaitlistLeft.create({ waitlistId })) : accept();
    }
    case "RecordOffer":
      return offer(command, state);
    default:
      return unreachable(command);
  }
}

type Of<Type extends ReservationsCommand["type"]> = Extract<ReservationsCommand, { type: Type }>;

function request(command: Of<"RequestReservation">, state: ReservationsState): Decision<ReservationsEvent> {
  const { type: _, notes, judged, now, openReservationLimit, ...data } = command;
  if (state.reservations.has(command.reservationId)) return accept();
  if (judged.rejection) return refuse(judged.rejection);
  const open = [...state.reservations.values()].filter((other) => isOpen(other) && timesOf(other).end > now);
  const ofDefinition = open.filter(({ definitionId }) => definitionId === command.definitionId);
  if (ofDefinition.length >= openReservationLimit || open.length >= reservationLimits.open) {
    return refuse(rejection("refused", "OPEN_RESERVATION_LIMIT", { limit: openReservationLimit }));
  }
  const overlapping = overlapsOwn(state, command.reservationId, judged.candidates);
  if (overlapping) return refuse(overlapping);
  const { candidates } = judged;
  return accept(Requested.create({ ...data, candidates: [...candidates], ...(notes ? { notes } : {}) }));
}

function settleRequest(command: Of<"SettleRequest">, state: ReservationsState): Decision<ReservationsEvent> {
  const { reservationId, outcome, by } = command;
  const found = state.reservations.get(reservationId);
  if (!found || found.status !== "requested") return accept();
  const { title, definitionId, partySize, wish } = found;
  if (outcome.kind === "refused") {
    return {
      events: [Refused.create({ reservationId, code: outcome.code })],
      rejection: rejection("conflict", outcome.code, outcome.params),
    };
  }
  const holdId = wish?.holdId ?? null;
  const entry = [...state.waitlist.values()].find((candidate) => candidate.offer?.holdId === holdId);
  return accept(
    Booked.create({
      reservationId,
      title,
      definitionId,
      status: found.requiresConfirmation ? "pending" : "confirmed",
      place: outcome.place,
      partySize,
      holdId,
      waitlistId: holdId === null ? null : (entry?.waitlistId ?? null),
      by,
    }),
  );
}

function change(command: Of<"ChangeReservation">, state: ReservationsState): Decision<ReservationsEvent> {
  const { reservationId, move, by, now } = command;
  const found = placed(state, reservationId);
  if (!found) return refuse(notFound);
  const { start } = timesOf(found);
  if (!isOpen(found) || start <= now) return refuse(notChangeable(found));
  const notes =
    command.notes === undefined || (command.notes || null) === found.notes ? undefined : command.notes || null;
  if (!move || staysAsItIs(found, move)) {
    return notes === undefined ? accept() : accept(NotesChanged.create({ reservationId, notes }));
  }
  if (found.wish) {
    return staysAsWished(found.wish, move) ? accept() : refuse(notChangeable(found));
  }
  const { judged, partySize } = move;
  // A slot that cannot be had at all is refused as such before the window is looked at: it may be somebody's mistake.
  if (judged.rejection) return refuse(judged.rejection);
  const [first] = judged.candidates;
  if (first && isReschedule(found.place, first)) {
    const { reschedulableUntil } = windowsOf(found, start);
    if (now > reschedulableUntil && by === "customer") {
      const params = { reschedulableUntil: new Date(reschedulableUntil).toISOString() };
      return refuse(rejection("refused", "RESCHEDULE_WINDOW_PASSED", params));
    }
    if (found.rescheduleCount >= reservationLimits.rescheduling && by === "customer") {
      return refuse(rejection("refused", "RESCHEDULE_LIMIT_REACHED", { limit: reservationLimits.rescheduling }));
    }
  }
  const overlapping = overlapsOwn(state, reservationId, judged.candidates);
  if (overlapping) return refuse(overlapping);
  return accept(
    MoveRequested.create({
      reservationId,
      title: found.title,
      move: found.moves + 1,
      partySize,
      candidates: [...judged.candidates],
      ...(notes === undefined ? {} : { notes }),
      by,
    }),
  );
}

/** The same slot at the same resource for as many: nothing to move. */
function staysAsItIs(found: PlacedReservation, { start, resourceId, partySize }: MoveWish): boolean {
  const samePlace = resourceId === null || resourceId === found.place.resourceId;
  return samePlace && start === timesOf(found).start && partySize === found.partySize;
}

function staysAsWished({ candidates: [wished], partySize }: OpenWish, move: MoveWish): boolean {
  const sameResource = move.resourceId === null || move.resourceId === wished?.resourceId;
  return sameResource && partySize === move.partySize && wished !== undefined && kept(wished.slot).start === move.start;
}

function settleMove(command: Of<"SettleMove">, state: ReservationsState): Decision<ReservationsEvent> {
  const { reservationId, move, outcome, by } = command;
  const found = placed(state, reservationId);
  if (!found?.wish || found.wish.move !== move) return accept();
  if (outcome.kind === "refused") {
    return {
      events: [MoveRefused.create({ reservationId, move, code: outcome.code })],
      rejection: rejection("conflict", outcome.code, outcome.params),
    };
  }
  const { title, place, placeMove, partySize, status } = found;
  const again = found.requiresConfirmation && by === "customer" && isReschedule(place, outcome.place);
  return accept(
    Moved.create({
      reservationId,
      title,
      move,
      status: again || status === "pending" ? "pending" : "confirmed",
      place: outcome.place,
      partySize: found.wish.partySize,
      previous: { move: placeMove, place, partySize },
      by,
    }),
  );
}

function cancel(command: Of<"CancelReservation">, state: ReservationsState): Decision<ReservationsEvent> {
  const { reservationId, reason, whenLate, by, now } = command;
  const found = placed(state, reservationId);
  if (!found) return refuse(notFound);
  if (found.status === "cancelled") return accept();
  if ((found.status !== "pending" && found.status !== "confirmed") || found.wish) return refuse(notChangeable(found));
  const { cancellableUntil } = windowsOf(found, timesOf(found).start);
  // Staff have no window to keep.
  const late = by === "customer" && now > cancellableUntil;
  if (late && whenLate === "refuse") {
    const params = { cancellableUntil: new Date(cancellableUntil).toISOString() };
    return refuse(rejection("refused", "CANCEL_WINDOW_PASSED", params));
  }
  const { title, place, placeMove, status } = found;
  return accept(
    Cancelled.create({
      reservationId,
      title,
      move: placeMove,
      place,
      previousStatus: status,
      late,
      ...(reason ? { reason } : {}),
      by,
    }),
  );
}

function join(command: Of<"JoinWaitlist">, state: ReservationsState): Decision<ReservationsEvent> {
  const { type: _, now, ...data } = command;
  if (state.waitlist.has(data.waitlistId)) return accept();
  const waiting = [...state.waitlist.values()].filter(
    (entry) => entry.fulfilledBy === null && Date.parse(entry.to) > now,
  );
  if (waiting.length >= reservationLimits.waitlist) {
    return refuse(rejection("refused", "OPEN_RESERVATION_LIMIT", { limit: reservationLimits.waitlist }));
  }
  return accept(WaitlistJoined.create(data));
}

function offer(command: Of<"RecordOffer">, state: ReservationsState): Decision<ReservationsEvent> {
  const { waitlistId, holdId, place, expiresAt, now } = command;
  const entry = state.waitlist.get(waitlistId);
  if (!entry) return refuse(rejection("not-found", "WAITLIST_ENTRY_NOT_FOUND"));
  if (entry.offer?.holdId === holdId) return accept();
  // Left, fulfilled or offered another place meanwhile: this one goes to the next in line.
  if (!isWaiting(entry, now) || entry.offered.includes(offerKey(place))) {
    return refuse(rejection("conflict", "SLOT_TAKEN"));
  }
  const { definitionId, title, partySize } = entry;
  return accept(WaitlistOffered.create({ waitlistId, definitionId, title, holdId, place, partySize, expiresAt }));
}

const notFound = rejection("not-found", "RESERVATION_NOT_FOUND");

function notChangeable({ status }: Pick<Reservation, "status">): Rejection {
  return rejection("conflict", "RESERVATION_NOT_CHANGEABLE", { reservationStatus: status });
}

type PlacedReservation = Reservation & { readonly place: Place };

/** A reservation that came about; null for one that does not exist, is still being settled, or found no room. */
function placed(state: ReservationsState, reservationId: string): PlacedReservation | null {
  const found = state.reservations.get(reservationId);
  return found?.place ? { ...found, place: found.place } : null;
}

/** The customer cannot be at two places at once, neither now nor as soon as what is wished for is settled. */
function overlapsOwn(
  state: ReservationsState,
  reservationId: string,
  candidates: readonly Candidate[],
): Rejection | undefined {
  const [first] = candidates;
  if (!first) return undefined;
  const { start, end } = kept(first.slot);
  for (const other of state.reservations.values()) {
    if (other.reservationId === reservationId || !isOpen(other)) continue;
    for (const place of [other.place, other.wish?.candidates[0]]) {
      if (!place) continue;
      const taken = kept(place.slot);
      if (taken.start < end && start < taken.end) {
        return rejection("conflict", "OVERLAPS_OWN_RESERVATION", { reservationId: other.reservationId });
      }
    }
  }
  return undefined;
}
