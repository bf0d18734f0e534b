import type { Request } from "express";
import { z } from "zod";
import { bareId, type Owner, streams } from "#domain/core/identifiers.js";
import { type Rejection, rejection } from "#domain/core/rejection.js";
import { offsetAt } from "#domain/reservations/opening-hours.js";
import { reservationData, reservationDataSchema, shown } from "#domain/reservations/reservation-record.policy.js";
import {
  holdOf,
  type MoveWish,
  type ReservationsState,
  reservationsDecider,
} from "#domain/reservations/reservations.decider.js";
import type { By } from "#domain/reservations/reservations.events.js";
import {
  type OpenWish,
  type Reservation,
  reservationLimits,
  reservationNumberOf,
  timesOf,
} from "#domain/reservations/reservations.policy.js";
import { isLive, type NotCounted } from "#domain/reservations/slotbook.decider.js";
import { type Bookable, candidateOf, type Judged, judgeSlot } from "#domain/reservations/slots.policy.js";
import { type CommandContext, CommandRejected, type Handled } from "#infrastructure/command-handler.js";
import { expectedVersion, versionGuard } from "#infrastructure/http/etags.js";
import { principalOf } from "#infrastructure/http/principal.js";
import { invalidField, Problem } from "#infrastructure/http/problem-details.js";
import { type RecordBody, record, sendRecord } from "#infrastructure/http/records.js";
import { recordOf } from "#infrastructure/http/response-schemas.js";
import type { RouteDefinition } from "#infrastructure/http/routes.js";
import { ianaZone, id, parseBody, parseParams, parseQuery, text, version } from "#infrastructure/http/validation.js";
import type { CommandDependencies } from "../dependencies.js";
import { commandIdOf } from "../idempotency.js";
import { placeOfHold, releaseLeft, settleWish } from "#sagas/reservations/booking.saga.js";
import { alternativesTo, findOffer, slotbookOf, withRoom } from "#sagas/reservations/offer.lookup.js";

const time = () => z.iso.datetime({ offset: true, message: "must be an RFC 3339 time with an offset" }).max(40);

export const slotInput = z.strictObject({ start: time(), end: time().optional() });

export const partySizeInput = z.int().min(1).max(reservationLimits.partySize);

/** What a slot is asked for with, by customers and staff alike. */
export const bookingFields = {
  definitionId: id(),
  slot: slotInput,
  resourceId: id().optional(),
  partySize: partySizeInput.optional(),
  timezone: ianaZone().optional(),
};

const notesInput = text(0, reservationLimits.notes).nullish();

const bookBody = z.strictObject({
  ...bookingFields,
  holdId: id(reservationLimits.holdId).optional(),
  notes: notesInput,
});

const changeBody = z.strictObject({
  reservationId: id(90).optional(),
  id: id(90).optional(),
  slot: slotInput.optional(),
  resourceId: id().optional(),
  partySize: partySizeInput.optional(),
  notes: notesInput,
  timezone: ianaZone().optional(),
  version: version().optional(),
});

export const reservationParams = z.object({
  reservationId: id(90).meta({ description: "pk, id or number of a reservation" }),
});
const reasonInput = text(0, reservationLimits.reason).nullish();
const cancelQuery = z.object({ reason: text(0, reservationLimits.reason).optional() });
const cancelBody = z.strictObject({ reason: reasonInput, version: version().optional() }).prefault({});

const slotProblems = [
  "DEFINITION_NOT_FOUND",
  "RESOURCE_NOT_FOUND",
  "SLOT_TAKEN",
  "OVERLAPS_OWN_RESERVATION",
  "SLOT_NOT_OFFERED",
  "TOO_SOON",
  "TOO_FAR",
  "PARTY_TOO_LARGE",
] as const;

const answer = { schema: recordOf(reservationDataSchema) };

