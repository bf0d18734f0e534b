import { expect } from "chai";
import { streams } from "#domain/core/identifiers.js";
import { CustomerErased } from "#domain/privacy/privacy.events.js";
import { Registered, Updated } from "#domain/profile/profile.events.js";
import { type Definition, DefinitionReconfirmed, DefinitionUpdated } from "#domain/reservations/definition.events.js";
import { promise } from "#domain/reservations/opening-hours.js";
import {
  Booked,
  Cancelled,
  HoldPlaced,
  HoldReleased,
  Moved,
  MoveRefused,
  MoveRequested,
  Refused,
  Requested,
  WaitlistJoined,
  WaitlistLeft,
  WaitlistOffered,
} from "#domain/reservations/reservations.events.js";
import { ResourceUpdated } from "#domain/reservations/resource.events.js";
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
import { dueWorkProjection } from "#projectors/due-work.js";
import { customerZoneProjection } from "#projectors/reservations/customer-zone.projection.js";
import { definitionProjection } from "#projectors/reservations/definition.projection.js";
import { holdProjection } from "#projectors/reservations/hold.projection.js";
import { reservationDuties } from "#projectors/reservations/reservations.duties.js";
import { reservationProjection } from "#projectors/reservations/reservations.projection.js";
import { resourceProjection } from "#projectors/reservations/resource.projection.js";
import { slotBlockProjection } from "#projectors/reservations/slot-block.projection.js";
import { slotbookProjection } from "#projectors/reservations/slotbook.projection.js";
import { waitlistProjection } from "#projectors/reservations/waitlist.projection.js";
import { ada, type Fact, project } from "../support/projection-specification.js";

const nine = promise("Europe/Berlin", Date.parse("2026-06-01T09:00+02:00"), 60);
const ten = promise("Europe/Berlin", Date.parse("2026-06-01T10:00+02:00"), 60);
const place = { resourceId: "room", resourceName: "Room", day: "2026-06-01", slot: nine };
const later = { ...place, slot: ten };
const own = { definitionId: "talk", title: "Talk" };
const at = "2026-05-01T10:00:00.000Z";
const soon = "2026-05-01T10:05:00.000Z";

const day = (event: Fact["event"], date = "2026-06-01"): Fact => ({
  stream: streams.slotbook("acme", "room", date),
  event,
  at,
});
const mine = (event: Fact["event"]): Fact => ({ stream: streams.reservations(ada), event, at });

const claimed = (reservationId: string, move = 0, more: { holdId?: string; slot?: typeof nine } = {}) =>
  PlaceClaimed.create({
    ...{ reservationId, move, customerId: "ada", definitionId: "talk", slot: nine, bufferMinutes: 15, partySize: 2 },
    ...{ holdId: null, ...more },
  });
const held = (holdId: string, expiresAt = soon) =>
  PlaceHeld.create({
    ...{ holdId, customerId: "ada", definitionId: "talk", slot: nine, bufferMinutes: 0, partySize: 1, expiresAt },
  });
const blocked = (blockId: string, start: string, end: string) =>
  SlotsBlocked.create({ blockId, sourceRevision: 1, start, end });

const requested = (reservationId: string) =>
  Requested.create({
    ...{ ...own, reservationId, by: "customer", reservationNumber: "R-AAAAA-AAAAA" },
    ...{ durationMinutes: 60, bufferMinutes: 0, partySize: 1, priceMinor: null, currency: null },
    ...{ requiresConfirmation: false, cancelNoticeMinutes: 60, rescheduleNoticeMinutes: 60 },
    ...{ candidates: [{ ...place, capacity: 1 }], holdId: null, notes: "by the window" },
  });
const booked = (reservationId: string, more: { holdId?: string; waitlistId?: string } = {}) =>
  Booked.create({
    ...{ ...own, reservationId, by: "customer", status: "confirmed", place, partySize: 1 },
    ...{ holdId: null, waitlistId: null, ...more },
  });
const moveRequested = (move: number) =>
  MoveRequested.create({
    ...{ reservationId: "r1", title: "Talk", by: "customer", move, partySize: 1 },
    candidates: [{ ...later, capacity: 1 }],
  });
const moved = (move: number) =>
  Moved.create({
    ...{ reservationId: "r1", title: "Talk", by: "customer", move, status: "confirmed", place: later, partySize: 1 },
    previous: { move: move - 1, place, partySize: 1 },
  });

