import type { RecordedEvent } from "#domain/core/recorded-event.js";
import type { PaymentMethodEvent } from "#domain/payment-methods/payment-methods.events.js";
import { type ActivityEntries, activityEntryOf } from "../activity-entry.js";

/** Intents and what is tidied up at the provider are our own business. */
export type PaymentMethodActivity = Exclude<
  PaymentMethodEvent,
  {
    type:
      | "payment-methods.AttachRequested.v1"
      | "payment-methods.CustomerAssigned.v1"
      | "payment-methods.CustomerLost.v1"
      | "payment-methods.AttachMerged.v1"
      | "payment-methods.Detached.v1";
  }
>;

const about = ({ data }: RecordedEvent<PaymentMethodActivity>, what: string, title: string) =>
  activityEntryOf("payment-methods", data.id, `payment-method.${what}`, title);

export const paymentMethodEntries: ActivityEntries<PaymentMethodActivity> = {
  "payment-methods.Attached.v1": (event) => about(event, "added", `${nameOf(event.data)} added`),
  "payment-methods.AttachFailed.v1": (event) => {
    const failed = about(event, "failed", "A payment method could not be added");
    // The customer took it back itself before the provider had answered.
    return { ...failed, news: event.data.failureCode !== "REMOVED" };
  },
  "payment-methods.Refreshed.v1": (event) => about(event, "updated", `${nameOf(event.data)} updated`),
  "payment-methods.DefaultChanged.v1": (event) =>
    event.data.isDefault
      ? about(event, "made-default", "Default payment method changed")
      : { ...about(event, "default-moved", "No longer the default payment method"), news: false },
  "payment-methods.Removed.v1": (event) => about(event, "removed", "A payment method removed"),
  "payment-methods.Expiring.v1": (event) => about(event, "expiring", "A card expires soon"),
  "payment-methods.Expired.v1": (event) => about(event, "expired", "A card has expired"),
};

function nameOf({ type, brand, last4 }: { type: string; brand?: string | undefined; last4?: string | undefined }) {
  if (type === "paypal") return "PayPal";
  const name = brand ?? type.replaceAll("_", " ");
  const capital = `${name.charAt(0).toUpperCase()}${name.slice(1)}`;
  return last4 === undefined ? capital : `${capital} ending in ${last4}`;
}
