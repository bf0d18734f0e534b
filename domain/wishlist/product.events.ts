import { z } from "zod";
import { defineEvent, type EventOf } from "../core/event-definition.js";
import { currencySchema, minorSchema } from "../core/money.js";
import { sourceRevisionSchema } from "../core/source-revision.js";

// Storage format: a shipped version is never edited, a new one is added.

/** What the catalogue says of a product. */
export const productSchema = z.object({
  name: z.string(),
  slug: z.string().nullable(),
  imageUrl: z.string().nullable(),
  /** Null where the catalogue names no price; then `currency` is null too. */
  priceMinor: minorSchema.nullable(),
  currency: currencySchema.nullable(),
  inStock: z.boolean(),
  available: z.boolean(),
});

export type Product = z.infer<typeof productSchema>;

/**
 * The platform's catalogue tells of a product: all of it, each time, with what was said before (null at first), so
 * that a fall in price or a return to stock can be seen in one event.
 */
export const CatalogueProductUpdated = defineEvent("wishlist.CatalogueProductUpdated.v1", {
  category: "product",
  schema: z.object({
    productId: z.string(),
    sourceRevision: sourceRevisionSchema,
    product: productSchema,
    previous: productSchema.nullable(),
  }),
});

/** A newer message said nothing new. Kept, because an older one that comes late must still be refused. */
export const CatalogueProductReconfirmed = defineEvent("wishlist.CatalogueProductReconfirmed.v1", {
  category: "product",
  schema: z.object({ productId: z.string(), sourceRevision: sourceRevisionSchema }),
});

export const productEvents = [CatalogueProductUpdated, CatalogueProductReconfirmed] as const;
export type ProductEvent = EventOf<(typeof productEvents)[number]>;
