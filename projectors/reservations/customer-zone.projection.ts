import type { ProfileEvent } from "#domain/profile/profile.events.js";
import type { Projection } from "#projectors/runner/projection.js";
import { type CustomerZoneDocument, customerZoneDocument, customerZoneDocumentId } from "./customer-zone.document.js";

type Consumed = Extract<ProfileEvent, { type: "profile.Registered.v1" | "profile.Updated.v1" }>;

/** Slots are shown in the customer's own zone: it comes here with the facts of the profile. */
function after(document: CustomerZoneDocument | null, { data }: { data: { timezone?: string | null | undefined } }) {
  if (data.timezone === undefined) return document;
  return data.timezone === null ? null : { timezone: data.timezone };
}

export const customerZoneProjection: Projection<CustomerZoneDocument, Consumed> = {
  definition: customerZoneDocument,
  idOf: () => customerZoneDocumentId,
  on: { "profile.Registered.v1": after, "profile.Updated.v1": after },
};
