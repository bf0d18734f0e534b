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
