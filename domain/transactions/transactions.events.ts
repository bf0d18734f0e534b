import { z } from "zod";
import { defineEvent, type EventOf } from "../core/event-definition.js";
import { currencySchema, minorSchema } from "../core/money.js";
import { sourceRevisionSchema } from "../core/source-revision.js";

// Storage format: a shipped version is never edited, a new one is added.

export const transactionStatuses = ["pending", "held", "completed", "failed", "refunded", "cancelled"] as const;
export type TransactionStatus = (typeof transactionStatuses)[number];

export const transactionTypes = [
  "earning",
  "tip",
  "bonus",
  "commission",
  "referral",
  "refund",
  "adjustment",
  "payment",
  "payout",
] as const;
export type TransactionType = (typeof transactionTypes)[number];

const instant = z.iso.datetime({ precision: 3 });

/** What of an entry moves a wallet. */
const entry = z.object({
  status: z.enum(transactionStatuses),
  direction: z.enum(["credit", "debit"]),
  amountMinor: minorSchema.min(0),
  currency: currencySchema,
});
export type LedgerEntry = z.infer<typeof entry>;

const optionalDetails = z.object({
  reference: z.string().optional(),
  /** Free text, so it may name somebody. */
  description: z.string().optional(),
  paymentMethod: z
    .object({
      pk: z.string().optional(),
      type: z.string(),
      brand: z.string().optional(),
      last4: z.string().optional(),
    })
    .optional(),
  orderId: z.string().optional(),
  /** Balance after this entry by the platform's own reckoning, negative when overdrawn. */
  runningBalanceMinor: minorSchema.optional(),
  failureReason: z.string().optional(),
});

const details = optionalDetails.extend({ type: z.enum(transactionTypes), createdAt: instant });
export type TransactionDetails = z.infer<typeof details>;

// The ledger outlives an erasure under a pseudonym. What it refers to is kept under the second key, because books must
// be traceable to their vouchers; `domain/privacy/privacy.policy.ts` lists it. The rest goes with the person.
const person = {
  personal: ["description", "paymentMethod", "failureReason"],
  kept: ["reference"],
  outlivesErasure: true,
} as const;

/** The platform told us of a ledger entry for the first time, in whatever status it then was. */
export const TransactionRecorded = defineEvent("transactions.Recorded.v1", {
  category: "transaction",
  schema: z.object({ sourceRevision: sourceRevisionSchema, ...entry.shape, ...details.shape }),
  ...person,
});

/**
 * An entry moved on or was corrected: what moves a wallet stands here whole, before and after, so that a balance can
 * be moved without looking elsewhere; of the rest only what changed, null where it was cleared.
 */
export const TransactionChanged = defineEvent("transactions.Changed.v1", {
  category: "transaction",
  schema: z.object({
    sourceRevision: sourceRevisionSchema,
    previous: entry,
    ...entry.shape,
    type: details.shape.type.optional(),
    createdAt: details.shape.createdAt.optional(),
    reference: z.string().nullish(),
    description: z.string().nullish(),
    paymentMethod: optionalDetails.shape.paymentMethod.nullable(),
    orderId: z.string().nullish(),
    runningBalanceMinor: minorSchema.nullish(),
    failureReason: z.string().nullish(),
  }),
  ...person,
});

/** A newer revision said nothing new. Kept, because what lies between the two revisions must then come too late. */
export const TransactionReconfirmed = defineEvent("transactions.Reconfirmed.v1", {
  category: "transaction",
  schema: z.object({ sourceRevision: sourceRevisionSchema }),
});

export const transactionEvents = [TransactionRecorded, TransactionChanged, TransactionReconfirmed] as const;
export type TransactionEvent = EventOf<(typeof transactionEvents)[number]>;
