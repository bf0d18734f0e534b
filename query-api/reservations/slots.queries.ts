import { DateTime } from "luxon";
import type { Filter } from "mongodb";
import { z } from "zod";
import { orgKey, type OwnerKey, ownerKey } from "#domain/core/identifiers.js";
import { freeSlots, type FreeSlot, type TakenDay } from "#domain/reservations/availability.policy.js";
import { addDays, businessDay, dateOf, segmentAt } from "#domain/reservations/opening-hours.js";
import { shown } from "#domain/reservations/reservation-record.policy.js";
import { reservationLimits } from "#domain/reservations/reservations.policy.js";
import { type Bookable, bookable, type KnownResource } from "#domain/reservations/slots.policy.js";
import { principalOf } from "#infrastructure/http/principal.js";
import { Problem } from "#infrastructure/http/problem-details.js";
import { beginRead } from "#infrastructure/http/reads.js";
import { sendJson } from "#infrastructure/http/records.js";
import type { RouteDefinition } from "#infrastructure/http/routes.js";
import { fieldErrors, ianaZone, id, instant, parseQuery } from "#infrastructure/http/validation.js";
import { live } from "#infrastructure/read-models.js";
import { customerZoneDocument, customerZoneDocumentId } from "#projectors/reservations/customer-zone.document.js";
import { type DefinitionDocument, definitionDocument } from "#projectors/reservations/definition.document.js";
import { reservationDocument } from "#projectors/reservations/reservations.document.js";
import { resourceDocument } from "#projectors/reservations/resource.document.js";
import {
  type SlotbookDocument,
  slotbookDocument,
  slotbookDocumentId,
} from "#projectors/reservations/slotbook.document.js";
import { type DocumentDefinition, documentId, type Stored } from "#projectors/runner/projection.js";
import type { QueryDependencies } from "../dependencies.js";

const dayMs = 86_400_000;
const moment = z.union([z.iso.date(), instant()]).meta({ description: "RFC 3339 time, or a date in `timezone`" });

const query = z.object({
  definitionId: id(),
  from: moment.optional(),
  to: moment.optional(),
  timezone: ianaZone().optional(),
  resourceId: id().optional(),
  partySize: z
    .string()
    .regex(/^(100|[1-9]\d?)$/, { message: `must be a whole number from 1 to ${reservationLimits.partySize}` })
    .optional()
    .meta({ description: `1 to ${reservationLimits.partySize}` }),
  excludeReservationId: id(90).optional(),
});

const slotsSchema = z.object({
  data: z.object({
    definitionId: z.string(),
    timezone: z.string(),
    tzdata: z.string(),
    days: z.array(
      z.object({
        date: z.iso.date(),
        slots: z.array(
          z.object({
            start: z.iso.datetime({ offset: true }),
            end: z.iso.datetime({ offset: true }),
            remaining: z.int(),
            resourceIds: z.array(z.string()).optional(),
          }),
        ),
      }),
    ),
    asOf: z.iso.datetime(),
  }),
});

