import type { EventDefinition } from "./core/event-definition.js";
import { fileEvents } from "./files/files.events.js";
import { addressEvents } from "./addresses/addresses.events.js";
import { orderEvents } from "./orders/orders.events.js";
import { privacyEvents } from "./privacy/privacy.events.js";
import { paymentMethodEvents } from "./payment-methods/payment-methods.events.js";
import { emailClaimEvents } from "./profile/email-claim.events.js";
import { profileEvents } from "./profile/profile.events.js";
import { definitionEvents } from "./reservations/definition.events.js";
import { reservationEvents } from "./reservations/reservations.events.js";
import { resourceEvents } from "./reservations/resource.events.js";
import { slotbookEvents } from "./reservations/slotbook.events.js";
import { transactionEvents } from "./transactions/transactions.events.js";
import { verificationEvents } from "./verification/verification.events.js";
import { productEvents } from "./wishlist/product.events.js";
import { wishlistEvents } from "./wishlist/wishlist.events.js";

/** Every event this system has ever stored, newest version of each; older versions hang on `previous`. The only list. */
export const storedEvents: readonly EventDefinition[] = [
  ...privacyEvents,
  ...profileEvents,
  ...addressEvents,
  ...emailClaimEvents,
  ...orderEvents,
  ...wishlistEvents,
  ...productEvents,
  ...transactionEvents,
  ...paymentMethodEvents,
  ...verificationEvents,
  ...reservationEvents,
  ...slotbookEvents,
  ...definitionEvents,
  ...resourceEvents,
  ...fileEvents,
] as unknown as readonly EventDefinition[];
