import { activityProjection } from "./activity/activity.projection.js";
import { dashboardProjection } from "./dashboard/dashboard.projection.js";
import { dueWorkProjection } from "./due-work.js";
import { orderProjection } from "./orders/orders.projection.js";
import { profileProjection } from "./profile/profile.projection.js";
import { eraseReactor } from "./privacy/privacy.reactor.js";
import type { AreaDuties, DutyPerformer } from "./runner/duties.js";
import type { AnyProjection } from "./runner/projection.js";
import type { Reactor } from "./runner/reactor.js";
import { transactionProjection } from "./transactions/transactions.projection.js";
import { productProjection } from "./wishlist/product.projection.js";
import { wishlistProjection } from "./wishlist/wishlist.projection.js";
import type { WorkerDependencies } from "./worker-dependencies.js";

/** What falls due, area by area. */
const duties: readonly AreaDuties<any>[] = [];

/** Every read model. Rebuildable at any time, because they write documents and nothing else. */
export const projections: readonly AnyProjection[] = [
  profileProjection,
  wishlistProjection,
  productProjection,
  orderProjection,
  transactionProjection,
  dashboardProjection,
  activityProjection,
  dueWorkProjection(duties),
];

/** Every reactor. Forward only, because they have effects: no rebuild can name one. */
export function createReactors(deps: WorkerDependencies): readonly Reactor[] {
  return [eraseReactor(deps)];
}

/** Who performs each kind of duty. */
export function createDutyPerformers(_deps: WorkerDependencies): readonly DutyPerformer[] {
  return [];
}