/** Slots that can be booked now: one find per resource, everything else is computed. */
export function slotQueries(deps: QueryDependencies): RouteDefinition[] {
  return [
    {
      method: "get",
      path: "/client-data/reservations/available-slots",
      summary: "Free slots of a range of at most 31 days; each time has the offset of its own date",
      operationId: "availableSlots",
      area: "reservations",
      limits: ["slots"],
      request: { query },
      responses: { 200: { description: "Free slots by date", schema: slotsSchema } },
      problems: ["DEFINITION_NOT_FOUND", "RESOURCE_NOT_FOUND", "RESERVATION_NOT_FOUND", "RANGE_TOO_LONG"],
      handler: async (req, res) => {
        const parsed = parseQuery(query, req);
        const { org, owner } = principalOf(res);
        const key = ownerKey(owner);
        const named = parsed.excludeReservationId?.replace(/^reservation-/, "");
        const read = [definitionDocument, resourceDocument, slotbookDocument];
        await beginRead(req, res, deps.readModels, named === undefined ? read : [...read, reservationDocument]);
        const [offer, ownZone] = await Promise.all([
          offerOf(deps, orgKey(org), parsed.definitionId),
          parsed.timezone === undefined ? zoneOf(deps, key) : undefined,
        ]);
        if (!offer) throw new Problem(404, "DEFINITION_NOT_FOUND");
        const asked = offer.resources.filter(({ resourceId }) => (parsed.resourceId ?? resourceId) === resourceId);
        if (asked.length === 0) throw new Problem(404, "RESOURCE_NOT_FOUND");
        if (named !== undefined && !shown(await one(deps, reservationDocument, documentId(key, named), key))) {
          throw new Problem(404, "RESERVATION_NOT_FOUND");
        }
        const timezone = parsed.timezone ?? ownZone ?? offer.resources[0].timezone;
        const now = deps.clock().getTime();
        const range = rangeOf(parsed, timezone, now);
        const resources = asked.map((resource) => ({ resource, days: daysOf(resource, range) }));
        const taken = await Promise.all(
          resources.map(async ({ resource: { resourceId }, days }): Promise<[string, readonly TakenDay[]]> => {
            return [resourceId, await takenOf(deps, orgKey(org), resourceId, days)];
          }),
        );
        const slots = freeSlots(offer, resources, new Map(taken), {
          ...{ range, now, partySize: Number(parsed.partySize ?? 1), reservationId: named ?? null },
        });
        const head = {
          definitionId: parsed.definitionId,
          timezone,
          tzdata: process.versions.tz ?? "unknown",
          asOf: new Date(now).toISOString(),
        };
        res.setHeader("Cache-Control", "no-store");
        sendJson(res, 200, jsonOf(head, slots, timezone, offer.definition.durationMinutes));
      },
    },
  ];
}

async function one<Document>(
  { readModels }: QueryDependencies,
  definition: DocumentDefinition<Document>,
  _id: string,
  owner: OwnerKey,
): Promise<Stored<Document> | null> {
  const collection = readModels.collection(definition);
  const found = (await collection.findOne({ _id } as Filter<Stored<Document>>)) as Stored<Document> | null;
  return found && found.owner === owner && !found._deletedAt ? found : null;
}

/** A definition with its resources, in one round trip: whoever leafs through months asks for it each time. */
async function offerOf(
  { readModels }: QueryDependencies,
  org: OwnerKey,
  definitionId: string,
): Promise<Bookable | null> {
  const keys = { $map: { input: "$resourceIds", as: "id", in: { $concat: [`${org}.`, "$$id"] } } };
  const from = readModels.collection(resourceDocument).collectionName;
  const [found] = await readModels
    .collection(definitionDocument)
    .aggregate<Stored<DefinitionDocument> & { readonly resources: readonly Stored<KnownResource>[] }>([
      { $match: { _id: documentId(org, definitionId), owner: org, ...live } },
      { $set: { keys } },
      { $lookup: { from, localField: "keys", foreignField: "_id", as: "resources" } },
    ])
    .toArray();
  if (!found?.bookable) return null;
  const { resources, ...definition } = found;
  return bookable(
    definitionId,
    definition,
    resources.filter(({ _deletedAt }) => !_deletedAt),
  );
}

/** The profile's zone; undefined when the customer has not said. */
async function zoneOf(deps: QueryDependencies, owner: OwnerKey): Promise<string | undefined> {
  const zone = await one(deps, customerZoneDocument, documentId(owner, customerZoneDocumentId), owner);
  return zone?.timezone;
}

/** Every day of a resource that a range touches: one range of primary keys. */
async function takenOf(
  { readModels }: QueryDependencies,
  org: OwnerKey,
  resourceId: string,
  days: readonly string[],
): Promise<readonly TakenDay[]> {
  const [first, last] = [days[0], days.at(-1)];
  if (first === undefined || last === undefined) return [];
  const idOf = (day: string) => documentId(org, slotbookDocumentId(resourceId, day));
  const filter = { _id: { $gte: idOf(first), $lte: idOf(last) }, resourceId, ...live };
  const found = readModels.collection(slotbookDocument).find(filter as unknown as Filter<Stored<SlotbookDocument>>);
  return (await found.toArray()) as unknown as TakenDay[];
}

function daysOf(resource: KnownResource, range: { start: number; end: number }): string[] {
  const days: string[] = [];
  const last = businessDay(resource, range.end - 1);
  for (let day = businessDay(resource, range.start); day <= last; day = addDays(day, 1)) days.push(day);
  return days;
}

