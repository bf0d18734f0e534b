import { accept, type Decider, type Decision, type Placed, refuse, unreachable } from "../core/decider.js";
import { PersistentMap } from "../core/persistent-map.js";
import { rejection } from "../core/rejection.js";
import type { Product } from "./product.events.js";
import { ProductAdded, ProductChanged, ProductRemoved, type WishlistEvent } from "./wishlist.events.js";
import { entryId, wishlistLimits } from "./wishlist.policy.js";

export type Notify = { readonly backInStock: boolean; readonly priceDrop: boolean };

export type WishlistEntry = {
  readonly productId: string;
  readonly variantId?: string | undefined;
  readonly note: string | null;
  readonly quantity: number;
  readonly notify: Notify;
  /** What the catalogue said when the product was added. */
  readonly productWhenAdded: Product | null;
  readonly addedAt: string;
  readonly modifiedAt: string;
  /** Revision of the last event that touched this entry. */
  readonly version: number;
};

export type WishlistState = { readonly entries: PersistentMap<WishlistEntry> };

/** What the customer says of an entry: absent = unchanged (or the default), null = clear. */
export type EntryWish = {
  readonly productId: string;
  readonly variantId?: string | undefined;
  readonly note?: string | null | undefined;
  readonly quantity?: number | undefined;
  readonly notify?:
    | { readonly backInStock?: boolean | undefined; readonly priceDrop?: boolean | undefined }
    | undefined;
  /** What the catalogue says now; null when it says nothing. */
  readonly product: Product | null;
};

export type WishlistCommand =
  /** Puts a product on the list, or merges the fields given into the entry that is there. */
  | ({ readonly type: "AddProduct" } & EntryWish)
  /** Adds what is not there yet and leaves the rest alone; what finds no room is left out. */
  | { readonly type: "MergeProducts"; readonly items: readonly EntryWish[] }
  | { readonly type: "RemoveProduct"; readonly productId: string; readonly variantId?: string | undefined };

/** One customer's wishlist: stream `wishlist-<org>.<customer>`. */
export const wishlistDecider: Decider<WishlistState, WishlistCommand, WishlistEvent> = {
  initial: { entries: PersistentMap.empty() },
  evolve,
  decide,
};

function evolve(state: WishlistState, event: Placed<WishlistEvent>): WishlistState {
  const id = entryId(event.data.productId, event.data.variantId);
  switch (event.type) {
    case "wishlist.ProductAdded.v1": {
      const { note = null, product = null, ...data } = event.data;
      const { at, revision } = event;
      const entry = { ...data, note, productWhenAdded: product, addedAt: at, modifiedAt: at, version: revision };
      return { entries: state.entries.set(id, entry) };
    }
    case "wishlist.ProductChanged.v1": {
      const before = state.entries.get(id);
      if (!before) return state;
      const { note = before.note, quantity = before.quantity, notify = before.notify } = event.data;
      const touched = { modifiedAt: event.at, version: event.revision };
      return { entries: state.entries.set(id, { ...before, note, quantity, notify, ...touched }) };
    }
    case "wishlist.ProductRemoved.v1":
      return { entries: state.entries.delete(id) };
    default:
      return unreachable(event);
  }
}

function decide(command: WishlistCommand, state: WishlistState): Decision<WishlistEvent> {
  switch (command.type) {
    case "AddProduct": {
      const present = state.entries.get(entryId(command.productId, command.variantId));
      if (present) return change(present, command);
      if (state.entries.size >= wishlistLimits.entries) {
        return refuse(rejection("refused", "WISHLIST_FULL", { limit: wishlistLimits.entries }));
      }
      return accept(added(command));
    }
    case "MergeProducts": {
      const missing = new Map<string, EntryWish>();
      for (const item of command.items) {
        const id = entryId(item.productId, item.variantId);
        if (!state.entries.has(id) && !missing.has(id)) missing.set(id, item);
      }
      const room = wishlistLimits.entries - state.entries.size;
      return accept(...[...missing.values()].slice(0, room).map(added));
    }
    case "RemoveProduct": {
      const { productId, variantId } = command;
      if (!state.entries.has(entryId(productId, variantId))) return accept();
      return accept(ProductRemoved.create({ productId, ...(variantId === undefined ? {} : { variantId }) }));
    }
    default:
      return unreachable(command);
  }
}

function added(wish: EntryWish) {
  const { productId, variantId, note, quantity = 1, notify, product } = wish;
  return ProductAdded.create({
    productId,
    ...(variantId === undefined ? {} : { variantId }),
    quantity,
    notify: { backInStock: notify?.backInStock ?? false, priceDrop: notify?.priceDrop ?? false },
    ...(note ? { note } : {}),
    ...(product ? { product } : {}),
  });
}

/** Records what of a wish differs from the entry that is there. */
function change(present: WishlistEntry, wish: EntryWish): Decision<WishlistEvent> {
  const { productId, variantId, quantity = present.quantity } = wish;
  const note = wish.note === undefined ? present.note : wish.note || null;
  const notify = { ...present.notify };
  if (wish.notify?.backInStock !== undefined) notify.backInStock = wish.notify.backInStock;
  if (wish.notify?.priceDrop !== undefined) notify.priceDrop = wish.notify.priceDrop;
  const notifyDiffers =
    notify.backInStock !== present.notify.backInStock || notify.priceDrop !== present.notify.priceDrop;
  const changes = {
    ...(note === present.note ? {} : { note }),
    ...(quantity === present.quantity ? {} : { quantity }),
    ...(notifyDiffers ? { notify } : {}),
  };
  if (Object.keys(changes).length === 0) return accept();
  return accept(ProductChanged.create({ productId, ...(variantId === undefined ? {} : { variantId }), ...changes }));
}