/** The customer's reservations: booked, changed, called off. */
export function reservationRoutes(deps: CommandDependencies): RouteDefinition[] {
  return [
    {
      method: "post",
      path: "/client-data/reservations",
      summary: "Books a slot",
      operationId: "book",
      area: "reservations",
      request: { body: bookBody },
      responses: { 201: { description: "Confirmed, or pending until staff confirm", ...answer } },
      problems: [...slotProblems, "HOLD_NOT_FOUND", "HOLD_EXPIRED", "OPEN_RESERVATION_LIMIT"],
      handler: async (req, res) => {
        const { owner } = principalOf(res);
        const context = deps.idempotency(req, res);
        const booked = await book(deps, owner, parseBody(bookBody, req), context, "customer");
        const body = toRecord(deps, booked.reservation, owner);
        const location = `/client-data/reservations/${booked.reservation.reservationId}`;
        sendRecord(res, 201, body, { ...deps.answerOf(booked), location });
      },
    },
    {
      method: "put",
      path: "/client-data/reservations",
      summary: "Moves a reservation to another slot, resource or party size, or changes its notes",
      operationId: "changeReservation",
      area: "reservations",
      request: { body: changeBody },
      responses: { 200: { description: "The reservation as it now is", ...answer } },
      problems: [
        ...slotProblems,
        "RESERVATION_NOT_FOUND",
        "RESERVATION_NOT_CHANGEABLE",
        "RESCHEDULE_WINDOW_PASSED",
        "RESCHEDULE_LIMIT_REACHED",
        "EMPTY_UPDATE",
        "PRECONDITION_FAILED",
        "VERSION_CONFLICT",
      ],
      handler: async (req, res) => {
        const { owner } = principalOf(res);
        const body = parseBody(changeBody, req);
        const named = body.reservationId ?? body.id;
        if (named === undefined) throw invalidField("reservationId", "REQUIRED", "is required");
        const { slot, resourceId, partySize, notes } = body;
        if ([slot, resourceId, partySize, notes].every((value) => value === undefined)) {
          throw new Problem(400, "EMPTY_UPDATE");
        }
        const context = deps.idempotency(req, res);
        const found = await settled(deps, owner, named, context);
        const guard = guardOf(req, found.reservationId, body.version);
        const changed = await change(deps, owner, found, body, context, guard);
        sendRecord(res, 200, toRecord(deps, changed.reservation, owner), deps.answerOf(changed));
      },
    },
    {
      method: "delete",
      path: "/client-data/reservations/:reservationId",
      summary: "Calls a reservation off; it stays on record as cancelled",
      operationId: "cancelReservation",
      area: "reservations",
      request: { params: reservationParams, query: cancelQuery, body: cancelBody },
      responses: { 200: { description: "The cancelled reservation", ...answer } },
      problems: [
        "RESERVATION_NOT_FOUND",
        "RESERVATION_NOT_CHANGEABLE",
        "CANCEL_WINDOW_PASSED",
        "PRECONDITION_FAILED",
        "VERSION_CONFLICT",
      ],
      handler: async (req, res) => {
        const { owner, org } = principalOf(res);
        const { reservationId: named } = parseParams(reservationParams, req);
        const body = parseBody(cancelBody, req);
        const reason = body.reason ?? parseQuery(cancelQuery, req).reason ?? null;
        const context = deps.idempotency(req, res);
        const { reservationId } = await settled(deps, owner, named, context);
        const guard = guardOf(req, reservationId, body.version);
        const whenLate = deps.orgSettings.of(org)?.reservations.lateCancel ?? "refuse";
        const handled = await deps.commands.handle({
          decider: reservationsDecider,
          stream: streams.reservations(owner),
          command: {
            type: "CancelReservation",
            ...{ reservationId, reason, whenLate, by: "customer", now: context.now.getTime() },
          },
          context,
          ...(guard ? { guard } : {}),
        });
        await releaseLeft(deps.commands, org, handled, context);
        sendRecord(
          res,
          200,
          toRecord(deps, reservationOf(handled.state, reservationId), owner),
          deps.answerOf(handled),
        );
      },
    },
  ];
}

type Guard = ReturnType<typeof versionGuard<ReservationsState>>;

function guardOf(req: Request, reservationId: string, bodyVersion: number | undefined): Guard {
  return versionGuard(expectedVersion(req, bodyVersion), (state: ReservationsState) => {
    return state.reservations.get(reservationId)?.version;
  });
}

export type Done = Pick<Handled<ReservationsState>, "position" | "replayed"> & { readonly reservation: Reservation };

type BookingInput = z.output<typeof bookBody>;

