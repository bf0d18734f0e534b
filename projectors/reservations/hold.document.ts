import type { Place } from "#domain/reservations/reservations.events.js";
import { defineDocument } from "#projectors/runner/projection.js";

/** The place a customer keeps of a definition while deciding; readers judge by the time whether it is live. */
export type HoldDocument = {
  readonly holdId: string;
  readonly definitionId: string;
  readonly title: string;
  readonly place: Place;
  readonly partySize: number;
  readonly expiresAt: string;
};

export const holdDocument = defineDocument<HoldDocument>({ name: "reservation-holds", version: 1, indexes: [] });
