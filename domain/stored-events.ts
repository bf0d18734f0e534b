import type { EventDefinition } from "./core/event-definition.js";
import { orderEvents } from "./orders/orders.events.js";
import { CustomerErased } from "./privacy/privacy.events.js";
import { profileEvents } from "./profile/profile.events.js";
import { transactionEvents } from "./transactions/transactions.events.js";
import { productEvents } from "./wishlist/product.events.js";
import { wishlistEvents } from "./wishlist/wishlist.events.js";

/** Every event this system has ever stored, newest version of each; older versions hang on `previous`. The only list. */
export const storedEvents: readonly EventDefinition[] = [
  CustomerErased,
  ...profileEvents,
  ...orderEvents,
  ...wishlistEvents,
  ...productEvents,
  ...transactionEvents,
] as unknown as readonly EventDefinition[];