/** Books a slot for a customer: request, claim, outcome. Staff are bound by hours and capacity only. */
export async function book(
  deps: Pick<CommandDependencies, "commands">,
  owner: Owner,
  input: BookingInput,
  context: CommandContext,
  by: By,
): Promise<Done> {
  const { commands } = deps;
  const { definitionId, resourceId = null, partySize = 1, notes } = input;
  const now = context.now.getTime();
  const reservationId = commandIdOf([context.commandId, "reservation"]);
  const offer = await findOffer(commands, owner.org, definitionId);
  const start = startOf(input.slot, offer?.definition.durationMinutes, input.timezone);
  const wish = { start, resourceId, partySize };
  const hold = await holdFor(deps, owner, input, wish, now);
  const anyTime = by === "staff" || hold !== null;
  let judged = judgeSlot(offer, hold?.resourceId ? { ...wish, resourceId: hold.resourceId } : wish, now, anyTime);
  if (hold?.rejection) judged = { rejection: hold.rejection };
  const room = roomWish(offer, wish, now, { holdIds: [hold?.holdId ?? null] });
  const others = othersTo(deps, owner, offer, room);
  judged = await withRoom(commands, owner.org, judged, room, others);

  const { definition } = offer ?? {};
  const requested = await commands.handle({
    decider: reservationsDecider,
    stream: streams.reservations(owner),
    command: {
      type: "RequestReservation",
      reservationId,
      reservationNumber: reservationNumberOf(reservationId),
      definitionId,
      title: definition?.title ?? "",
      durationMinutes: definition?.durationMinutes ?? 0,
      bufferMinutes: definition?.bufferMinutes ?? 0,
      priceMinor: definition?.priceMinor ?? null,
      currency: definition?.currency ?? null,
      // Whoever books for the staff has confirmed it by that.
      requiresConfirmation: by === "customer" && (definition?.requiresConfirmation ?? false),
      cancelNoticeMinutes: definition?.cancelNoticeMinutes ?? 0,
      rescheduleNoticeMinutes: definition?.rescheduleNoticeMinutes ?? 0,
      partySize,
      notes: notes || null,
      holdId: hold?.holdId ?? null,
      openReservationLimit: by === "staff" ? reservationLimits.open : (definition?.openReservationLimit ?? 0),
      ...{ judged, by, now },
    },
    context,
  });
  const reservation = reservationOf(requested.state, reservationId);
  const done = hasWish(reservation) ? await settleWish(commands, owner, reservation, context, by, others) : requested;
  return { ...come(done, reservationId), replayed: requested.replayed };
}

/** Changes a reservation: a move is wished for, claimed, recorded, and only then is the old place given back. */
export async function change(
  deps: Pick<CommandDependencies, "commands">,
  owner: Owner,
  found: Reservation,
  input: Pick<z.output<typeof changeBody>, "slot" | "resourceId" | "partySize" | "notes" | "timezone">,
  context: CommandContext,
  guard?: Guard,
): Promise<Done> {
  const { commands } = deps;
  const { reservationId } = found;
  const now = context.now.getTime();
  const wished = await moveOf(deps, owner, found, input, now);
  const handled = await commands.handle({
    decider: reservationsDecider,
    stream: streams.reservations(owner),
    command: {
      type: "ChangeReservation",
      reservationId,
      ...(wished ? { move: wished.move } : {}),
      ...(input.notes === undefined ? {} : { notes: input.notes }),
      ...{ by: "customer", now },
    },
    context,
    ...(guard ? { guard } : {}),
  });
  const reservation = reservationOf(handled.state, reservationId);
  if (!hasWish(reservation)) return come(handled, reservationId);
  const done = await settleWish(commands, owner, reservation, context, "customer", wished?.others);
  const came = come(done, reservationId);
  // Settled elsewhere, and without room: the move's number was spent on nothing.
  if (came.reservation.placeMove < reservation.wish.move)
    throw new CommandRejected(rejection("conflict", "SLOT_TAKEN"));
  return { ...came, replayed: handled.replayed };
}

