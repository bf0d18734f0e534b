import type { Decider, DomainEvent } from "#domain/core/decider.js";
import { type Owner, streams } from "#domain/core/identifiers.js";
import type { Rejection } from "#domain/core/rejection.js";
import { emailClaimDecider } from "#domain/profile/email-claim.decider.js";
import { type Proof, profileDecider, type ProfileState } from "#domain/profile/profile.decider.js";

/** What the saga asks of whoever runs it: a request or a reactor, each with command ids of its own. */
export type SagaPort = {
  /** Handles a command; a refusal comes back as a value. `step` tells the saga's commands on one stream apart. */
  readonly ask: <State, Command, Event extends DomainEvent>(request: {
    readonly decider: Decider<State, Command, Event>;
    readonly stream: string;
    readonly command: Command;
    readonly step: number;
  }) => Promise<{ readonly state: State; readonly position?: string } | { readonly rejection: Rejection }>;
  readonly look: <State, Event extends DomainEvent>(request: {
    readonly decider: Pick<Decider<State, never, Event>, "initial" | "evolve">;
    readonly stream: string;
  }) => Promise<State>;
  /** Stream of an address's claim. */
  readonly claimOf: (address: string) => string;
};

/** An address that a code has proved, and whose account it is to become. */
export type ProvedAddress = Proof & { readonly owner: Owner; readonly email: string };

/** What came of a change; `stale`: the profile's address was changed again after this proof. */
export type SettledChange =
  | { readonly kind: "changed"; readonly profile: ProfileState; readonly position?: string }
  | { readonly kind: "refused"; readonly rejection: Rejection }
  | { readonly kind: "stale" };

/**
 * Makes a proved address the profile's: first the claim, then the profile; a reactor on the profile's event lets go of
 * the old address. Run again from the start after a crash anywhere, it does what is left to do.
 */
export async function settleEmailChange(port: SagaPort, change: ProvedAddress): Promise<SettledChange> {
  const { owner, email, challengeId, provedAt } = change;
  const profileStream = streams.profile(owner);
  const before = await port.look({ decider: profileDecider, stream: profileStream });
  if (before.status === "active" && provedAt < before.since.email && before.profile.email !== email) {
    return { kind: "stale" };
  }
  const refused = await claimEmail(port, owner, email);
  if (refused) return { kind: "refused", rejection: refused };
  const command = { type: "ChangeEmail", email, challengeId, provedAt } as const;
  const changed = await port.ask({ decider: profileDecider, stream: profileStream, command, step: 1 });
  if ("state" in changed && changed.state.status === "active" && changed.state.profile.email === email) {
    const { state: profile, position } = changed;
    return { kind: "changed", profile, ...(position === undefined ? {} : { position }) };
  }
  await releaseEmail(port, owner, email);
  return "rejection" in changed ? { kind: "refused", rejection: changed.rejection } : { kind: "stale" };
}

/**
 * Takes an address for an account. A holder who was erased no longer counts: the erasure could not name the claim,
 * because only the address does.
 *
 * @returns the refusal when the address belongs to another account
 */
export async function claimEmail(port: SagaPort, owner: Owner, email: string): Promise<Rejection | undefined> {
  const claim = { decider: emailClaimDecider, stream: port.claimOf(email) };
  const command = { type: "ClaimEmail", customer: owner.customer } as const;
  const claimed = await port.ask({ ...claim, command, step: 0 });
  if ("state" in claimed) return undefined;
  const { holder } = await port.look(claim);
  if (holder !== null) {
    const stream = streams.profile({ org: owner.org, customer: holder });
    const other = await port.look({ decider: profileDecider, stream });
    if (other.status !== "erased") return claimed.rejection;
  }
  const again = await port.ask({
    ...claim,
    command: holder === null ? command : { ...command, gone: holder },
    step: 2,
  });
  return "rejection" in again ? again.rejection : undefined;
}

/** Lets go of an address, where it is this account's. */
export async function releaseEmail(port: SagaPort, owner: Owner, email: string): Promise<void> {
  const command = { type: "ReleaseEmail", customer: owner.customer } as const;
  await port.ask({ decider: emailClaimDecider, stream: port.claimOf(email), command, step: 3 });
}
