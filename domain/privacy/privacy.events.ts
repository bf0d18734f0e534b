import { z } from "zod";
import { standingEvents } from "../core/account-standing.js";
import { CustomerErased } from "../core/customer-erased.js";
import { defineEvent, type EventOf } from "../core/event-definition.js";

export * from "../core/account-standing.js";
export { CustomerErased };

// Storage format: a shipped version is never edited, a new one is added.

const instant = z.iso.datetime({ precision: 3 });

/** The customer wants a copy of everything. */
export const ExportRequested = defineEvent("privacy.ExportRequested.v1", {
  category: "profile",
  schema: z.object({ exportId: z.string() }),
});

/** The copy lies in the object store until it expires; `object` is the last part of its key. */
export const ExportReady = defineEvent("privacy.ExportReady.v1", {
  category: "profile",
  schema: z.object({ exportId: z.string(), object: z.string(), size: z.int().nonnegative(), expiresAt: instant }),
});

/** The copy is gone from the object store. */
export const ExportExpired = defineEvent("privacy.ExportExpired.v1", {
  category: "profile",
  schema: z.object({ exportId: z.string() }),
});

const outcome = z.enum(["sent", "failed"]);
export type AnnouncementOutcome = z.infer<typeof outcome>;

/** What came of the mail that says when an erasure takes effect. */
export const ErasureAnnounced = defineEvent("privacy.ErasureAnnounced.v1", {
  category: "profile",
  schema: z.object({ effectiveAt: instant, outcome }),
});

/** What came of the mail that says that an export can be fetched. */
export const ExportAnnounced = defineEvent("privacy.ExportAnnounced.v1", {
  category: "profile",
  schema: z.object({ exportId: z.string(), expiresAt: instant, outcome }),
});

export const privacyEvents = [
  ...standingEvents,
  ErasureAnnounced,
  ExportRequested,
  ExportReady,
  ExportAnnounced,
  ExportExpired,
  CustomerErased,
] as const;
export type PrivacyEvent = EventOf<(typeof privacyEvents)[number]>;
