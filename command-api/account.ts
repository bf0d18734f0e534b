import { randomUUID } from "node:crypto";
import type { Request, Response } from "express";
import { streams } from "#domain/core/identifiers.js";
import { rejection } from "#domain/core/rejection.js";
import { profileDecider } from "#domain/profile/profile.decider.js";
import { type CommandHandler, CommandRejected } from "#infrastructure/command-handler.js";
import type { Principal } from "#infrastructure/http/principal.js";
import type { Idempotency } from "./idempotency.js";

/** A lock set elsewhere is noticed after this time at the latest. */
const accountMaxAgeMs = 10_000;

/**
 * Guards every command of a customer: the first one, in whatever area, registers the customer from the token's
 * verified claims; a closed account may not act any more.
 *
 * @throws CommandRejected `ACCOUNT_LOCKED`
 */
export function createAccountGuard(deps: {
  readonly commands: CommandHandler;
  readonly idempotency: Idempotency;
}): (req: Request, res: Response) => Promise<void> {
  const { commands, idempotency } = deps;
  return async (req, res) => {
    const principal = res.locals.principal as Principal | undefined;
    if (!principal) return; // a service acts on accounts of others
    const stream = streams.profile(principal.owner);
    const { state } = await commands.load({ decider: profileDecider, stream, maxAgeMs: accountMaxAgeMs });
    if (state.status === "erased") throw new CommandRejected(rejection("forbidden", "ACCOUNT_LOCKED"));
    if (state.status === "active") return;
    const { email, name } = principal.claims;
    const commandId = randomUUID();
    await commands.handle({
      decider: profileDecider,
      stream,
      command: { type: "RegisterFromClaims", claims: { email, name } },
      // A command of its own: the request's key stands for what the customer asked for.
      context: { ...idempotency(req, res, { hashBody: false }), commandId, causationId: commandId, idempotent: false },
    });
  };
}
