import { isDeepStrictEqual } from "node:util";
import {
  goodStanding,
  isPrivacyFact,
  mayAct,
  type PrivacyFact,
  type Standing,
  standingAfter,
} from "../core/account-standing.js";
import { accept, type Decider, type Decision, type Placed, refuse, unreachable } from "../core/decider.js";
import { rejection } from "../core/rejection.js";
import { isNewer, type SourceRevision } from "../core/source-revision.js";
import {
  DestinationVerified,
  EmailChanged,
  type ProfileEvent,
  type ProfileFields,
  Reconfirmed,
  Registered,
  Updated,
} from "./profile.events.js";
import {
  applyFields,
  derivedName,
  emailOfClaim,
  emptyProfile,
  fieldsOf,
  type Json,
  type MarketingChannel,
  marketingChannels,
  mergedMetadata,
  normalEmail,
  type Profile,
  profileLimits,
  type ScalarField,
  scalarFields,
} from "./profile.policy.js";

export type ProfileState =
  | { readonly status: "unregistered" }
  | {
      readonly status: "active";
      readonly profile: Profile;
      /** Revision of the last event that touched the record. */
      readonly version: number;
      readonly createdAt: string;
      readonly modifiedAt: string;
      /** What the platform fed last; null when it never did. */
      readonly sourceRevision: SourceRevision | null;
      /** Whether the customer itself may change anything. */
      readonly standing: Standing;
      /** Since when address and number are what they are: an older proof of them is worth nothing. */
      readonly since: { readonly email: string; readonly phone: string };
    }
  | { readonly status: "erased" };

/** Wished values: absent = unchanged, null = clear. `marketing` and `metadata` are merged key by key. */
export type ProfileWish = {
  readonly [Field in "name" | "firstName" | "lastName" | "email" | "phone" | "language" | "timezone" | "about"]?:
    | string
    | null
    | undefined;
} & {
  readonly photo?: string | null | undefined;
  readonly marketing?: { readonly [Channel in MarketingChannel]?: boolean | null | undefined } | null | undefined;
  readonly metadata?: { readonly [key: string]: Json } | null | undefined;
};

export type ProfileCommand =
  /** The customer's first command in any area; already registered is fine, a closed account is not. */
  | {
      readonly type: "RegisterFromClaims";
      readonly claims: { readonly email?: string | undefined; readonly name?: string | undefined };
    }
  | {
      readonly type: "UpdateProfile";
      readonly wish: ProfileWish;
      /** Whether the photo wished for is an own clean picture, as far as could be seen before. */
      readonly photoUsable?: boolean;
    }
  /** The photo's file is gone. */
  | { readonly type: "LetGoOfPhoto"; readonly photo: string }
  | {
      readonly type: "IngestCustomer";
      readonly sourceRevision: SourceRevision;
      readonly wish: ProfileWish & { readonly emailVerified?: boolean | undefined };
    }
  /** A code proved that a destination is the customer's; nothing, where it is no longer the profile's. */
  | ({ readonly type: "ConfirmDestination"; readonly channel: "email" | "phone"; readonly destination: string } & Proof)
  /** A code proved an address that is to become the profile's; nothing, where the address was changed since. */
  | ({ readonly type: "ChangeEmail"; readonly email: string } & Proof);

/** The challenge that proved a destination, and when. */
export type Proof = { readonly challengeId: string; readonly provedAt: string };

/** Privacy's facts lie in the same stream: locks, and the erasure. */
type FoldedEvent = ProfileEvent | PrivacyFact;

/** One customer's account and contact data: stream `profile-<org>.<customer>`. */
export const profileDecider: Decider<ProfileState, ProfileCommand, FoldedEvent> = {
  initial: { status: "unregistered" },
  evolve,
  decide,
};

