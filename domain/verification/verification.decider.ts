import { accept, type Decider, type Decision, refuse, unreachable } from "../core/decider.js";
import type { VerificationChannel } from "../core/identifiers.js";
import { maskedEmail } from "../core/masking.js";
import { rejection } from "../core/rejection.js";
import {
  AttemptFailed,
  NoticeRequested,
  NoticeSettled,
  Requested,
  SendFailed,
  type SendFailureReason,
  Sent,
  type VerificationEvent,
  Verified,
  Voided,
} from "./verification.events.js";
import {
  attemptsRemaining,
  emptyLedger,
  entered,
  isLive,
  isSend,
  type Ledger,
  nextSendAt,
  stoppedUntil,
  verificationLimits,
} from "./verification.policy.js";

type Message = { readonly channel: VerificationChannel; readonly challengeId: string; readonly send: number };

export type VerificationCommand =
  /** Sends a code to a destination; the same one again while it lives. */
  | {
      readonly type: "RequestCode";
      readonly channel: VerificationChannel;
      readonly destination: string;
      /** Whether the destination is proved already. */
      readonly verified: boolean;
      /** The address to inform that it may be replaced. */
      readonly informs?: string | null;
      /** Id of the challenge, if one begins. */
      readonly challengeId: string;
      readonly now: Date;
    }
  /** A customer's guess. The code does not enter the domain: `matches` says whether it is a challenge's. */
  | {
      readonly type: "CheckCode";
      readonly channel: VerificationChannel;
      /** The destination the guess is for; absent where the challenge alone says it. */
      readonly destination?: string;
      /** The challenge the guess is for, where the client names one. */
      readonly challengeId?: string | undefined;
      readonly matches: (challengeId: string) => boolean;
      readonly now: Date;
    }
  | ({ readonly type: "RecordSent" } & Message)
  | ({ readonly type: "RecordSendFailed"; readonly reason: SendFailureReason } & Message)
  | { readonly type: "RecordNotice"; readonly challengeId: string; readonly outcome: "sent" | "failed" }
  /** The channel's destination is this one now: an open challenge to another is void. */
  | { readonly type: "VoidOthers"; readonly channel: VerificationChannel; readonly destination: string | null };

/** Proofs on one channel: stream `verification-<org>.<customer>.<channel>`. */
export const verificationDecider: Decider<Ledger, VerificationCommand, VerificationEvent> = {
  initial: emptyLedger,
  evolve: entered,
  decide,
};

function decide(command: VerificationCommand, state: Ledger): Decision<VerificationEvent> {
  const { challenge } = state;
  switch (command.type) {
    case "RequestCode":
      return requestCode(command, state);
    case "CheckCode":
      return checkCode(command, state);
    case "RecordSent": {
      const { channel, challengeId, send } = command;
      if (!state.sends.some((sent) => isSend(sent, command) && !sent.taken)) return accept();
      const taken = Sent.create({ channel, challengeId, send });
      const informs = challenge?.id === challengeId ? challenge.informs : null;
      if (!challenge || informs === null || state.notice?.challengeId === challengeId) return accept(taken);
      const about = maskedEmail(challenge.destination);
      return accept<VerificationEvent>(
        taken,
        NoticeRequested.create({ channel, challengeId, destination: informs, about }),
      );
    }
    case "RecordSendFailed": {
      const { channel, challengeId, send, reason } = command;
      if (!state.sends.some((sent) => isSend(sent, command) && !sent.taken)) return accept();
      return accept(SendFailed.create({ channel, challengeId, send, reason }));
    }
    case "RecordNotice": {
      const { challengeId, outcome } = command;
      if (state.notice?.challengeId !== challengeId || state.notice.isSettled) return accept();
      return accept(NoticeSettled.create({ channel: "email-change", challengeId, outcome }));
    }
    case "VoidOthers": {
      if (challenge?.status !== "open" || challenge.destination === command.destination) return accept();
      return accept(Voided.create({ channel: command.channel, challengeId: challenge.id }));
    }
    default:
      return unreachable(command);
  }
}

function requestCode(
  command: Extract<VerificationCommand, { type: "RequestCode" }>,
  state: Ledger,
): Decision<VerificationEvent> {
  const { channel, destination, verified, informs, now } = command;
  if (verified) return accept();
  const next = nextSendAt(state, destination, now);
  if (next.at > now) {
    const code = next.limit === "wait" ? "RESEND_TOO_SOON" : "SEND_LIMIT_REACHED";
    return refuse(rejection("too-many", code, { retryAfterSeconds: secondsUntil(next.at, now) }));
  }
  const { challenge } = state;
  const told = informs && informs !== destination ? { informs } : {};
  if (challenge && challenge.destination === destination && isLive(challenge, now)) {
    const { id: challengeId, expiresAt } = challenge;
    const send = challenge.send + 1;
    return accept(Requested.create({ channel, challengeId, send, destination, ...told, expiresAt }));
  }
  const expiresAt = new Date(now.getTime() + verificationLimits.codeLifeMs).toISOString();
  const requested = Requested.create({
    ...{ channel, challengeId: command.challengeId, send: 1 },
    ...{ destination, ...told, expiresAt },
  });
  const isReplaced = challenge?.status === "open" && challenge.destination !== destination;
  if (!isReplaced) return accept(requested);
  return accept<VerificationEvent>(Voided.create({ channel, challengeId: challenge.id }), requested);
}

function checkCode(
  command: Extract<VerificationCommand, { type: "CheckCode" }>,
  state: Ledger,
): Decision<VerificationEvent> {
  const { channel, matches, now } = command;
  const { challenge } = state;
  const named = command.challengeId ?? challenge?.id;
  const meant = command.destination ?? challenge?.destination;
  if (!challenge || challenge.status === "voided" || challenge.id !== named || challenge.destination !== meant) {
    return refuse(rejection("not-found", "NO_PENDING_VERIFICATION"));
  }
  const { id: challengeId, destination } = challenge;
  if (challenge.status === "verified") {
    // The same guess again is as right as before; another one is a guess at nothing.
    const since = now.getTime() - Date.parse(challenge.verifiedAt ?? challenge.expiresAt);
    const repeated = since < verificationLimits.repeatMs && matches(challengeId);
    return repeated ? accept() : refuse(rejection("not-found", "NO_PENDING_VERIFICATION"));
  }
  const stop = stoppedUntil(state, destination, now);
  if (stop) return tooManyAttempts(stop, now);
  if (now >= new Date(challenge.expiresAt)) return refuse(rejection("gone", "CODE_EXPIRED"));
  if (attemptsRemaining(state, challenge, now) === 0)
    return tooManyAttempts(nextSendAt(state, destination, now).at, now);
  if (matches(challengeId)) return accept(Verified.create({ channel, challengeId, destination }));
  const left = attemptsRemaining(state, challenge, now) - 1;
  return {
    events: [AttemptFailed.create({ channel, challengeId })],
    rejection: rejection("refused", "CODE_INCORRECT", { attemptsRemaining: left }),
  };
}

function tooManyAttempts(until: Date, now: Date): Decision<never> {
  return refuse(rejection("too-many", "TOO_MANY_ATTEMPTS", { retryAfterSeconds: secondsUntil(until, now) }));
}

function secondsUntil(at: Date, now: Date): number {
  return Math.max(1, Math.ceil((at.getTime() - now.getTime()) / 1_000));
}
