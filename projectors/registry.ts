import { activityProjection } from "./activity/activity.projection.js";
import { dashboardProjection } from "./dashboard/dashboard.projection.js";
import { orderProjection } from "./orders/orders.projection.js";
import { profileProjection } from "./profile/profile.projection.js";
import type { AnyProjection } from "./runner/projection.js";
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