function evolve(state: ProfileState, event: Placed<FoldedEvent>): ProfileState {
  if (isPrivacyFact(event)) {
    const standing = standingAfter(state.status === "active" ? state.standing : goodStanding, event);
    if (standing.erased) return { status: "erased" };
    return state.status === "active" ? { ...state, standing } : state;
  }
  switch (event.type) {
    case "profile.Registered.v1":
    case "profile.Updated.v1":
    case "profile.DestinationVerified.v1":
    case "profile.EmailChanged.v1": {
      // A registration whose key is destroyed is not folded, so an update may come first; the erasure follows.
      const before = state.status === "active" ? state : null;
      const { at, revision } = event;
      const fields = fieldsOf(event) ?? {};
      const { source = "customer", sourceRevision = before?.sourceRevision ?? null } =
        "source" in event.data ? event.data : {};
      return {
        status: "active",
        profile: applyFields(before?.profile ?? emptyProfile, fields, at, source),
        version: revision,
        createdAt: before?.createdAt ?? at,
        modifiedAt: at,
        sourceRevision,
        since: {
          email: fields.email === undefined && before ? before.since.email : at,
          phone: fields.phone === undefined && before ? before.since.phone : at,
        },
        standing: before?.standing ?? goodStanding,
      };
    }
    case "profile.Reconfirmed.v1":
      return state.status === "active" ? { ...state, sourceRevision: event.data.sourceRevision } : state;
    default:
      return unreachable(event);
  }
}

function decide(command: ProfileCommand, state: ProfileState): Decision<ProfileEvent> {
  if (state.status === "erased") return refuse(rejection("forbidden", "ACCOUNT_LOCKED"));
  switch (command.type) {
    case "RegisterFromClaims": {
      if (state.status === "active") return accept();
      const { email, name } = command.claims;
      const { changes } = changedFields(emptyProfile, { email: email && emailOfClaim(email), name });
      return accept(Registered.create({ ...changes, source: "claims" }));
    }
    case "UpdateProfile": {
      if (state.status === "unregistered") return refuse(rejection("not-found", "CUSTOMER_NOT_FOUND"));
      if (!mayAct(state.standing)) return refuse(rejection("forbidden", "ACCOUNT_LOCKED"));
      const { profile } = state;
      const { email, photo } = command.wish;
      // Another address counts only once a code has proved it; repeating the present one is no change.
      if (email !== undefined && normalised(email) !== profile.email) {
        return refuse(rejection("refused", "EMAIL_CHANGE_NEEDS_VERIFICATION"));
      }
      if (photo && photo !== profile.photo && !command.photoUsable)
        return refuse(rejection("refused", "PHOTO_NOT_USABLE"));
      const { changes, previous } = changedFields(profile, command.wish);
      if (Object.keys(changes).length === 0) return accept();
      return within(profile, changes) ?? accept(Updated.create({ ...changes, previous, source: "customer" }));
    }
    case "LetGoOfPhoto": {
      if (state.status !== "active" || state.profile.photo !== command.photo) return accept();
      return accept(Updated.create({ photo: null, previous: { photo: command.photo }, source: "system" }));
    }
    case "IngestCustomer": {
      const { sourceRevision, wish } = command;
      if (state.status === "unregistered") {
        const { changes } = changedFields(emptyProfile, wish);
        return (
          within(emptyProfile, changes) ?? accept(Registered.create({ ...changes, source: "platform", sourceRevision }))
        );
      }
      if (!isNewer(sourceRevision, state.sourceRevision)) return accept();
      const { changes, previous } = changedFields(state.profile, wish);
      if (Object.keys(changes).length === 0) return accept(Reconfirmed.create({ sourceRevision }));
      return (
        within(state.profile, changes) ??
        accept(Updated.create({ ...changes, previous, source: "platform", sourceRevision }))
      );
    }
    case "ConfirmDestination": {
      if (state.status === "unregistered") return refuse(rejection("not-found", "CUSTOMER_NOT_FOUND"));
      if (!mayAct(state.standing)) return refuse(rejection("forbidden", "ACCOUNT_LOCKED"));
      const { channel, destination, challengeId, provedAt } = command;
      const { profile, since } = state;
      const verified = channel === "email" ? profile.emailVerified : profile.phoneVerified;
      if (verified || profile[channel] !== destination || provedAt < since[channel]) return accept();
      return accept(DestinationVerified.create({ channel, challengeId }));
    }
    case "ChangeEmail": {
      if (state.status === "unregistered") return refuse(rejection("not-found", "CUSTOMER_NOT_FOUND"));
      if (!mayAct(state.standing)) return refuse(rejection("forbidden", "ACCOUNT_LOCKED"));
      const { email, challengeId, provedAt } = command;
      const { profile, since } = state;
      if (provedAt < since.email) return accept();
      if (email !== profile.email) return accept(EmailChanged.create({ email, previous: profile.email, challengeId }));
      return profile.emailVerified ? accept() : accept(DestinationVerified.create({ channel: "email", challengeId }));
    }
    default:
      return unreachable(command);
  }
}

