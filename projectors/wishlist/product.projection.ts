import type { ProductEvent } from "#domain/wishlist/product.events.js";
import type { Projection } from "#projectors/runner/projection.js";
import { type ProductDocument, productDocument } from "./product.document.js";

type Consumed = Extract<ProductEvent, { type: "wishlist.CatalogueProductUpdated.v1" }>;

export const productProjection: Projection<ProductDocument, Consumed> = {
  definition: productDocument,
  idOf: (event) => event.data.productId,
  on: {
    "wishlist.CatalogueProductUpdated.v1": (_, event) => ({ productId: event.data.productId, ...event.data.product }),
  },
};
