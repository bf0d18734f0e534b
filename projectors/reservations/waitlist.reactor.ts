import type { Filter } from "mongodb";
import { v5 as uuidV5 } from "uuid";
import { decodePart, type OrgId, orgKey, type Owner, parseStreamName, streams } from "#domain/core/identifiers.js";
import type { RecordedEvent } from "#domain/core/recorded-event.js";
import { remaining } from "#domain/reservations/capacity.policy.js";
import { addDays, businessDay } from "#domain/reservations/opening-hours.js";
import { reservationsDecider } from "#domain/reservations/reservations.decider.js";
import type { Candidate, Place } from "#domain/reservations/reservations.events.js";
import { WaitlistJoined } from "#domain/reservations/reservations.events.js";
import { isWaiting, offerKey, reservationLimits } from "#domain/reservations/reservations.policy.js";
import { isLive, occupancy, slotbookDecider } from "#domain/reservations/slotbook.decider.js";
import {
  HeldPlaceLapsed,
  HeldPlaceReleased,
  PlaceReleased,
  SlotsUnblocked,
} from "#domain/reservations/slotbook.events.js";
import { type Bookable, candidateOf, startsOn } from "#domain/reservations/slots.policy.js";
import { type CommandContext, CommandRejected } from "#infrastructure/command-handler.js";
import { live } from "#infrastructure/read-models.js";
import { holdIdOf, releaseHold, slotbookContext } from "#sagas/reservations/booking.saga.js";
import { findOffer, slotbookOf } from "#sagas/reservations/offer.lookup.js";
import { causeOf, reactionContext } from "../runner/command-context.js";
import type { Stored } from "../runner/projection.js";
import type { Reactor } from "../runner/reactor.js";
import type { WorkerDependencies } from "../worker-dependencies.js";
import { type WaitlistDocument, waitlistDocument } from "./waitlist.document.js";

const purpose = "reservations-offer";
/** Namespace of the holds of offers; drawn once. Another one would offer the same slot twice after a crash. */
const offerNamespace = "5f1e7a52-4d0c-4b7a-9a41-7f1a5f6f3c88";
/** People in line looked at for one free place. */
const mostWaiting = 500;

/**
 * Offers what comes free, and what is free when somebody begins to wait, in the order in which people began: a hold of
 * 30 minutes first, then word to the customer. The hold's id is made of entry and slot, so a repeat after a crash goes
 * on with the same hold; whoever left or was served meanwhile is passed over, and the hold goes back.
 */
export function offerReactor(deps: WorkerDependencies): Reactor {
  return {
    purpose,
    on: [PlaceReleased, HeldPlaceReleased, HeldPlaceLapsed, SlotsUnblocked, WaitlistJoined],
    async react(reaction) {
      const cause = await causeOf(deps, reaction);
      const identity = parseStreamName(reaction.stream);
      if (!cause || !identity) return;
      // Whoever began to wait before this fact must be seen.
      if (!(await deps.readModels.waitFor([waitlistDocument], cause.position, 10_000))) {
        throw new Error("the waitlist's read model is behind");
      }
      const context = reactionContext(cause, purpose, deps.clock());
      const { org, id: resourceId = "", businessDay: day = "" } = identity;
      if (cause.type === WaitlistJoined.type) await offerToNewcomer(deps, org, cause, context);
      else await offerDay(deps, org, { resourceId, day }, context);
    },
  };
}

type Day = { readonly resourceId: string; readonly day: string };

/** Somebody began to wait: what is free in the range already is offered, to those before first. */
async function offerToNewcomer(
  deps: WorkerDependencies,
  org: OrgId,
  cause: RecordedEvent,
  context: CommandContext,
): Promise<void> {
  const { waitlistId, definitionId, from, to, partySize } = cause.data as {
    waitlistId: string;
    definitionId: string;
    from: string;
    to: string;
    partySize: number;
  };
  const offer = await findOffer(deps.commands, org, definitionId);
  if (!offer) return;
  const stream = cause.stream;
  for (const resource of offer.resources) {
    const last = businessDay(resource, Date.parse(to) - 1);
    const first = businessDay(resource, Math.max(Date.parse(from), context.now.getTime()));
    for (let day = first; day <= last; day = addDays(day, 1)) {
      const place = { resourceId: resource.resourceId, day };
      const range = { from: Date.parse(from), to: Date.parse(to) };
      if (!(await freeSlot(deps, org, offer, place, { waitlistId, partySize, ...range, offered: [] }, context)))
        continue;
      await offerDay(deps, org, place, context);
      const { state } = await deps.commands.load({ decider: reservationsDecider, stream });
      const entry = state.waitlist.get(waitlistId);
      if (!entry || !isWaiting(entry, context.now.getTime())) return;
    }
  }
}

