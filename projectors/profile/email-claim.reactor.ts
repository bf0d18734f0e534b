import { randomUUID } from "node:crypto";
import { streams, ownerOfKey } from "#domain/core/identifiers.js";
import { emailClaimDecider, emailClaimStream } from "#domain/profile/email-claim.decider.js";
import { claimEmail, releaseEmail, type SagaPort } from "#sagas/profile/email-change.saga.js";
import { profileDecider } from "#domain/profile/profile.decider.js";
import { EmailChanged, type ProfileEvent, Registered, Updated } from "#domain/profile/profile.events.js";
import type { RecordedEvent } from "#domain/core/recorded-event.js";
import { CommandRejected } from "#infrastructure/command-handler.js";
import { causeOf, reactionContext } from "../runner/command-context.js";
import type { CustomerCleanup } from "../runner/customer-cleanup.js";
import type { Reactor } from "../runner/reactor.js";
import type { WorkerDependencies } from "../worker-dependencies.js";

/**
 * The claims of addresses follow the profiles: an address that came by a token or from the platform is claimed where
 * it is free, and the one it replaced is let go.
 *
 * Behind the profile, not before it: the platform's word and a verified token are facts that a claim cannot refuse,
 * and an import must not wait for a second stream per customer. Where two accounts come with one address the first
 * has the claim, and nobody else can change to it.
 */
export function emailClaimReactor(deps: WorkerDependencies): Reactor {
  const purpose = "claim-email";
  return {
    purpose,
    on: [Registered, Updated, EmailChanged],
    async react(reaction) {
      const cause = (await causeOf(deps, reaction)) as RecordedEvent<ProfileEvent> | null;
      const owner = cause && ownerOfKey(cause.owner);
      if (!owner || !("email" in cause.data) || cause.data.email === undefined) return;
      const { state } = await deps.commands.load({ decider: profileDecider, stream: cause.stream });
      const email = state.status === "active" ? state.profile.email : null;
      const port = sagaPort(deps, cause, purpose);
      if (email !== null) await claimEmail(port, owner, email);
      const previous = previousEmail(cause);
      if (previous && (email === null || port.claimOf(previous) !== port.claimOf(email))) {
        await releaseEmail(port, owner, previous);
      }
    },
  };
}

function previousEmail({ type, data }: RecordedEvent<ProfileEvent>): string | null {
  if (type === "profile.EmailChanged.v1") return data.previous;
  return type === "profile.Updated.v1" ? (data.previous.email ?? null) : null;
}

/** An erased customer's address is anybody's. */
export function emailClaimCleanup({ commands, serverKey, clock }: WorkerDependencies): CustomerCleanup {
  return {
    name: "email-claim",
    async cleanUp(owner) {
      const { state } = await commands.load({ decider: profileDecider, stream: streams.profile(owner) });
      if (state.status !== "active" || state.profile.email === null) return;
      const stream = emailClaimStream(serverKey("email-claim"), owner.org, state.profile.email);
      const command = { type: "ReleaseEmail", customer: owner.customer } as const;
      const commandId = randomUUID(); // what is released already is no event
      await commands.handle({
        decider: emailClaimDecider,
        stream,
        command,
        context: {
          ...{ commandId, correlationId: commandId, causationId: commandId, idempotent: false },
          ...{ owner: null, org: owner.org, actor: { type: "system", id: "erasure" }, now: clock() },
        },
      });
    },
  };
}

/** Runs the steps of an e-mail change with command ids that its cause determines. */
export function sagaPort(deps: WorkerDependencies, cause: RecordedEvent, purpose: string): SagaPort {
  const { commands, serverKey, clock } = deps;
  const { org } = reactionContext(cause, purpose, clock());
  return {
    async ask({ decider, stream, command, step }) {
      const context = { ...reactionContext(cause, purpose, clock()), step };
      try {
        const { state, position } = await commands.handle({ decider, stream, command, context });
        return { state, ...(position === undefined ? {} : { position }) };
      } catch (error) {
        if (error instanceof CommandRejected) return { rejection: error.rejection };
        throw error;
      }
    },
    look: async (request) => (await commands.load(request)).state,
    claimOf: (address) => emailClaimStream(serverKey("email-claim"), org, address),
  };
}
