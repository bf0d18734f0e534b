import { accept, type Decider, type Decision, type Placed, refuse, unreachable } from "../core/decider.js";
import { PersistentMap } from "../core/persistent-map.js";
import { rejection } from "../core/rejection.js";
import { isNewer, type SourceRevision } from "../core/source-revision.js";
import { type Occupancy, type Occupation, occupancyOf, occupied, remaining } from "./capacity.policy.js";
import { kept, type PromisedSlot, type Range } from "./opening-hours.js";
import {
  HeldPlaceLapsed,
  HeldPlaceReleased,
  PlaceClaimed,
  PlaceHeld,
  PlaceRefused,
  PlaceReleased,
  type SlotbookEvent,
  SlotsBlocked,
  SlotsUnblocked,
} from "./slotbook.events.js";

type Claim = Occupation & { readonly reservationId: string; readonly slot: PromisedSlot };

export type Hold = Occupation & {
  readonly holdId: string;
  readonly customerId: string;
  readonly definitionId: string;
  readonly slot: PromisedSlot;
  readonly expiresAt: string;
};

/** Judged once and for all: whoever finishes what a crash left open comes to the same end. */
type Verdict = "claimed" | "released" | "SLOT_TAKEN" | "HOLD_EXPIRED";

export type SlotbookState = {
  readonly claims: PersistentMap<Claim>;
  readonly verdicts: PersistentMap<Verdict>;
  readonly holds: PersistentMap<Hold>;
  /** Null for a block that was taken away: an older message must not bring it back. */
  readonly blocks: PersistentMap<{ readonly range: Range | null; readonly sourceRevision: SourceRevision }>;
};

/** What a claim or a hold wants; `capacity` is the resource's. */
export type PlaceWish = {
  readonly customerId: string;
  readonly definitionId: string;
  readonly slot: PromisedSlot;
  readonly bufferMinutes: number;
  readonly partySize: number;
  readonly capacity: number;
};

export type SlotbookCommand =
  | ({
      readonly type: "ClaimPlace";
      readonly reservationId: string;
      readonly move: number;
      readonly holdId: string | null;
      readonly now: number;
    } & PlaceWish)
  | { readonly type: "ReleasePlace"; readonly reservationId: string; readonly move: number }
  | ({
      readonly type: "HoldPlace";
      readonly holdId: string;
      readonly expiresAt: string;
      /** The customer's hold that this one takes the place of. */
      readonly replaces: string | null;
      readonly now: number;
    } & PlaceWish)
  | { readonly type: "ReleaseHold"; readonly holdId: string }
  | { readonly type: "NoteLapsedHold"; readonly holdId: string; readonly now: number }
  | {
      readonly type: "SetBlock";
      readonly blockId: string;
      /** Null takes the block away whatever came last. */
      readonly sourceRevision: SourceRevision | null;
      /** Null: no block on this day, or no longer. */
      readonly range: { readonly start: string; readonly end: string } | null;
    };

/**
 * One resource on one business day: stream `slotbook-<org>.<resource>.<day>`. Whatever takes a place on that day goes
 * through it, so no place is sold twice.
 */
export const slotbookDecider: Decider<SlotbookState, SlotbookCommand, SlotbookEvent> = {
  initial: {
    claims: PersistentMap.empty(),
    verdicts: PersistentMap.empty(),
    holds: PersistentMap.empty(),
    blocks: PersistentMap.empty(),
  },
  evolve,
  decide,
};

/** A hold so long over is forgotten: clocks differ, but not by this much. */
const forgetHoldsAfterMs = 3_600_000;

function evolve(state: SlotbookState, event: Placed<SlotbookEvent>): SlotbookState {
  switch (event.type) {
    case "reservations.PlaceClaimed.v1": {
      const { reservationId, move, slot, bufferMinutes, partySize, holdId } = event.data;
      const key = claimKey(reservationId, move);
      const claim = { ...occupied(slot, bufferMinutes, partySize), reservationId, slot };
      return {
        ...state,
        claims: state.claims.set(key, claim),
        verdicts: state.verdicts.set(key, "claimed"),
        holds: holdId === null ? state.holds : state.holds.delete(holdId),
      };
    }
    case "reservations.PlaceRefused.v1": {
      const { reservationId, move, code } = event.data;
      return { ...state, verdicts: state.verdicts.set(claimKey(reservationId, move), code) };
    }
    case "reservations.PlaceReleased.v1": {
      const key = claimKey(event.data.reservationId, event.data.move);
      return { ...state, claims: state.claims.delete(key), verdicts: state.verdicts.set(key, "released") };
    }
    case "reservations.PlaceHeld.v1": {
      const { holdId, customerId, definitionId, slot, bufferMinutes, partySize, expiresAt } = event.data;
      const hold = { ...occupied(slot, bufferMinutes, partySize), holdId, customerId, definitionId, slot, expiresAt };
      const over = Date.parse(event.at) - forgetHoldsAfterMs;
      let holds = state.holds;
      for (const other of holds.values()) if (Date.parse(other.expiresAt) < over) holds = holds.delete(other.holdId);
      return { ...state, holds: holds.set(holdId, hold) };
    }
    case "reservations.HeldPlaceReleased.v1":
    case "reservations.HeldPlaceLapsed.v1":
      return { ...state, holds: state.holds.delete(event.data.holdId) };
    case "reservations.SlotsBlocked.v1": {
      const { blockId, sourceRevision, start, end } = event.data;
      const range = { start: Date.parse(start), end: Date.parse(end) };
      return { ...state, blocks: state.blocks.set(blockId, { range, sourceRevision }) };
    }
    case "reservations.SlotsUnblocked.v1": {
      const { blockId, sourceRevision } = event.data;
      return { ...state, blocks: state.blocks.set(blockId, { range: null, sourceRevision }) };
    }
    default:
      return unreachable(event);
  }
}