/**
 * Starts asked for: from now on, or from a date's first instant, for a week unless the end is named.
 *
 * @throws Problem 400 `RANGE_TOO_LONG`, `INVALID_QUERY`
 */
function rangeOf({ from, to }: z.output<typeof query>, timezone: string, now: number): { start: number; end: number } {
  const start = from === undefined ? now : boundary(from, timezone, 0);
  const end = to === undefined ? start + 7 * dayMs : boundary(to, timezone, 1);
  if (end <= start) {
    const error = new z.ZodError([{ code: "custom", path: ["to"], message: "must be after `from`", input: to }]);
    throw new Problem(400, "INVALID_QUERY", { errors: fieldErrors(error, {}) });
  }
  // Days are calendar days: a range over an autumn night is an hour longer.
  if (end - start > reservationLimits.rangeDays * dayMs + 3_600_000) {
    throw new Problem(400, "RANGE_TOO_LONG", { params: { days: reservationLimits.rangeDays } });
  }
  return { start, end };
}

function boundary(moment: string, timezone: string, days: 0 | 1): number {
  if (moment.length > 10) return Date.parse(moment);
  return DateTime.fromISO(moment, { zone: timezone }).plus({ days }).toMillis();
}

/** The answer as JSON text; thousands of slots are written faster by hand than as objects. */
function jsonOf(
  head: Readonly<Record<string, string>>,
  slots: readonly FreeSlot[],
  timezone: string,
  durationMinutes: number,
): string {
  const starts = new WallClock(timezone);
  const ends = new WallClock(timezone);
  const days: string[] = [];
  const resources = new Map<string, string>();
  let date = "";
  let day = "";
  for (const { start, remaining, resourceIds } of slots) {
    const startsAt = starts.show(start);
    const endsAt = ends.show(start + durationMinutes * 60_000);
    if (starts.date !== date) {
      if (day !== "") days.push(`{"date":"${date}","slots":[${day}]}`);
      date = starts.date;
      day = "";
    }
    const key = resourceIds.join();
    let where = resources.get(key);
    if (where === undefined) {
      where = JSON.stringify(resourceIds);
      resources.set(key, where);
    }
    const comma = day === "" ? "" : ",";
    day += `${comma}{"start":"${startsAt}","end":"${endsAt}","remaining":${remaining},"resourceIds":${where}}`;
  }
  if (day !== "") days.push(`{"date":"${date}","slots":[${day}]}`);
  return `{"data":{${JSON.stringify(head).slice(1, -1)},"days":[${days.join(",")}]}}`;
}

/** Shows instants of about the same time as a zone's wall clock does: it remembers the date and the offset. */
class WallClock {
  /** Date of the instant shown last. */
  date = "";
  readonly #timezone: string;
  #segment = { start: 0, end: 0, offset: 0 };
  #midnight = Number.NaN;
  #ending = "";

  constructor(timezone: string) {
    this.#timezone = timezone;
  }

  /** RFC 3339 with the zone's offset: `2026-06-01T09:00:00.000+02:00`. */
  show(instant: number): string {
    if (instant < this.#segment.start || instant >= this.#segment.end) {
      this.#segment = segmentAt(this.#timezone, instant);
      const minutes = Math.round(Math.abs(this.#segment.offset) / 60_000);
      const sign = this.#segment.offset < 0 ? "-" : "+";
      this.#ending = `.000${sign}${two(Math.floor(minutes / 60))}:${two(minutes % 60)}`;
    }
    const wall = instant + this.#segment.offset;
    if (!(wall >= this.#midnight && wall < this.#midnight + dayMs)) {
      this.date = dateOf(wall);
      this.#midnight = Date.parse(`${this.date}T00:00Z`);
    }
    const seconds = Math.floor((wall - this.#midnight) / 1_000);
    const time = minutesOfDay[Math.floor(seconds / 60)] ?? "";
    return `${this.date}T${time}:${two(seconds % 60)}${this.#ending}`;
  }
}

function two(value: number): string {
  return value < 10 ? `0${value}` : String(value);
}

const minutesOfDay = Array.from(
  { length: 24 * 60 },
  (_, minute) => `${two(Math.floor(minute / 60))}:${two(minute % 60)}`,
);
