import { randomUUID } from "node:crypto";
import type { Request, Response } from "express";
import { mayAct } from "#domain/core/account-standing.js";
import { streams } from "#domain/core/identifiers.js";
import { rejection } from "#domain/core/rejection.js";
import { privacyDecider } from "#domain/privacy/privacy.decider.js";
import { profileDecider } from "#domain/profile/profile.decider.js";
import { type CommandHandler, CommandRejected } from "#infrastructure/command-handler.js";
import type { Principal } from "#infrastructure/http/principal.js";
import type { RouteDefinition } from "#infrastructure/http/routes.js";
import type { AccountChanges } from "./account-changes.js";
import type { Idempotency } from "./idempotency.js";

/**
 * Guards every command of a customer: the first one, in whatever area, registers the customer from the token's
 * verified claims; a locked account (by staff, by an erasure that is pending or done) may do nothing but what a route
 * declares `whileLocked`.
 *
 * @throws CommandRejected `ACCOUNT_LOCKED`
 */
export function createAccountGuard(deps: {
  readonly commands: CommandHandler;
  readonly idempotency: Idempotency;
  readonly accountChanges: Pick<AccountChanges, "maxAgeMs" | "hasChanged">;
}): (req: Request, res: Response, route: Pick<RouteDefinition, "whileLocked">) => Promise<void> {
  const { commands, idempotency, accountChanges } = deps;
  return async (req, res, route) => {
    const principal = res.locals.principal as Principal | undefined;
    if (!principal) return; // a service acts on accounts of others
    const stream = streams.profile(principal.owner);
    const account = { decider: privacyDecider, stream };
    const recent = await commands.load({ ...account, maxAgeMs: accountChanges.maxAgeMs });
    const { state } = accountChanges.hasChanged(stream, recent.revision) ? await commands.load(account) : recent;
    if (!mayAct(state.standing) && !route.whileLocked)
      throw new CommandRejected(rejection("forbidden", "ACCOUNT_LOCKED"));
    if (state.known) return;
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
