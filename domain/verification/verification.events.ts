import { z } from "zod";
import { defineEvent, type EventOf } from "../core/event-definition.js";

// Storage format: a shipped version is never edited, a new one is added. No event ever carries a code.

/** What is proved: the profile's address, its number, or an address that is to become the profile's. */
export const channelSchema = z.enum(["email", "phone", "email-change"]);

const challengeSchema = z.object({ channel: channelSchema, challengeId: z.string() });

/** Which message of a challenge: the first is 1, each resend one more. */
const sendSchema = challengeSchema.extend({ send: z.int() });

/**
 * A code is to be sent. The first send begins the challenge; later ones within its life send the same code.
 * `informs` is the address the customer has until now, where a change of it is to be told there.
 */
export const Requested = defineEvent("verification.Requested.v1", {
  category: "verification",
  schema: sendSchema.extend({ destination: z.string(), informs: z.string().optional(), expiresAt: z.string() }),
  personal: ["destination", "informs"],
});

/** The provider has taken the message. */
export const Sent = defineEvent("verification.Sent.v1", { category: "verification", schema: sendSchema });

/** The message will not be sent; it does not count as one. */
export const SendFailed = defineEvent("verification.SendFailed.v1", {
  category: "verification",
  schema: sendSchema.extend({
    reason: z.enum(["recipient-refused", "provider-fault", "not-configured", "too-late"]),
  }),
});

/** A wrong code was entered; stored before the verdict leaves. */
export const AttemptFailed = defineEvent("verification.AttemptFailed.v1", {
  category: "verification",
  schema: challengeSchema,
});

/** The right code was entered: the destination is the customer's. */
export const Verified = defineEvent("verification.Verified.v1", {
  category: "verification",
  schema: challengeSchema.extend({ destination: z.string() }),
  personal: ["destination"],
});

/** The challenge is void: another destination took the place of its own. */
export const Voided = defineEvent("verification.Voided.v1", { category: "verification", schema: challengeSchema });

/** The address that a customer has until now is to be told that it may change; `about` is the new one, masked. */
export const NoticeRequested = defineEvent("verification.NoticeRequested.v1", {
  category: "verification",
  schema: challengeSchema.extend({ destination: z.string(), about: z.string() }),
  personal: ["destination", "about"],
});

/** What came of the notice. */
export const NoticeSettled = defineEvent("verification.NoticeSettled.v1", {
  category: "verification",
  schema: challengeSchema.extend({ outcome: z.enum(["sent", "failed"]) }),
});

export const verificationEvents = [
  Requested,
  Sent,
  SendFailed,
  AttemptFailed,
  Verified,
  Voided,
  NoticeRequested,
  NoticeSettled,
] as const;
export type VerificationEvent = EventOf<(typeof verificationEvents)[number]>;
export type SendFailureReason = EventOf<typeof SendFailed>["data"]["reason"];
