import { z } from "zod";
import { majorAmount } from "../core/money.js";
import { type Product, productSchema } from "./product.events.js";

/** Limits of CONTRACT §12; the note in Unicode code points. */
export const wishlistLimits = {
  entries: 500,
  merge: 200,
  idsFilter: 200,
  note: 300,
  quantity: 999,
  productId: 128,
} as const;

/** What product and variant ids are made of; no `~`, so that it can part the two in an entry's id. */
export const productIdPattern = /^[A-Za-z0-9._:-]{1,128}$/;

/** Id of the entry of a product, or of one of its variants. */
export function entryId(productId: string, variantId?: string | undefined): string {
  return variantId === undefined ? productId : `${productId}~${variantId}`;
}

/** What an entry's record shows, from the decider's state or the read model. */
export type ShownEntry = {
  readonly productId: string;
  readonly variantId?: string | null | undefined;
  readonly note: string | null;
  readonly quantity: number;
  readonly addedAt: string;
  readonly notify: { readonly backInStock: boolean; readonly priceDrop: boolean };
  /** What the catalogue said when the product was added. */
  readonly productWhenAdded: Product | null;
};

/** The payload of an entry's record. */
export const wishlistDataSchema = z.object({
  productId: z.string(),
  variantId: z.string().optional(),
  note: z.string().optional(),
  quantity: z.int(),
  addedAt: z.iso.datetime(),
  priceWhenAdded: z.number().optional(),
  priceMinorWhenAdded: z.int().optional(),
  product: productSchema.optional(),
  notify: z.object({ backInStock: z.boolean(), priceDrop: z.boolean() }),
});

/**
 * The payload of an entry's record; what is not known is absent.
 *
 * @param product what the catalogue says now; null when it says nothing, and what it once said stands in
 */
export function wishlistData(entry: ShownEntry, product: Product | null): z.infer<typeof wishlistDataSchema> {
  const { productId, variantId, note, quantity, addedAt, notify, productWhenAdded } = entry;
  const { priceMinor, currency } = productWhenAdded ?? { priceMinor: null, currency: null };
  const shown = product ?? productWhenAdded;
  return {
    productId,
    ...(variantId ? { variantId } : {}),
    ...(note === null ? {} : { note }),
    quantity,
    addedAt,
    ...(priceMinor === null || currency === null
      ? {}
      : { priceWhenAdded: majorAmount(priceMinor, currency), priceMinorWhenAdded: priceMinor }),
    ...(shown ? { product: shown } : {}),
    notify,
  };
}
