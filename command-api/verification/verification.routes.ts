import type { Request, Response } from "express";
import { z } from "zod";
import { type Owner, streams } from "#domain/core/identifiers.js";
import { maskedEmail } from "#domain/core/masking.js";
import { rejection } from "#domain/core/rejection.js";
import { profileDecider } from "#domain/profile/profile.decider.js";
import { maskedPhone, pendingSchema } from "#domain/verification/verification.policy.js";
import { CommandRejected } from "#infrastructure/command-handler.js";
import { principalOf } from "#infrastructure/http/principal.js";
import { sendCommandAnswer } from "#infrastructure/http/records.js";
import type { RouteDefinition } from "#infrastructure/http/routes.js";
import { parseBody } from "#infrastructure/http/validation.js";
import type { CommandDependencies } from "../dependencies.js";
import { checkCode, codeBody, requestCode } from "./challenge.saga.js";

const sendBody = {
  email: z.strictObject({}).prefault({}),
  phone: z.strictObject({ channel: z.literal("sms").optional() }).prefault({}),
} as const;

const requestedSchema = z.object({ data: pendingSchema.extend({ destination: z.string() }) });
const verifiedSchema = z.object({ data: z.object({ verified: z.boolean(), verifiedAt: z.iso.datetime() }) });
const alreadySchema = z.object({ data: z.object({ verified: z.boolean() }) });

type Channel = "email" | "phone";

/** Proving that the profile's address and number are the customer's. */
export function verificationRoutes(deps: CommandDependencies): RouteDefinition[] {
  return (["email", "phone"] as const).flatMap((channel) => [sendRoute(channel, deps), verifyRoute(channel, deps)]);
}

function sendRoute(channel: Channel, deps: CommandDependencies): RouteDefinition {
  const missing = channel === "email" ? "NO_EMAIL_ON_PROFILE" : "NO_PHONE_ON_PROFILE";
  return {
    method: "post",
    path: `/client-data/verification/${channel}/send`,
    summary: `Sends a code to the profile's ${channel === "email" ? "e-mail address" : "phone number"}`,
    operationId: channel === "email" ? "sendEmailCode" : "sendPhoneCode",
    area: "verification",
    request: { body: sendBody[channel] },
    responses: {
      200: { description: "It is verified already; nothing is sent", schema: alreadySchema },
      202: { description: "The message goes out", schema: requestedSchema },
    },
    problems: [
      missing,
      "DESTINATION_NOT_SUPPORTED",
      "INTEGRATION_NOT_CONFIGURED",
      "RESEND_TOO_SOON",
      "SEND_LIMIT_REACHED",
    ],
    handler: async (req, res) => {
      const { owner } = principalOf(res);
      parseBody<unknown>(sendBody[channel], req);
      const { destination, verified } = await present(deps, owner, channel);
      if (destination === null) throw new CommandRejected(rejection("refused", missing));
      const { pending, handled } = await requestCode(deps, req, res, { owner, channel, destination, verified });
      if (!pending) return sendCommandAnswer(res, 200, { data: { verified: true } }, deps.answerOf(handled));
      const masked = channel === "email" ? maskedEmail(destination) : maskedPhone(destination);
      const data = { ...pending, destination: masked };
      return sendCommandAnswer(res, 202, { data }, deps.answerOf(handled));
    },
  };
}

function verifyRoute(channel: Channel, deps: CommandDependencies): RouteDefinition {
  return {
    method: "post",
    path: `/client-data/verification/${channel}/verify`,
    summary: "Proves it with the code that was sent there",
    operationId: channel === "email" ? "verifyEmail" : "verifyPhone",
    area: "verification",
    request: { body: codeBody },
    responses: { 200: { description: "It is verified, now or since before", schema: verifiedSchema } },
    problems: ["CODE_INCORRECT", "CODE_EXPIRED", "NO_PENDING_VERIFICATION", "TOO_MANY_ATTEMPTS"],
    handler: (req, res) => verify(channel, deps, req, res),
  };
}

/** First the proof, on the channel's stream; then the profile. A crash in between is finished by a reactor. */
async function verify(channel: Channel, deps: CommandDependencies, req: Request, res: Response): Promise<void> {
  const { owner } = principalOf(res);
  parseBody(codeBody, req);
  const { destination } = await present(deps, owner, channel);
  if (destination === null) throw nothingPending();
  const { challenge, handled, context } = await checkCode(deps, req, res, { owner, channel, destination });
  const { id: challengeId, verifiedAt } = challenge;
  const confirmed = await deps.commands.handle({
    decider: profileDecider,
    stream: streams.profile(owner),
    command: { type: "ConfirmDestination", channel, destination, challengeId, provedAt: verifiedAt },
    context: { ...context, step: 1 },
  });
  const { state } = confirmed;
  const isVerified =
    state.status === "active" && (channel === "email" ? state.profile.emailVerified : state.profile.phoneVerified);
  // The profile has another destination by now, or this one anew since it was proved.
  if (!isVerified) throw nothingPending();
  const position = confirmed.position ?? handled.position;
  sendCommandAnswer(
    res,
    200,
    { data: { verified: true, verifiedAt } },
    deps.answerOf({ position, replayed: handled.replayed }),
  );
}

/** What the profile says now: destinations are never taken from a request. */
async function present(deps: CommandDependencies, owner: Owner, channel: Channel) {
  const { state } = await deps.commands.load({ decider: profileDecider, stream: streams.profile(owner) });
  if (state.status !== "active") return { destination: null, verified: false };
  const { profile } = state;
  return {
    destination: profile[channel],
    verified: channel === "email" ? profile.emailVerified : profile.phoneVerified,
  };
}

function nothingPending(): CommandRejected {
  return new CommandRejected(rejection("not-found", "NO_PENDING_VERIFICATION"));
}
