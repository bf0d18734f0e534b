import { z } from "zod";
import { streams } from "#domain/core/identifiers.js";
import { maskedEmail } from "#domain/core/masking.js";
import { rejection } from "#domain/core/rejection.js";
import { emailClaimStream } from "#domain/profile/email-claim.decider.js";
import { type SagaPort, settleEmailChange } from "#sagas/profile/email-change.saga.js";
import { profileDecider } from "#domain/profile/profile.decider.js";
import { normalEmail, profileDataSchema } from "#domain/profile/profile.policy.js";
import { pendingSchema } from "#domain/verification/verification.policy.js";
import { type CommandContext, CommandRejected } from "#infrastructure/command-handler.js";
import { principalOf } from "#infrastructure/http/principal.js";
import { sendCommandAnswer, sendRecord } from "#infrastructure/http/records.js";
import { recordOf } from "#infrastructure/http/response-schemas.js";
import type { RouteDefinition } from "#infrastructure/http/routes.js";
import { emailAddress, parseBody } from "#infrastructure/http/validation.js";
import type { CommandDependencies } from "../dependencies.js";
import { profileRecord } from "../profile/profile.routes.js";
import { checkCode, codeBody, requestCode } from "./challenge.saga.js";

const changeBody = z.strictObject({ newEmail: emailAddress() });
const requestedSchema = z.object({ data: pendingSchema.extend({ destination: z.string() }) });

/**
 * Another e-mail address for the account. Whether an address belongs to somebody is told to nobody who has not proved
 * that it is theirs: asking looks the same for every address, in the answer and in the log.
 */
export function emailChangeRoutes(deps: CommandDependencies): RouteDefinition[] {
  return [
    {
      method: "post",
      path: "/client-data/profile/email-change",
      summary: "Sends a code to another address, and word of it to the present one",
      operationId: "requestEmailChange",
      area: "verification",
      request: { body: changeBody },
      responses: { 202: { description: "The message goes out", schema: requestedSchema } },
      problems: ["DESTINATION_NOT_SUPPORTED", "INTEGRATION_NOT_CONFIGURED", "RESEND_TOO_SOON", "SEND_LIMIT_REACHED"],
      handler: async (req, res) => {
        const { owner } = principalOf(res);
        const destination = normalEmail(parseBody(changeBody, req).newEmail);
        const { state } = await deps.commands.load({ decider: profileDecider, stream: streams.profile(owner) });
        const informs = state.status === "active" ? state.profile.email : null;
        const request = { owner, channel: "email-change", destination, verified: false, informs } as const;
        const { pending, handled } = await requestCode(deps, req, res, request);
        const data = { ...pending, destination: maskedEmail(destination) };
        sendCommandAnswer(res, 202, { data }, deps.answerOf(handled));
      },
    },
    {
      method: "post",
      path: "/client-data/profile/email-change/verify",
      summary: "Proves the new address with the code that was sent there; it becomes the profile's",
      operationId: "verifyEmailChange",
      area: "verification",
      request: { body: codeBody },
      responses: { 200: { description: "The profile with its new address", schema: recordOf(profileDataSchema) } },
      problems: ["CODE_INCORRECT", "CODE_EXPIRED", "EMAIL_IN_USE", "NO_PENDING_VERIFICATION", "TOO_MANY_ATTEMPTS"],
      handler: async (req, res) => {
        const { owner } = principalOf(res);
        const { challenge, handled, context } = await checkCode(deps, req, res, { owner, channel: "email-change" });
        const { id: challengeId, destination: email, verifiedAt: provedAt } = challenge;
        const settled = await settleEmailChange(sagaPort(deps, context), { owner, email, challengeId, provedAt });
        switch (settled.kind) {
          case "refused":
            throw new CommandRejected(settled.rejection);
          case "stale":
            throw new CommandRejected(rejection("not-found", "NO_PENDING_VERIFICATION"));
          case "changed": {
            const { replayed } = handled;
            const answer = deps.answerOf({ position: settled.position ?? handled.position, replayed });
            sendRecord(res, 200, profileRecord(settled.profile, owner), answer);
          }
        }
      },
    },
  ];
}

/** Runs the steps of the change as steps of the request's command. */
function sagaPort(deps: CommandDependencies, { client, ...context }: CommandContext): SagaPort {
  return {
    async ask({ decider, stream, command, step }) {
      // What the browser says of itself is the customer's: it stays out of a stream that is the org's.
      const own = stream.startsWith("emailClaim-") || client === undefined ? {} : { client };
      try {
        const request = { decider, stream, command, context: { ...context, ...own, step } };
        const { state, position } = await deps.commands.handle(request);
        return { state, ...(position === undefined ? {} : { position }) };
      } catch (error) {
        if (error instanceof CommandRejected) return { rejection: error.rejection };
        throw error;
      }
    },
    look: async (request) => (await deps.commands.load(request)).state,
    claimOf: (address) => emailClaimStream(deps.serverKey("email-claim"), context.org, address),
  };
}