describe("slotbook projection", () => {
  const slotbooks = project(slotbookProjection);
  const taken = { start: Date.parse(nine.start), end: Date.parse(nine.end), offset: 120 };
  const claim = (reservationId: string, move = 0) => ({ ...taken, buffer: 15, partySize: 2, reservationId, move });
  const empty = { resourceId: "room", day: "2026-06-01", claims: [], holds: [], blocks: [] };

  it("knows what is taken of a resource, a document per business day", () => {
    slotbooks.given(day(claimed("r1")), day(claimed("r2")), day(claimed("r3"), "2026-06-02")).then({
      "room.2026-06-01": { ...empty, claims: [claim("r1"), claim("r2")] },
      "room.2026-06-02": { ...empty, day: "2026-06-02", claims: [claim("r3")] },
    });
  });

  it("gives back one claim of a reservation and keeps its other one: a move has both for a while", () => {
    const released = PlaceReleased.create({ reservationId: "r1", move: 0, slot: nine });
    slotbooks
      .given(day(claimed("r1")), day(claimed("r1", 1)), day(released))
      .then({ "room.2026-06-01": { ...empty, claims: [claim("r1", 1)] } });
  });

  it("turns a hold into the claim that was made under it, in one step", () => {
    const kept = { ...taken, buffer: 0, partySize: 1, holdId: "h2", until: Date.parse(soon) };
    slotbooks
      .given(day(held("h1")), day(held("h2")), day(claimed("r1", 0, { holdId: "h1" })))
      .then({ "room.2026-06-01": { ...empty, claims: [claim("r1")], holds: [kept] } });
  });

  it("lets go of holds that were given back, have lapsed, or have been over for an hour", () => {
    slotbooks
      .given(
        day(held("given-back")),
        day(held("lapsed")),
        day(held("forgotten", "2026-05-01T08:59:59.000Z")),
        day(HeldPlaceReleased.create({ holdId: "given-back", slot: nine })),
        day(HeldPlaceLapsed.create({ holdId: "lapsed", slot: nine })),
        day(held("live")),
      )
      .then({
        "room.2026-06-01": {
          ...empty,
          holds: [{ ...taken, buffer: 0, partySize: 1, holdId: "live", until: Date.parse(soon) }],
        },
      });
  });

  it("replaces a block by its newer version, and opens the time again", () => {
    const range = (hour: string) => [`2026-06-01T${hour}:00:00.000Z`, `2026-06-01T${hour}:30:00.000Z`] as const;
    const known = (blockId: string, hour: string) => ({
      blockId,
      start: Date.parse(range(hour)[0]),
      end: Date.parse(range(hour)[1]),
    });
    const both = [day(blocked("b1", ...range("08"))), day(blocked("b2", ...range("09")))];
    slotbooks
      .given(...both, day(blocked("b1", ...range("10"))))
      .then({ "room.2026-06-01": { ...empty, blocks: [known("b2", "09"), known("b1", "10")] } });
    slotbooks
      .given(...both, day(SlotsUnblocked.create({ blockId: "b1", sourceRevision: 2 })))
      .then({ "room.2026-06-01": { ...empty, blocks: [known("b2", "09")] } });
  });

  it("has nothing to tell of a claim that found no room", () => {
    slotbooks.given(day(PlaceRefused.create({ reservationId: "r1", move: 0, code: "SLOT_TAKEN" }))).thenNothing();
  });
});

describe("blocks projection", () => {
  it("finds a block by its id on whichever days it lies, until the last of them is open again", () => {
    const range = ["2026-06-01T08:00:00.000Z", "2026-06-02T08:00:00.000Z"] as const;
    const facts = [day(blocked("b1", ...range)), day(blocked("b1", ...range), "2026-06-02")];
    const open = SlotsUnblocked.create({ blockId: "b1", sourceRevision: 2 });
    const on = (date: string) => ({ resourceId: "room", day: date });
    const blocks = project(slotBlockProjection);
    blocks.given(...facts).then({ b1: { blockId: "b1", days: [on("2026-06-01"), on("2026-06-02")] } });
    blocks.given(...facts, day(open)).then({ b1: { blockId: "b1", days: [on("2026-06-02")] } });
    blocks.given(...facts, day(open), day(open, "2026-06-02")).thenNothing();
  });
});

