import { z } from "zod";
import { kept } from "./opening-hours.js";
import { isWaiting, type WaitlistEntry } from "./reservations.policy.js";

/** What a customer sees of a place in a waitlist. */
export const waitlistDataSchema = z.object({
  waitlistId: z.string(),
  definitionId: z.string(),
  title: z.string(),
  from: z.iso.datetime(),
  to: z.iso.datetime(),
  partySize: z.int(),
  status: z.enum(["waiting", "offered", "fulfilled", "expired"]),
  joinedAt: z.iso.datetime(),
  /** The place held for the customer; to be booked with this hold. */
  offer: z
    .object({
      holdId: z.string(),
      expiresAt: z.iso.datetime(),
      slot: z.object({ start: z.iso.datetime(), end: z.iso.datetime() }),
      timezone: z.string(),
      resource: z.object({ id: z.string(), name: z.string() }),
    })
    .optional(),
  reservationId: z.string().optional(),
});

/** The payload of an entry; whether it waits, or has an offer, is a matter of the time. */
export function waitlistData(entry: WaitlistEntry, now: number): z.infer<typeof waitlistDataSchema> {
  const { waitlistId, definitionId, title, from, to, partySize, joinedAt, offer, fulfilledBy } = entry;
  const status = statusOf(entry, now);
  return {
    ...{ waitlistId, definitionId, title, from, to, partySize, status, joinedAt },
    ...(status === "offered" && offer
      ? {
          offer: {
            holdId: offer.holdId,
            expiresAt: offer.expiresAt,
            slot: slotOf(offer.place.slot),
            timezone: offer.place.slot.timezone,
            resource: { id: offer.place.resourceId, name: offer.place.resourceName },
          },
        }
      : {}),
    ...(fulfilledBy === null ? {} : { reservationId: fulfilledBy }),
  };
}

function statusOf(entry: WaitlistEntry, now: number): "waiting" | "offered" | "fulfilled" | "expired" {
  if (entry.fulfilledBy !== null) return "fulfilled";
  if (isWaiting(entry, now)) return "waiting";
  return entry.offer && Date.parse(entry.offer.expiresAt) > now ? "offered" : "expired";
}

function slotOf(slot: Parameters<typeof kept>[0]): { start: string; end: string } {
  const { start, end } = kept(slot);
  return { start: new Date(start).toISOString(), end: new Date(end).toISOString() };
}
