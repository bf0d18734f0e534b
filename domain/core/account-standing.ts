import { z } from "zod";
import { CustomerErased } from "./customer-erased.js";
import type { DomainEvent, Placed } from "./decider.js";
import { defineEvent, type EventOf } from "./event-definition.js";

// Storage format: a shipped version is never edited, a new one is added.
// These facts stand in the core, like the erasure itself, because whoever folds the profile stream obeys them.

/** Why staff locks an account; a closed list, so that nothing about the person is written here. */
export const lockReasons = ["abuse", "dispute", "fraud", "security", "other"] as const;
export type LockReason = (typeof lockReasons)[number];

/** What has to be settled before a person may go. */
export const obligations = ["unfinished-order", "positive-wallet"] as const;
export type Obligation = (typeof obligations)[number];

const instant = z.iso.datetime({ precision: 3 });

/** Staff locked the account: no command of the customer passes. Again with another reason: that one counts. */
export const AccountLocked = defineEvent("privacy.AccountLocked.v1", {
  category: "profile",
  schema: z.object({ reason: z.enum(lockReasons) }),
});

/** Staff opened the account again. */
export const AccountUnlocked = defineEvent("privacy.AccountUnlocked.v1", {
  category: "profile",
  schema: z.object({}),
});

/** The customer wants to be erased; until then the account is locked, and the wish can be taken back. */
export const ErasureRequested = defineEvent("privacy.ErasureRequested.v1", {
  category: "profile",
  schema: z.object({ effectiveAt: instant }),
});

/** When the erasure was to take effect something was still open: it is looked at again later. */
export const ErasurePostponed = defineEvent("privacy.ErasurePostponed.v1", {
  category: "profile",
  schema: z.object({ effectiveAt: instant, obligations: z.array(z.enum(obligations)) }),
});

/** The customer stays. */
export const ErasureCancelled = defineEvent("privacy.ErasureCancelled.v1", {
  category: "profile",
  schema: z.object({}),
});

/** The point of no return: from here on things outside are let go of, and `CustomerErased` follows. */
export const ErasureBegun = defineEvent("privacy.ErasureBegun.v1", {
  category: "profile",
  schema: z.object({}),
});

export const standingEvents = [
  AccountLocked,
  AccountUnlocked,
  ErasureRequested,
  ErasurePostponed,
  ErasureCancelled,
  ErasureBegun,
] as const;

/** A fact of privacy in the profile stream, where the profile's own facts lie too. */
export type PrivacyFact = DomainEvent<`privacy.${string}`>;

/** Whether a fact of the profile stream is privacy's. */
export function isPrivacyFact<Event extends DomainEvent>(event: Event): event is Extract<Event, PrivacyFact> {
  return event.type.startsWith("privacy.");
}

/** Whether, and why, a customer may not act. */
export type Standing = {
  readonly lock: { readonly reason: LockReason; readonly since: string } | null;
  readonly erasure: {
    readonly requestedAt: string;
    readonly effectiveAt: string;
    /** It can no longer be taken back. */
    readonly begun: boolean;
  } | null;
  readonly erased: boolean;
};

/** Nothing stands against the customer. */
export const goodStanding: Standing = { lock: null, erasure: null, erased: false };

/** Whether the customer may change anything: not locked, no erasure pending, not erased. */
export function mayAct({ lock, erasure, erased }: Standing): boolean {
  return lock === null && erasure === null && !erased;
}

/** The standing after a fact of the profile stream; the same object when that says nothing about it. */
export function standingAfter(standing: Standing, fact: Placed<DomainEvent>): Standing {
  const event = fact as Placed<EventOf<(typeof standingEvents)[number] | typeof CustomerErased>>;
  switch (event.type) {
    case "privacy.AccountLocked.v1":
      return { ...standing, lock: { reason: event.data.reason, since: event.at } };
    case "privacy.AccountUnlocked.v1":
      return { ...standing, lock: null };
    case "privacy.ErasureRequested.v1":
      return {
        ...standing,
        erasure: { requestedAt: event.at, effectiveAt: event.data.effectiveAt, begun: false },
      };
    case "privacy.ErasurePostponed.v1":
      return { ...standing, erasure: standing.erasure && { ...standing.erasure, effectiveAt: event.data.effectiveAt } };
    case "privacy.ErasureCancelled.v1":
      return { ...standing, erasure: null };
    case "privacy.ErasureBegun.v1":
      return { ...standing, erasure: standing.erasure && { ...standing.erasure, begun: true } };
    case "privacy.CustomerErased.v1":
      return { ...standing, erasure: null, erased: true };
    default:
      return standing;
  }
}
