import type { Request, Response } from "express";
import type { Filter } from "mongodb";
import { z } from "zod";
import { bareId, orgKey, type Owner, type OwnerKey, ownerKey } from "#domain/core/identifiers.js";
import { majorAmount } from "#domain/core/money.js";
import { kept } from "#domain/reservations/opening-hours.js";
import {
  reservationData,
  reservationDataSchema,
  type ShownReservation,
  shown,
} from "#domain/reservations/reservation-record.policy.js";
import { type Reservation, reservationStatuses } from "#domain/reservations/reservations.policy.js";
import { waitlistData, waitlistDataSchema } from "#domain/reservations/waitlist-record.policy.js";
import { answerList, listQuery } from "#infrastructure/http/paging.js";
import { principalOf } from "#infrastructure/http/principal.js";
import { weakTag } from "#infrastructure/http/etags.js";
import { Problem } from "#infrastructure/http/problem-details.js";
import { answerDocument, beginRead, queryString, sendRead } from "#infrastructure/http/reads.js";
import { type RecordBody, record } from "#infrastructure/http/records.js";
import { listOf, recordOf } from "#infrastructure/http/response-schemas.js";
import type { RouteDefinition } from "#infrastructure/http/routes.js";
import { id, parseParams, parseQuery } from "#infrastructure/http/validation.js";
import { definitionDocument } from "#projectors/reservations/definition.document.js";
import { type HoldDocument, holdDocument } from "#projectors/reservations/hold.document.js";
import { reservationDocument } from "#projectors/reservations/reservations.document.js";
import { resourceDocument } from "#projectors/reservations/resource.document.js";
import { waitlistDocument } from "#projectors/reservations/waitlist.document.js";
import type { DocumentDefinition, Stored } from "#projectors/runner/projection.js";
import type { QueryDependencies } from "../dependencies.js";

const query = listQuery({
  sortable: {
    "data.slot.start": "place.slot.start",
    "data.status": "status",
    "data.title": "title",
    "data.reservationNumber": "reservationNumber",
  },
  defaultSort: "data.slot.start",
  statuses: reservationStatuses,
  statusPath: "status",
  datePath: "place.slot.start",
  filters: { when: z.enum(["upcoming", "past"]).optional().meta({ description: "by the end of the slot" }) },
});

const params = z.object({
  reservationId: id(90).meta({ description: "pk, id or number of a reservation" }),
});

const slotSchema = z.object({ start: z.iso.datetime(), end: z.iso.datetime() });

const definitionSchema = z.object({
  definitionId: z.string(),
  title: z.string(),
  durationMinutes: z.int(),
  bufferMinutes: z.int(),
  price: z.object({ amount: z.number(), amountMinor: z.int(), currency: z.string() }).optional(),
  timezone: z.string(),
  minNoticeMinutes: z.int(),
  horizonDays: z.int(),
  cancelNoticeMinutes: z.int(),
  rescheduleNoticeMinutes: z.int(),
  requiresConfirmation: z.boolean(),
  maxPartySize: z.int(),
});

const holdSchema = z.object({
  holdId: z.string(),
  expiresAt: z.iso.datetime(),
  definitionId: z.string(),
  title: z.string(),
  slot: slotSchema,
  timezone: z.string(),
  resource: z.object({ id: z.string(), name: z.string() }),
  partySize: z.int(),
});

const listed = (entry: z.ZodType) => z.object({ data: z.array(entry), total: z.int() });

