import { expect } from "chai";
import { promise } from "#domain/reservations/opening-hours.js";
import {
  type CustomerHold,
  type ReservationsCommand,
  reservationsDecider,
} from "#domain/reservations/reservations.decider.js";
import {
  Booked,
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
  Refused,
  Requested,
  WaitlistJoined,
  WaitlistLeft,
  WaitlistOffered,
} from "#domain/reservations/reservations.events.js";
import { reservationNumberOf } from "#domain/reservations/reservations.policy.js";
import { specificationStart, specify } from "../support/decider-specification.js";

const now = specificationStart + 3_600_000;
const minute = 60_000;

function candidate(start: string, resourceId = "room-1"): Candidate {
  const slot = promise("Europe/Berlin", Date.parse(start), 60);
  return { resourceId, resourceName: resourceId, day: start.slice(0, 10), slot, capacity: 2 };
}

function placeOf({ capacity: _, ...place }: Candidate) {
  return place;
}

const monday = candidate("2026-06-01T09:00+02:00");
const tuesday = candidate("2026-06-02T09:00+02:00");
const mondayStart = Date.parse(monday.slot.start);

type Command<Type extends ReservationsCommand["type"]> = Extract<ReservationsCommand, { type: Type }>;

function request(changes: Partial<Command<"RequestReservation">> = {}): Command<"RequestReservation"> {
  return {
    type: "RequestReservation",
    reservationId: "r1",
    reservationNumber: "R-AAAAA-AAAAA",
    definitionId: "consultation",
    title: "Consultation",
    durationMinutes: 60,
    bufferMinutes: 0,
    partySize: 1,
    notes: null,
    priceMinor: null,
    currency: null,
    requiresConfirmation: false,
    cancelNoticeMinutes: 60,
    rescheduleNoticeMinutes: 60,
    holdId: null,
    openReservationLimit: 3,
    judged: { candidates: [monday] },
    by: "customer",
    now,
    ...changes,
  };
}

function requested(changes: Partial<Command<"RequestReservation">> = {}) {
  const { type: _t, judged, now: _n, openReservationLimit: _o, notes, ...data } = request(changes);
  if (judged.rejection) throw new Error("a request that was taken had candidates");
  return Requested.create({ ...data, candidates: [...judged.candidates], ...(notes ? { notes } : {}) });
}

const about = { reservationId: "r1", title: "Consultation" } as const;

function booked(changes: object = {}) {
  return Booked.create({
    ...about,
    definitionId: "consultation",
    status: "confirmed",
    place: placeOf(monday),
    partySize: 1,
    holdId: null,
    waitlistId: null,
    by: "customer",
    ...changes,
  });
}

function moved(move: number, from: Candidate, to: Candidate, changes: object = {}) {
  return Moved.create({
    ...about,
    move,
    status: "confirmed",
    place: placeOf(to),
    partySize: 1,
    previous: { move: move - 1, place: placeOf(from), partySize: 1 },
    by: "customer",
    ...changes,
  });
}

const moveRequested = (move: number, to: Candidate, changes: object = {}) =>
  MoveRequested.create({ ...about, move, partySize: 1, candidates: [to], by: "customer", ...changes });

const cancelled = (changes: object = {}) =>
  Cancelled.create({
    ...about,
    move: 0,
    place: placeOf(monday),
    previousStatus: "confirmed",
    late: false,
    by: "customer",
    ...changes,
  });

const reservations = specify(reservationsDecider);
const has = (...more: Parameters<typeof reservations.given>) => reservations.given(requested(), booked(), ...more);

