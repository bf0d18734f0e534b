import type { RecordedEvent } from "#domain/core/recorded-event.js";
import type { VerificationEvent } from "#domain/verification/verification.events.js";
import { type ActivityEntries, type ActivityEntry, activityEntryOf } from "../activity-entry.js";

/** What somebody in the customer's account asked for and guessed; that it was right is told by the profile's events. */
export type VerificationActivity = Extract<
  VerificationEvent,
  { type: "verification.Requested.v1" | "verification.AttemptFailed.v1" }
>;

const wording = {
  email: "e-mail address",
  phone: "phone number",
  "email-change": "new e-mail address",
} as const;

function about({ data }: RecordedEvent<VerificationActivity>, what: string, title: string): ActivityEntry {
  const entry = activityEntryOf("verification", data.challengeId, `verification.${what}`, title);
  // For the audit trail; among the newest few it would only push out what a customer cares for.
  return { ...entry, news: false };
}

export const verificationEntries: ActivityEntries<VerificationActivity> = {
  "verification.Requested.v1": (event) =>
    about(event, "code-requested", `Code for the ${wording[event.data.channel]} requested`),
  "verification.AttemptFailed.v1": (event) =>
    about(event, "attempt-failed", `Wrong code for the ${wording[event.data.channel]}`),
};