/** What a change asks of the slotbook; undefined when only the notes change. */
async function moveOf(
  deps: Pick<CommandDependencies, "commands">,
  owner: Owner,
  found: Reservation,
  input: Pick<z.output<typeof changeBody>, "slot" | "resourceId" | "partySize" | "timezone">,
  now: number,
): Promise<{ move: MoveWish; others: () => Promise<Record<string, unknown>> } | undefined> {
  const { slot, partySize = found.partySize } = input;
  if (slot === undefined && input.resourceId === undefined && input.partySize === undefined) return undefined;
  const known = await findOffer(deps.commands, owner.org, found.definitionId);
  // Length and buffer are the reservation's own: they were promised, whatever is offered now.
  const { durationMinutes, bufferMinutes } = found;
  const offer = known && { ...known, definition: { ...known.definition, durationMinutes, bufferMinutes } };
  const before = timesOf(found).start;
  const start = slot === undefined ? before : startOf(slot, durationMinutes, input.timezone);
  const resourceId = input.resourceId ?? (slot === undefined ? (found.place?.resourceId ?? null) : null);
  const wish = { start, resourceId, partySize };
  // The slot itself needs no notice where the customer has it already and only comes with more people.
  const sameSlot = start === before && (resourceId ?? found.place?.resourceId) === found.place?.resourceId;
  let judged = judgeSlot(
    offer,
    sameSlot ? { ...wish, resourceId: found.place?.resourceId ?? null } : wish,
    now,
    sameSlot,
  );
  if (sameSlot) judged = ownSlot(offer, found, judged);
  const room = roomWish(offer, wish, now, { reservationId: found.reservationId });
  const others = othersTo(deps, owner, offer, room);
  judged = await withRoom(deps.commands, owner.org, judged, room, others);
  return { move: { ...wish, judged }, others };
}

/** The slot the customer has stays theirs when hours have changed since. */
function ownSlot(offer: Bookable | null, found: Reservation, judged: Judged): Judged {
  if (judged.rejection?.code !== "SLOT_NOT_OFFERED" || !offer || !found.place) return judged;
  const resource = offer.resources.find(({ resourceId }) => resourceId === found.place?.resourceId);
  return resource ? { candidates: [candidateOf(offer.definition, resource, timesOf(found).start)] } : judged;
}

type HoldFor = { readonly holdId: string; readonly resourceId: string; readonly rejection?: Rejection };

/** The hold a booking is made under: the one named, else the customer's own of that very slot. */
async function holdFor(
  deps: Pick<CommandDependencies, "commands">,
  owner: Owner,
  { holdId, definitionId }: Pick<BookingInput, "holdId" | "definitionId">,
  wish: { readonly start: number; readonly resourceId: string | null; readonly partySize: number },
  now: number,
): Promise<HoldFor | null> {
  const { state } = await deps.commands.load({
    decider: reservationsDecider,
    stream: streams.reservations(owner),
    maxAgeMs: holdId === undefined ? 1_000 : 0,
  });
  if (holdId === undefined) {
    const own = state.holds.get(definitionId);
    if (!own || !isLive(own, now) || own.partySize !== wish.partySize) return null;
    const { slot, resourceId } = own.place;
    if (Date.parse(slot.start) !== wish.start || (wish.resourceId ?? resourceId) !== resourceId) return null;
    return { holdId: own.holdId, resourceId };
  }
  const offered = [...state.waitlist.values()].find(({ offer }) => offer?.holdId === holdId);
  const own = holdOf(state, holdId) ?? offered?.offer;
  const place = placeOfHold(holdId);
  const expired: HoldFor = { holdId, resourceId: "", rejection: rejection("conflict", "HOLD_EXPIRED") };
  if (!own || !place) {
    const known = state.ended.includes(holdId);
    return known ? expired : { ...expired, rejection: rejection("not-found", "HOLD_NOT_FOUND") };
  }
  if (!isLive(own, now)) return expired;
  const held = (await slotbookOf(deps.commands, owner.org, place)).holds.get(holdId);
  if (!held || held.customerId !== owner.customer) return expired;
  if (Date.parse(held.slot.start) !== wish.start || held.definitionId !== definitionId) {
    throw invalidField("holdId", "MISMATCH", "is a hold of another slot");
  }
  return { holdId, resourceId: place.resourceId };
}

export function roomWish(
  offer: Bookable | null,
  wish: { readonly start: number; readonly resourceId: string | null; readonly partySize: number },
  now: number,
  notCounted: NotCounted,
) {
  return { ...wish, bufferMinutes: offer?.definition.bufferMinutes ?? 0, now, notCounted };
}

/** Tells a client that came too late which other slots there are. */
export function othersTo(
  deps: Pick<CommandDependencies, "commands">,
  { org }: Pick<Owner, "org">,
  offer: Bookable | null,
  room: ReturnType<typeof roomWish>,
): () => Promise<Record<string, unknown>> {
  return async () => (offer ? { alternatives: await alternativesTo(deps.commands, org, offer, room) } : {});
}

/**
 * The reservation a client names, once whatever was begun with it is settled.
 *
 * @param named pk, id or number
 * @throws CommandRejected `RESERVATION_NOT_FOUND`
 */
