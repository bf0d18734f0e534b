import { defineDocument } from "#projectors/runner/projection.js";

/** Where a block of the staff stands: one slotbook for each business day it touches. Owned by the org. */
export type SlotBlockDocument = {
  readonly blockId: string;
  readonly days: readonly { readonly resourceId: string; readonly day: string }[];
};

export const slotBlockDocument = defineDocument<SlotBlockDocument>({ name: "slot-blocks", version: 1, indexes: [] });
