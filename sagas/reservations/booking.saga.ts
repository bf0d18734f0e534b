import { type OrgId, type Owner, streams } from "#domain/core/identifiers.js";
import {
  type Outcome,
  type ReservationsState,
  reservationsDecider,
} from "#domain/reservations/reservations.decider.js";
import type { By, Place, Refusal } from "#domain/reservations/reservations.events.js";
import type { OpenWish, Reservation } from "#domain/reservations/reservations.policy.js";
import { slotbookDecider } from "#domain/reservations/slotbook.decider.js";
import {
  type CommandContext,
  type CommandHandler,
  CommandRejected,
  type Handled,
} from "#infrastructure/command-handler.js";

/**
 * Bookings and moves over two streams, one append per step: the wish goes first to the customer's stream, then a claim
 * to the slotbook, then the outcome to the customer's stream; after a move the old place is given back last. A claim
 * is judged once and for all, so whoever goes on where a crash left off, even at the same time, comes to the same end.
 */

/** A step on a slotbook, which belongs to the org: nothing that was sealed for the customer goes with it. */
export function slotbookContext({ client: _, bodyDigest: __, ...context }: CommandContext): CommandContext {
  return { ...context, owner: null, idempotent: false };
}

/**
 * Brings a wish to its end: claims its candidates in their order, records what came of it, gives the old place back.
 *
 * @param reservation with its wish, as the customer's stream told
 * @param context of the command that goes on; its step 1 is the outcome
 * @param onRefused facts for a refused client, such as other slots
 * @throws CommandRejected `SLOT_TAKEN` or `HOLD_EXPIRED`, once that is recorded
 */
export async function settleWish(
  commands: CommandHandler,
  owner: Owner,
  reservation: Reservation & { readonly wish: OpenWish },
  context: CommandContext,
  by: By,
  onRefused?: () => Promise<Record<string, unknown>>,
): Promise<Handled<ReservationsState>> {
  const { reservationId, wish } = reservation;
  let outcome = await claim(commands, owner, reservation, context);
  if (outcome.kind === "refused" && onRefused) outcome = { ...outcome, params: await onRefused() };
  const handled = await commands.handle({
    decider: reservationsDecider,
    stream: streams.reservations(owner),
    command:
      reservation.place === null
        ? { type: "SettleRequest", reservationId, outcome, by }
        : { type: "SettleMove", reservationId, move: wish.move, outcome, by },
    context: { ...context, step: 1 },
  });
  await releaseLeft(commands, owner.org, handled, context);
  return handled;
}

async function claim(
  commands: CommandHandler,
  { org, customer }: Owner,
  reservation: Reservation & { readonly wish: OpenWish },
  context: CommandContext,
): Promise<Outcome> {
  const { reservationId, definitionId, bufferMinutes, wish } = reservation;
  const { move, partySize, holdId } = wish;
  let code: Refusal = "SLOT_TAKEN";
  for (const { capacity, ...place } of wish.candidates) {
    const claimed = {
      type: "ClaimPlace",
      ...{ reservationId, move, customerId: customer, definitionId, bufferMinutes, partySize, holdId, capacity },
      slot: place.slot,
      now: context.now.getTime(),
    } as const;
    try {
      await commands.handle({
        decider: slotbookDecider,
        stream: streams.slotbook(org, place.resourceId, place.day),
        command: claimed,
        context: slotbookContext(context),
      });
      return { kind: "granted", place };
    } catch (error) {
      if (!(error instanceof CommandRejected)) throw error;
      if (error.rejection.code === "HOLD_EXPIRED") code = "HOLD_EXPIRED";
      else if (error.rejection.code !== "SLOT_TAKEN") throw error;
    }
  }
  return { kind: "refused", code };
}

/** Gives back what the events of a move or a cancellation left behind. A repeat changes nothing. */
export async function releaseLeft(
  commands: CommandHandler,
  org: OrgId,
  { events }: Pick<Handled<unknown>, "events">,
  context: CommandContext,
): Promise<void> {
  for (const { type, data } of events) {
    const left = leftBehind(type, data);
    if (left) await releasePlace(commands, org, left, context);
  }
}

/** A claim and where it was made. */
export type Left = { readonly reservationId: string; readonly move: number; readonly place: Place };

/** The claim that an event of a customer's reservations leaves behind, if any. */
export function leftBehind(type: string, data: unknown): Left | null {
  if (type === "reservations.Cancelled.v1") return data as Left;
  if (type !== "reservations.Moved.v1") return null;
  const { reservationId, previous } = data as { reservationId: string; previous: { move: number; place: Place } };
  return { reservationId, ...previous };
}

export async function releasePlace(
  commands: CommandHandler,
  org: OrgId,
  { reservationId, move, place }: Left,
  context: CommandContext,
): Promise<void> {
  await commands.handle({
    decider: slotbookDecider,
    stream: streams.slotbook(org, place.resourceId, place.day),
    command: { type: "ReleasePlace", reservationId, move },
    context: slotbookContext(context),
  });
}

/** Where a hold stands in the log: its id carries its stream. Null for what is no hold's id. */
export function placeOfHold(holdId: string): { readonly resourceId: string; readonly day: string } | null {
  const [, resourceId, day] = /^(.{1,64})\.(\d{4}-\d{2}-\d{2})\.[0-9a-f-]{36}$/.exec(holdId) ?? [];
  return resourceId === undefined || day === undefined ? null : { resourceId, day };
}

export function holdIdOf({ resourceId, day }: Pick<Place, "resourceId" | "day">, uuid: string): string {
  return `${resourceId}.${day}.${uuid}`;
}

/** Ends a hold in its slotbook. A repeat, or a hold that is over, changes nothing. */
export async function releaseHold(
  commands: CommandHandler,
  org: OrgId,
  holdId: string,
  context: CommandContext,
): Promise<void> {
  const place = placeOfHold(holdId);
  if (!place) return;
  await commands.handle({
    decider: slotbookDecider,
    stream: streams.slotbook(org, place.resourceId, place.day),
    command: { type: "ReleaseHold", holdId },
    context: slotbookContext(context),
  });
}
