import { parseStreamName } from "#domain/core/identifiers.js";
import type { RecordedEvent } from "#domain/core/recorded-event.js";
import type { PrivacyEvent } from "#domain/privacy/privacy.events.js";
import { type ActivityEntries, activityEntryOf } from "../activity-entry.js";

/** From its beginning an erasure is not told any more: the trail goes with the customer. */
export type PrivacyActivity = Exclude<
  PrivacyEvent,
  {
    type:
      | "privacy.ErasureAnnounced.v1"
      | "privacy.ErasureBegun.v1"
      | "privacy.CustomerErased.v1"
      | "privacy.ExportAnnounced.v1"
      | "privacy.ExportExpired.v1";
  }
>;

const about = ({ stream }: RecordedEvent, what: string, title: string) =>
  activityEntryOf("privacy", parseStreamName(stream)?.customer ?? "", what, title);

export const privacyEntries: ActivityEntries<PrivacyActivity> = {
  "privacy.AccountLocked.v1": (event) => about(event, "privacy.account-locked", "Account locked"),
  "privacy.AccountUnlocked.v1": (event) => about(event, "privacy.account-unlocked", "Account unlocked"),
  "privacy.ErasureRequested.v1": (event) =>
    about(event, "privacy.erasure-requested", "Erasure of the account requested"),
  "privacy.ErasurePostponed.v1": (event) =>
    about(event, "privacy.erasure-postponed", "Erasure of the account postponed"),
  "privacy.ErasureCancelled.v1": (event) =>
    about(event, "privacy.erasure-cancelled", "Erasure of the account cancelled"),
  "privacy.ExportRequested.v1": ({ data }) =>
    activityEntryOf("privacy", data.exportId, "privacy.export-requested", "Copy of all data requested"),
  "privacy.ExportReady.v1": ({ data }) =>
    activityEntryOf("privacy", data.exportId, "privacy.export-ready", "Copy of all data ready"),
};
