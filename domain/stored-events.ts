import type { EventDefinition } from "./core/event-definition.js";
import { orderEvents } from "./orders/orders.events.js";
import { CustomerErased } from "./privacy/privacy.events.js";
import { transactionEvents } from "./transactions/transactions.events.js";

/** Every event this system has ever stored, newest version of each; older versions hang on `previous`. The only list. */
export const storedEvents: readonly EventDefinition[] = [
  CustomerErased,
  ...orderEvents,
  ...transactionEvents,
] as unknown as readonly EventDefinition[];
