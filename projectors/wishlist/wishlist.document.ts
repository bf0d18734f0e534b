import type { Product } from "#domain/wishlist/product.events.js";
import { defineDocument } from "#projectors/runner/projection.js";

/** One entry of a wishlist. */
export type WishlistDocument = {
  readonly productId: string;
  readonly variantId: string | null;
  /** Revision of the last event that touched it. */
  readonly version: number;
  readonly addedAt: string;
  readonly modifiedAt: string;
  readonly quantity: number;
  readonly notify: { readonly backInStock: boolean; readonly priceDrop: boolean };
  readonly note: string | null;
  /** What the catalogue said when the product was added; what it says now is in the products' read model. */
  readonly productWhenAdded: Product | null;
};

export const wishlistDocument = defineDocument<WishlistDocument>({ name: "wishlist", version: 1, indexes: [] });
