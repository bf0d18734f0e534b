import { parseStreamName } from "#domain/core/identifiers.js";
import type { SlotbookEvent } from "#domain/reservations/slotbook.events.js";
import type { Projection } from "#projectors/runner/projection.js";
import { type SlotBlockDocument, slotBlockDocument } from "./slot-block.document.js";

type Consumed = Extract<SlotbookEvent, { type: "reservations.SlotsBlocked.v1" | "reservations.SlotsUnblocked.v1" }>;

function otherDays(document: SlotBlockDocument | null, stream: string) {
  const { id: resourceId = "", businessDay: day = "" } = parseStreamName(stream) ?? {};
  const others = (document?.days ?? []).filter((known) => known.resourceId !== resourceId || known.day !== day);
  return { others, resourceId, day };
}

export const slotBlockProjection: Projection<SlotBlockDocument, Consumed> = {
  definition: slotBlockDocument,
  idOf: ({ data }) => data.blockId,
  on: {
    "reservations.SlotsBlocked.v1": (document, { data: { blockId }, stream }) => {
      const { others, resourceId, day } = otherDays(document, stream);
      return { blockId, days: [...others, { resourceId, day }] };
    },
    "reservations.SlotsUnblocked.v1": (document, { data: { blockId }, stream }) => {
      const { others } = otherDays(document, stream);
      return others.length === 0 ? null : { blockId, days: others };
    },
  },
};
