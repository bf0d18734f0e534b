import type { WishlistEvent } from "#domain/wishlist/wishlist.events.js";
import { entryId } from "#domain/wishlist/wishlist.policy.js";
import { type ActivityEntries, activityEntryOf } from "../activity-entry.js";

type Data = WishlistEvent["data"];

const about = ({ productId, variantId }: Data, what: string, title: string) =>
  activityEntryOf("wishlist", entryId(productId, variantId), what, title);

export const wishlistEntries: ActivityEntries<WishlistEvent> = {
  "wishlist.ProductAdded.v1": ({ data }) =>
    about(data, "wishlist.product-added", `${data.product?.name ?? "A product"} added to the wishlist`),
  "wishlist.ProductChanged.v1": ({ data }) => {
    const { productId: _p, variantId: _v, ...to } = data;
    const changes = Object.entries(to).map(([field, value]) => ({ field, to: value }));
    return { ...about(data, "wishlist.product-changed", "Wishlist entry changed"), changes, news: false };
  },
  "wishlist.ProductRemoved.v1": ({ data }) =>
    about(data, "wishlist.product-removed", "A product removed from the wishlist"),
};
