import { defineDocument } from "#projectors/runner/projection.js";

/** Instants in epoch milliseconds and what the wall clock was ahead of UTC when they were promised, minutes. */
export type TakenSlot = {
  readonly start: number;
  readonly end: number;
  readonly offset: number;
  /** Minutes kept free after it. */
  readonly buffer: number;
  readonly partySize: number;
};

/** What is taken of a resource on one business day; owned by the org. Holds end by time alone. */
export type SlotbookDocument = {
  readonly resourceId: string;
  readonly day: string;
  readonly claims: readonly (TakenSlot & { readonly reservationId: string; readonly move: number })[];
  readonly holds: readonly (TakenSlot & { readonly holdId: string; readonly until: number })[];
  readonly blocks: readonly { readonly blockId: string; readonly start: number; readonly end: number }[];
};

/** Its ids end in the day, so the days of a resource are a range. */
export const slotbookDocument = defineDocument<SlotbookDocument>({ name: "slotbooks", version: 1, indexes: [] });

/** Local id of a resource's business day. */
export function slotbookDocumentId(resourceId: string, day: string): string {
  return `${resourceId}.${day}`;
}