export async function settled(
  deps: Pick<CommandDependencies, "commands">,
  owner: Owner,
  named: string,
  context: CommandContext,
): Promise<Reservation> {
  const { state } = await deps.commands.load({ decider: reservationsDecider, stream: streams.reservations(owner) });
  const bare = bareId("reservation", named);
  const found =
    state.reservations.get(bare) ??
    [...state.reservations.values()].find(({ reservationNumber }) => reservationNumber === bare);
  if (!found) throw new CommandRejected(rejection("not-found", "RESERVATION_NOT_FOUND"));
  return hasWish(found) ? settleOpen(deps, owner, found, context) : found;
}

/** Finishes what an earlier command left open, whatever comes of it. */
async function settleOpen(
  deps: Pick<CommandDependencies, "commands">,
  owner: Owner,
  found: Reservation & { readonly wish: OpenWish },
  context: CommandContext,
): Promise<Reservation> {
  const commandId = commandIdOf([found.reservationId, "settle", String(found.wish.move)]);
  const { bodyDigest: _, ...own } = context;
  try {
    const done = await settleWish(deps.commands, owner, found, { ...own, commandId, idempotent: false }, "customer");
    return reservationOf(done.state, found.reservationId);
  } catch (error) {
    if (!(error instanceof CommandRejected)) throw error;
    const { state } = await deps.commands.load({ decider: reservationsDecider, stream: streams.reservations(owner) });
    return reservationOf(state, found.reservationId);
  }
}

export function hasWish(reservation: Reservation): reservation is Reservation & { readonly wish: OpenWish } {
  return reservation.wish !== null;
}

export function reservationOf(state: ReservationsState, reservationId: string): Reservation {
  const found = state.reservations.get(reservationId);
  if (!found) throw new Error("a reservation that took a command is there");
  return found;
}

/** What came of a wish; one that another process found refused is refused here, too. */
function come(handled: Handled<ReservationsState>, reservationId: string): Done {
  const reservation = reservationOf(handled.state, reservationId);
  if (reservation.refusal !== null) throw new CommandRejected(rejection("conflict", reservation.refusal));
  return { ...handled, reservation };
}

export function toRecord(
  deps: Pick<CommandDependencies, "calendarLinks">,
  reservation: Reservation,
  owner: Owner,
): RecordBody {
  const visible = shown(reservation);
  if (!visible) throw new CommandRejected(rejection("not-found", "RESERVATION_NOT_FOUND"));
  const { reservationId: id, version, createdAt, modifiedAt, status } = visible;
  const data = reservationData(visible, deps.calendarLinks.urlOf(owner, id));
  return record({ datatype: "reservation", id, org: owner.org, version, state: status, createdAt, modifiedAt, data });
}

/**
 * The instant at which a slot starts as a client wrote it.
 *
 * @param durationMinutes undefined while the definition is not known
 * @param timezone where given, the wall clock the client wrote must be one that exists there
 * @throws Problem 400
 */
export function startOf(
  { start: written, end }: z.output<typeof slotInput>,
  durationMinutes: number | undefined,
  timezone?: string | undefined,
): number {
  const start = Date.parse(written);
  if (Number.isNaN(start)) throw invalidField("slot.start", "PATTERN", "is no time");
  if (end !== undefined && durationMinutes !== undefined && Date.parse(end) !== start + durationMinutes * 60_000) {
    throw invalidField("slot.end", "MISMATCH", `must be ${durationMinutes} minutes after the start`);
  }
  const [, sign, hours, minutes] = /([+-])(\d{2}):?(\d{2})$/.exec(written) ?? [];
  if (timezone !== undefined && sign !== undefined) {
    const offset = (sign === "-" ? -1 : 1) * (Number(hours) * 60 + Number(minutes)) * 60_000;
    const wall = start + offset;
    const exists = [-1, 1].some((days) => {
      const candidate = offsetAt(timezone, start + days * 86_400_000);
      return offsetAt(timezone, wall - candidate) === candidate;
    });
    if (!exists) throw invalidField("slot.start", "NOT_A_LOCAL_TIME", `does not exist in ${timezone}`);
    if (offsetAt(timezone, start) !== offset) {
      throw invalidField("slot.start", "OFFSET_MISMATCH", `does not have the offset of ${timezone}`);
    }
  }
  return start;
}
