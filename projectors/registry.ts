import type { EventStore } from "#infrastructure/event-store.js";
import type { PersonalDataKeys } from "#infrastructure/personal-data-keys.js";
import { activityProjection } from "./activity/activity.projection.js";
import { dashboardProjection } from "./dashboard/dashboard.projection.js";
import { orderProjection } from "./orders/orders.projection.js";
import { profileProjection } from "./profile/profile.projection.js";
import { eraseReactor } from "./privacy/privacy.reactor.js";
import type { AnyProjection } from "./runner/projection.js";
import type { Reactor } from "./runner/reactor.js";
import { transactionProjection } from "./transactions/transactions.projection.js";
import { productProjection } from "./wishlist/product.projection.js";
import { wishlistProjection } from "./wishlist/wishlist.projection.js";

/** Every read model. Rebuildable at any time, because they write documents and nothing else. */
export const projections: readonly AnyProjection[] = [
  profileProjection,
  wishlistProjection,
  productProjection,
  orderProjection,
  transactionProjection,
  dashboardProjection,
  activityProjection,
];

/**
 * Every reactor. Forward only, because they have effects: no rebuild can name one.
 *
 * @param dependencies what effects are done with
 */
export function createReactors(dependencies: {
  readonly eventStore: EventStore;
  readonly keys: PersonalDataKeys;
}): readonly Reactor[] {
  return [eraseReactor(dependencies)];
}