/** Reads of the customer's reservations, and of what can be booked. */
export function reservationQueries(deps: QueryDependencies): RouteDefinition[] {
  const toRecord = (reservation: Reservation, owner: Owner) => recordBody(deps, reservation, owner);
  return [
    {
      method: "get",
      path: "/client-data/reservations",
      summary: "The customer's reservations",
      operationId: "listReservations",
      area: "reservations",
      request: { query },
      responses: { 200: { description: "A page of reservations", schema: listOf(reservationDataSchema) } },
      problems: ["SORT_NOT_ALLOWED", "PAGE_TOO_DEEP"],
      handler: (req, res) => {
        const { owner } = principalOf(res);
        const parsed = parseQuery(query, req);
        const now = deps.clock().toISOString();
        const { when } = parsed.filters;
        const ahead = when === "upcoming" ? { $gt: now } : { $lte: now };
        return answerList(req, res, deps, {
          definition: reservationDocument,
          query: parsed,
          filter: {
            ...(parsed.filter.status ? {} : { status: { $in: [...reservationStatuses] } }),
            ...(when === undefined ? {} : { "place.slot.end": ahead }),
          } as Filter<Stored<Reservation>>,
          // What lies ahead depends on the clock: such a list is as old as a minute at most.
          ...(when === undefined ? {} : { tag: now.slice(0, 16) }),
          toRecord: (document) => toRecord(document, owner),
        });
      },
    },
    {
      method: "get",
      path: "/client-data/reservations/:reservationId",
      summary: "One reservation",
      operationId: "getReservation",
      area: "reservations",
      request: { params },
      responses: { 200: { description: "The reservation", schema: recordOf(reservationDataSchema) } },
      problems: ["RESERVATION_NOT_FOUND"],
      handler: (req, res) => {
        const { owner } = principalOf(res);
        const named = bareId("reservation", parseParams(params, req).reservationId);
        const visible = { status: { $in: [...reservationStatuses] } };
        return answerDocument(req, res, deps, {
          definition: reservationDocument,
          id: [
            { reservationId: named, ...visible },
            { reservationNumber: named, ...visible },
          ] as Filter<Stored<Reservation>>[],
          notFound: "RESERVATION_NOT_FOUND",
          body: (document) => toRecord(document as Reservation, owner),
        });
      },
    },
    {
      method: "get",
      path: "/client-data/reservations/definitions",
      summary: "What can be booked",
      operationId: "listDefinitions",
      area: "reservations",
      responses: { 200: { description: "Everything that can be booked", schema: listed(definitionSchema) } },
      handler: async (req, res) => {
        const { org, owner } = principalOf(res);
        await beginRead(req, res, deps.readModels, [definitionDocument, resourceDocument]);
        const [{ collection, documents, position }, { documents: resources, position: resourcesAt }] =
          await Promise.all([all(deps, definitionDocument, orgKey(org)), all(deps, resourceDocument, orgKey(org))]);
        const zones = new Map(resources.map(({ resourceId, timezone }) => [resourceId, timezone]));
        const at = `${position}.${resourcesAt}`;
        const tag = weakTag(ownerKey(owner), collection, at, queryString(req), deps.clock());
        sendRead(req, res, tag, () => {
          const data = documents
            .filter(({ bookable }) => bookable)
            .flatMap((definition) => {
              const timezone = definition.resourceIds.map((one) => zones.get(one)).find((zone) => zone !== undefined);
              return timezone === undefined ? [] : [definitionData(definition, timezone)];
            });
          return { data, total: data.length };
        });
      },
    },
    {
      method: "get",
      path: "/client-data/reservations/holds",
      summary: "Places the customer keeps at the moment",
      operationId: "listHolds",
      area: "reservations",
      responses: { 200: { description: "Live holds", schema: listed(holdSchema) } },
      handler: (req, res) =>
        answerAll(req, res, deps, holdDocument, {
          data: (holds, now) => holds.filter(({ expiresAt }) => Date.parse(expiresAt) > now.getTime()).map(holdData),
          mark: ({ holdId }) => holdId,
        }),
    },
    {
      method: "get",
      path: "/client-data/reservations/waitlist",
      summary: "What the customer waits for, with offers",
      operationId: "listWaitlist",
      area: "reservations",
      responses: { 200: { description: "Entries, newest first", schema: listed(waitlistDataSchema) } },
      handler: (req, res) =>
        answerAll(req, res, deps, waitlistDocument, {
          data: (entries, now) =>
            entries
              .sort((one, other) => (one.joined < other.joined ? 1 : -1))
              .map((entry) => waitlistData(entry, now.getTime())),
          mark: ({ status }) => status,
        }),
    },
  ];
}