/** What of a wish differs from the profile, and the values it had before. */
function changedFields(profile: Profile, wish: ProfileWish & { emailVerified?: boolean | undefined }) {
  // A default stands in for what is absent; a null stays and clears.
  const { firstName = profile.firstName, lastName = profile.lastName, about = profile.about } = wish;
  const { language = profile.language, timezone = profile.timezone, photo = profile.photo } = wish;
  const { phone = profile.phone } = wish;
  const email = wish.email === undefined ? profile.email : normalised(wish.email);
  // Proof belongs to the exact destination: another address or number starts unverified.
  const emailVerified = email !== null && (wish.emailVerified ?? (email === profile.email && profile.emailVerified));
  const phoneVerified = phone === profile.phone && profile.phoneVerified;
  const name = wishedName(profile, wish);
  const wished: Pick<Profile, ScalarField> = {
    ...{ name, firstName, lastName, email, phone, language, timezone, about, photo },
    ...{ emailVerified, phoneVerified },
  };
  const differing = scalarFields.filter((field) => wished[field] !== profile[field]);
  const changes: ProfileFields = Object.fromEntries(differing.map((field) => [field, wished[field]]));
  const previous: ProfileFields = Object.fromEntries(differing.map((field) => [field, profile[field]]));

  const marketing = changedMarketing(profile, wish.marketing);
  if (Object.keys(marketing.to).length > 0) {
    changes.marketing = marketing.to;
    previous.marketing = marketing.from;
  }
  const metadata = changedMetadata(profile, wish.metadata);
  if (Object.keys(metadata.to).length > 0) {
    changes.metadata = metadata.to;
    previous.metadata = metadata.from;
  }
  return { changes, previous };
}

/**
 * Parts given make the name, whatever name comes with them: only so is the same wish twice the same as once.
 * Otherwise it is the name wished for, and where that is cleared, what the parts make.
 */
function wishedName(profile: Profile, wish: ProfileWish): string | null {
  const { firstName = profile.firstName, lastName = profile.lastName } = wish;
  const derived = derivedName(firstName, lastName);
  if (wish.firstName === undefined && wish.lastName === undefined) {
    return wish.name === undefined ? profile.name : (wish.name ?? derived);
  }
  if (derived !== null) return derived;
  if (wish.name !== undefined) return wish.name;
  return profile.name === derivedName(profile.firstName, profile.lastName) ? null : profile.name;
}

function changedMarketing(profile: Profile, wish: ProfileWish["marketing"]) {
  const to: Partial<Record<MarketingChannel, boolean>> = {};
  const from: Partial<Record<MarketingChannel, boolean>> = {};
  if (wish === undefined) return { to, from };
  for (const channel of marketingChannels) {
    const wished = wish === null ? null : wish[channel];
    const present = profile.marketing[channel]?.given ?? false;
    if (wished === undefined || (wished ?? false) === present) continue;
    to[channel] = wished ?? false;
    from[channel] = present;
  }
  return { to, from };
}

function changedMetadata(profile: Profile, wish: ProfileWish["metadata"]) {
  const to: Record<string, Json> = {};
  const from: Record<string, Json> = {};
  if (wish === undefined) return { to, from };
  const wished = wish ?? Object.fromEntries(Object.keys(profile.metadata).map((key) => [key, null]));
  for (const [key, value] of Object.entries(wished)) {
    const present = profile.metadata[key] ?? null;
    if (isDeepStrictEqual(value, present)) continue;
    to[key] = value;
    from[key] = present;
  }
  return { to, from };
}

/** Refuses changes that would make the metadata too large; they are merged, so no single request shows it. */
function within(profile: Profile, changes: ProfileFields): Decision<never> | undefined {
  if (!changes.metadata) return undefined;
  const size = Buffer.byteLength(JSON.stringify(mergedMetadata(profile.metadata, changes.metadata)));
  if (size <= profileLimits.metadata) return undefined;
  return refuse(rejection("refused", "METADATA_TOO_LARGE", { limitBytes: profileLimits.metadata }));
}

function normalised(email: string | null): string | null {
  return email === null ? null : normalEmail(email);
}
