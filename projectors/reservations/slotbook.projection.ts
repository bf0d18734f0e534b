import { parseStreamName } from "#domain/core/identifiers.js";
import type { RecordedEvent } from "#domain/core/recorded-event.js";
import type { SlotbookEvent } from "#domain/reservations/slotbook.events.js";
import type { Projection } from "#projectors/runner/projection.js";
import { type SlotbookDocument, slotbookDocument, slotbookDocumentId, type TakenSlot } from "./slotbook.document.js";

type Consumed = Exclude<SlotbookEvent, { type: "reservations.PlaceRefused.v1" }>;

function dayOf({ stream }: { stream: string }): { resourceId: string; day: string } {
  const { id: resourceId = "", businessDay: day = "" } = parseStreamName(stream) ?? {};
  return { resourceId, day };
}

function before(document: SlotbookDocument | null, event: RecordedEvent<Consumed>): SlotbookDocument {
  return document ?? { ...dayOf(event), claims: [], holds: [], blocks: [] };
}

function taken(data: {
  slot: { start: string; end: string; offsetMinutes: number };
  bufferMinutes: number;
  partySize: number;
}): TakenSlot {
  const { slot, bufferMinutes: buffer, partySize } = data;
  const { start, end, offsetMinutes: offset } = slot;
  return { start: Date.parse(start), end: Date.parse(end), offset, buffer, partySize };
}

function withoutHold(
  document: SlotbookDocument | null,
  event: RecordedEvent<Consumed & { data: { holdId: unknown } }>,
) {
  const day = before(document, event);
  return { ...day, holds: day.holds.filter(({ holdId }) => holdId !== event.data.holdId) };
}

/** A hold that is so long over that no clock takes it for live. */
const forgottenMs = 3_600_000;

export const slotbookProjection: Projection<SlotbookDocument, Consumed> = {
  definition: slotbookDocument,
  idOf: (event) => {
    const { resourceId, day } = dayOf(event);
    return slotbookDocumentId(resourceId, day);
  },
  on: {
    "reservations.PlaceClaimed.v1": (document, event) => {
      const day = withoutHold(document, event);
      const { reservationId, move } = event.data;
      return { ...day, claims: [...day.claims, { ...taken(event.data), reservationId, move }] };
    },
    "reservations.PlaceReleased.v1": (document, event) => {
      const day = before(document, event);
      const { reservationId, move } = event.data;
      return {
        ...day,
        claims: day.claims.filter((claim) => claim.reservationId !== reservationId || claim.move !== move),
      };
    },
    "reservations.PlaceHeld.v1": (document, event) => {
      const day = before(document, event);
      const { holdId, expiresAt } = event.data;
      const recent = day.holds.filter(({ until }) => until > Date.parse(event.at) - forgottenMs);
      return { ...day, holds: [...recent, { ...taken(event.data), holdId, until: Date.parse(expiresAt) }] };
    },
    "reservations.HeldPlaceReleased.v1": withoutHold,
    "reservations.HeldPlaceLapsed.v1": withoutHold,
    "reservations.SlotsBlocked.v1": (document, event) => {
      const day = before(document, event);
      const { blockId, start, end } = event.data;
      const others = day.blocks.filter((block) => block.blockId !== blockId);
      return { ...day, blocks: [...others, { blockId, start: Date.parse(start), end: Date.parse(end) }] };
    },
    "reservations.SlotsUnblocked.v1": (document, event) => {
      const day = before(document, event);
      return { ...day, blocks: day.blocks.filter(({ blockId }) => blockId !== event.data.blockId) };
    },
  },
};
