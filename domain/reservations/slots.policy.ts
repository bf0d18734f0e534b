import { type Rejection, rejection } from "../core/rejection.js";
import type { Definition } from "./definition.events.js";
import { businessDay, isOffered, promise, type SlotShape, slotStarts } from "./opening-hours.js";
import type { Candidate } from "./reservations.events.js";
import type { Resource } from "./resource.events.js";

const minuteMs = 60_000;
const dayMs = 86_400_000;

export type KnownResource = Resource & { readonly resourceId: string };

/** A definition that can be booked now, with those of its resources that the platform has told of, in its order. */
export type Bookable = {
  readonly definitionId: string;
  readonly definition: Definition;
  readonly resources: readonly [KnownResource, ...KnownResource[]];
};

/**
 * A definition as it can be booked; null when it cannot, because it is unknown, withdrawn or has no known resource.
 */
export function bookable(
  definitionId: string,
  definition: Definition | null,
  resources: readonly KnownResource[],
): Bookable | null {
  if (!definition?.bookable) return null;
  const known = definition.resourceIds.flatMap((id) => resources.find(({ resourceId }) => resourceId === id) ?? []);
  const [first, ...others] = known;
  return first ? { definitionId, definition, resources: [first, ...others] } : null;
}

/** The grid a definition's slots stand on. */
export function shapeOf(definition: Definition): SlotShape {
  const { durationMinutes, slotStepMinutes, bufferMinutes } = definition;
  return { durationMinutes, stepMinutes: slotStepMinutes, bufferMinutes };
}

/** Instants between which a slot may start: after the notice, within the horizon. */
export function bookingWindow(definition: Definition, now: number): { readonly from: number; readonly to: number } {
  return { from: now + definition.minNoticeMinutes * minuteMs, to: now + definition.horizonDays * dayMs };
}

/** A slot as asked for; `resourceId` null leaves the choice to us. */
export type SlotWish = { readonly start: number; readonly resourceId: string | null; readonly partySize: number };

/** Where the slot can be had as far as hours and conditions tell, or why it cannot be had at all. */
export type Judged =
  | { readonly candidates: readonly Candidate[]; readonly rejection?: undefined }
  | { readonly rejection: Rejection };

/**
 * Judges a slot by everything but what is taken already.
 *
 * @param anyTime leaves notice and horizon out: for staff, and for a place held in time
 */
export function judgeSlot(offer: Bookable | null, wish: SlotWish, now: number, anyTime = false): Judged {
  if (!offer) return refused("not-found", "DEFINITION_NOT_FOUND");
  const { definition } = offer;
  const asked = offer.resources.filter(({ resourceId }) => (wish.resourceId ?? resourceId) === resourceId);
  if (asked.length === 0) return refused("not-found", "RESOURCE_NOT_FOUND");
  const large = asked.filter(({ capacity }) => capacity >= wish.partySize);
  if (wish.partySize > definition.maxPartySize || large.length === 0) {
    const most = Math.min(definition.maxPartySize, Math.max(...asked.map(({ capacity }) => capacity)));
    return refused("refused", "PARTY_TOO_LARGE", { maxPartySize: most });
  }
  const { from, to } = bookingWindow(definition, now);
  if ((!anyTime && wish.start < from) || wish.start <= now) {
    return refused("refused", "TOO_SOON", { minNoticeMinutes: definition.minNoticeMinutes });
  }
  if (!anyTime && wish.start > to) return refused("refused", "TOO_FAR", { horizonDays: definition.horizonDays });
  const offering = large.filter((resource) => isOffered(resource, shapeOf(definition), wish.start));
  if (offering.length === 0) return refused("refused", "SLOT_NOT_OFFERED");
  return { candidates: offering.map((resource) => candidateOf(definition, resource, wish.start)) };
}

function refused(...parts: Parameters<typeof rejection>): Judged {
  return { rejection: rejection(...parts) };
}

/** The place that a slot is at a resource. */
export function candidateOf(definition: Definition, resource: KnownResource, start: number): Candidate {
  return {
    resourceId: resource.resourceId,
    resourceName: resource.name,
    day: businessDay(resource, start),
    slot: promise(resource.timezone, start, definition.durationMinutes),
    capacity: resource.capacity,
  };
}

/** Starts of the slots that a resource offers of a definition on a business day and that may be booked now. */
export function startsOn(definition: Definition, resource: KnownResource, day: string, now: number): number[] {
  const { from, to } = bookingWindow(definition, now);
  return slotStarts(resource, day, shapeOf(definition)).filter((start) => start >= from && start > now && start <= to);
}