describe("reservations decider: booking", () => {
  const settle = (outcome: Command<"SettleRequest">["outcome"]) =>
    ({ type: "SettleRequest", reservationId: "r1", outcome, by: "customer" }) as const;

  it("asks first, then knows what came of it", () => {
    reservations
      .given()
      .when(request({ notes: "window" }))
      .then(requested({ notes: "window" }));
    reservations
      .given(requested())
      .when(settle({ kind: "granted", place: placeOf(monday) }))
      .then(booked());
    reservations
      .given(requested({ requiresConfirmation: true }))
      .when(settle({ kind: "granted", place: placeOf(monday) }))
      .then(booked({ status: "pending" }));
  });

  it("records a refusal and refuses", () => {
    const command = settle({ kind: "refused", code: "SLOT_TAKEN", params: { alternatives: [] } });
    const decision = reservationsDecider.decide(command, reservations.given(requested()).state);
    expect(decision.events).to.deep.equal([Refused.create({ reservationId: "r1", code: "SLOT_TAKEN" })]);
    expect(decision.rejection).to.deep.include({ code: "SLOT_TAKEN", params: { alternatives: [] } });
    reservations
      .given(requested(), ...decision.events)
      .when(command)
      .thenNothing();
  });

  it("settles once: what another process has settled stays", () => {
    has()
      .when(settle({ kind: "refused", code: "SLOT_TAKEN" }))
      .thenNothing();
    has(cancelled())
      .when(settle({ kind: "granted", place: placeOf(monday) }))
      .thenNothing();
  });

  it("refuses what the slot was judged to be", () => {
    const judged = { rejection: { kind: "refused", code: "TOO_SOON" } } as const;
    reservations.given().when(request({ judged })).thenRefused("TOO_SOON");
  });

  it("refuses a second appointment at the same time, also one that is still being settled", () => {
    const second = request({ reservationId: "r2", judged: { candidates: [candidate("2026-06-01T09:30+02:00")] } });
    has().when(second).thenRefused("OVERLAPS_OWN_RESERVATION");
    reservations.given(requested()).when(second).thenRefused("OVERLAPS_OWN_RESERVATION");
    has(moveRequested(1, tuesday))
      .when(request({ reservationId: "r2", judged: { candidates: [tuesday] } }))
      .thenRefused("OVERLAPS_OWN_RESERVATION");
    const next = { candidates: [candidate("2026-06-01T10:00+02:00")] };
    has()
      .when(request({ reservationId: "r2", judged: next }))
      .then(requested({ reservationId: "r2", judged: next }));
    has(cancelled())
      .when(request({ reservationId: "r2" }))
      .then(requested({ reservationId: "r2" }));
  });

  it("limits the reservations open at a time", () => {
    const second = { reservationId: "r2", judged: { candidates: [tuesday] } };
    has()
      .when(request({ ...second, openReservationLimit: 1 }))
      .thenRefused("OPEN_RESERVATION_LIMIT", { limit: 1 });
    has(cancelled())
      .when(request({ ...second, openReservationLimit: 1 }))
      .then(requested(second));
    has()
      .when(request({ ...second, openReservationLimit: 1, now: mondayStart + 3 * 60 * minute }))
      .then(requested(second));
  });

  it("gives numbers that people can tell each other", () => {
    const number = reservationNumberOf("7b0d0c1e-5a55-5f0e-8a5d-1d7a4d0a9c11");
    expect(number).to.match(/^R-[2-9A-HJ-NP-Z]{5}-[2-9A-HJ-NP-Z]{5}$/);
    expect(number).to.equal(reservationNumberOf("7b0d0c1e-5a55-5f0e-8a5d-1d7a4d0a9c11"));
    expect(number).not.to.equal(reservationNumberOf("7b0d0c1e-5a55-5f0f-8a5d-1d7a4d0a9c11"));
  });
});

