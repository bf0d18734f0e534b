import type { Filter } from "mongodb";
import { z } from "zod";
import { orgKey, type OwnerKey, ownerKey } from "#domain/core/identifiers.js";
import { freeSlots, type FreeSlot, type TakenDay } from "#domain/reservations/availability.policy.js";
import { addDays, boundary, businessDay, dateOf, segmentAt } from "#domain/reservations/opening-hours.js";
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
            return [resourceId, await takenOf(deps, orgKey(org), resourceId, days, named !== undefined)];
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

/** Of a day, what counts: taking a document apart is most of the work, so it comes without the rest. */
const counted = {
  ...{ day: 1, holds: 1, blocks: 1, "claims.start": 1, "claims.end": 1 },
  ...{ "claims.offset": 1, "claims.buffer": 1, "claims.partySize": 1 },
} as const;

/**
 * Every day of a resource that a range touches: one range of primary keys.
 *
 * @param withIds whether to tell whose each claim is
 */
async function takenOf(
  { readModels }: QueryDependencies,
  org: OwnerKey,
  resourceId: string,
  days: readonly string[],
  withIds: boolean,
): Promise<readonly TakenDay[]> {
  const [first, last] = [days[0], days.at(-1)];
  if (first === undefined || last === undefined) return [];
  const idOf = (day: string) => documentId(org, slotbookDocumentId(resourceId, day));
  const filter = { _id: { $gte: idOf(first), $lte: idOf(last) }, resourceId, ...live };
  const found = readModels
    .collection(slotbookDocument)
    .find(filter as unknown as Filter<Stored<SlotbookDocument>>)
    .project<TakenDay>(withIds ? { ...counted, "claims.reservationId": 1 } : counted);
  return found.toArray();
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

const startTimeAt = '{"start":"2026-06-01T'.length;
const endTimeAt = '{"start":"2026-06-01T09:00:00.000+02:00","end":"2026-06-01T'.length;

/** The answer as JSON. Written in bytes: thousands of slots are one row again and again, with other times. */
function jsonOf(
  head: Readonly<Record<string, string>>,
  slots: readonly FreeSlot[],
  timezone: string,
  durationMinutes: number,
): Buffer {
  const json = new JsonBytes();
  const starts = new WallClock(timezone);
  const ends = new WallClock(timezone);
  let date = "";
  let last: FreeSlot | undefined;
  let lastAt = 0;
  json.add(`{"data":{${JSON.stringify(head).slice(1, -1)},"days":[`);
  for (const slot of slots) {
    const { start, remaining, resourceIds } = slot;
    const startTurned = starts.turnTo(start);
    const endTurned = ends.turnTo(start + durationMinutes * 60_000);
    if (starts.date !== date) {
      if (date !== "") json.replaceLast("]},");
      date = starts.date;
      json.add(`{"date":"${date}","slots":[`);
    }
    const at = json.length;
    if (!startTurned && !endTurned && remaining === last?.remaining && resourceIds === last.resourceIds) {
      json.repeatFrom(lastAt);
      json.setTime(at + startTimeAt, starts.minute);
      json.setTime(at + endTimeAt, ends.minute);
    } else {
      const where = JSON.stringify(resourceIds);
      json.add(`{"start":"${starts.text()}","end":"${ends.text()}","remaining":${remaining},"resourceIds":${where}},`);
    }
    last = slot;
    lastAt = at;
  }
  if (date !== "") json.replaceLast("]}");
  json.add("]}}");
  return json.bytes();
}

/** Bytes of a text that grows at its end. */
class JsonBytes {
  #bytes = Buffer.allocUnsafe(64 * 1_024);
  #length = 0;

  get length(): number {
    return this.#length;
  }

  add(text: string): void {
    this.#makeRoom(Buffer.byteLength(text));
    this.#length += this.#bytes.write(text, this.#length);
  }

  /** In place of the last byte. */
  replaceLast(text: string): void {
    this.#length -= 1;
    this.add(text);
  }

  /** Adds what stands from there to the end once more. */
  repeatFrom(start: number): void {
    const size = this.#length - start;
    this.#makeRoom(size);
    this.#bytes.copyWithin(this.#length, start, this.#length);
    this.#length += size;
  }

  /** Puts a minute of the day, as `HH:MM`, over the time that stands there. */
  setTime(at: number, minuteOfDay: number): void {
    const bytes = this.#bytes;
    const hour = Math.floor(minuteOfDay / 60);
    const minute = minuteOfDay % 60;
    bytes[at] = zero + Math.floor(hour / 10);
    bytes[at + 1] = zero + (hour % 10);
    bytes[at + 3] = zero + Math.floor(minute / 10);
    bytes[at + 4] = zero + (minute % 10);
  }

  bytes(): Buffer {
    return this.#bytes.subarray(0, this.#length);
  }

  #makeRoom(size: number): void {
    const least = this.#length + size;
    if (least > this.#bytes.length) this.#bytes = Buffer.concat([this.#bytes], 2 * least);
  }
}

const zero = "0".charCodeAt(0);

/** A zone's wall clock that is turned to one instant after the other. */
class WallClock {
  readonly #timezone: string;
  #segment = { start: 0, end: 0, offset: 0 };
  #midnight = Number.NaN;
  #date = "";
  #minute = 0;
  #offset = "";

  constructor(timezone: string) {
    this.#timezone = timezone;
  }

  /** What it shows, `YYYY-MM-DD`. */
  get date(): string {
    return this.#date;
  }

  /** Minute of the day; slots stand at whole ones. */
  get minute(): number {
    return this.#minute;
  }

  /** What it shows as RFC 3339: `2026-06-01T09:00:00.000+02:00`. */
  text(): string {
    return `${this.#date}T${two(Math.floor(this.#minute / 60))}:${two(this.#minute % 60)}:00.000${this.#offset}`;
  }

  /** @returns whether it shows another date or offset than before */
  turnTo(instant: number): boolean {
    let turned = false;
    if (instant < this.#segment.start || instant >= this.#segment.end) {
      this.#segment = segmentAt(this.#timezone, instant);
      const minutes = Math.round(Math.abs(this.#segment.offset) / 60_000);
      this.#offset = `${this.#segment.offset < 0 ? "-" : "+"}${two(Math.floor(minutes / 60))}:${two(minutes % 60)}`;
      turned = true;
    }
    const wall = instant + this.#segment.offset;
    if (!(wall >= this.#midnight && wall < this.#midnight + dayMs)) {
      this.#date = dateOf(wall);
      this.#midnight = Date.parse(`${this.#date}T00:00Z`);
      turned = true;
    }
    this.#minute = Math.floor((wall - this.#midnight) / 60_000);
    return turned;
  }
}

function two(value: number): string {
  return value < 10 ? `0${value}` : String(value);
}
