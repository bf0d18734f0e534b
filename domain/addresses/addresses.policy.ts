import { z } from "zod";
import { type Rejection, rejection } from "../core/rejection.js";
import type { AddressFields } from "./addresses.events.js";
import { countryCodes, countryRules } from "./countries.policy.js";

/** Limits of CONTRACT §8, in Unicode code points. */
export const addressLimits = {
  addresses: 50,
  label: 60,
  name: 200,
  company: 200,
  line: 200,
  city: 120,
  region: 120,
  postalCode: 20,
  instructions: 500,
  placeId: 300,
} as const;

/** What Google's place ids are made of. */
export const placeIdPattern = /^[A-Za-z0-9_-]{1,300}$/;

/**
 * What the country's postal service misses in an address, or finds malformed.
 *
 * @returns undefined where there is nothing to find fault with
 */
export function countryFault(address: Pick<AddressFields, "country" | "region" | "postalCode">): Rejection | undefined {
  const { country, region, postalCode } = address;
  const rules = countryRules(country);
  if (!rules) throw new Error("a country that the request schema knows has rules");
  const required = rules.postalCode === "required";
  if (postalCode === undefined ? required : !rules.isPostalCode(postalCode)) {
    return rejection("refused", "POSTAL_CODE_INVALID", { country, required, example: rules.postalCodeExample });
  }
  return rules.region === "required" && region === undefined
    ? rejection("refused", "REGION_REQUIRED", { country })
    : undefined;
}

/** What an address's record shows, from the decider's state or the read model. */
export type ShownAddress = {
  readonly address: AddressFields;
  readonly isDefaultShipping: boolean;
  readonly isDefaultBilling: boolean;
};

const location = z.object({ lat: z.number(), lng: z.number() });

/** The fields that describe a place; a place found by autocomplete has these, too. */
export const postalFieldsSchema = z.object({
  line1: z.string(),
  line2: z.string().optional(),
  city: z.string(),
  region: z.string().optional(),
  postalCode: z.string().optional(),
  country: z.string().meta({ description: "ISO 3166-1 alpha-2", examples: countryCodes.slice(0, 3) }),
});

/** The payload of an address's record. */
export const addressDataSchema = postalFieldsSchema.extend({
  label: z.string().optional(),
  name: z.string().optional(),
  company: z.string().optional(),
  phone: z.string().optional().meta({ description: "E.164" }),
  instructions: z.string().optional(),
  location: location.optional(),
  placeId: z.string().optional(),
  verified: z.boolean().meta({ description: "whether a postal service has confirmed it" }),
  isDefaultShipping: z.boolean(),
  isDefaultBilling: z.boolean(),
});

/** The payload of an address's record; what is not known is absent. No service has yet been asked to verify one. */
export function addressData(shown: ShownAddress): z.infer<typeof addressDataSchema> {
  const { address, isDefaultShipping, isDefaultBilling } = shown;
  return { ...address, verified: false, isDefaultShipping, isDefaultBilling };
}
