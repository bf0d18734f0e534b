import { createHmac } from "node:crypto";
import { accept, type Decider, type Decision, type Placed, refuse, unreachable } from "../core/decider.js";
import { type CustomerId, type OrgId, streams } from "../core/identifiers.js";
import { rejection } from "../core/rejection.js";
import { type EmailClaimEvent, EmailClaimed, EmailReleased } from "./email-claim.events.js";

export type EmailClaimState = { readonly holder: CustomerId | null };

export type EmailClaimCommand =
  /** Takes the address for an account; `gone` is a holder who no longer exists. */
  | { readonly type: "ClaimEmail"; readonly customer: CustomerId; readonly gone?: CustomerId }
  | { readonly type: "ReleaseEmail"; readonly customer: CustomerId };

/** Which account an address belongs to: stream `emailClaim-<org>.<hmac of the address>`. */
export const emailClaimDecider: Decider<EmailClaimState, EmailClaimCommand, EmailClaimEvent> = {
  initial: { holder: null },
  evolve,
  decide,
};

function evolve(_: EmailClaimState, event: Placed<EmailClaimEvent>): EmailClaimState {
  switch (event.type) {
    case "profile.EmailClaimed.v1":
      return { holder: event.data.customer };
    case "profile.EmailReleased.v1":
      return { holder: null };
    default:
      return unreachable(event);
  }
}

function decide(command: EmailClaimCommand, { holder }: EmailClaimState): Decision<EmailClaimEvent> {
  const { customer } = command;
  switch (command.type) {
    case "ClaimEmail":
      if (holder === customer) return accept();
      if (holder !== null && holder !== command.gone) return refuse(rejection("conflict", "EMAIL_IN_USE"));
      return accept(EmailClaimed.create({ customer }));
    case "ReleaseEmail":
      return holder === customer ? accept(EmailReleased.create({ customer })) : accept();
    default:
      return unreachable(command);
  }
}

/**
 * The stream of an address's claim. Written in small letters: no mail host tells `Ada@` from `ada@`, and neither must
 * two accounts.
 *
 * @param key the server's key for claims
 */
export function emailClaimStream(key: Uint8Array, org: OrgId, address: string): string {
  const written = address.normalize("NFC").toLowerCase();
  return streams.emailClaim(org, createHmac("sha256", key).update(`${org}\n${written}`).digest("base64url"));
}
