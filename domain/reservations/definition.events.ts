import { z } from "zod";
import { defineEvent, type EventOf } from "../core/event-definition.js";
import { currencySchema, minorSchema } from "../core/money.js";
import { sourceRevisionSchema } from "../core/source-revision.js";

// Storage format: a shipped version is never edited, a new one is added.

/** What is offered: how long, when, by which resources, under which conditions. */
export const definitionSchema = z.object({
  title: z.string(),
  durationMinutes: z.int(),
  slotStepMinutes: z.int(),
  resourceIds: z.array(z.string()),
  bufferMinutes: z.int(),
  minNoticeMinutes: z.int(),
  horizonDays: z.int(),
  cancelNoticeMinutes: z.int(),
  rescheduleNoticeMinutes: z.int(),
  requiresConfirmation: z.boolean(),
  maxPartySize: z.int(),
  /** Reservations of it that one customer may have open at a time. */
  openReservationLimit: z.int(),
  priceMinor: minorSchema.nullable(),
  currency: currencySchema.nullable(),
  /** False once it is withdrawn: what is booked stays. */
  bookable: z.boolean(),
});

export type Definition = z.infer<typeof definitionSchema>;

/** The platform tells of a definition: all of it, each time. */
export const DefinitionUpdated = defineEvent("reservations.DefinitionUpdated.v1", {
  category: "definition",
  schema: z.object({ definitionId: z.string(), sourceRevision: sourceRevisionSchema, definition: definitionSchema }),
});

/** A newer message said nothing new. Kept, because an older one that comes late must still be refused. */
export const DefinitionReconfirmed = defineEvent("reservations.DefinitionReconfirmed.v1", {
  category: "definition",
  schema: z.object({ definitionId: z.string(), sourceRevision: sourceRevisionSchema }),
});

export const definitionEvents = [DefinitionUpdated, DefinitionReconfirmed] as const;
export type DefinitionEvent = EventOf<(typeof definitionEvents)[number]>;
