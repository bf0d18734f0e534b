import type { Request, Response } from "express";
import type { Filter } from "mongodb";
import { z } from "zod";
import { decodePart, type OrgId, orgKey, type Owner, streams } from "#domain/core/identifiers.js";
import { rejection } from "#domain/core/rejection.js";
import type { SourceRevision } from "#domain/core/source-revision.js";
import { sourceRevisionSchema } from "#domain/core/source-revision.js";
import { addDays, businessDay } from "#domain/reservations/opening-hours.js";
import { reservationDataSchema } from "#domain/reservations/reservation-record.policy.js";
import { type ReservationsCommand, reservationsDecider } from "#domain/reservations/reservations.decider.js";
import { reservationLimits } from "#domain/reservations/reservations.policy.js";
import { slotbookDecider } from "#domain/reservations/slotbook.decider.js";
import { type CommandContext, CommandRejected, type Handled } from "#infrastructure/command-handler.js";
import { serviceOf } from "#infrastructure/http/principal.js";
import { invalidField, Problem, unavailable } from "#infrastructure/http/problem-details.js";
import { sendCommandAnswer, sendRecord } from "#infrastructure/http/records.js";
import { recordOf } from "#infrastructure/http/response-schemas.js";
import type { RouteDefinition } from "#infrastructure/http/routes.js";
import { customerId, id, instant, parseBody, parseParams, parseQuery, text } from "#infrastructure/http/validation.js";
import { live } from "#infrastructure/read-models.js";
import { reservationDocument } from "#projectors/reservations/reservations.document.js";
import { slotBlockDocument } from "#projectors/reservations/slot-block.document.js";
import { type DocumentDefinition, documentId, type Stored } from "#projectors/runner/projection.js";
import type { CommandDependencies } from "../dependencies.js";
import { internalRoutes } from "../internal.js";
import { releaseLeft, slotbookContext } from "#sagas/reservations/booking.saga.js";
import { findResource, slotbookOf } from "#sagas/reservations/offer.lookup.js";
import { book, bookingFields, reservationOf, settled, toRecord } from "./reservations.routes.js";

const bookBody = z.strictObject({
  sourceRevision: sourceRevisionSchema.optional(),
  customerId: customerId(),
  ...bookingFields,
  notes: text(0, reservationLimits.notes).nullish(),
});

const params = z.object({ id: id(90).meta({ description: "pk, id or number of a reservation" }) });
const actBody = z
  .strictObject({
    sourceRevision: sourceRevisionSchema.optional(),
    /** Spares looking up whose reservation it is. */
    customerId: customerId().optional(),
    reason: text(0, reservationLimits.reason).nullish(),
  })
  .prefault({});

const blockParams = z.object({ id: id() });
const blockBody = z.strictObject({
  sourceRevision: sourceRevisionSchema,
  resourceId: id(),
  start: instant(),
  end: instant(),
});
const blockQuery = z.object({
  sourceRevision: z
    .string()
    .max(48)
    .transform((value) => (/^\d{1,15}$/.test(value) ? Number(value) : value))
    .pipe(sourceRevisionSchema)
    .optional(),
});

const acts = [
  { path: "confirm", summary: "Staff agree to a pending reservation", operationId: "staffConfirm" },
  { path: "complete", summary: "The customer was there", operationId: "staffComplete" },
  { path: "no-show", summary: "The customer did not come", operationId: "staffNoShow" },
  { path: "cancel", summary: "Staff call a reservation off; no window binds them", operationId: "staffCancel" },
] as const;

const answer = { schema: recordOf(reservationDataSchema) };

