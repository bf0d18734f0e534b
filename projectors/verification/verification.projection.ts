import type { RecordedEvent } from "#domain/core/recorded-event.js";
import type { ProfileEvent, ProfileFields } from "#domain/profile/profile.events.js";
import { fieldsOf } from "#domain/profile/profile.policy.js";
import type { VerificationEvent } from "#domain/verification/verification.events.js";
import { emptyLedger, entered } from "#domain/verification/verification.policy.js";
import type { Projection } from "#projectors/runner/projection.js";
import {
  type ChannelStatus,
  type VerificationDocument,
  verificationDocument,
  verificationDocumentId,
} from "./verification.document.js";

type OfProfile = Exclude<ProfileEvent, { type: "profile.Reconfirmed.v1" }>;
type Consumed = OfProfile | VerificationEvent;

const nothing: ChannelStatus = { destination: null, verified: false, verifiedAt: null, ledger: emptyLedger };
const empty: VerificationDocument = { email: nothing, phone: nothing };

/** Proof belongs to the profile: it says which destination is the customer's, and whether that one is proved. */
function ofProfile(document: VerificationDocument | null, event: RecordedEvent<OfProfile>): VerificationDocument {
  const { email, phone } = document ?? empty;
  const fields: ProfileFields = fieldsOf(event) ?? {};
  return {
    email: reached(email, fields.email, fields.emailVerified, event.at),
    phone: reached(phone, fields.phone, fields.phoneVerified, event.at),
  };
}

/** A destination after changes of the profile; absent means unchanged. */
function reached(
  before: ChannelStatus,
  destination: string | null | undefined,
  verified: boolean | undefined,
  at: string,
): ChannelStatus {
  if (destination === undefined && verified === undefined) return before;
  const isVerified = verified ?? before.verified;
  return {
    ...before,
    ...(destination === undefined ? {} : { destination }),
    verified: isVerified,
    verifiedAt: isVerified ? (verified === undefined ? before.verifiedAt : at) : null,
  };
}

function ofChannel(document: VerificationDocument | null, event: RecordedEvent<VerificationEvent>) {
  const { channel } = event.data;
  const before = document ?? empty;
  // `idOf` lets no other through.
  if (channel === "email-change") return before;
  const status = before[channel];
  return { ...before, [channel]: { ...status, ledger: entered(status.ledger, event) } };
}

export const verificationProjection: Projection<VerificationDocument, Consumed> = {
  definition: verificationDocument,
  // The change of an address is no business of the present one.
  idOf: (event) => ("channel" in event.data && event.data.channel === "email-change" ? null : verificationDocumentId),
  on: {
    "profile.Registered.v1": ofProfile,
    "profile.Updated.v1": ofProfile,
    "profile.DestinationVerified.v1": ofProfile,
    "profile.EmailChanged.v1": ofProfile,
    "verification.Requested.v1": ofChannel,
    "verification.Sent.v1": ofChannel,
    "verification.SendFailed.v1": ofChannel,
    "verification.AttemptFailed.v1": ofChannel,
    "verification.Verified.v1": ofChannel,
    "verification.Voided.v1": ofChannel,
    "verification.NoticeRequested.v1": ofChannel,
    "verification.NoticeSettled.v1": ofChannel,
  },
};