describe("reservations projection", () => {
  const reservations = project(reservationProjection);
  const only = (...facts: Fact[]) => reservations.given(...facts).documents.get("r1");

  it("shows what is asked for, then its place, then another one", () => {
    expect(only(mine(requested("r1")))).to.include({ status: "requested", place: null, notes: "by the window" });
    expect(only(mine(requested("r1")), mine(booked("r1")))).to.deep.include({ status: "confirmed", place, wish: null });
    const after = only(mine(requested("r1")), mine(booked("r1")), mine(moveRequested(1)), mine(moved(1)));
    expect(after).to.deep.include({ place: later, placeMove: 1, rescheduleCount: 1, version: 3 });
    expect(after?.history.map(({ what }) => what)).to.deep.equal(["booked", "moved"]);
  });

  it("keeps the place when a move finds no room", () => {
    const refused = MoveRefused.create({ reservationId: "r1", move: 1, code: "SLOT_TAKEN" });
    const after = only(mine(requested("r1")), mine(booked("r1")), mine(moveRequested(1)), mine(refused));
    expect(after).to.deep.include({ place, placeMove: 0, wish: null, status: "confirmed" });
  });

  it("forgets what was refused, and keeps what was cancelled", () => {
    reservations
      .given(mine(requested("r1")), mine(Refused.create({ reservationId: "r1", code: "SLOT_TAKEN" })))
      .thenNothing();
    const cancelled = Cancelled.create({
      ...{
        reservationId: "r1",
        title: "Talk",
        by: "customer",
        move: 0,
        place,
        previousStatus: "confirmed",
        late: true,
      },
    });
    const after = only(mine(requested("r1")), mine(booked("r1")), mine(cancelled));
    expect(after).to.deep.include({ status: "cancelled", lateCancel: true, place });
  });

  it("lets go of an erased customer", () => {
    const erased = CustomerErased.create({});
    reservations
      .given(mine(requested("r1")), mine(booked("r1")), { stream: streams.profile(ada), event: erased })
      .thenNothing();
  });
});

describe("holds projection", () => {
  const holds = project(holdProjection);
  const kept = (holdId: string, replaces: string | null = null) =>
    HoldPlaced.create({ ...own, holdId, place, partySize: 1, expiresAt: soon, replaces });
  const shown = (holdId: string) => ({ talk: { ...own, holdId, place, partySize: 1, expiresAt: soon } });

  it("has one hold per definition: the newest", () => {
    holds.given(mine(kept("h1")), mine(kept("h2", "h1"))).then(shown("h2"));
  });

  it("lets go of a hold that was given back or used, and of no other", () => {
    const back = (holdId: string) => HoldReleased.create({ holdId, definitionId: "talk" });
    holds.given(mine(kept("h1")), mine(back("h1"))).thenNothing();
    holds.given(mine(kept("h1")), mine(kept("h2", "h1")), mine(back("h1"))).then(shown("h2"));
    holds.given(mine(kept("h1")), mine(booked("r1", { holdId: "h1" }))).thenNothing();
    holds.given(mine(kept("h1")), mine(booked("r1"))).then(shown("h1"));
  });
});

describe("waitlist projection", () => {
  const waitlist = project(waitlistProjection);
  const joined = WaitlistJoined.create({
    ...{ ...own, waitlistId: "w1", from: "2026-06-01T00:00:00.000Z", to: "2026-06-02T00:00:00.000Z", partySize: 1 },
  });
  const offered = (expiresAt: string) =>
    WaitlistOffered.create({ ...own, waitlistId: "w1", holdId: "h1", place, partySize: 1, expiresAt });
  const only = (...facts: Fact[]) => waitlist.given(...facts).documents.get("w1");

  it("keeps the place in line, whatever is offered meanwhile", () => {
    const before = only(mine(joined));
    const after = only(mine(joined), mine(offered(soon)));
    expect(before).to.include({ joined: "00000000000000000100", offer: null, fulfilledBy: null });
    expect(after).to.deep.include({ joined: before?.joined, offer: { holdId: "h1", place, expiresAt: soon } });
    expect(after?.offered).to.deep.equal([`room ${nine.start}`]);
  });

  it("ends with the booking that came of an offer, and by no other", () => {
    const ended = only(mine(joined), mine(offered(soon)), mine(booked("r1", { waitlistId: "w1", holdId: "h1" })));
    expect(ended).to.include({ fulfilledBy: "r1" });
    expect(only(mine(joined), mine(booked("r1")))).to.include({ fulfilledBy: null });
  });

  it("ends when it is left", () => {
    waitlist.given(mine(joined), mine(WaitlistLeft.create({ waitlistId: "w1" }))).thenNothing();
  });
});

