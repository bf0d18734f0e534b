import { z } from "zod";
import { defineEvent, type EventOf } from "../core/event-definition.js";
import { sourceRevisionSchema } from "../core/source-revision.js";

// Storage format: a shipped version is never edited, a new one is added.

const marketingSchema = z.object({
  email: z.boolean().optional(),
  sms: z.boolean().optional(),
  push: z.boolean().optional(),
});

/** Values of profile fields, absent where unchanged and null where cleared. A null inside `metadata` removes its key. */
const fieldsSchema = z.object({
  name: z.string().nullish(),
  firstName: z.string().nullish(),
  lastName: z.string().nullish(),
  email: z.string().nullish(),
  phone: z.string().nullish(),
  language: z.string().nullish(),
  timezone: z.string().nullish(),
  about: z.string().nullish(),
  photo: z.string().nullish(),
  emailVerified: z.boolean().optional(),
  phoneVerified: z.boolean().optional(),
  marketing: marketingSchema.optional(),
  metadata: z.record(z.string(), z.json()).optional(),
});

/** Changes of profile fields as they are stored. */
export type ProfileFields = z.infer<typeof fieldsSchema>;

const personalFields = ["name", "firstName", "lastName", "email", "phone", "about", "photo", "metadata"] as const;

/** A customer came to be: by the first command of a verified token, or fed by the platform. */
export const Registered = defineEvent("profile.Registered.v1", {
  category: "profile",
  schema: fieldsSchema.extend({
    source: z.enum(["claims", "platform"]),
    sourceRevision: sourceRevisionSchema.optional(),
  }),
  personal: personalFields,
});

/** Profile fields changed; only those that did, with their values before. */
export const Updated = defineEvent("profile.Updated.v1", {
  category: "profile",
  schema: fieldsSchema.extend({
    source: z.enum(["customer", "platform", "system"]),
    sourceRevision: sourceRevisionSchema.optional(),
    previous: fieldsSchema,
  }),
  personal: [...personalFields, "previous"],
});

/**
 * A newer message of the platform said nothing new. Kept, because an older one that comes late must still be refused.
 * It does not touch the record.
 */
export const Reconfirmed = defineEvent("profile.Reconfirmed.v1", {
  category: "profile",
  schema: z.object({ sourceRevision: sourceRevisionSchema }),
});

/** A code proved that the profile's present address or number is the customer's. */
export const DestinationVerified = defineEvent("profile.DestinationVerified.v1", {
  category: "profile",
  schema: z.object({ channel: z.enum(["email", "phone"]), challengeId: z.string() }),
});

/** Another address, which a code had proved before, became the profile's; it is verified. */
export const EmailChanged = defineEvent("profile.EmailChanged.v1", {
  category: "profile",
  schema: z.object({ email: z.string(), previous: z.string().nullable(), challengeId: z.string() }),
  personal: ["email", "previous"],
});

export const profileEvents = [Registered, Updated, Reconfirmed, DestinationVerified, EmailChanged] as const;
export type ProfileEvent = EventOf<(typeof profileEvents)[number]>;