describe("reservations decider: moving", () => {
  const change = (to: Candidate | null, changes: object = {}): ReservationsCommand => ({
    type: "ChangeReservation",
    reservationId: "r1",
    ...(to
      ? {
          move: {
            start: Date.parse(to.slot.start),
            resourceId: null,
            partySize: 1,
            judged: { candidates: [to] },
          },
        }
      : {}),
    by: "customer",
    now,
    ...changes,
  });
  const settle = (move: number, outcome: Command<"SettleMove">["outcome"]) =>
    ({ type: "SettleMove", reservationId: "r1", move, outcome, by: "customer" }) as const;

  it("wishes for another place and keeps the old one meanwhile", () => {
    has().when(change(tuesday)).then(moveRequested(1, tuesday));
    const { state } = has(moveRequested(1, tuesday));
    expect(state.reservations.get("r1")?.place).to.deep.equal(placeOf(monday));
    expect(state.reservations.get("r1")?.status).to.equal("confirmed");
  });

  it("has the new place from the moment it is recorded, and says which one to give back", () => {
    has(moveRequested(1, tuesday))
      .when(settle(1, { kind: "granted", place: placeOf(tuesday) }))
      .then(moved(1, monday, tuesday));
    const { state } = has(moveRequested(1, tuesday), moved(1, monday, tuesday));
    expect(state.reservations.get("r1")).to.deep.include({
      place: placeOf(tuesday),
      placeMove: 1,
      rescheduleCount: 1,
      wish: null,
    });
  });

  it("keeps the old place when there is no room for the new one", () => {
    const decision = reservationsDecider.decide(
      settle(1, { kind: "refused", code: "SLOT_TAKEN" }),
      has(moveRequested(1, tuesday)).state,
    );
    const refused = MoveRefused.create({ reservationId: "r1", move: 1, code: "SLOT_TAKEN" });
    expect(decision.events).to.deep.equal([refused]);
    const { state } = has(moveRequested(1, tuesday), refused);
    expect(state.reservations.get("r1")).to.deep.include({ place: placeOf(monday), rescheduleCount: 0, wish: null });
    // The number is spent: the next claim must not be taken for the refused one.
    has(moveRequested(1, tuesday), refused).when(change(tuesday)).then(moveRequested(2, tuesday));
  });

  it("writes nothing for the slot it has already", () => {
    has().when(change(monday)).thenNothing();
    has().when(change(null)).thenNothing();
    const late = { rejection: { kind: "refused", code: "TOO_SOON" } } as const;
    has()
      .when(change(null, { move: { start: mondayStart, resourceId: "room-1", partySize: 1, judged: late } }))
      .thenNothing();
  });

  it("changes notes by themselves, or with the move once that is settled", () => {
    has()
      .when(change(null, { notes: "two" }))
      .then(NotesChanged.create({ reservationId: "r1", notes: "two" }));
    has(NotesChanged.create({ reservationId: "r1", notes: "two" }))
      .when(change(null, { notes: "two" }))
      .thenNothing();
    has()
      .when(change(tuesday, { notes: "two" }))
      .then(moveRequested(1, tuesday, { notes: "two" }));
    const wished = moveRequested(1, tuesday, { notes: "two" });
    expect(has(wished).state.reservations.get("r1")?.notes).to.equal(null);
    expect(has(wished, moved(1, monday, tuesday)).state.reservations.get("r1")?.notes).to.equal("two");
  });

  it("refuses after the window, more than three times, and once it has begun", () => {
    has()
      .when(change(tuesday, { now: mondayStart - 59 * minute }))
      .thenRefused("RESCHEDULE_WINDOW_PASSED", { reschedulableUntil: "2026-06-01T06:00:00.000Z" });
    has()
      .when(change(tuesday, { now: mondayStart - 60 * minute }))
      .then(moveRequested(1, tuesday));
    has()
      .when(change(tuesday, { now: mondayStart }))
      .thenRefused("RESERVATION_NOT_CHANGEABLE");
    const thrice = [1, 2, 3].flatMap((move) => [
      moveRequested(move, move % 2 ? tuesday : monday),
      moved(move, move % 2 ? monday : tuesday, move % 2 ? tuesday : monday),
    ]);
    has(...thrice)
      .when(change(monday))
      .thenRefused("RESCHEDULE_LIMIT_REACHED", { limit: 3 });
    has(...thrice)
      .when(change(monday, { by: "staff" }))
      .then(moveRequested(4, monday, { by: "staff" }));
  });

  it("counts a larger party as a claim of its own, not as a move", () => {
    const larger = { start: mondayStart, resourceId: "room-1", partySize: 2, judged: { candidates: [monday] } };
    const wish = moveRequested(1, monday, { partySize: 2 });
    has()
      .when(change(null, { move: larger, now: mondayStart - minute }))
      .then(wish);
    const { state } = has(wish, moved(1, monday, monday, { partySize: 2 }));
    expect(state.reservations.get("r1")).to.deep.include({ partySize: 2, rescheduleCount: 0, placeMove: 1 });
  });

  it("does not begin another move while one is being settled", () => {
    has(moveRequested(1, tuesday)).when(change(tuesday)).thenNothing();
    has(moveRequested(1, tuesday))
      .when(change(candidate("2026-06-03T09:00+02:00")))
      .thenRefused("RESERVATION_NOT_CHANGEABLE");
  });

  it("asks staff again where they had to agree", () => {
    reservations
      .given(requested({ requiresConfirmation: true }), booked(), moveRequested(1, tuesday))
      .when(settle(1, { kind: "granted", place: placeOf(tuesday) }))
      .then(moved(1, monday, tuesday, { status: "pending" }));
  });

  it("knows only reservations that came about", () => {
    reservations.given().when(change(tuesday)).thenRefused("RESERVATION_NOT_FOUND");
    reservations.given(requested()).when(change(tuesday)).thenRefused("RESERVATION_NOT_FOUND");
  });
});

