import { z } from "zod";
import { defineEvent, type EventOf } from "../core/event-definition.js";
import { sourceRevisionSchema } from "../core/source-revision.js";

// Storage format: a shipped version is never edited, a new one is added.

/** Instants, and the wall clock they stood for when they were promised. */
export const promisedSlotSchema = z.object({
  start: z.iso.datetime(),
  end: z.iso.datetime(),
  timezone: z.string(),
  /** What the wall clock was ahead of UTC at the start, minutes. */
  offsetMinutes: z.number(),
});

/** A claim's name: a reservation has one per move, and each is judged once and for all. */
const claimSchema = z.object({ reservationId: z.string(), move: z.int() });

const occupiedSchema = z.object({
  slot: promisedSlotSchema,
  /** Kept free after the slot. */
  bufferMinutes: z.int(),
  partySize: z.int(),
});

/** A reservation, or a move of one, has its place. The hold it was made under is used up. */
export const PlaceClaimed = defineEvent("reservations.PlaceClaimed.v1", {
  category: "slotbook",
  schema: claimSchema.extend({
    ...occupiedSchema.shape,
    customerId: z.string(),
    definitionId: z.string(),
    holdId: z.string().nullable(),
  }),
});

/** A claim found no room. Kept, because it must not succeed when it is made again after a crash. */
export const PlaceRefused = defineEvent("reservations.PlaceRefused.v1", {
  category: "slotbook",
  schema: claimSchema.extend({ code: z.enum(["SLOT_TAKEN", "HOLD_EXPIRED"]) }),
});

/** A claim was given back, by a cancellation or after a move. */
export const PlaceReleased = defineEvent("reservations.PlaceReleased.v1", {
  category: "slotbook",
  schema: claimSchema.extend({ slot: promisedSlotSchema }),
});

/** A place is kept for a customer who is still deciding; it ends by time alone. */
export const PlaceHeld = defineEvent("reservations.PlaceHeld.v1", {
  category: "slotbook",
  schema: occupiedSchema.extend({
    holdId: z.string(),
    customerId: z.string(),
    definitionId: z.string(),
    expiresAt: z.iso.datetime(),
  }),
});

export const HeldPlaceReleased = defineEvent("reservations.HeldPlaceReleased.v1", {
  category: "slotbook",
  schema: z.object({ holdId: z.string(), slot: promisedSlotSchema }),
});

/** A hold ended unused. Says what time has done already, so that whoever waits for the place hears of it. */
export const HeldPlaceLapsed = defineEvent("reservations.HeldPlaceLapsed.v1", {
  category: "slotbook",
  schema: z.object({ holdId: z.string(), slot: promisedSlotSchema }),
});

/** Staff keep a range free of new bookings; what is booked in it stays. */
export const SlotsBlocked = defineEvent("reservations.SlotsBlocked.v1", {
  category: "slotbook",
  schema: z.object({
    blockId: z.string(),
    sourceRevision: sourceRevisionSchema,
    start: z.iso.datetime(),
    end: z.iso.datetime(),
  }),
});

export const SlotsUnblocked = defineEvent("reservations.SlotsUnblocked.v1", {
  category: "slotbook",
  schema: z.object({ blockId: z.string(), sourceRevision: sourceRevisionSchema }),
});

export const slotbookEvents = [
  PlaceClaimed,
  PlaceRefused,
  PlaceReleased,
  PlaceHeld,
  HeldPlaceReleased,
  HeldPlaceLapsed,
  SlotsBlocked,
  SlotsUnblocked,
] as const;
export type SlotbookEvent = EventOf<(typeof slotbookEvents)[number]>;