describe("definitions, resources and zones as slots need them", () => {
  const definition: Definition = {
    ...{ title: "Talk", durationMinutes: 60, slotStepMinutes: 60, resourceIds: ["room"], bufferMinutes: 0 },
    ...{ minNoticeMinutes: 0, horizonDays: 60, cancelNoticeMinutes: 0, rescheduleNoticeMinutes: 0 },
    ...{ requiresConfirmation: false, maxPartySize: 1, openReservationLimit: 3, priceMinor: null, currency: null },
    bookable: true,
  };
  const told = (change: Partial<Definition>, sourceRevision: number): Fact => ({
    stream: streams.definition("acme", "talk"),
    event: DefinitionUpdated.create({
      ...{ definitionId: "talk", sourceRevision, definition: { ...definition, ...change } },
    }),
  });

  it("are what the platform said last", () => {
    const again = DefinitionReconfirmed.create({ definitionId: "talk", sourceRevision: 3 });
    project(definitionProjection)
      .given(told({}, 1), told({ bookable: false }, 2), { stream: streams.definition("acme", "talk"), event: again })
      .then({ talk: { definitionId: "talk", ...definition, bookable: false } });
    const room = { name: "Room", timezone: "UTC", dayStartsAt: "00:00", weeklyHours: {}, exceptions: [], capacity: 1 };
    const stream = streams.resource("acme", "room");
    const resourceTold = (capacity: number, sourceRevision: number): Fact => ({
      stream,
      event: ResourceUpdated.create({ resourceId: "room", sourceRevision, resource: { ...room, capacity } }),
    });
    project(resourceProjection)
      .given(resourceTold(1, 1), resourceTold(5, 2))
      .then({ room: { resourceId: "room", ...room, capacity: 5 } });
  });

  it("show a customer's zone while the profile has one", () => {
    const zones = project(customerZoneProjection);
    const profile = (event: Fact["event"]): Fact => ({ stream: streams.profile(ada), event });
    const updated = (change: { timezone?: string | null; firstName?: string }) =>
      profile(Updated.create({ source: "customer", previous: {}, ...change }));
    const registered = profile(Registered.create({ source: "claims" }));
    const lisbon = updated({ timezone: "Europe/Lisbon" });
    const known = [...zones.given(registered, lisbon, updated({ firstName: "Ada" })).documents.values()];
    expect(known).to.deep.equal([{ timezone: "Europe/Lisbon" }]);
    zones.given(lisbon, updated({ timezone: null })).thenNothing();
  });
});

describe("duties of reservations", () => {
  const duties = project(dueWorkProjection([reservationDuties as never]));
  const finish = {
    ...{ duty: "reservations-finish", dueAt: "2026-05-01T10:00:10.000Z" },
    ...{ stream: streams.reservations(ada), subject: "r1" },
  };

  it("finish within ten seconds what was begun, unless it has ended by then", () => {
    duties.given(mine(requested("r1"))).then({ "reservations.open.r1": finish });
    duties.given(mine(requested("r1")), mine(booked("r1"))).thenNothing();
    duties
      .given(mine(requested("r1")), mine(Refused.create({ reservationId: "r1", code: "SLOT_TAKEN" })))
      .thenNothing();
    duties.given(mine(requested("r1")), mine(booked("r1")), mine(moveRequested(1))).then({
      "reservations.open.r1": finish,
    });
    const refused = MoveRefused.create({ reservationId: "r1", move: 1, code: "SLOT_TAKEN" });
    for (const end of [moved(1), refused]) duties.given(mine(moveRequested(1)), mine(end)).thenNothing();
  });

  it("say of a hold that it has lapsed, unless it was used or given back", () => {
    const stream = streams.slotbook("acme", "room", "2026-06-01");
    duties.given(day(held("h1"))).then({
      "reservations.hold.h1": { duty: "reservations-hold-lapses", dueAt: soon, stream, subject: "h1" },
    });
    for (const end of [
      claimed("r1", 0, { holdId: "h1" }),
      HeldPlaceReleased.create({ holdId: "h1", slot: nine }),
      HeldPlaceLapsed.create({ holdId: "h1", slot: nine }),
    ]) {
      duties.given(day(held("h1")), day(end)).thenNothing();
    }
    duties.given(day(claimed("r2"))).thenNothing();
  });
});
