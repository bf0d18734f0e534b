import { ownerOfKey, parseStreamName, streams } from "#domain/core/identifiers.js";
import { reservationsDecider } from "#domain/reservations/reservations.decider.js";
import { Cancelled, Moved } from "#domain/reservations/reservations.events.js";
import { slotbookDecider } from "#domain/reservations/slotbook.decider.js";
import { CommandRejected } from "#infrastructure/command-handler.js";
import { leftBehind, releaseHold, releasePlace, settleWish } from "#sagas/reservations/booking.saga.js";
import { causeOf, dutyContext, reactionContext, systemCommandId } from "../runner/command-context.js";
import type { CustomerCleanup } from "../runner/customer-cleanup.js";
import type { DutyPerformer } from "../runner/duties.js";
import type { Reactor } from "../runner/reactor.js";
import type { WorkerDependencies } from "../worker-dependencies.js";

/** Gives a place back that was moved away from or called off: whoever did so may have crashed before. */
export function freePlaceReactor(deps: WorkerDependencies): Reactor {
  return {
    purpose: "reservations-free-place",
    on: [Cancelled, Moved],
    async react(reaction) {
      const cause = await causeOf(deps, reaction);
      const left = cause && leftBehind(cause.type, cause.data);
      const identity = parseStreamName(reaction.stream);
      if (!left || !identity) return;
      const context = reactionContext(cause, "reservations-free-place", deps.clock());
      await releasePlace(deps.commands, identity.org, left, context);
    },
  };
}

/** Brings a booking or a move to its end that somebody began and did not finish. */
export function finishPerformer(deps: WorkerDependencies): DutyPerformer {
  return {
    duty: "reservations-finish",
    async perform(due) {
      const owner = ownerOfKey(due.owner);
      if (!owner) return;
      const stream = streams.reservations(owner);
      const { state } = await deps.commands.load({ decider: reservationsDecider, stream });
      const found = state.reservations.get(due.subject);
      if (!found?.wish) return;
      try {
        const context = dutyContext(due, deps.clock());
        await settleWish(deps.commands, owner, { ...found, wish: found.wish }, context, "customer");
      } catch (error) {
        // Refused is an end, too, and it is recorded.
        if (!(error instanceof CommandRejected)) throw error;
      }
    },
  };
}

/** Says of a hold that it has ended: its place is free by the time alone, but nobody would hear of it. */
export function holdLapsesPerformer(deps: WorkerDependencies): DutyPerformer {
  return {
    duty: "reservations-hold-lapses",
    async perform(due) {
      const now = deps.clock();
      await deps.commands.handle({
        decider: slotbookDecider,
        stream: due.stream,
        command: { type: "NoteLapsedHold", holdId: due.subject, now: now.getTime() },
        context: dutyContext(due, now),
      });
    },
  };
}

/** Who is erased keeps no place from others. */
export function reservationsCleanup(deps: WorkerDependencies): CustomerCleanup {
  return {
    name: "reservations",
    async cleanUp(owner) {
      const { commands } = deps;
      const stream = streams.reservations(owner);
      const now = deps.clock();
      const { state } = await commands.load({ decider: reservationsDecider, stream });
      for (const { reservationId, wish, status } of state.reservations.values()) {
        if (wish) throw new Error("a reservation is still being settled");
        if (status !== "pending" && status !== "confirmed") continue;
        const commandId = systemCommandId(`${stream} ${reservationId}`, "erasure");
        const handled = await commands.handle({
          decider: reservationsDecider,
          stream,
          command: {
            type: "CancelReservation",
            ...{ reservationId, reason: null, whenLate: "mark", by: "system", now: now.getTime() },
          },
          context: {
            ...{ commandId, idempotent: false, owner, org: owner.org, now },
            actor: { type: "system", id: "erasure" },
            ...{ correlationId: commandId, causationId: commandId },
          },
        });
        const context = reactionContextOf(owner.org, commandId, now);
        for (const { type, data } of handled.events) {
          const left = leftBehind(type, data);
          if (left) await releasePlace(commands, owner.org, left, context);
        }
      }
      for (const { holdId } of state.holds.values()) {
        await releaseHold(commands, owner.org, holdId, reactionContextOf(owner.org, holdId, now));
      }
    },
  };
}

function reactionContextOf(org: string, cause: string, now: Date) {
  const commandId = systemCommandId(cause, "erasure");
  return {
    ...{ commandId, idempotent: false, owner: null, org, now },
    actor: { type: "system", id: "erasure" } as const,
    ...{ correlationId: commandId, causationId: commandId },
  };
}
