import { type OrgId, streams } from "#domain/core/identifiers.js";
import { type Rejection, rejection } from "#domain/core/rejection.js";
import { remaining } from "#domain/reservations/capacity.policy.js";
import { definitionDecider } from "#domain/reservations/definition.decider.js";
import { addDays, businessDay, kept } from "#domain/reservations/opening-hours.js";
import type { Candidate } from "#domain/reservations/reservations.events.js";
import { reservationLimits } from "#domain/reservations/reservations.policy.js";
import { resourceDecider } from "#domain/reservations/resource.decider.js";
import {
  loadOf,
  type NotCounted,
  occupancy,
  type SlotbookState,
  slotbookDecider,
} from "#domain/reservations/slotbook.decider.js";
import {
  type Bookable,
  bookable,
  type Judged,
  type KnownResource,
  startsOn,
} from "#domain/reservations/slots.policy.js";
import type { CommandHandler } from "#infrastructure/command-handler.js";

/** What the platform said is taken unread for so long. */
const catalogueMaxAgeMs = 2_000;
/** A slotbook so fresh may say that there is room; that there is none is only believed after reading on. */
const roomMaxAgeMs = 1_000;
/** Losers of one race look for other slots at the same time: they may share what was read. */
const alternativesMaxAgeMs = 250;

/** A definition as it can be booked now; null when it cannot. */
export async function findOffer(commands: CommandHandler, org: OrgId, definitionId: string): Promise<Bookable | null> {
  const { state } = await commands.load({
    decider: definitionDecider,
    stream: streams.definition(org, definitionId),
    maxAgeMs: catalogueMaxAgeMs,
  });
  if (state.status !== "known") return null;
  const { definition } = state;
  const resources = await Promise.all(definition.resourceIds.map((id) => findResource(commands, org, id)));
  return bookable(
    definitionId,
    definition,
    resources.filter((resource) => resource !== null),
  );
}

/** A resource as the platform last told of it; null when it never did. */
export async function findResource(
  commands: CommandHandler,
  org: OrgId,
  resourceId: string,
): Promise<KnownResource | null> {
  const { state } = await commands.load({
    decider: resourceDecider,
    stream: streams.resource(org, resourceId),
    maxAgeMs: catalogueMaxAgeMs,
  });
  return state.status === "known" ? { ...state.resource, resourceId } : null;
}

/** What is taken of a resource on a business day, at most so old. */
export async function slotbookOf(
  commands: CommandHandler,
  org: OrgId,
  place: { readonly resourceId: string; readonly day: string },
  maxAgeMs = 0,
): Promise<SlotbookState> {
  const stream = streams.slotbook(org, place.resourceId, place.day);
  return (await commands.load({ decider: slotbookDecider, stream, maxAgeMs })).state;
}

export type RoomWish = {
  readonly partySize: number;
  readonly bufferMinutes: number;
  readonly now: number;
  readonly notCounted: NotCounted;
};

/**
 * Those candidates that have room, the less busy first. Whether there is room when they are claimed is for the slotbook
 * to say: this only keeps hopeless wishes out of the log.
 *
 * @param onFull facts for a client that finds everything taken
 */
export async function withRoom(
  commands: CommandHandler,
  org: OrgId,
  judged: Judged,
  wish: RoomWish,
  onFull: () => Promise<Record<string, unknown>>,
): Promise<Judged> {
  if (judged.rejection) return judged;
  let roomy = await roomyOf(commands, org, judged.candidates, wish, roomMaxAgeMs);
  if (roomy.length === 0) roomy = await roomyOf(commands, org, judged.candidates, wish, 0);
  if (roomy.length === 0) return { rejection: rejection("conflict", "SLOT_TAKEN", await onFull()) as Rejection };
  return { candidates: roomy };
}

async function roomyOf(
  commands: CommandHandler,
  org: OrgId,
  candidates: readonly Candidate[],
  { partySize, bufferMinutes, now, notCounted }: RoomWish,
  maxAgeMs: number,
): Promise<Candidate[]> {
  const looked = await Promise.all(
    candidates.map(async (candidate) => {
      const state = await slotbookOf(commands, org, candidate, maxAgeMs);
      const slot = { ...kept(candidate.slot), bufferMinutes };
      const left = remaining(occupancy(state, now, notCounted), candidate.capacity, slot);
      return { candidate, left, load: loadOf(state) };
    }),
  );
  const byLoad = (one: (typeof looked)[number], other: (typeof looked)[number]) =>
    one.load - other.load || (one.candidate.resourceId < other.candidate.resourceId ? -1 : 1);
  return looked
    .filter(({ left }) => left >= partySize)
    .sort(byLoad)
    .map(({ candidate }) => candidate);
}

export type Alternative = {
  readonly start: string;
  readonly end: string;
  readonly remaining: number;
  readonly resourceIds: readonly string[];
};

/** Days looked through for other slots, and resources of a definition that has very many. */
const mostDays = 7;
const mostResources = 5;

/** Up to three other slots that are free, the nearest in time; looked for from that day on. */
export async function alternativesTo(
  commands: CommandHandler,
  org: OrgId,
  offer: Bookable,
  wish: { readonly start: number; readonly resourceId: string | null } & RoomWish,
): Promise<Alternative[]> {
  const { definition } = offer;
  const resources = offer.resources
    .filter(({ resourceId }) => (wish.resourceId ?? resourceId) === resourceId)
    .slice(0, mostResources);
  const free = new Map<number, { remaining: number; resourceIds: string[] }>();
  for (let apart = 0; apart < mostDays && free.size < reservationLimits.alternatives; apart++) {
    await Promise.all(
      resources.map(async (resource) => {
        const day = addDays(businessDay(resource, wish.start), apart);
        const starts = startsOn(definition, resource, day, wish.now).filter((start) => start !== wish.start);
        if (starts.length === 0) return;
        const { resourceId, capacity } = resource;
        const state = await slotbookOf(commands, org, { resourceId, day }, alternativesMaxAgeMs);
        const taken = occupancy(state, wish.now, wish.notCounted);
        for (const start of starts) {
          const end = start + definition.durationMinutes * 60_000;
          const left = remaining(taken, capacity, { start, end, bufferMinutes: wish.bufferMinutes });
          if (left < wish.partySize) continue;
          const known = free.get(start) ?? { remaining: 0, resourceIds: [] };
          free.set(start, {
            remaining: known.remaining + left,
            resourceIds: [...known.resourceIds, resourceId].sort(),
          });
        }
      }),
    );
  }
  return [...free]
    .sort(([one], [other]) => Math.abs(one - wish.start) - Math.abs(other - wish.start) || one - other)
    .slice(0, reservationLimits.alternatives)
    .map(([start, { remaining: left, resourceIds }]) => ({
      start: new Date(start).toISOString(),
      end: new Date(start + definition.durationMinutes * 60_000).toISOString(),
      remaining: left,
      resourceIds,
    }));
}
