import type { RecordedEvent } from "#domain/core/recorded-event.js";
import type { ProfileEvent } from "#domain/profile/profile.events.js";
import { applyFields, emptyProfile, fieldsOf } from "#domain/profile/profile.policy.js";
import type { Projection } from "#projectors/runner/projection.js";
import { type ProfileDocument, profileDocument, profileDocumentId } from "./profile.document.js";

type Consumed = Exclude<ProfileEvent, { type: "profile.Reconfirmed.v1" }>;

/** A registration whose key is destroyed is not folded, so there may be no document yet; the erasure follows. */
function touched(document: ProfileDocument | null, event: RecordedEvent<Consumed>): ProfileDocument {
  const source = "source" in event.data ? event.data.source : "customer";
  return {
    version: event.revision,
    createdAt: document?.createdAt ?? event.at,
    modifiedAt: event.at,
    profile: applyFields(document?.profile ?? emptyProfile, fieldsOf(event) ?? {}, event.at, source),
  };
}

export const profileProjection: Projection<ProfileDocument, Consumed> = {
  definition: profileDocument,
  idOf: () => profileDocumentId,
  on: {
    "profile.Registered.v1": touched,
    "profile.Updated.v1": touched,
    "profile.DestinationVerified.v1": touched,
    "profile.EmailChanged.v1": touched,
  },
};
