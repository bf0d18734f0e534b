import type { WishlistEvent } from "#domain/wishlist/wishlist.events.js";
import { entryId } from "#domain/wishlist/wishlist.policy.js";
import type { Projection } from "#projectors/runner/projection.js";
import { type WishlistDocument, wishlistDocument } from "./wishlist.document.js";

export const wishlistProjection: Projection<WishlistDocument, WishlistEvent> = {
  definition: wishlistDocument,
  idOf: (event) => entryId(event.data.productId, event.data.variantId),
  on: {
    "wishlist.ProductAdded.v1": (_, event) => {
      const { productId, variantId = null, quantity, notify, note = null, product = null } = event.data;
      const { at, revision } = event;
      const times = { addedAt: at, modifiedAt: at, version: revision };
      return { productId, variantId, quantity, notify, note, productWhenAdded: product, ...times };
    },
    "wishlist.ProductChanged.v1": (document, event) => {
      if (!document) return null;
      const { quantity = document.quantity, notify = document.notify, note = document.note } = event.data;
      return { ...document, quantity, notify, note, modifiedAt: event.at, version: event.revision };
    },
    "wishlist.ProductRemoved.v1": () => null,
  },
};
