import type { AddressEvent } from "#domain/addresses/addresses.events.js";
import type { RecordedEvent } from "#domain/core/recorded-event.js";
import type { WishlistEvent } from "#domain/wishlist/wishlist.events.js";
import type { ActivityEntries, ActivityEntry } from "../activity-entry.js";
import { addressEntries } from "../addresses/addresses.entries.js";
import { type FileActivity, fileEntries } from "../files/files.entries.js";
import { type OrderActivity, orderEntries } from "../orders/orders.entries.js";
import { type PrivacyActivity, privacyEntries } from "../privacy/privacy.entries.js";
import { type PaymentMethodActivity, paymentMethodEntries } from "../payment-methods/payment-methods.entries.js";
import { type ProfileActivity, profileEntries } from "../profile/profile.entries.js";
import { type ReservationActivity, reservationEntries } from "../reservations/reservations.entries.js";
import { type TransactionActivity, transactionEntries } from "../transactions/transactions.entries.js";
import { type VerificationActivity, verificationEntries } from "../verification/verification.entries.js";
import { wishlistEntries } from "../wishlist/wishlist.entries.js";

/** Facts a customer would call something that happened, of all areas. */
export type ActivityEvent =
  | ProfileActivity
  | AddressEvent
  | WishlistEvent
  | OrderActivity
  | PaymentMethodActivity
  | TransactionActivity
  | FileActivity
  | PrivacyActivity
  | ReservationActivity
  | VerificationActivity;

/** A new area is one line here, and one in the type above. */
const entries: ActivityEntries<ActivityEvent> = {
  ...profileEntries,
  ...addressEntries,
  ...wishlistEntries,
  ...orderEntries,
  ...transactionEntries,
  ...paymentMethodEntries,
  ...fileEntries,
  ...privacyEntries,
  ...reservationEntries,
  ...verificationEntries,
};

/** Stored names of all of them. */
const activityTypes = Object.keys(entries) as readonly ActivityEvent["type"][];

/** Says what an event means to the customer; dashboard and audit trail share it. */
export function activityEntry(event: RecordedEvent<ActivityEvent>): ActivityEntry {
  // The compiler does not see that the entry chosen by the type takes an event of that type.
  return (entries[event.type] as (event: RecordedEvent<ActivityEvent>) => ActivityEntry)(event);
}

/** One handler for every kind of activity, as a projection's `on`. */
export function onEveryActivity<Handler>(handler: Handler): { readonly [Type in ActivityEvent["type"]]: Handler } {
  return Object.fromEntries(activityTypes.map((type) => [type, handler])) as {
    [Type in ActivityEvent["type"]]: Handler;
  };
}
