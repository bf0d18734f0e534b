import { z } from "zod";
import { defineEvent, type EventOf } from "../core/event-definition.js";

// Storage format: a shipped version is never edited, a new one is added.

const addressSchema = z.object({
  label: z.string().optional(),
  name: z.string().optional(),
  company: z.string().optional(),
  line1: z.string(),
  line2: z.string().optional(),
  city: z.string(),
  region: z.string().optional(),
  postalCode: z.string().optional(),
  country: z.string(),
  phone: z.string().optional(),
  instructions: z.string().optional(),
  location: z.object({ lat: z.number(), lng: z.number() }).optional(),
  placeId: z.string().optional(),
});

/** An address as it is stored; what is not known is absent. */
export type AddressFields = z.infer<typeof addressSchema>;

const changesSchema = addressSchema
  .extend({
    label: z.string().nullish(),
    name: z.string().nullish(),
    company: z.string().nullish(),
    line2: z.string().nullish(),
    region: z.string().nullish(),
    postalCode: z.string().nullish(),
    phone: z.string().nullish(),
    instructions: z.string().nullish(),
    location: z.object({ lat: z.number(), lng: z.number() }).nullish(),
    placeId: z.string().nullish(),
  })
  .partial();

/** Changes of an address as they are stored: absent where unchanged, null where cleared. */
export type AddressChanges = z.infer<typeof changesSchema>;

/** An address came into the address book. */
export const Added = defineEvent("addresses.Added.v1", {
  category: "addresses",
  schema: z.object({
    addressId: z.string(),
    address: addressSchema,
    isDefaultShipping: z.boolean(),
    isDefaultBilling: z.boolean(),
  }),
  personal: ["address"],
});

/** Fields of an address changed; only those that did. */
export const Changed = defineEvent("addresses.Changed.v1", {
  category: "addresses",
  schema: z.object({ addressId: z.string(), changes: changesSchema }),
  personal: ["changes"],
});

/**
 * An address became a default, or ceased to be one. Where a default moves there are two of these, one per record, the
 * one that gives it first: no reader between the two finds none.
 */
export const DefaultChanged = defineEvent("addresses.DefaultChanged.v1", {
  category: "addresses",
  schema: z.object({
    addressId: z.string(),
    isDefaultShipping: z.boolean().optional(),
    isDefaultBilling: z.boolean().optional(),
  }),
});

/** An address left the address book. Its id is known for ever: removing it again is fine, changing it is not. */
export const Removed = defineEvent("addresses.Removed.v1", {
  category: "addresses",
  schema: z.object({ addressId: z.string() }),
});

export const addressEvents = [Added, Changed, DefaultChanged, Removed] as const;
export type AddressEvent = EventOf<(typeof addressEvents)[number]>;
