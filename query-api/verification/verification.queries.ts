import { z } from "zod";
import { emailOfClaim } from "#domain/profile/profile.policy.js";
import { maskedEmail } from "#domain/core/masking.js";
import {
  emptyLedger,
  isLive,
  maskedPhone,
  pendingOf,
  pendingSchema,
} from "#domain/verification/verification.policy.js";
import { type Principal, principalOf } from "#infrastructure/http/principal.js";
import { answerDocument, type ReadDependencies } from "#infrastructure/http/reads.js";
import type { RouteDefinition } from "#infrastructure/http/routes.js";
import {
  type ChannelStatus,
  type VerificationDocument,
  verificationDocument,
  verificationDocumentId,
} from "#projectors/verification/verification.document.js";

const channelSchema = z.object({
  destination: z.string().nullable().meta({ description: "masked" }),
  verified: z.boolean(),
  verifiedAt: z.iso.datetime().nullable(),
  pending: pendingSchema.nullable(),
});
const statusSchema = z.object({ data: z.object({ email: channelSchema, phone: channelSchema }) });

/** Whether the profile's address and number are proved. */
export function verificationQueries(deps: ReadDependencies): RouteDefinition[] {
  return [
    {
      method: "get",
      path: "/client-data/verification/status",
      summary: "Whether address and number are verified, and the code that is under way",
      operationId: "getVerificationStatus",
      area: "verification",
      responses: { 200: { description: "The status of both", schema: statusSchema } },
      handler: (req, res) => {
        res.setHeader("Cache-Control", "no-store");
        const status = (document: VerificationDocument | null, now: Date) => {
          const { email, phone } = document ?? unregistered(principalOf(res));
          return { data: { email: shown(email, now, maskedEmail), phone: shown(phone, now, maskedPhone) } };
        };
        return answerDocument(req, res, deps, {
          definition: verificationDocument,
          id: verificationDocumentId,
          body: status,
          // A code expires with nobody writing.
          tag: (document, now) => JSON.stringify(status(document, now)),
        });
      },
    },
  ];
}

function shown(
  { destination, verified, verifiedAt, ledger }: ChannelStatus,
  now: Date,
  masked: (destination: string) => string,
): z.infer<typeof channelSchema> {
  const { challenge } = ledger;
  const isPending = challenge !== null && !verified && challenge.destination === destination && isLive(challenge, now);
  return {
    destination: destination === null ? null : masked(destination),
    verified,
    verifiedAt,
    pending: isPending ? pendingOf(ledger, challenge, now) : null,
  };
}

/** Before the first command: what the token says of the address. */
function unregistered({ claims }: Principal): VerificationDocument {
  const nothing = { destination: null, verified: false, verifiedAt: null, ledger: emptyLedger };
  const email = claims.email === undefined ? null : emailOfClaim(claims.email);
  return { email: { ...nothing, destination: email }, phone: nothing };
}
