import { z } from "zod";
import { streams } from "#domain/core/identifiers.js";
import { currencySchema, minorSchema } from "#domain/core/money.js";
import { sourceRevisionSchema } from "#domain/core/source-revision.js";
import { definitionDecider } from "#domain/reservations/definition.decider.js";
import { type Hours, minutesInDay, minutesOf, weekdays } from "#domain/reservations/opening-hours.js";
import { reservationLimits } from "#domain/reservations/reservations.policy.js";
import { resourceDecider } from "#domain/reservations/resource.decider.js";
import type { CommandHandler } from "#infrastructure/command-handler.js";
import { ianaZone, id, text } from "#infrastructure/http/validation.js";
import { createIngestHandler, type IngestTarget } from "../ingest.js";

const minutes = (most: number, least = 0) => z.int().min(least).max(most);
const dayMinutes = 24 * 60;
const yearMinutes = 366 * dayMinutes;

const definitionBody = z
  .strictObject({
    sourceRevision: sourceRevisionSchema,
    title: text(1, 200),
    durationMinutes: minutes(dayMinutes, 1),
    slotStepMinutes: minutes(dayMinutes, 1),
    resourceIds: z.array(id()).max(50),
    bufferMinutes: minutes(dayMinutes).default(0),
    minNoticeMinutes: minutes(yearMinutes).default(0),
    horizonDays: z.int().min(1).max(730).default(90),
    cancelNoticeMinutes: minutes(yearMinutes).default(0),
    rescheduleNoticeMinutes: minutes(yearMinutes).default(0),
    requiresConfirmation: z.boolean().default(false),
    maxPartySize: z.int().min(1).max(reservationLimits.partySize).default(1),
    openReservationLimit: z.int().min(1).max(reservationLimits.open).default(20),
    priceMinor: minorSchema.min(0).nullish(),
    currency: currencySchema.nullish(),
    bookable: z.boolean().default(true).meta({ description: "false once it is withdrawn" }),
  })
  .refine(({ priceMinor, currency }) => (priceMinor ?? null) === null || (currency ?? null) !== null, {
    path: ["currency"],
    message: "is required with priceMinor",
    params: { code: "REQUIRED" },
  });

/** `PUT /internal/ingest/definitions/:id`: the platform tells what can be booked, all of it each time. */
export function definitionIngest(deps: {
  readonly commands: CommandHandler;
}): IngestTarget<z.output<typeof definitionBody>> {
  const ingest = createIngestHandler(deps.commands);
  return {
    segment: "definitions",
    area: "reservations",
    body: definitionBody,
    ingest(definitionId, { sourceRevision, priceMinor, currency, ...definition }, contextFor) {
      const context = contextFor(null);
      const price = (priceMinor ?? null) === null ? null : { priceMinor, currency };
      return ingest({
        decider: definitionDecider,
        stream: streams.definition(context.org, definitionId),
        command: {
          type: "IngestDefinition",
          definitionId,
          sourceRevision,
          definition: {
            ...definition,
            resourceIds: [...new Set(definition.resourceIds)],
            priceMinor: price?.priceMinor ?? null,
            currency: price?.currency ?? null,
          },
        },
        context,
      });
    },
  };
}

const clock = z.string().regex(/^([01]\d|2[0-3]):[0-5]\d$/, { message: "must be a time such as 09:30" });
const closing = z.string().regex(/^(([01]\d|2[0-3]):[0-5]\d|24:00)$/, { message: "must be a time such as 17:30" });
const hours = z.array(z.strictObject({ start: clock, end: closing })).max(12);

const resourceBody = z
  .strictObject({
    sourceRevision: sourceRevisionSchema,
    name: text(1, 200),
    timezone: ianaZone(),
    dayStartsAt: clock.default("00:00"),
    weeklyHours: z.strictObject(Object.fromEntries(weekdays.map((day) => [day, hours.optional()]))),
    exceptions: z
      .array(z.strictObject({ date: z.iso.date(), hours }))
      .max(1_000)
      .default([]),
    capacity: z.int().min(1).max(10_000).default(1),
  })
  .superRefine(({ dayStartsAt, weeklyHours, exceptions }, context) => {
    const lists: [(string | number)[], readonly Hours[]][] = [
      ...Object.entries(weeklyHours).map(([day, list]): [string[], Hours[]] => [["weeklyHours", day], list ?? []]),
      ...exceptions.map(({ hours: list }, index): [(string | number)[], Hours[]] => [
        ["exceptions", index, "hours"],
        list,
      ]),
    ];
    for (const [path, list] of lists) {
      const fault = faultOf(list, minutesOf(dayStartsAt));
      if (!fault) continue;
      context.addIssue({ code: "custom", path, message: fault, params: { code: "HOURS_INVALID" } });
    }
    const dates = exceptions.map(({ date }) => date);
    if (new Set(dates).size < dates.length) {
      const message = "must name each date once";
      context.addIssue({ code: "custom", path: ["exceptions"], message, params: { code: "DUPLICATE" } });
    }
  });

/** Hours end after they began, within their business day, and do not overlap. */
function faultOf(list: readonly Hours[], dayStart: number): string | undefined {
  const ranges = list.map((one) => minutesInDay(one, dayStart)).sort((one, other) => one.from - other.from);
  if (ranges.some(({ from, to }) => from >= to)) return "must end after they start, within the business day";
  const overlapping = ranges.some(({ from }, index) => from < (ranges[index - 1]?.to ?? 0));
  return overlapping ? "must not overlap" : undefined;
}

/** `PUT /internal/ingest/resources/:id`: the platform tells of what is booked, all of it each time. */
export function resourceIngest(deps: {
  readonly commands: CommandHandler;
}): IngestTarget<z.output<typeof resourceBody>> {
  const ingest = createIngestHandler(deps.commands);
  return {
    segment: "resources",
    area: "reservations",
    body: resourceBody,
    ingest(resourceId, { sourceRevision, ...resource }, contextFor) {
      const context = contextFor(null);
      const weeklyHours = Object.fromEntries(
        Object.entries(resource.weeklyHours).filter(([, list]) => list !== undefined && list.length > 0),
      );
      return ingest({
        decider: resourceDecider,
        stream: streams.resource(context.org, resourceId),
        command: { type: "IngestResource", resourceId, sourceRevision, resource: { ...resource, weeklyHours } },
        context,
      });
    },
  };
}
