import { z } from "zod";
import { type Owner, streams } from "#domain/core/identifiers.js";
import { rejection } from "#domain/core/rejection.js";
import { holdOf, reservationsDecider } from "#domain/reservations/reservations.decider.js";
import type { Candidate, Place } from "#domain/reservations/reservations.events.js";
import { reservationLimits } from "#domain/reservations/reservations.policy.js";
import { businessDay } from "#domain/reservations/opening-hours.js";
import { isLive, slotbookDecider } from "#domain/reservations/slotbook.decider.js";
import { type Bookable, judgeSlot } from "#domain/reservations/slots.policy.js";
import { type CommandContext, CommandRejected } from "#infrastructure/command-handler.js";
import { principalOf } from "#infrastructure/http/principal.js";
import { sendCommandAnswer } from "#infrastructure/http/records.js";
import type { RouteDefinition } from "#infrastructure/http/routes.js";
import { id, parseBody, parseParams } from "#infrastructure/http/validation.js";
import type { CommandDependencies } from "../dependencies.js";
import { commandIdOf } from "../idempotency.js";
import { holdIdOf, releaseHold, slotbookContext } from "#sagas/reservations/booking.saga.js";
import { findOffer, withRoom } from "#sagas/reservations/offer.lookup.js";
import { bookingFields, othersTo, roomWish, startOf } from "./reservations.routes.js";

const holdBody = z.strictObject(bookingFields);
const params = z.object({ holdId: id(reservationLimits.holdId) });

const holdSchema = z.object({
  data: z.object({
    holdId: z.string(),
    expiresAt: z.iso.datetime(),
    definitionId: z.string(),
    slot: z.object({ start: z.iso.datetime(), end: z.iso.datetime() }),
    resource: z.object({ id: z.string(), name: z.string() }),
    partySize: z.int(),
  }),
});

/** A place kept while the customer decides: five minutes, one per definition. */
export function holdRoutes(deps: CommandDependencies): RouteDefinition[] {
  return [
    {
      method: "post",
      path: "/client-data/reservations/holds",
      summary: "Keeps a place for five minutes; takes over from an earlier hold of that definition",
      operationId: "holdSlot",
      area: "reservations",
      request: { body: holdBody },
      responses: { 201: { description: "The hold", schema: holdSchema } },
      problems: [
        "DEFINITION_NOT_FOUND",
        "RESOURCE_NOT_FOUND",
        "SLOT_TAKEN",
        "SLOT_NOT_OFFERED",
        "TOO_SOON",
        "TOO_FAR",
        "PARTY_TOO_LARGE",
      ],
      handler: async (req, res) => {
        const { owner } = principalOf(res);
        const input = parseBody(holdBody, req);
        const { hold, ...handled } = await placeHold(deps, owner, input, deps.idempotency(req, res));
        const { holdId, expiresAt, definitionId, place, partySize } = hold;
        const { start, end } = place.slot;
        const resource = { id: place.resourceId, name: place.resourceName };
        const data = { holdId, expiresAt, definitionId, slot: { start, end }, resource, partySize };
        sendCommandAnswer(res, 201, { data }, deps.answerOf(handled));
      },
    },
    {
      method: "delete",
      path: "/client-data/reservations/holds/:holdId",
      summary: "Gives a kept place back; fine when it has ended",
      operationId: "releaseHold",
      area: "reservations",
      request: { params },
      responses: { 204: { description: "The place is no longer kept" } },
      problems: ["HOLD_NOT_FOUND"],
      handler: async (req, res) => {
        const { owner } = principalOf(res);
        const { holdId } = parseParams(params, req);
        const context = deps.idempotency(req, res);
        const stream = streams.reservations(owner);
        const { state } = await deps.commands.load({ decider: reservationsDecider, stream });
        const offered = [...state.waitlist.values()].some(({ offer }) => offer?.holdId === holdId);
        if (!holdOf(state, holdId) && !offered && !state.ended.includes(holdId)) {
          throw new CommandRejected(rejection("not-found", "HOLD_NOT_FOUND"));
        }
        const handled = await deps.commands.handle({
          decider: reservationsDecider,
          stream,
          command: { type: "ReleaseHold", holdId },
          context,
        });
        // Ours by what the customer's own stream says: the slotbook asks no more.
        await releaseHold(deps.commands, owner.org, holdId, context);
        sendCommandAnswer(res, 204, undefined, deps.answerOf(handled));
      },
    },
  ];
}

