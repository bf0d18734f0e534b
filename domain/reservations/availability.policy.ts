import { type Occupation, occupancyOf, occupied, remaining } from "./capacity.policy.js";
import { type Range, segmentAt } from "./opening-hours.js";
import { type Bookable, type KnownResource, startsOn } from "./slots.policy.js";

/** What a read model knows to be taken of a resource on one business day. */
export type TakenDay = {
  readonly day: string;
  /** Whose a claim is matters only where some are not to count. */
  readonly claims: readonly (Taken & { readonly reservationId?: string })[];
  readonly holds: readonly (Taken & { readonly until: number })[];
  readonly blocks: readonly Range[];
};

type Taken = Range & { readonly offset: number; readonly buffer: number; readonly partySize: number };

export type FreeSlot = { readonly start: number; readonly remaining: number; readonly resourceIds: readonly string[] };

export type SlotQuestion = {
  /** Starts lie in this range. */
  readonly range: Range;
  readonly partySize: number;
  readonly now: number;
  /** Whose claims do not count: it is to be moved. */
  readonly reservationId: string | null;
};

/**
 * Slots of a definition that may be booked now, in order. A slot is free at a resource that has room for the whole
 * party; `remaining` counts the places of all such resources.
 *
 * @param taken by resource, its days in any order; a day that is not there has nothing taken
 */
export function freeSlots(
  offer: Bookable,
  resources: readonly { readonly resource: KnownResource; readonly days: readonly string[] }[],
  taken: ReadonlyMap<string, readonly TakenDay[]>,
  question: SlotQuestion,
): readonly FreeSlot[] {
  const [first = [], ...others] = resources.map(({ resource, days }) =>
    freeOf(offer, resource, days, taken.get(resource.resourceId) ?? [], question),
  );
  return others.length === 0 ? first : together([first, ...others]);
}

function freeOf(
  { definition }: Bookable,
  resource: KnownResource,
  days: readonly string[],
  taken: readonly TakenDay[],
  { range, partySize, now, reservationId }: SlotQuestion,
): FreeSlot[] {
  const { resourceId, timezone, capacity } = resource;
  const { bufferMinutes } = definition;
  const lengthMs = definition.durationMinutes * 60_000;
  const resourceIds = [resourceId];
  const byDay = new Map(taken.map((day) => [day.day, day]));
  const slots: FreeSlot[] = [];
  for (const day of days) {
    const known = byDay.get(day);
    const occupancy = known && occupancyOf(occupationsOf(known, timezone, now, reservationId), known.blocks);
    for (const start of startsOn(definition, resource, day, now)) {
      if (start < range.start || start >= range.end) continue;
      const left = occupancy
        ? remaining(occupancy, capacity, { start, end: start + lengthMs, bufferMinutes })
        : capacity;
      if (left >= partySize) slots.push({ start, remaining: left, resourceIds });
    }
  }
  return slots;
}

/** One slot for each start, at all resources that have it. */
function together(free: readonly (readonly FreeSlot[])[]): FreeSlot[] {
  const slots = new Map<number, FreeSlot>();
  for (const { start, remaining, resourceIds } of free.flat()) {
    const known = slots.get(start);
    slots.set(start, {
      start,
      remaining: remaining + (known?.remaining ?? 0),
      resourceIds: known ? [...known.resourceIds, ...resourceIds] : resourceIds,
    });
  }
  return [...slots.values()].sort((one, other) => one.start - other.start);
}

function occupationsOf(day: TakenDay, timezone: string, now: number, reservationId: string | null): Occupation[] {
  const occupations: Occupation[] = [];
  let segment = { start: 0, end: 0, offset: 0 };
  const add = (taken: Taken) => {
    if (taken.start < segment.start || taken.start >= segment.end) segment = segmentAt(timezone, taken.start);
    occupations.push(occupationOf(taken, timezone, segment.offset));
  };
  for (const claim of day.claims) if (reservationId === null || claim.reservationId !== reservationId) add(claim);
  for (const hold of day.holds) if (hold.until > now) add(hold);
  return occupations;
}

function occupationOf({ start, end, offset, buffer, partySize }: Taken, timezone: string, known: number): Occupation {
  if (known === offset * 60_000) return { start, end: end + buffer * 60_000, partySize };
  // The zone's rules have changed since: the wall clock stays.
  const iso = (instant: number) => new Date(instant).toISOString();
  return occupied({ start: iso(start), end: iso(end), timezone, offsetMinutes: offset }, buffer, partySize);
}
