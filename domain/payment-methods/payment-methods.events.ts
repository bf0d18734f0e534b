import { z } from "zod";
import { defineEvent, type EventOf } from "../core/event-definition.js";

// Storage format: a shipped version is never edited, a new one is added.

export const paymentProviders = ["stripe", "paypal"] as const;
export type PaymentProviderName = (typeof paymentProviders)[number];

const provider = z.enum(paymentProviders);

/** What a provider says of a saved way to pay. */
const details = z.object({
  providerMethodId: z.string(),
  providerCustomerId: z.string().nullable(),
  type: z.string(),
  brand: z.string().optional(),
  last4: z.string().optional(),
  expMonth: z.int().optional(),
  expYear: z.int().optional(),
  funding: z.string().optional(),
  country: z.string().optional(),
  fingerprint: z.string().optional(),
  holderName: z.string().optional(),
  email: z.string().optional(),
});
export type MethodDetails = z.infer<typeof details>;

const personalDetails = [
  "providerMethodId",
  "providerCustomerId",
  "last4",
  "fingerprint",
  "holderName",
  "email",
] as const;

/** The customer wants a way to pay saved: the intent, before the provider is asked. `token` is what its page gave. */
export const AttachRequested = defineEvent("payment-methods.AttachRequested.v1", {
  category: "paymentMethods",
  schema: z.object({
    id: z.string(),
    provider,
    token: z.string(),
    setAsDefault: z.boolean(),
    label: z.string().optional(),
  }),
  personal: ["token", "label"],
});

/** The provider has a customer of its own for ours. */
export const CustomerAssigned = defineEvent("payment-methods.CustomerAssigned.v1", {
  category: "paymentMethods",
  schema: z.object({ provider, providerCustomerId: z.string() }),
  personal: ["providerCustomerId"],
});

/** The provider's customer was removed at the provider; the next one is another. */
export const CustomerLost = defineEvent("payment-methods.CustomerLost.v1", {
  category: "paymentMethods",
  schema: z.object({ provider }),
});

/** It can be paid with: as requested here, or, without a request, as the provider reports it. */
export const Attached = defineEvent("payment-methods.Attached.v1", {
  category: "paymentMethods",
  schema: details.extend({ id: z.string(), provider }),
  personal: personalDetails,
});

/**
 * What was to be attached is there already, as `into`. `letGo`: the provider made another object of it, which is to be
 * detached.
 */
export const AttachMerged = defineEvent("payment-methods.AttachMerged.v1", {
  category: "paymentMethods",
  schema: z.object({
    id: z.string(),
    provider,
    into: z.string(),
    providerMethodId: z.string(),
    letGo: z.boolean(),
  }),
  personal: ["providerMethodId"],
});

/** It was not attached; `failureCode` is ours. A `providerMethodId` was attached nevertheless and is to be detached. */
export const AttachFailed = defineEvent("payment-methods.AttachFailed.v1", {
  category: "paymentMethods",
  schema: z.object({
    id: z.string(),
    failureCode: z.string(),
    declineCode: z.string().optional(),
    providerMethodId: z.string().optional(),
  }),
  personal: ["providerMethodId"],
});

/** The bank renewed the card, or it was entered again: what the provider says of it now. */
export const Refreshed = defineEvent("payment-methods.Refreshed.v1", {
  category: "paymentMethods",
  schema: details.extend({ id: z.string() }),
  personal: personalDetails,
});

/** A method became the default one, or stopped being it. A default that is removed stops by that. */
export const DefaultChanged = defineEvent("payment-methods.DefaultChanged.v1", {
  category: "paymentMethods",
  schema: z.object({ id: z.string(), isDefault: z.boolean() }),
});

/** Gone for the customer. `letGo`: the provider still has it, and is to detach it. */
export const Removed = defineEvent("payment-methods.Removed.v1", {
  category: "paymentMethods",
  schema: z.object({ id: z.string(), by: z.enum(["customer", "provider"]), letGo: z.boolean() }),
});

/** The provider has let go of an object that a removal, a merger or a failure left with it. */
export const Detached = defineEvent("payment-methods.Detached.v1", {
  category: "paymentMethods",
  schema: z.object({ id: z.string() }),
});

/** The card expires soon. */
export const Expiring = defineEvent("payment-methods.Expiring.v1", {
  category: "paymentMethods",
  schema: z.object({ id: z.string(), expMonth: z.int(), expYear: z.int() }),
});

/** The card has expired. */
export const Expired = defineEvent("payment-methods.Expired.v1", {
  category: "paymentMethods",
  schema: z.object({ id: z.string(), expMonth: z.int(), expYear: z.int() }),
});

export const paymentMethodEvents = [
  AttachRequested,
  CustomerAssigned,
  CustomerLost,
  Attached,
  AttachMerged,
  AttachFailed,
  Refreshed,
  DefaultChanged,
  Removed,
  Detached,
  Expiring,
  Expired,
] as const;
export type PaymentMethodEvent = EventOf<(typeof paymentMethodEvents)[number]>;
