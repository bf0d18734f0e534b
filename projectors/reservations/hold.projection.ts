import type { ReservationsEvent } from "#domain/reservations/reservations.events.js";
import type { Projection } from "#projectors/runner/projection.js";
import { type HoldDocument, holdDocument } from "./hold.document.js";

type Consumed = Extract<
  ReservationsEvent,
  { type: "reservations.HoldPlaced.v1" | "reservations.HoldReleased.v1" | "reservations.Booked.v1" }
>;

const withoutHold = (document: HoldDocument | null, { data }: { data: { holdId: string | null } }) =>
  document?.holdId === data.holdId ? null : document;

export const holdProjection: Projection<HoldDocument, Consumed> = {
  definition: holdDocument,
  idOf: ({ data }) => (data.holdId === null ? null : data.definitionId),
  on: {
    "reservations.HoldPlaced.v1": (_, { data: { replaces: __, ...hold } }) => hold,
    "reservations.HoldReleased.v1": withoutHold,
    "reservations.Booked.v1": withoutHold,
  },
};
