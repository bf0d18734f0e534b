import type { Ledger } from "#domain/verification/verification.policy.js";
import { defineDocument } from "#projectors/runner/projection.js";

/** One destination of the profile, and what happened to prove it. */
export type ChannelStatus = {
  readonly destination: string | null;
  readonly verified: boolean;
  readonly verifiedAt: string | null;
  readonly ledger: Ledger;
};

/** Whether a customer's address and number are proved, in one document; what depends on the clock the query derives. */
export type VerificationDocument = { readonly email: ChannelStatus; readonly phone: ChannelStatus };

export const verificationDocument = defineDocument<VerificationDocument>({
  name: "verification",
  version: 1,
  indexes: [],
});

/** Local id of the document: an owner has one. */
export const verificationDocumentId = "verification";
