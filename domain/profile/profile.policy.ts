import { z } from "zod";
import { unreachable } from "../core/decider.js";
import type { ProfileEvent, ProfileFields } from "./profile.events.js";

/** Limits of CONTRACT §4, in Unicode code points unless said otherwise. */
export const profileLimits = {
  name: 200,
  namePart: 100,
  email: 254,
  about: 2000,
  /** Bytes of the JSON text. */
  metadata: 4096,
} as const;

/**
 * The name that first and last name make, cut to the limit of a name.
 *
 * @returns null when both are missing or empty
 */
export function derivedName(firstName: string | null, lastName: string | null): string | null {
  const name = [firstName, lastName].filter((part) => part).join(" ");
  return name === "" ? null : [...name].slice(0, profileLimits.name).join("");
}

/** The e-mail address of a token's claim; null for something else that an identity provider puts there. */
export function emailOfClaim(claim: string): string | null {
  return /^[^\s@]+@[^\s@]+$/.test(claim) ? normalEmail(claim) : null;
}

/** An e-mail address with its domain in lower case; the part before the `@` is the mail host's business. */
export function normalEmail(address: string): string {
  const at = address.lastIndexOf("@");
  return address.slice(0, at) + address.slice(at).toLowerCase();
}

/** A JSON value. */
export type Json = string | number | boolean | null | Json[] | { [key: string]: Json };

export const marketingChannels = ["email", "sms", "push"] as const;
export type MarketingChannel = (typeof marketingChannels)[number];

/** Consent to marketing on one channel, with the time and source of its last change. */
export type Consent = { readonly given: boolean; readonly at: string; readonly source: string };

/** A customer's contact data; null where not known, a consent null where it was never given or taken back. */
export type Profile = {
  readonly name: string | null;
  readonly firstName: string | null;
  readonly lastName: string | null;
  readonly email: string | null;
  readonly phone: string | null;
  readonly language: string | null;
  readonly timezone: string | null;
  readonly about: string | null;
  readonly photo: string | null;
  readonly emailVerified: boolean;
  readonly phoneVerified: boolean;
  readonly marketing: Readonly<Record<MarketingChannel, Consent | null>>;
  readonly metadata: Readonly<Record<string, Json>>;
};

export type ScalarField = Exclude<keyof Profile, "marketing" | "metadata">;

/** A profile that nobody has filled in. */
export const emptyProfile: Profile = {
  name: null,
  firstName: null,
  lastName: null,
  email: null,
  phone: null,
  language: null,
  timezone: null,
  about: null,
  photo: null,
  emailVerified: false,
  phoneVerified: false,
  marketing: { email: null, sms: null, push: null },
  metadata: {},
};

/** The fields that are replaced as a whole; `marketing` and `metadata` are merged key by key. */
export const scalarFields = Object.keys(emptyProfile).filter(
  (field): field is ScalarField => field !== "marketing" && field !== "metadata",
);

/**
 * The profile with stored changes applied; decider and read model share it, so they cannot disagree.
 *
 * @param at when the changes happened, kept for each consent they touch
 * @param source where they came from, likewise
 */
export function applyFields(profile: Profile, changes: ProfileFields, at: string, source: string): Profile {
  const changed: { -readonly [Field in keyof Profile]?: unknown } = {};
  for (const field of scalarFields) if (changes[field] !== undefined) changed[field] = changes[field];
  if (changes.marketing) {
    const consents = { ...profile.marketing };
    for (const channel of marketingChannels) {
      const given = changes.marketing[channel];
      if (given !== undefined) consents[channel] = { given, at, source };
    }
    changed.marketing = consents;
  }
  if (changes.metadata) changed.metadata = mergedMetadata(profile.metadata, changes.metadata);
  return { ...profile, ...changed } as Profile;
}

/** The fields that an event of the record sets; null for one that does not touch it. */
export function fieldsOf(event: ProfileEvent): ProfileFields | null {
  switch (event.type) {
    case "profile.Registered.v1":
    case "profile.Updated.v1":
      return event.data;
    case "profile.DestinationVerified.v1":
      return event.data.channel === "email" ? { emailVerified: true } : { phoneVerified: true };
    case "profile.EmailChanged.v1":
      return { email: event.data.email, emailVerified: true };
    case "profile.Reconfirmed.v1":
      return null;
    default:
      return unreachable(event);
  }
}

/** Metadata with changes merged in; a null removes its key. */
export function mergedMetadata(metadata: Profile["metadata"], changes: Profile["metadata"]): Record<string, Json> {
  const entries = Object.entries({ ...metadata, ...changes });
  return Object.fromEntries(entries.filter(([, value]) => value !== null));
}

const text = z.string().nullable();

/** The payload of a profile's record. */
export const profileDataSchema = z.object({
  name: text,
  firstName: text,
  lastName: text,
  email: text,
  phone: text.meta({ description: "E.164" }),
  language: text.meta({ description: "BCP 47" }),
  timezone: text.meta({ description: "IANA" }),
  about: text,
  photo: text.meta({ description: "pk of an own image file" }),
  photoUrl: z.url().optional().meta({ description: "signed link to the photo; needs no token" }),
  thumbnailUrl: z.url().optional().meta({ description: "the same in small, as WebP" }),
  emailVerified: z.boolean(),
  phoneVerified: z.boolean(),
  marketing: z.object({ email: z.boolean(), sms: z.boolean(), push: z.boolean() }),
  metadata: z.record(z.string(), z.unknown()),
});

/** Signed links to a profile's photo, where it has one. */
export type PhotoLinks = { readonly photoUrl?: string; readonly thumbnailUrl?: string };

/** The payload of a profile's record; consents without their history. */
export function profileData(profile: Profile, links: PhotoLinks = {}): z.infer<typeof profileDataSchema> {
  const { email, sms, push } = profile.marketing;
  return {
    ...profile,
    ...links,
    marketing: { email: email?.given ?? false, sms: sms?.given ?? false, push: push?.given ?? false },
  };
}
