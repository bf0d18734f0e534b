import { z } from "zod";
import { defineEvent, type EventOf } from "../core/event-definition.js";
import { sourceRevisionSchema } from "../core/source-revision.js";
import { weekdays } from "./opening-hours.js";

// Storage format: a shipped version is never edited, a new one is added.

const hoursSchema = z.array(z.object({ start: z.string(), end: z.string() }));

/** What can be booked: a room, a person, a course. Zone and start of the day name its slotbooks and never change. */
export const resourceSchema = z.object({
  name: z.string(),
  timezone: z.string(),
  dayStartsAt: z.string(),
  weeklyHours: z.partialRecord(z.enum(weekdays), hoursSchema),
  exceptions: z.array(z.object({ date: z.iso.date(), hours: hoursSchema })),
  /** Places that may be taken at the same time. */
  capacity: z.int(),
});

export type Resource = z.infer<typeof resourceSchema>;

/** The platform tells of a resource: all of it, each time. */
export const ResourceUpdated = defineEvent("reservations.ResourceUpdated.v1", {
  category: "resource",
  schema: z.object({ resourceId: z.string(), sourceRevision: sourceRevisionSchema, resource: resourceSchema }),
});

/** A newer message said nothing new. Kept, because an older one that comes late must still be refused. */
export const ResourceReconfirmed = defineEvent("reservations.ResourceReconfirmed.v1", {
  category: "resource",
  schema: z.object({ resourceId: z.string(), sourceRevision: sourceRevisionSchema }),
});

export const resourceEvents = [ResourceUpdated, ResourceReconfirmed] as const;
export type ResourceEvent = EventOf<(typeof resourceEvents)[number]>;
