import { z } from "zod";
import { defineEvent, type EventOf } from "../core/event-definition.js";
import { currencySchema, minorSchema } from "../core/money.js";
import { promisedSlotSchema } from "./slotbook.events.js";

// Storage format: a shipped version is never edited, a new one is added.

/** Where and when: a resource, its business day, and the slot as promised. */
export const placeSchema = z.object({
  resourceId: z.string(),
  resourceName: z.string(),
  day: z.iso.date(),
  slot: promisedSlotSchema,
});
export type Place = z.infer<typeof placeSchema>;

/** A place that may be claimed, with the capacity its resource had when it was asked for. */
export const candidateSchema = placeSchema.extend({ capacity: z.int() });
export type Candidate = z.infer<typeof candidateSchema>;

const bySchema = z.enum(["customer", "staff", "system"]);
export type By = z.infer<typeof bySchema>;

const reservationSchema = z.object({ reservationId: z.string(), title: z.string(), by: bySchema });

/**
 * A customer, or staff for one, asks for a slot. Candidates are claimed in their order, one after the other; the
 * conditions are those of the definition at that moment, and they stay.
 */
export const Requested = defineEvent("reservations.Requested.v1", {
  category: "reservations",
  schema: reservationSchema.extend({
    reservationNumber: z.string(),
    definitionId: z.string(),
    durationMinutes: z.int(),
    bufferMinutes: z.int(),
    partySize: z.int(),
    notes: z.string().optional(),
    priceMinor: minorSchema.nullable(),
    currency: currencySchema.nullable(),
    requiresConfirmation: z.boolean(),
    cancelNoticeMinutes: z.int(),
    rescheduleNoticeMinutes: z.int(),
    candidates: z.array(candidateSchema).min(1),
    holdId: z.string().nullable(),
  }),
  personal: ["notes"],
});

/** It has its place. An offer from the waitlist that led to it is fulfilled. */
export const Booked = defineEvent("reservations.Booked.v1", {
  category: "reservations",
  schema: reservationSchema.extend({
    definitionId: z.string(),
    status: z.enum(["pending", "confirmed"]),
    place: placeSchema,
    partySize: z.int(),
    holdId: z.string().nullable(),
    waitlistId: z.string().nullable(),
  }),
});

const refusalSchema = z.enum(["SLOT_TAKEN", "HOLD_EXPIRED"]);
export type Refusal = z.infer<typeof refusalSchema>;

/** There was no room. */
export const Refused = defineEvent("reservations.Refused.v1", {
  category: "reservations",
  schema: z.object({ reservationId: z.string(), code: refusalSchema }),
});

/** The customer wants another slot, resource or party size; the place stays theirs until there is another. */
export const MoveRequested = defineEvent("reservations.MoveRequested.v1", {
  category: "reservations",
  schema: reservationSchema.extend({
    move: z.int(),
    partySize: z.int(),
    candidates: z.array(candidateSchema).min(1),
    notes: z.string().nullable().optional(),
  }),
  personal: ["notes"],
});

/** Another place is theirs; the one before is free to be given back. */
export const Moved = defineEvent("reservations.Moved.v1", {
  category: "reservations",
  schema: reservationSchema.extend({
    move: z.int(),
    status: z.enum(["pending", "confirmed"]),
    place: placeSchema,
    partySize: z.int(),
    previous: z.object({ move: z.int(), place: placeSchema, partySize: z.int() }),
  }),
});

export const MoveRefused = defineEvent("reservations.MoveRefused.v1", {
  category: "reservations",
  schema: z.object({ reservationId: z.string(), move: z.int(), code: refusalSchema }),
});

/** What the customer wrote to the staff; null takes it away. */
export const NotesChanged = defineEvent("reservations.NotesChanged.v1", {
  category: "reservations",
  schema: z.object({ reservationId: z.string(), notes: z.string().nullable() }),
  personal: ["notes"],
});

/** Staff agreed to a pending reservation. */
export const Confirmed = defineEvent("reservations.Confirmed.v1", {
  category: "reservations",
  schema: reservationSchema.extend({ place: placeSchema }),
});

/** Called off; its place, claimed by this move, is free to be given back. */
export const Cancelled = defineEvent("reservations.Cancelled.v1", {
  category: "reservations",
  schema: reservationSchema.extend({
    move: z.int(),
    place: placeSchema,
    previousStatus: z.enum(["pending", "confirmed"]),
    /** After the time until which it could be cancelled freely. */
    late: z.boolean(),
    reason: z.string().optional(),
  }),
  personal: ["reason"],
});

export const Completed = defineEvent("reservations.Completed.v1", {
  category: "reservations",
  schema: reservationSchema.extend({ place: placeSchema }),
});

/** The customer did not come. */
export const NoShowRecorded = defineEvent("reservations.NoShowRecorded.v1", {
  category: "reservations",
  schema: reservationSchema.extend({ place: placeSchema }),
});

/** The customer keeps a place while deciding; takes over from an earlier hold of that definition. */
export const HoldPlaced = defineEvent("reservations.HoldPlaced.v1", {
  category: "reservations",
  schema: z.object({
    holdId: z.string(),
    definitionId: z.string(),
    title: z.string(),
    place: placeSchema,
    partySize: z.int(),
    expiresAt: z.iso.datetime(),
    replaces: z.string().nullable(),
  }),
});

export const HoldReleased = defineEvent("reservations.HoldReleased.v1", {
  category: "reservations",
  schema: z.object({ holdId: z.string(), definitionId: z.string() }),
});

/** The customer waits for a slot in a range of time. */
export const WaitlistJoined = defineEvent("reservations.WaitlistJoined.v1", {
  category: "reservations",
  schema: z.object({
    waitlistId: z.string(),
    definitionId: z.string(),
    title: z.string(),
    from: z.iso.datetime(),
    to: z.iso.datetime(),
    partySize: z.int(),
  }),
});

export const WaitlistLeft = defineEvent("reservations.WaitlistLeft.v1", {
  category: "reservations",
  schema: z.object({ waitlistId: z.string() }),
});

/** A place came free and is held for the customer. */
export const WaitlistOffered = defineEvent("reservations.WaitlistOffered.v1", {
  category: "reservations",
  schema: z.object({
    waitlistId: z.string(),
    definitionId: z.string(),
    title: z.string(),
    holdId: z.string(),
    place: placeSchema,
    partySize: z.int(),
    expiresAt: z.iso.datetime(),
  }),
});

export const reservationEvents = [
  Requested,
  Booked,
  Refused,
  MoveRequested,
  Moved,
  MoveRefused,
  NotesChanged,
  Confirmed,
  Cancelled,
  Completed,
  NoShowRecorded,
  HoldPlaced,
  HoldReleased,
  WaitlistJoined,
  WaitlistLeft,
  WaitlistOffered,
] as const;
export type ReservationsEvent = EventOf<(typeof reservationEvents)[number]>;
