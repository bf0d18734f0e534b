import { z } from "zod";
import { streams } from "#domain/core/identifiers.js";
import { rejection } from "#domain/core/rejection.js";
import { boundary } from "#domain/reservations/opening-hours.js";
import { reservationsDecider } from "#domain/reservations/reservations.decider.js";
import { reservationLimits } from "#domain/reservations/reservations.policy.js";
import { waitlistData, waitlistDataSchema } from "#domain/reservations/waitlist-record.policy.js";
import { bookingWindow } from "#domain/reservations/slots.policy.js";
import { CommandRejected } from "#infrastructure/command-handler.js";
import { principalOf } from "#infrastructure/http/principal.js";
import { invalidField, Problem } from "#infrastructure/http/problem-details.js";
import { sendCommandAnswer } from "#infrastructure/http/records.js";
import type { RouteDefinition } from "#infrastructure/http/routes.js";
import { id, instant, parseBody, parseParams } from "#infrastructure/http/validation.js";
import type { CommandDependencies } from "../dependencies.js";
import { commandIdOf } from "../idempotency.js";
import { releaseHold } from "#sagas/reservations/booking.saga.js";
import { findOffer } from "#sagas/reservations/offer.lookup.js";
import { partySizeInput } from "./reservations.routes.js";

const moment = z
  .union([z.iso.date(), instant()])
  .meta({ description: "RFC 3339 time, or a date where the resource is" });
const joinBody = z.strictObject({
  definitionId: id(),
  from: moment,
  to: moment,
  partySize: partySizeInput.default(1),
});
const params = z.object({ waitlistId: id() });

/** Waiting for a slot that is taken: what comes free is offered in the order in which people began to wait. */
export function waitlistRoutes(deps: CommandDependencies): RouteDefinition[] {
  return [
    {
      method: "post",
      path: "/client-data/reservations/waitlist",
      summary: "Waits for a slot in a range of time; what comes free is offered, held for 30 minutes",
      operationId: "joinWaitlist",
      area: "reservations",
      request: { body: joinBody },
      responses: { 201: { description: "The entry", schema: z.object({ data: waitlistDataSchema }) } },
      problems: [
        "DEFINITION_NOT_FOUND",
        "RANGE_TOO_LONG",
        "TOO_SOON",
        "TOO_FAR",
        "PARTY_TOO_LARGE",
        "OPEN_RESERVATION_LIMIT",
      ],
      handler: async (req, res) => {
        const { owner } = principalOf(res);
        const { definitionId, partySize, ...range } = parseBody(joinBody, req);
        const context = deps.idempotency(req, res);
        const now = context.now.getTime();
        const offer = await findOffer(deps.commands, owner.org, definitionId);
        if (!offer) throw new CommandRejected(rejection("not-found", "DEFINITION_NOT_FOUND"));
        const { timezone } = offer.resources[0];
        const from = boundary(range.from, timezone, 0);
        const to = boundary(range.to, timezone, 1);
        if (to <= from) throw invalidField("to", "TOO_SMALL", "must be after `from`");
        if (to - from > reservationLimits.rangeDays * 86_400_000 + 3_600_000) {
          throw new Problem(400, "RANGE_TOO_LONG", { params: { days: reservationLimits.rangeDays } });
        }
        const most = Math.min(
          offer.definition.maxPartySize,
          Math.max(...offer.resources.map(({ capacity }) => capacity)),
        );
        if (partySize > most) {
          throw new CommandRejected(rejection("refused", "PARTY_TOO_LARGE", { maxPartySize: most }));
        }
        const window = bookingWindow(offer.definition, now);
        if (to <= Math.max(now, window.from)) throw new CommandRejected(rejection("refused", "TOO_SOON"));
        if (from > window.to) throw new CommandRejected(rejection("refused", "TOO_FAR"));
        const waitlistId = commandIdOf([context.commandId, "waitlist"]);
        const handled = await deps.commands.handle({
          decider: reservationsDecider,
          stream: streams.reservations(owner),
          command: {
            type: "JoinWaitlist",
            ...{ waitlistId, definitionId, partySize, now },
            title: offer.definition.title,
            from: new Date(from).toISOString(),
            to: new Date(to).toISOString(),
          },
          context,
        });
        const entry = handled.state.waitlist.get(waitlistId);
        if (!entry) throw new Error("an entry that was made is there");
        sendCommandAnswer(res, 201, { data: waitlistData(entry, now) }, deps.answerOf(handled));
      },
    },
    {
      method: "delete",
      path: "/client-data/reservations/waitlist/:waitlistId",
      summary: "Waits no longer; a place that is held for it goes to the next in line",
      operationId: "leaveWaitlist",
      area: "reservations",
      request: { params },
      responses: { 204: { description: "There is no such entry any more" } },
      problems: ["WAITLIST_ENTRY_NOT_FOUND"],
      handler: async (req, res) => {
        const { owner } = principalOf(res);
        const { waitlistId } = parseParams(params, req);
        const context = deps.idempotency(req, res);
        const stream = streams.reservations(owner);
        const { state } = await deps.commands.load({ decider: reservationsDecider, stream });
        const entry = state.waitlist.get(waitlistId);
        if (!entry && !state.ended.includes(waitlistId)) {
          throw new CommandRejected(rejection("not-found", "WAITLIST_ENTRY_NOT_FOUND"));
        }
        const handled = await deps.commands.handle({
          decider: reservationsDecider,
          stream,
          command: { type: "LeaveWaitlist", waitlistId },
          context,
        });
        // A crash before this costs the next in line half an hour: the hold then ends by time.
        if (entry?.offer && entry.fulfilledBy === null) {
          await releaseHold(deps.commands, owner.org, entry.offer.holdId, context);
        }
        sendCommandAnswer(res, 204, undefined, deps.answerOf(handled));
      },
    },
  ];
}
