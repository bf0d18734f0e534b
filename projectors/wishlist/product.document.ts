import type { Product } from "#domain/wishlist/product.events.js";
import { defineDocument } from "#projectors/runner/projection.js";

/** A product of an org's catalogue as the platform last told of it; owned by the org, its id is the product's. */
export type ProductDocument = Product & { readonly productId: string };

export const productDocument = defineDocument<ProductDocument>({ name: "products", version: 1, indexes: [] });