/**
 * Holds the first candidate with room, then records it for the customer, then gives the hold before it back. A crash in
 * between leaves a hold that nobody uses; it ends by itself.
 */
export async function placeHold(
  deps: Pick<CommandDependencies, "commands">,
  owner: Owner,
  input: z.output<typeof holdBody>,
  context: CommandContext,
) {
  const { commands } = deps;
  const { definitionId, resourceId = null, partySize = 1 } = input;
  const stream = streams.reservations(owner);
  const now = context.now.getTime();
  const offer = await findOffer(commands, owner.org, definitionId);
  const start = startOf(input.slot, offer?.definition.durationMinutes, input.timezone);
  const { state } = await commands.load({ decider: reservationsDecider, stream });
  const before = state.holds.get(definitionId);
  const live = before && isLive(before, now) ? before : undefined;
  if (live && Date.parse(live.place.slot.start) === start && live.partySize === partySize) {
    // The same place again: kept as it is. To hold it longer by asking again would keep it from the others for ever.
    if ((resourceId ?? live.place.resourceId) === live.place.resourceId) return { hold: live, replayed: false };
  }
  const wish = { start, resourceId, partySize };
  const uuid = commandIdOf([context.commandId, "hold"]);
  // Its own hold, where an earlier run of this command died before it could record it.
  const own = (offer?.resources ?? []).map((resource) =>
    holdIdOf({ resourceId: resource.resourceId, day: businessDay(resource, start) }, uuid),
  );
  const room = roomWish(offer, wish, now, { holdIds: [live?.holdId ?? null, ...own] });
  const others = othersTo(deps, owner, offer, room);
  const judged = await withRoom(commands, owner.org, judgeSlot(offer, wish, now), room, others);
  if (judged.rejection) throw new CommandRejected(judged.rejection);

  const expiresAt = new Date(now + reservationLimits.holdMinutes * 60_000).toISOString();
  const keep = { owner, offer: offer as Bookable, partySize, expiresAt, replaces: live?.holdId ?? null };
  const held = await holdOne(deps, keep, judged.candidates, uuid, context, others);
  const { place, holdId } = held;
  const handled = await commands.handle({
    decider: reservationsDecider,
    stream,
    command: {
      type: "PlaceHold",
      ...{ holdId, definitionId, title: keep.offer.definition.title, place, partySize, expiresAt: held.expiresAt },
    },
    context,
  });
  for (const { type, data } of handled.events) {
    const { replaces } = data as { replaces?: string | null };
    if (type === "reservations.HoldPlaced.v1" && replaces) await releaseHold(commands, owner.org, replaces, context);
  }
  const hold = handled.state.holds.get(definitionId);
  if (!hold) throw new Error("a hold that was placed is there");
  // A repeat of a command whose hold is long over: it must not have taken the place anew.
  if (handled.replayed && !isLive(hold, now)) await releaseHold(commands, owner.org, holdId, context);
  return { hold, position: handled.position, replayed: handled.replayed };
}

type Keep = {
  readonly owner: Owner;
  readonly offer: Bookable;
  readonly partySize: number;
  readonly expiresAt: string;
  readonly replaces: string | null;
};

async function holdOne(
  { commands }: Pick<CommandDependencies, "commands">,
  { owner, offer, partySize, expiresAt, replaces }: Keep,
  candidates: readonly Candidate[],
  uuid: string,
  context: CommandContext,
  others: () => Promise<Record<string, unknown>>,
): Promise<{ readonly place: Place; readonly holdId: string; readonly expiresAt: string }> {
  for (const { capacity, ...place } of candidates) {
    const holdId = holdIdOf(place, uuid);
    try {
      const { state } = await commands.handle({
        decider: slotbookDecider,
        stream: streams.slotbook(owner.org, place.resourceId, place.day),
        command: {
          type: "HoldPlace",
          holdId,
          customerId: owner.customer,
          definitionId: offer.definitionId,
          slot: place.slot,
          bufferMinutes: offer.definition.bufferMinutes,
          ...{ partySize, capacity, expiresAt, replaces, now: context.now.getTime() },
        },
        context: slotbookContext(context),
      });
      // One that an earlier run placed ends when that run said.
      return { place, holdId, expiresAt: state.holds.get(holdId)?.expiresAt ?? expiresAt };
    } catch (error) {
      if (!(error instanceof CommandRejected)) throw error;
    }
  }
  throw new CommandRejected(rejection("conflict", "SLOT_TAKEN", await others()));
}
