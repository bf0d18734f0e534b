import { isDeepStrictEqual } from "node:util";
import { accept, type Decider, type Decision, type Placed, unreachable } from "../core/decider.js";
import { isNewer, type SourceRevision } from "../core/source-revision.js";
import {
  CatalogueProductReconfirmed,
  CatalogueProductUpdated,
  type Product,
  type ProductEvent,
} from "./product.events.js";

export type ProductState =
  | { readonly status: "unknown" }
  | { readonly status: "known"; readonly product: Product; readonly sourceRevision: SourceRevision };

export type ProductCommand = {
  readonly type: "IngestProduct";
  readonly productId: string;
  readonly sourceRevision: SourceRevision;
  readonly product: Product;
};

/** One product of an org's catalogue as the platform feeds it: stream `product-<org>.<id>`. */
export const productDecider: Decider<ProductState, ProductCommand, ProductEvent> = {
  initial: { status: "unknown" },
  evolve,
  decide,
};

function evolve(state: ProductState, event: Placed<ProductEvent>): ProductState {
  const { sourceRevision } = event.data;
  switch (event.type) {
    case "wishlist.CatalogueProductUpdated.v1":
      return { status: "known", product: event.data.product, sourceRevision };
    case "wishlist.CatalogueProductReconfirmed.v1":
      return state.status === "known" ? { ...state, sourceRevision } : state;
    default:
      return unreachable(event);
  }
}

function decide(command: ProductCommand, state: ProductState): Decision<ProductEvent> {
  const { productId, sourceRevision, product } = command;
  if (state.status === "known" && !isNewer(sourceRevision, state.sourceRevision)) return accept();
  if (state.status === "known" && isDeepStrictEqual(product, state.product)) {
    return accept(CatalogueProductReconfirmed.create({ productId, sourceRevision }));
  }
  const previous = state.status === "known" ? state.product : null;
  return accept(CatalogueProductUpdated.create({ productId, sourceRevision, product, previous }));
}