/** Offers what is free of a resource on a day, to everybody in line whom it suits. */
async function offerDay(deps: WorkerDependencies, org: OrgId, place: Day, context: CommandContext): Promise<void> {
  const now = context.now.getTime();
  const offers = new Map<string, Bookable | null>();
  for (const entry of await waiting(deps, org, place, now)) {
    let offer = offers.get(entry.definitionId);
    if (offer === undefined) {
      offer = await findOffer(deps.commands, org, entry.definitionId);
      offers.set(entry.definitionId, offer);
    }
    if (!offer || !isWaiting(entry, now)) continue;
    const { waitlistId, partySize, offered } = entry;
    const range = { from: Date.parse(entry.from), to: Date.parse(entry.to) };
    const slot = await freeSlot(deps, org, offer, place, { waitlistId, partySize, offered, ...range }, context);
    if (slot) await offerTo(deps, entry, offer, slot, context);
  }
}

/** Those in line whose range touches a day, whoever came first first. */
async function waiting(
  { readModels }: WorkerDependencies,
  org: OrgId,
  { day }: Day,
  now: number,
): Promise<readonly Stored<WaitlistDocument>[]> {
  const filter = {
    owner: { $gte: `${orgKey(org)}.`, $lt: `${orgKey(org)}/` },
    fulfilledBy: null,
    to: { $gt: new Date(now).toISOString() },
    // A business day begins at most a day before its date anywhere, and ends two days after.
    from: { $lt: `${addDays(day, 3)}T` },
    ...live,
  };
  const found = readModels
    .collection(waitlistDocument)
    .find(filter as unknown as Filter<Stored<WaitlistDocument>>)
    .sort({ joined: 1 })
    .limit(mostWaiting)
    .toArray();
  return (await found) as unknown as Stored<WaitlistDocument>[];
}

type Wanted = {
  readonly waitlistId: string;
  readonly partySize: number;
  readonly from: number;
  readonly to: number;
  readonly offered: readonly string[];
};

/** The first slot of a day that is wanted and free, or held for this very entry: a worker died before it could say so. */
async function freeSlot(
  deps: WorkerDependencies,
  org: OrgId,
  { definition, resources }: Bookable,
  place: Day,
  { waitlistId, partySize, from, to, offered }: Wanted,
  context: CommandContext,
): Promise<Candidate | null> {
  const now = context.now.getTime();
  const resource = resources.find(({ resourceId }) => resourceId === place.resourceId);
  if (!resource || partySize > definition.maxPartySize) return null;
  const starts = startsOn(definition, resource, place.day, now).filter((start) => start >= from && start < to);
  if (starts.length === 0) return null;
  const slotbook = await slotbookOf(deps.commands, org, place);
  const taken = occupancy(slotbook, now);
  for (const start of starts) {
    const candidate = candidateOf(definition, resource, start);
    if (offered.includes(offerKey(candidate))) continue;
    const own = slotbook.holds.get(offerHoldId(waitlistId, candidate));
    if (own && isLive(own, now)) return candidate;
    const slot = { start, end: start + definition.durationMinutes * 60_000, bufferMinutes: definition.bufferMinutes };
    if (remaining(taken, resource.capacity, slot) >= partySize) return candidate;
  }
  return null;
}

/** Made of entry and slot: a repeat goes on with the same hold. */
function offerHoldId(waitlistId: string, place: Place): string {
  return holdIdOf(place, uuidV5(`${waitlistId} ${offerKey(place)}`, offerNamespace));
}

/** Holds a slot for somebody in line, and says so; gives it back when it is not wanted any more. */
async function offerTo(
  deps: WorkerDependencies,
  entry: Stored<WaitlistDocument>,
  { definitionId, definition }: Bookable,
  { capacity, ...place }: Candidate,
  context: CommandContext,
): Promise<void> {
  const { waitlistId, partySize } = entry;
  const owner = ownerOf(entry);
  const now = context.now.getTime();
  const holdId = offerHoldId(waitlistId, place);
  let expiresAt = new Date(now + reservationLimits.offerMinutes * 60_000).toISOString();
  const own = { ...context, idempotent: false };
  try {
    const { state } = await deps.commands.handle({
      decider: slotbookDecider,
      stream: streams.slotbook(owner.org, place.resourceId, place.day),
      command: {
        type: "HoldPlace",
        ...{ holdId, customerId: owner.customer, definitionId, slot: place.slot, partySize, capacity, expiresAt, now },
        bufferMinutes: definition.bufferMinutes,
        replaces: null,
      },
      context: slotbookContext(own),
    });
    // One that an earlier run placed ends when that run said.
    expiresAt = state.holds.get(holdId)?.expiresAt ?? expiresAt;
  } catch (error) {
    if (error instanceof CommandRejected) return; // somebody was quicker
    throw error;
  }
  try {
    await deps.commands.handle({
      decider: reservationsDecider,
      stream: streams.reservations(owner),
      command: { type: "RecordOffer", ...{ waitlistId, holdId, place, expiresAt, now } },
      context: { ...own, owner },
    });
  } catch (error) {
    if (!(error instanceof CommandRejected)) throw error;
    await releaseHold(deps.commands, owner.org, holdId, own);
  }
}

function ownerOf({ owner }: Stored<WaitlistDocument>): Owner {
  const [org = "", customer = ""] = owner.split(".");
  return { org: decodePart(org), customer: decodePart(customer) };
}