/**
 * Answers with all of the customer's documents of a small read model.
 *
 * @param read.mark what of an entry changes with the clock alone, for the tag
 */
async function answerAll<Document, Entry>(
  req: Request,
  res: Response,
  deps: QueryDependencies,
  definition: DocumentDefinition<Document>,
  read: {
    readonly data: (documents: Stored<Document>[], now: Date) => readonly Entry[];
    readonly mark: (entry: Entry) => string;
  },
): Promise<void> {
  const owner = ownerKey(principalOf(res).owner);
  await beginRead(req, res, deps.readModels, [definition]);
  const { collection, documents, position } = await all(deps, definition, owner);
  const now = deps.clock();
  const data = read.data(documents, now);
  const asked = `${queryString(req)}\n${data.map(read.mark).join()}`;
  sendRead(req, res, weakTag(owner, collection, position, asked, now), () => ({ data, total: data.length }));
}

/** All of an owner's documents of a small read model, and the position they stand for: tombstones count for that. */
async function all<Document>(
  { readModels }: QueryDependencies,
  definition: DocumentDefinition<Document>,
  owner: OwnerKey,
): Promise<{ collection: string; documents: Stored<Document>[]; position: string }> {
  const collection = readModels.collection(definition);
  const filter = { owner } as unknown as Filter<Stored<Document>>;
  const found = (await collection.find(filter, { sort: { _id: 1 }, limit: 1_000 }).toArray()) as Stored<Document>[];
  const position = found.reduce((last, { _pos }) => (_pos > last ? _pos : last), "");
  const documents = found.filter(({ _deletedAt }) => !_deletedAt);
  return { collection: collection.collectionName, documents, position };
}

function recordBody(deps: QueryDependencies, document: Reservation, owner: Owner): RecordBody {
  const reservation = shown(document) as ShownReservation | null;
  if (!reservation) throw new Problem(404, "RESERVATION_NOT_FOUND");
  const { reservationId, version, createdAt, modifiedAt, status } = reservation;
  const data = reservationData(reservation, deps.calendarLinks.urlOf(owner, reservationId));
  return record({
    datatype: "reservation",
    id: reservationId,
    org: owner.org,
    ...{ version, state: status, createdAt, modifiedAt, data },
  });
}

function definitionData(
  document: { definitionId: string } & Omit<z.infer<typeof definitionSchema>, "timezone" | "price"> & {
      priceMinor: number | null;
      currency: string | null;
    },
  timezone: string,
): z.infer<typeof definitionSchema> {
  const { priceMinor, currency } = document;
  return {
    definitionId: document.definitionId,
    title: document.title,
    durationMinutes: document.durationMinutes,
    bufferMinutes: document.bufferMinutes,
    ...(priceMinor === null || currency === null
      ? {}
      : { price: { amount: majorAmount(priceMinor, currency), amountMinor: priceMinor, currency } }),
    timezone,
    minNoticeMinutes: document.minNoticeMinutes,
    horizonDays: document.horizonDays,
    cancelNoticeMinutes: document.cancelNoticeMinutes,
    rescheduleNoticeMinutes: document.rescheduleNoticeMinutes,
    requiresConfirmation: document.requiresConfirmation,
    maxPartySize: document.maxPartySize,
  };
}

function holdData({ holdId, expiresAt, definitionId, title, place, partySize }: HoldDocument) {
  const { start, end } = kept(place.slot);
  return {
    ...{ holdId, expiresAt, definitionId, title },
    slot: { start: new Date(start).toISOString(), end: new Date(end).toISOString() },
    timezone: place.slot.timezone,
    resource: { id: place.resourceId, name: place.resourceName },
    partySize,
  };
}