/** What staff do, through the same slotbooks as customers. Repeats are known by the state: they change nothing. */
export function staffReservationRoutes(deps: CommandDependencies): RouteDefinition[] {
  const booking: RouteDefinition = {
    method: "post",
    path: "/internal/reservations",
    summary: "Staff book a slot for a customer; notice, horizon and the customer's limit do not bind them",
    operationId: "staffBook",
    area: "reservations",
    request: { body: bookBody },
    responses: { 201: { description: "The reservation", ...answer } },
    problems: [
      "DEFINITION_NOT_FOUND",
      "RESOURCE_NOT_FOUND",
      "SLOT_TAKEN",
      "OVERLAPS_OWN_RESERVATION",
      "SLOT_NOT_OFFERED",
      "PARTY_TOO_LARGE",
    ],
    handler: async (req, res) => {
      const { customerId: customer, sourceRevision: _, ...input } = parseBody(bookBody, req);
      const owner = { org: serviceOf(res).org, customer };
      const booked = await book(deps, owner, input, staffContext(deps, req, res, owner), "staff");
      sendRecord(res, 201, toRecord(deps, booked.reservation, owner), deps.answerOf(booked));
    },
  };
  const acting = acts.map(({ path, summary, operationId }): RouteDefinition => {
    return {
      method: "put",
      path: `/internal/reservations/:id/${path}`,
      ...{ summary, operationId, area: "reservations" },
      request: { params, body: actBody },
      responses: { 200: { description: "The reservation as it now is", ...answer } },
      problems: ["RESERVATION_NOT_FOUND", "RESERVATION_NOT_CHANGEABLE"],
      handler: async (req, res) => {
        const { org } = serviceOf(res);
        const { id: named } = parseParams(params, req);
        const { customerId: customer, reason } = parseBody(actBody, req);
        const owner = customer === undefined ? await ownerOf(deps, org, named) : { org, customer };
        const context = staffContext(deps, req, res, owner);
        const { reservationId } = await settled(deps, owner, named, context);
        const handled = await deps.commands.handle({
          decider: reservationsDecider,
          stream: streams.reservations(owner),
          command: commandOf(path, reservationId, reason ?? null, context),
          context,
        });
        await releaseLeft(deps.commands, org, handled, context);
        const reservation = reservationOf(handled.state, reservationId);
        sendRecord(res, 200, toRecord(deps, reservation, owner), deps.answerOf(handled));
      },
    };
  });
  return internalRoutes([booking, ...acting, ...blockRoutes(deps)]);
}

function blockRoutes(deps: CommandDependencies): RouteDefinition[] {
  return [
    {
      method: "put",
      path: "/internal/slot-blocks/:id",
      summary: "Keeps a range of a resource free of new bookings; what is booked in it stays and is named",
      operationId: "blockSlots",
      area: "reservations",
      request: { params: blockParams, body: blockBody },
      responses: {
        200: {
          description: "Applied, or known already",
          schema: z.object({ applied: z.boolean(), booked: z.array(z.string()) }),
        },
      },
      problems: ["RESOURCE_NOT_FOUND", "RANGE_TOO_LONG", "PROJECTION_BEHIND"],
      handler: async (req, res) => {
        const { org } = serviceOf(res);
        const { id: blockId } = parseParams(blockParams, req);
        const { resourceId, sourceRevision, ...range } = parseBody(blockBody, req);
        const start = Date.parse(range.start);
        const end = Date.parse(range.end);
        if (end <= start) throw invalidField("end", "TOO_SMALL", "must be after `start`");
        if (end - start > reservationLimits.rangeDays * 86_400_000) {
          throw new Problem(400, "RANGE_TOO_LONG", { params: { days: reservationLimits.rangeDays } });
        }
        const resource = await findResource(deps.commands, org, resourceId);
        if (!resource) throw new CommandRejected(rejection("not-found", "RESOURCE_NOT_FOUND"));
        const days: BlockDay[] = [];
        const last = businessDay(resource, end - 1);
        for (let day = businessDay(resource, start); day <= last; day = addDays(day, 1)) {
          days.push({ resourceId, day, range });
        }
        const known = await daysOfBlock(deps, org, blockId);
        const left = known.filter((one) => one.resourceId !== resourceId || !days.some(({ day }) => day === one.day));
        const context = deps.idempotency(req, res);
        const done = await setBlock(deps, org, blockId, sourceRevision, [...days, ...left], context);
        const booked = await bookedIn(deps, org, days, { start, end });
        sendCommandAnswer(res, 200, { applied: done.applied, booked }, deps.answerOf(done));
      },
    },
    {
      method: "delete",
      path: "/internal/slot-blocks/:id",
      summary: "Takes a block away",
      operationId: "unblockSlots",
      area: "reservations",
      request: { params: blockParams, query: blockQuery },
      responses: { 200: { description: "Applied, or known already", schema: z.object({ applied: z.boolean() }) } },
      problems: ["PROJECTION_BEHIND"],
      handler: async (req, res) => {
        const { org } = serviceOf(res);
        const { id: blockId } = parseParams(blockParams, req);
        const { sourceRevision } = parseQuery(blockQuery, req);
        const context = deps.idempotency(req, res);
        const known = await daysOfBlock(deps, org, blockId);
        const done = await setBlock(deps, org, blockId, sourceRevision ?? null, known, context);
        sendCommandAnswer(res, 200, { applied: done.applied }, deps.answerOf(done));
      },
    },
  ];
}

