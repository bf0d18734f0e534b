import { promise } from "#domain/reservations/opening-hours.js";
import { type SlotbookCommand, slotbookDecider } from "#domain/reservations/slotbook.decider.js";
import {
  HeldPlaceLapsed,
  HeldPlaceReleased,
  PlaceClaimed,
  PlaceHeld,
  PlaceRefused,
  PlaceReleased,
  SlotsBlocked,
  SlotsUnblocked,
} from "#domain/reservations/slotbook.events.js";
import { expect } from "chai";
import { specificationStart, specify } from "../support/decider-specification.js";

const now = specificationStart + 3_600_000;
const at = (time: string, minutes = 60) => promise("Europe/Berlin", Date.parse(`2026-06-01T${time}+02:00`), minutes);
const nine = at("09:00");

type Claim = Extract<SlotbookCommand, { type: "ClaimPlace" }>;

function wish(changes: Partial<Claim> = {}): Claim {
  return {
    type: "ClaimPlace",
    reservationId: "r1",
    move: 0,
    customerId: "ada",
    definitionId: "consultation",
    slot: nine,
    bufferMinutes: 0,
    partySize: 1,
    capacity: 1,
    holdId: null,
    now,
    ...changes,
  };
}

function claimed(changes: Partial<Claim> = {}) {
  const { type: _t, capacity: _c, now: _n, ...data } = wish(changes);
  return PlaceClaimed.create(data);
}

const inTime = new Date(now + 60_000).toISOString();

function held(holdId: string, changes: { slot?: typeof nine; expiresAt?: string; customerId?: string } = {}) {
  return PlaceHeld.create({
    holdId,
    customerId: "ada",
    definitionId: "consultation",
    slot: nine,
    bufferMinutes: 0,
    partySize: 1,
    expiresAt: inTime,
    ...changes,
  });
}

const slotbook = specify(slotbookDecider);

/** Refused, and remembered as refused. */
function refused(history: Parameters<typeof slotbook.given>, command: Claim, code: "SLOT_TAKEN" | "HOLD_EXPIRED") {
  const decision = slotbookDecider.decide(command, slotbook.given(...history).state);
  expect(decision.rejection?.code).to.equal(code);
  const verdict = PlaceRefused.create({ reservationId: command.reservationId, move: command.move, code });
  expect(decision.events).to.deep.equal([verdict]);
  slotbook
    .given(...history, verdict)
    .when(command)
    .thenRefused(code);
}

describe("slotbook decider: claims", () => {
  it("gives the one place, and refuses the next", () => {
    slotbook.given().when(wish()).then(claimed());
    refused([claimed()], wish({ reservationId: "r2" }), "SLOT_TAKEN");
  });

  it("lets one slot end where the next begins, unless a buffer lies between", () => {
    slotbook
      .given(claimed())
      .when(wish({ reservationId: "r2", slot: at("10:00") }))
      .then(claimed({ reservationId: "r2", slot: at("10:00") }));
    refused([claimed({ bufferMinutes: 10 })], wish({ reservationId: "r2", slot: at("10:00") }), "SLOT_TAKEN");
    refused([claimed({ slot: at("10:00") })], wish({ reservationId: "r2", bufferMinutes: 10 }), "SLOT_TAKEN");
  });

  it("counts the most places taken at any instant, not all that overlap", () => {
    const early = claimed({ reservationId: "early", slot: at("08:30", 60) });
    const late = claimed({ reservationId: "late", slot: at("09:30", 60) });
    const long = wish({ reservationId: "long", slot: at("08:00", 180), capacity: 2 });
    slotbook
      .given(early, late)
      .when(long)
      .then(claimed({ reservationId: "long", slot: at("08:00", 180) }));
    refused([early, claimed({ reservationId: "both", slot: at("09:00", 60) })], long, "SLOT_TAKEN");
  });

  it("counts a party as many places", () => {
    const three = claimed({ partySize: 3 });
    slotbook
      .given(three)
      .when(wish({ reservationId: "r2", partySize: 2, capacity: 5 }))
      .then(claimed({ reservationId: "r2", partySize: 2 }));
    refused([three], wish({ reservationId: "r2", partySize: 3, capacity: 5 }), "SLOT_TAKEN");
  });

  it("judges a claim once: a repeat is a no-op, and what was refused stays refused", () => {
    slotbook.given(claimed()).when(wish()).thenNothing();
    const verdict = PlaceRefused.create({ reservationId: "r2", move: 0, code: "SLOT_TAKEN" });
    const free = PlaceReleased.create({ reservationId: "r1", move: 0, slot: nine });
    slotbook
      .given(claimed(), verdict, free)
      .when(wish({ reservationId: "r2" }))
      .thenRefused("SLOT_TAKEN");
  });

  it("does not take again what was given back", () => {
    const free = PlaceReleased.create({ reservationId: "r1", move: 0, slot: nine });
    slotbook.given(claimed()).when({ type: "ReleasePlace", reservationId: "r1", move: 0 }).then(free);
    slotbook.given(claimed(), free).when(wish()).thenNothing();
    slotbook
      .given(claimed(), free)
      .when(wish({ reservationId: "r2" }))
      .then(claimed({ reservationId: "r2" }));
    slotbook.given().when({ type: "ReleasePlace", reservationId: "r1", move: 0 }).thenNothing();
  });

  it("does not count a reservation's own other claim: it may move within its own time", () => {
    const half = at("09:30");
    slotbook
      .given(claimed())
      .when(wish({ move: 1, slot: half }))
      .then(claimed({ move: 1, slot: half }));
    refused([claimed(), claimed({ move: 1, slot: half })], wish({ reservationId: "r2", slot: half }), "SLOT_TAKEN");
  });

  it("keeps the wall clock of a claim whose zone has other rules since", () => {
    // Promised as nine o'clock when the zone was to be three hours ahead; by the rules of now that is 07:00 UTC.
    const promised = {
      start: "2026-06-01T06:00:00.000Z",
      end: "2026-06-01T07:00:00.000Z",
      timezone: "Europe/Berlin",
      offsetMinutes: 180,
    };
    refused([claimed({ slot: promised })], wish({ reservationId: "r2" }), "SLOT_TAKEN");
    slotbook
      .given(claimed({ slot: promised }))
      .when(wish({ reservationId: "r2", slot: at("08:00") }))
      .then(claimed({ reservationId: "r2", slot: at("08:00") }));
  });
});

