import { z } from "zod";
import { defineEvent, type EventOf } from "../core/event-definition.js";

// Storage format: a shipped version is never edited, a new one is added. The stream is the org's own, so nothing in
// it may be personal: the address stands only as an HMAC, in the stream's name.

/** An address belongs to this customer's account. */
export const EmailClaimed = defineEvent("profile.EmailClaimed.v1", {
  category: "emailClaim",
  schema: z.object({ customer: z.string() }),
});

/** The account has another address now, or none: whoever comes next may have this one. */
export const EmailReleased = defineEvent("profile.EmailReleased.v1", {
  category: "emailClaim",
  schema: z.object({ customer: z.string() }),
});

export const emailClaimEvents = [EmailClaimed, EmailReleased] as const;
export type EmailClaimEvent = EventOf<(typeof emailClaimEvents)[number]>;
