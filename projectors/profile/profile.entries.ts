import type { RecordedEvent } from "#domain/core/recorded-event.js";
import { lastPartOf } from "#domain/core/identifiers.js";
import type { ProfileEvent } from "#domain/profile/profile.events.js";
import { type ActivityEntries, activityEntryOf, type FieldChange } from "../activity-entry.js";

/** A newer message of the platform that says nothing new is no news to the customer. */
export type ProfileActivity = Exclude<ProfileEvent, { type: "profile.Reconfirmed.v1" }>;

const about = ({ stream }: RecordedEvent<ProfileActivity>, what: string, title: string) =>
  activityEntryOf("profile", lastPartOf(stream), what, title);

export const profileEntries: ActivityEntries<ProfileActivity> = {
  "profile.Registered.v1": (event) => about(event, "profile.registered", "Account created"),
  "profile.Updated.v1": (event) => ({
    ...about(event, "profile.updated", "Profile updated"),
    changes: profileChanges(event.data),
  }),
  "profile.DestinationVerified.v1": (event) =>
    event.data.channel === "email"
      ? about(event, "profile.email-verified", "E-mail address verified")
      : about(event, "profile.phone-verified", "Phone number verified"),
  "profile.EmailChanged.v1": (event) => ({
    ...about(event, "profile.email-changed", "E-mail address changed"),
    changes: [{ field: "email", from: event.data.previous, to: event.data.email }],
  }),
};

/** Field by field, `marketing` and `metadata` key by key. */
function profileChanges(data: Extract<ProfileActivity, { type: "profile.Updated.v1" }>["data"]): FieldChange[] {
  const { source: _s, sourceRevision: _r, previous, ...fields } = data;
  const before = previous as Record<string, unknown>;
  return Object.entries(fields).flatMap(([field, to]) => {
    const from = before[field];
    if (field !== "marketing" && field !== "metadata") return [{ field, from: from ?? null, to }];
    const keyed = (from ?? {}) as Record<string, unknown>;
    return Object.entries(to as object).map(([key, value]) => ({
      field: `${field}.${key}`,
      from: keyed[key] ?? null,
      to: value,
    }));
  });
}