describe("slotbook decider: holds", () => {
  const { capacity: _, ...place } = wish();
  const hold = (holdId: string, changes: object = {}) =>
    ({ ...place, capacity: 1, type: "HoldPlace", holdId, expiresAt: inTime, replaces: null, ...changes }) as const;

  it("keeps a place", () => {
    slotbook.given().when(hold("h1")).then(held("h1"));
    slotbook
      .given(held("h1"))
      .when(hold("h2", { customerId: "bob" }))
      .thenRefused("SLOT_TAKEN");
    refused([held("h1")], wish({ customerId: "bob" }), "SLOT_TAKEN");
  });

  it("is placed once while it lives, and anew under the same id once it is over", () => {
    slotbook.given(held("h1")).when(hold("h1")).thenNothing();
    const over = held("h1", { expiresAt: new Date(now).toISOString() });
    slotbook.given(over).when(hold("h1")).then(held("h1"));
    slotbook
      .given(over, claimed({ customerId: "bob" }))
      .when(hold("h1"))
      .thenRefused("SLOT_TAKEN");
  });

  it("ends by time alone", () => {
    const over = held("h1", { expiresAt: new Date(now).toISOString() });
    slotbook.given(over).when(wish()).then(claimed());
    slotbook.given(over).when(hold("h2")).then(held("h2"));
  });

  it("is used up by the claim made under it", () => {
    const { state } = slotbook.given(held("h1"), claimed({ holdId: "h1" }));
    expect(state.holds.size).to.equal(0);
    slotbook
      .given(held("h1"))
      .when(wish({ holdId: "h1" }))
      .then(claimed({ holdId: "h1" }));
  });

  it("serves its customer only", () => {
    refused([held("h1", { customerId: "bob" })], wish({ holdId: "h1" }), "HOLD_EXPIRED");
  });

  it("that ran out before the claim came is no use, unless there is room anyway", () => {
    const over = held("h1", { expiresAt: new Date(now).toISOString() });
    slotbook
      .given(over)
      .when(wish({ holdId: "h1" }))
      .then(claimed({ holdId: null }));
    refused([over, claimed({ reservationId: "r2" })], wish({ holdId: "h1" }), "HOLD_EXPIRED");
  });

  it("may take the place of the customer's hold before it", () => {
    slotbook
      .given(held("h1"))
      .when(hold("h2", { replaces: "h1" }))
      .then(held("h2"));
  });

  it("is released, or noted as lapsed once it is over", () => {
    const gone = HeldPlaceReleased.create({ holdId: "h1", slot: nine });
    slotbook.given(held("h1")).when({ type: "ReleaseHold", holdId: "h1" }).then(gone);
    slotbook.given(held("h1"), gone).when({ type: "ReleaseHold", holdId: "h1" }).thenNothing();
    slotbook.given(held("h1")).when({ type: "NoteLapsedHold", holdId: "h1", now }).thenNothing();
    const later = Date.parse(inTime);
    const lapsed = HeldPlaceLapsed.create({ holdId: "h1", slot: nine });
    slotbook.given(held("h1")).when({ type: "NoteLapsedHold", holdId: "h1", now: later }).then(lapsed);
  });
});

describe("slotbook decider: blocks", () => {
  const range = { start: "2026-06-01T06:30:00.000Z", end: "2026-06-01T08:30:00.000Z" };
  const block = (sourceRevision: number, changes: { range?: typeof range | null } = {}) =>
    ({ type: "SetBlock", blockId: "b1", sourceRevision, range, ...changes }) as const;
  const blocked = SlotsBlocked.create({ blockId: "b1", sourceRevision: 2, ...range });

  it("keep a range free of new bookings and leave what is booked", () => {
    slotbook.given(claimed()).when(block(2)).then(blocked);
    refused([blocked], wish(), "SLOT_TAKEN");
    const { state } = slotbook.given(claimed(), blocked);
    expect(state.claims.size).to.equal(1);
  });

  it("go away, and do not come back with an older message", () => {
    const gone = SlotsUnblocked.create({ blockId: "b1", sourceRevision: 3 });
    slotbook
      .given(blocked)
      .when(block(3, { range: null }))
      .then(gone);
    slotbook.given(blocked, gone).when(block(2)).thenNothing();
    slotbook.given(blocked, gone).when(wish()).then(claimed());
    slotbook
      .given()
      .when(block(1, { range: null }))
      .thenNothing();
  });
});