describe("reservations decider: the end of a reservation", () => {
  const cancel = (changes: object = {}): ReservationsCommand => ({
    type: "CancelReservation",
    reservationId: "r1",
    reason: null,
    whenLate: "refuse",
    by: "customer",
    now,
    ...changes,
  });

  it("is called off in time, once", () => {
    has()
      .when(cancel({ reason: "ill" }))
      .then(cancelled({ reason: "ill" }));
    has(cancelled()).when(cancel()).thenNothing();
  });

  it("is refused, or marked, when it is late", () => {
    const late = { now: mondayStart - 59 * minute };
    has().when(cancel(late)).thenRefused("CANCEL_WINDOW_PASSED", { cancellableUntil: "2026-06-01T06:00:00.000Z" });
    has()
      .when(cancel({ ...late, whenLate: "mark" }))
      .then(cancelled({ late: true }));
  });

  it("cannot be called off once it is over, or while it is being moved", () => {
    const done = Completed.create({ ...about, place: placeOf(monday), by: "staff" });
    has(done).when(cancel()).thenRefused("RESERVATION_NOT_CHANGEABLE");
    has(moveRequested(1, tuesday)).when(cancel()).thenRefused("RESERVATION_NOT_CHANGEABLE");
    reservations.given().when(cancel()).thenRefused("RESERVATION_NOT_FOUND");
  });

  it("names the claim to give back", () => {
    has(moveRequested(1, tuesday), moved(1, monday, tuesday))
      .when(cancel())
      .then(cancelled({ move: 1, place: placeOf(tuesday) }));
  });

  it("is confirmed, completed, or missed, as staff say", () => {
    const pending = [requested({ requiresConfirmation: true }), booked({ status: "pending" })];
    const by = { ...about, place: placeOf(monday), by: "staff" } as const;
    const confirm = { type: "ConfirmReservation", reservationId: "r1", by: "staff" } as const;
    reservations
      .given(...pending)
      .when(confirm)
      .then(Confirmed.create(by));
    has(cancelled()).when(confirm).thenRefused("RESERVATION_NOT_CHANGEABLE");
    const complete = { type: "CompleteReservation", reservationId: "r1", by: "staff", now: mondayStart } as const;
    has().when(complete).then(Completed.create(by));
    has()
      .when({ ...complete, now: mondayStart - 1 })
      .thenRefused("RESERVATION_NOT_CHANGEABLE");
    has()
      .when({ ...complete, type: "RecordNoShow" })
      .then(NoShowRecorded.create(by));
    has(NoShowRecorded.create(by)).when(complete).thenRefused("RESERVATION_NOT_CHANGEABLE");
  });
});