function commandOf(
  act: (typeof acts)[number]["path"],
  reservationId: string,
  reason: string | null,
  { now: at }: CommandContext,
): ReservationsCommand {
  const now = at.getTime();
  switch (act) {
    case "confirm":
      return { type: "ConfirmReservation", reservationId, by: "staff" };
    case "complete":
      return { type: "CompleteReservation", reservationId, by: "staff", now };
    case "no-show":
      return { type: "RecordNoShow", reservationId, by: "staff", now };
    case "cancel":
      return { type: "CancelReservation", reservationId, reason, whenLate: "mark", by: "staff", now };
  }
}

/** What the calling service says of itself is no customer's data: left out of what is sealed for the customer. */
function staffContext(deps: CommandDependencies, req: Request, res: Response, owner: Owner): CommandContext {
  const { client: _, ...context } = deps.idempotency(req, res);
  return { ...context, owner };
}

/**
 * Whose reservation it is, by its id.
 *
 * @throws CommandRejected `RESERVATION_NOT_FOUND`
 * @throws Problem 503 when the read model is behind and does not know it yet
 */
async function ownerOf(deps: CommandDependencies, org: OrgId, named: string): Promise<Owner> {
  const reservationId = named.replace(/^reservation-/, "");
  const owners = { $gte: `${orgKey(org)}.`, $lt: `${orgKey(org)}/` };
  const find = () => findOne(deps, reservationDocument, { reservationId, owner: owners });
  let found = await find();
  if (!found) {
    await caughtUp(deps, reservationDocument, "reservations-");
    found = await find();
  }
  if (!found) throw new CommandRejected(rejection("not-found", "RESERVATION_NOT_FOUND"));
  return { org, customer: decodePart(found.owner.slice(found.owner.indexOf(".") + 1)) };
}

async function findOne<Document>(
  { readModels }: CommandDependencies,
  definition: DocumentDefinition<Document>,
  filter: object,
): Promise<Stored<Document> | null> {
  const where = { ...filter, ...live } as unknown as Filter<Stored<Document>>;
  return (await readModels.collection(definition).findOne(where)) as Stored<Document> | null;
}

/** Waits until a read model knows all that is in the streams of a kind now. */
async function caughtUp(
  { readModels, eventStore }: CommandDependencies,
  definition: DocumentDefinition<unknown>,
  streamPrefix: string,
): Promise<void> {
  const head = await eventStore.head({ streamPrefixes: [streamPrefix] });
  if (!(await readModels.waitFor([definition], head, 2_000))) throw unavailable("PROJECTION_BEHIND");
}

type BlockDay = {
  readonly resourceId: string;
  readonly day: string;
  readonly range: { readonly start: string; readonly end: string } | null;
};

/** Where a block stands now. */
async function daysOfBlock(deps: CommandDependencies, org: OrgId, blockId: string): Promise<BlockDay[]> {
  await caughtUp(deps, slotBlockDocument, "slotbook-");
  const found = await findOne(deps, slotBlockDocument, { _id: documentId(orgKey(org), blockId) });
  return (found?.days ?? []).map((day) => ({ ...day, range: null }));
}

/** Sets a block on each of its days, one append each; whoever was interrupted does it again, and it comes out right. */
async function setBlock(
  deps: CommandDependencies,
  org: OrgId,
  blockId: string,
  sourceRevision: SourceRevision | null,
  days: readonly BlockDay[],
  context: CommandContext,
): Promise<Pick<Handled<unknown>, "position"> & { replayed: boolean; applied: boolean }> {
  let position: Handled<unknown>["position"];
  let applied = false;
  for (const { resourceId, day, range } of days) {
    const handled = await deps.commands.handle({
      decider: slotbookDecider,
      stream: streams.slotbook(org, resourceId, day),
      command: { type: "SetBlock", blockId, sourceRevision, range },
      context: slotbookContext(context),
    });
    applied ||= handled.events.length > 0;
    if (handled.position !== undefined && (position === undefined || handled.position > position)) {
      position = handled.position;
    }
  }
  return { ...(position === undefined ? {} : { position }), replayed: false, applied };
}

/** Reservations that stay although their time is blocked: for staff to look after. */
async function bookedIn(
  deps: CommandDependencies,
  org: OrgId,
  days: readonly BlockDay[],
  range: { readonly start: number; readonly end: number },
): Promise<string[]> {
  const booked = new Set<string>();
  for (const day of days) {
    const { claims } = await slotbookOf(deps.commands, org, day);
    for (const claim of claims.values()) {
      if (claim.start < range.end && range.start < claim.end) booked.add(claim.reservationId);
    }
  }
  return [...booked].slice(0, 200);
}