function decide(command: SlotbookCommand, state: SlotbookState): Decision<SlotbookEvent> {
  switch (command.type) {
    case "ClaimPlace":
      return claim(command, state);
    case "ReleasePlace": {
      const { reservationId, move } = command;
      const claimed = state.claims.get(claimKey(reservationId, move));
      return claimed ? accept(PlaceReleased.create({ reservationId, move, slot: claimed.slot })) : accept();
    }
    case "HoldPlace": {
      const { holdId, customerId, definitionId, slot, bufferMinutes, partySize, expiresAt } = command;
      const known = state.holds.get(holdId);
      if (known && isLive(known, command.now)) return accept();
      if (placesLeft(state, command, { holdIds: [command.replaces] }) < partySize) {
        return refuse(rejection("conflict", "SLOT_TAKEN"));
      }
      return accept(PlaceHeld.create({ holdId, customerId, definitionId, slot, bufferMinutes, partySize, expiresAt }));
    }
    case "ReleaseHold": {
      const hold = state.holds.get(command.holdId);
      return hold ? accept(HeldPlaceReleased.create({ holdId: hold.holdId, slot: hold.slot })) : accept();
    }
    case "NoteLapsedHold": {
      const hold = state.holds.get(command.holdId);
      if (!hold || isLive(hold, command.now)) return accept();
      return accept(HeldPlaceLapsed.create({ holdId: hold.holdId, slot: hold.slot }));
    }
    case "SetBlock":
      return setBlock(command, state);
    default:
      return unreachable(command);
  }
}

function claim(
  command: Extract<SlotbookCommand, { type: "ClaimPlace" }>,
  state: SlotbookState,
): Decision<SlotbookEvent> {
  const { reservationId, move, customerId, definitionId, slot, bufferMinutes, partySize, holdId, now } = command;
  const verdict = state.verdicts.get(claimKey(reservationId, move));
  // A claim that was given back meanwhile stays so: whoever asks again is late.
  if (verdict === "claimed" || verdict === "released") return accept();
  if (verdict !== undefined) return refuse(rejection("conflict", verdict));
  const hold = holdId === null ? undefined : state.holds.get(holdId);
  const held = hold !== undefined && hold.customerId === customerId && isLive(hold, now);
  const left = placesLeft(state, command, { reservationId, holdIds: held ? [holdId] : [] });
  if (left >= partySize) {
    return accept(
      PlaceClaimed.create({
        reservationId,
        move,
        customerId,
        definitionId,
        slot,
        bufferMinutes,
        partySize,
        holdId: held ? holdId : null,
      }),
    );
  }
  const code = holdId !== null && !held ? "HOLD_EXPIRED" : "SLOT_TAKEN";
  return { events: [PlaceRefused.create({ reservationId, move, code })], rejection: rejection("conflict", code) };
}

function setBlock(
  command: Extract<SlotbookCommand, { type: "SetBlock" }>,
  state: SlotbookState,
): Decision<SlotbookEvent> {
  const { blockId, range } = command;
  const known = state.blocks.get(blockId);
  const sourceRevision = command.sourceRevision ?? known?.sourceRevision;
  if (sourceRevision === undefined || (!known && range === null)) return accept();
  if (known && command.sourceRevision !== null && !isNewer(command.sourceRevision, known.sourceRevision)) {
    return accept();
  }
  if (range !== null) return accept(SlotsBlocked.create({ blockId, sourceRevision, ...range }));
  return known?.range ? accept(SlotsUnblocked.create({ blockId, sourceRevision })) : accept();
}

/** What is not counted against a wish: other claims of its own reservation, and holds that are its own. */
export type NotCounted = { readonly reservationId?: string | null; readonly holdIds?: readonly (string | null)[] };

/** What is taken on this day: by claims, by holds that are live, and by blocks. */
export function occupancy(state: SlotbookState, now: number, notCounted: NotCounted = {}): Occupancy {
  const { reservationId, holdIds = [] } = notCounted;
  const occupations: Occupation[] = [];
  for (const claim of state.claims.values()) if (claim.reservationId !== reservationId) occupations.push(claim);
  for (const hold of state.holds.values())
    if (isLive(hold, now) && !holdIds.includes(hold.holdId)) occupations.push(hold);
  const blocks: Range[] = [];
  for (const { range } of state.blocks.values()) if (range) blocks.push(range);
  return occupancyOf(occupations, blocks);
}

function placesLeft(state: SlotbookState, wish: PlaceWish & { readonly now: number }, notCounted: NotCounted): number {
  const { start, end } = kept(wish.slot);
  const slot = { start, end, bufferMinutes: wish.bufferMinutes };
  return remaining(occupancy(state, wish.now, notCounted), wish.capacity, slot);
}

/** Places claimed on this day: with it the less busy of two resources is found. */
export function loadOf(state: SlotbookState): number {
  let load = 0;
  for (const { partySize } of state.claims.values()) load += partySize;
  return load;
}

/** Whether a hold still keeps its place. */
export function isLive(hold: Pick<Hold, "expiresAt">, now: number): boolean {
  return Date.parse(hold.expiresAt) > now;
}

function claimKey(reservationId: string, move: number): string {
  return `${reservationId}/${move}`;
}