describe("reservations decider: holds and waitlist", () => {
  const hold = (holdId: string): CustomerHold => ({
    holdId,
    definitionId: "consultation",
    place: placeOf(monday),
    partySize: 1,
    expiresAt: new Date(now + 5 * minute).toISOString(),
  });
  const placedHold = (holdId: string, replaces: string | null) =>
    HoldPlaced.create({ ...hold(holdId), title: "Consultation", replaces });
  const keep = (holdId: string) => ({ type: "PlaceHold", title: "Consultation", ...hold(holdId) }) as const;

  it("keeps one hold per definition: the newer takes over", () => {
    reservations.given().when(keep("h1")).then(placedHold("h1", null));
    reservations.given(placedHold("h1", null)).when(keep("h2")).then(placedHold("h2", "h1"));
    const gone = HoldReleased.create({ holdId: "h1", definitionId: "consultation" });
    reservations.given(placedHold("h1", null)).when({ type: "ReleaseHold", holdId: "h1" }).then(gone);
    reservations.given().when({ type: "ReleaseHold", holdId: "h1" }).thenNothing();
  });

  const entry = {
    waitlistId: "w1",
    definitionId: "consultation",
    title: "Consultation",
    from: "2026-06-01T00:00:00.000Z",
    to: "2026-06-08T00:00:00.000Z",
    partySize: 1,
  };
  const joined = WaitlistJoined.create(entry);
  const expiresAt = new Date(now + 30 * minute).toISOString();
  const offer = (holdId: string, changes: object = {}) =>
    ({ type: "RecordOffer", waitlistId: "w1", holdId, place: placeOf(monday), expiresAt, now, ...changes }) as const;
  const { from: _f, to: _t, ...offeredEntry } = entry;
  const offered = (holdId: string, changes: object = {}) =>
    WaitlistOffered.create({ ...offeredEntry, holdId, place: placeOf(monday), expiresAt, ...changes });

  it("waits, and leaves", () => {
    reservations
      .given()
      .when({ type: "JoinWaitlist", ...entry, now })
      .then(joined);
    const left = WaitlistLeft.create({ waitlistId: "w1" });
    reservations.given(joined).when({ type: "LeaveWaitlist", waitlistId: "w1" }).then(left);
    reservations.given(joined, left).when({ type: "LeaveWaitlist", waitlistId: "w1" }).thenNothing();
    reservations.given(joined, left).when(offer("h1")).thenRefused("WAITLIST_ENTRY_NOT_FOUND");
  });

  it("is offered one place at a time, and none twice", () => {
    reservations.given(joined).when(offer("h1")).then(offered("h1"));
    reservations
      .given(joined, offered("h1"))
      .when(offer("h2", { place: placeOf(tuesday) }))
      .thenRefused("SLOT_TAKEN");
    const later = Date.parse(expiresAt);
    reservations
      .given(joined, offered("h1"))
      .when(offer("h2", { now: later }))
      .thenRefused("SLOT_TAKEN");
    reservations
      .given(joined, offered("h1"))
      .when(offer("h2", { place: placeOf(tuesday), now: later }))
      .then(offered("h2", { place: placeOf(tuesday) }));
  });

  it("is fulfilled by a reservation made under its offer", () => {
    const request = requested({ holdId: "h1" });
    const settle = {
      type: "SettleRequest",
      reservationId: "r1",
      outcome: { kind: "granted", place: placeOf(monday) },
      by: "customer",
    } as const;
    const done = booked({ holdId: "h1", waitlistId: "w1" });
    reservations.given(joined, offered("h1"), request).when(settle).then(done);
    const { state } = reservations.given(joined, offered("h1"), request, done);
    expect(state.waitlist.get("w1")?.fulfilledBy).to.equal("r1");
  });

  it("may wait for twenty things", () => {
    const twenty = Array.from({ length: 20 }, (_, index) =>
      WaitlistJoined.create({ ...entry, waitlistId: `w${index}` }),
    );
    reservations
      .given(...twenty)
      .when({ type: "JoinWaitlist", ...entry, waitlistId: "one-more", now })
      .thenRefused("OPEN_RESERVATION_LIMIT", { limit: 20 });
  });
});
