import type { Request, Response } from "express";
import { createHmac } from "node:crypto";
import { z } from "zod";
import { type Owner, streams, type VerificationChannel } from "#domain/core/identifiers.js";
import { rejection } from "#domain/core/rejection.js";
import { verificationDecider } from "#domain/verification/verification.decider.js";
import { type Challenge, type Ledger, type Pending, pendingOf } from "#domain/verification/verification.policy.js";
import { codePattern, isCodeOf } from "#domain/verification/verification-code.js";
import { type CommandContext, CommandRejected, type Handled } from "#infrastructure/command-handler.js";
import { emailAddress, id, parseBody } from "#infrastructure/http/validation.js";
import { lookUpNumber } from "#infrastructure/phone-numbers.js";
import { IntegrationNotConfigured } from "#infrastructure/providers/provider-call.js";
import type { CommandDependencies } from "../dependencies.js";

/** What a customer sends to prove a destination. */
export const codeBody = z.strictObject({
  code: z.string().regex(codePattern, { message: "must be six digits" }),
  challengeId: id().optional(),
});

export type CodeRequest = {
  readonly owner: Owner;
  readonly channel: VerificationChannel;
  readonly destination: string;
  readonly verified: boolean;
  readonly informs?: string | null;
};

/**
 * Begins a challenge, or sends the code of the one that lives again. What is limited over all customers is spent only
 * when the customer's own limits let the message pass, or one of them could use up what belongs to all.
 *
 * @returns the challenge; null when the destination is verified already
 * @throws CommandRejected for a destination that no message may go to, and for every limit
 * @throws IntegrationNotConfigured when the org has nothing to send with
 */
export async function requestCode(
  deps: CommandDependencies,
  req: Request,
  res: Response,
  request: CodeRequest,
): Promise<{ readonly pending: Pending | null; readonly handled: Handled<Ledger> }> {
  const { owner, channel, ...wish } = request;
  const context = deps.idempotency(req, res);
  const { now, commandId } = context;
  const stream = streams.verification(owner, channel);
  const command = { type: "RequestCode", channel, challengeId: commandId, now, ...wish } as const;
  if (!request.verified) {
    refuseUnreachable(deps, request);
    const { state } = await deps.commands.load({ decider: verificationDecider, stream });
    if (verificationDecider.decide(command, state).events.length > 0) await spendShared(deps, request);
  }
  const handled = await deps.commands.handle({ decider: verificationDecider, stream, command, context });
  const { challenge } = handled.state;
  // A replay tells of the challenge even where the destination has been verified since.
  const shown = request.verified && !handled.replayed ? null : challenge;
  return { pending: shown && pendingOf(handled.state, shown, now), handled };
}

/** Which destinations the org sends messages to at all. */
function refuseUnreachable(deps: CommandDependencies, { owner, channel, destination }: CodeRequest): void {
  const { mail, sms } = deps.orgSettings.of(owner.org)?.providers ?? {};
  const unsupported = new CommandRejected(rejection("refused", "DESTINATION_NOT_SUPPORTED"));
  if (channel !== "phone") {
    if (!mail) throw new IntegrationNotConfigured("smtp");
    // A token's claim may be an address that no mail server takes.
    if (!emailAddress().safeParse(destination).success) throw unsupported;
    return;
  }
  if (!sms) throw new IntegrationNotConfigured("sms");
  const number = lookUpNumber(destination);
  if (!number?.takesTextMessages || !number.country || !sms.countries.includes(number.country)) throw unsupported;
}

/** Spends what all customers share: messages to one destination, and the org's text messages of a day. */
async function spendShared(deps: CommandDependencies, { owner, channel, destination }: CodeRequest): Promise<void> {
  const { rateLimits, serverKey, orgSettings } = deps;
  const { org } = owner;
  // Redis learns of the destination no more than a number that only we can make of it.
  const hash = createHmac("sha256", serverKey("email-claim")).update(`destination\n${org}\n${destination}`);
  const spent = [await rateLimits.spend("destination", org, hash.digest("base64url"))];
  const points = orgSettings.of(org)?.providers.sms?.dailyBudget;
  if (channel === "phone" && points !== undefined && spent[0]?.allowed) {
    const budget = { points, windowSeconds: 86_400, exact: true };
    spent.push(await rateLimits.spend("sms", org, org, budget));
  }
  const refused = spent.find(({ allowed }) => !allowed);
  if (!refused) return;
  const retryAfterSeconds = Math.max(1, refused.resetSeconds);
  throw new CommandRejected(rejection("too-many", "SEND_LIMIT_REACHED", { retryAfterSeconds }));
}

/**
 * Judges the code in a request's body. A wrong one is on record before anybody hears that it was wrong; the body is
 * never hashed, because six digits could be tried out of a hash in no time.
 *
 * @param destination what the code must prove; absent where the challenge alone says it
 * @returns the challenge, which is verified now or was before by the same code
 * @throws CommandRejected with what is wrong
 */
export async function checkCode(
  deps: CommandDependencies,
  req: Request,
  res: Response,
  { owner, channel, destination }: { owner: Owner; channel: VerificationChannel; destination?: string },
): Promise<{
  readonly challenge: Challenge & { readonly verifiedAt: string };
  readonly handled: Handled<Ledger>;
  /** For the steps that follow. */
  readonly context: CommandContext;
}> {
  const { code, challengeId } = parseBody(codeBody, req);
  const context = deps.idempotency(req, res, { hashBody: false });
  const key = deps.serverKey("verification-code");
  const handled = await deps.commands.handle({
    decider: verificationDecider,
    stream: streams.verification(owner, channel),
    command: {
      type: "CheckCode",
      channel,
      ...(destination === undefined ? {} : { destination }),
      challengeId,
      matches: (challenge) => isCodeOf(key, challenge, code),
      now: context.now,
    },
    context,
  });
  const { challenge } = handled.state;
  if (!challenge?.verifiedAt) throw new Error("a code that was right has verified its challenge");
  return { challenge: { ...challenge, verifiedAt: challenge.verifiedAt }, handled, context };
}
