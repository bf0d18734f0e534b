import { CustomerErased } from "../core/customer-erased.js";
import type { EventOf } from "../core/event-definition.js";

export { CustomerErased };

export type PrivacyEvent = EventOf<typeof CustomerErased>;
