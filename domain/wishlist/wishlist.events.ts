import { z } from "zod";
import { defineEvent, type EventOf } from "../core/event-definition.js";
import { productSchema } from "./product.events.js";

// Storage format: a shipped version is never edited, a new one is added.

const notifySchema = z.object({ backInStock: z.boolean(), priceDrop: z.boolean() });

/** One entry per product, or per variant where one is named. */
const entrySchema = z.object({ productId: z.string(), variantId: z.string().optional() });

/** A product came onto the list; `product` is what the catalogue said at that moment, absent when it said nothing. */
export const ProductAdded = defineEvent("wishlist.ProductAdded.v1", {
  category: "wishlist",
  schema: entrySchema.extend({
    quantity: z.int(),
    notify: notifySchema,
    note: z.string().optional(),
    product: productSchema.optional(),
  }),
  personal: ["note"],
});

/** The customer changed an entry; only what differs, a null note takes it away. */
export const ProductChanged = defineEvent("wishlist.ProductChanged.v1", {
  category: "wishlist",
  schema: entrySchema.extend({
    quantity: z.int().optional(),
    notify: notifySchema.optional(),
    note: z.string().nullable().optional(),
  }),
  personal: ["note"],
});

export const ProductRemoved = defineEvent("wishlist.ProductRemoved.v1", {
  category: "wishlist",
  schema: entrySchema,
});

export const wishlistEvents = [ProductAdded, ProductChanged, ProductRemoved] as const;
export type WishlistEvent = EventOf<(typeof wishlistEvents)[number]>;
