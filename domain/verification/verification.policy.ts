import { z } from "zod";
import { type Placed, unreachable } from "../core/decider.js";
import type { VerificationEvent } from "./verification.events.js";

const minute = 60_000;
const day = 24 * 60 * minute;

/** Limits of CONTRACT §5; those of a day count back from now. */
export const verificationLimits = {
  codeLifeMs: 10 * minute,
  wrongPerCode: 5,
  wrongPerDay: 10,
  /** So long nothing is sent to a destination, nor judged, after the last wrong code of a day. */
  stopMs: day,
  resendWaitMs: minute,
  sendsPerHour: 5,
  sendsPerDay: 10,
  /** To all destinations of one customer: who types another number each time pays from the same purse. */
  sendsPerDayInAll: 20,
  /** So long the right code may be entered again after it was right. */
  repeatMs: day,
} as const;

/** The latest challenge of a channel. */
export type Challenge = {
  readonly id: string;
  readonly destination: string;
  readonly informs: string | null;
  /** When its latest message was asked for. */
  readonly sentAt: string;
  readonly expiresAt: string;
  /** Number of its latest message. */
  readonly send: number;
  readonly wrong: number;
  readonly status: "open" | "verified" | "voided";
  readonly verifiedAt: string | null;
};

/** Word to the address that may be replaced. */
type Notice = {
  readonly challengeId: string;
  readonly destination: string;
  readonly about: string;
  readonly isSettled: boolean;
};

/** A message that counts as sent. */
type CountedSend = {
  readonly destination: string;
  readonly at: string;
  readonly challengeId: string;
  readonly send: number;
  /** Whether the provider has taken it. */
  readonly taken: boolean;
};

/** What happened on one channel, as far as a rule may ask for it; decider and read model fold it alike. */
export type Ledger = {
  readonly challenge: Challenge | null;
  /** Of the last day, oldest first. */
  readonly sends: readonly CountedSend[];
  /** Wrong codes of the last two days: of one, and how long the stop after them may last. Oldest first. */
  readonly wrong: readonly { readonly destination: string; readonly at: string }[];
  /** The latest. */
  readonly notice: Notice | null;
};

export const emptyLedger: Ledger = { challenge: null, sends: [], wrong: [], notice: null };

/** The ledger after an event. */
export function entered(ledger: Ledger, event: Placed<VerificationEvent>): Ledger {
  const { at } = event;
  const { challenge } = ledger;
  switch (event.type) {
    case "verification.Requested.v1": {
      const { challengeId: id, send, destination, informs = null, expiresAt } = event.data;
      const before = challenge?.id === id ? challenge : null;
      const fresh = { wrong: 0, status: "open", verifiedAt: null } as const;
      return {
        ...ledger,
        challenge: { ...(before ?? fresh), id, destination, informs, sentAt: at, expiresAt, send },
        sends: [
          ...ledger.sends.filter((sent) => age(sent.at, at) < day),
          { destination, at, challengeId: id, send, taken: false },
        ],
      };
    }
    case "verification.Sent.v1": {
      const { data } = event;
      const sends = ledger.sends.map((sent) => (isSend(sent, data) ? { ...sent, taken: true } : sent));
      return { ...ledger, sends };
    }
    case "verification.SendFailed.v1": {
      const { data } = event;
      return { ...ledger, sends: ledger.sends.filter((sent) => !isSend(sent, data)) };
    }
    case "verification.AttemptFailed.v1": {
      if (challenge === null) return ledger;
      const { destination } = challenge;
      const wrong = [...ledger.wrong.filter((one) => age(one.at, at) < 2 * day), { destination, at }];
      return { ...ledger, wrong, challenge: { ...challenge, wrong: challenge.wrong + 1 } };
    }
    case "verification.Verified.v1":
      return { ...ledger, challenge: challenge && { ...challenge, status: "verified", verifiedAt: at } };
    case "verification.Voided.v1":
      return { ...ledger, challenge: challenge && { ...challenge, status: "voided" } };
    case "verification.NoticeRequested.v1": {
      const { challengeId, destination, about } = event.data;
      return { ...ledger, notice: { challengeId, destination, about, isSettled: false } };
    }
    case "verification.NoticeSettled.v1":
      return { ...ledger, notice: ledger.notice && { ...ledger.notice, isSettled: true } };
    default:
      return unreachable(event);
  }
}

function age(at: string, now: string): number {
  return Date.parse(now) - Date.parse(at);
}

/** Whether an entry is the message that an event is about. */
export function isSend(sent: CountedSend, of: { readonly challengeId: string; readonly send: number }): boolean {
  return sent.challengeId === of.challengeId && sent.send === of.send;
}

/** Until when a destination is left alone because of too many wrong codes; null when it is not. */
export function stoppedUntil({ wrong }: Ledger, destination: string, now: Date): Date | null {
  const own = wrong.filter((one) => one.destination === destination).slice(-verificationLimits.wrongPerDay);
  const [first] = own;
  const last = own.at(-1);
  if (!first || !last || own.length < verificationLimits.wrongPerDay || age(first.at, last.at) >= day) return null;
  const until = new Date(Date.parse(last.at) + verificationLimits.stopMs);
  return until > now ? until : null;
}

/** Wrong codes that may still be entered for a challenge. */
export function attemptsRemaining(ledger: Ledger, challenge: Challenge, now: Date): number {
  const { wrongPerCode, wrongPerDay } = verificationLimits;
  if (stoppedUntil(ledger, challenge.destination, now)) return 0;
  const today = ledger.wrong.filter(
    ({ destination, at }) => destination === challenge.destination && now.getTime() - Date.parse(at) < day,
  );
  return Math.max(0, Math.min(wrongPerCode - challenge.wrong, wrongPerDay - today.length));
}

/** When the next message may be asked for; never before the limits of an hour and of a day allow it. */
export function nextSendAt(ledger: Ledger, destination: string, now: Date): { at: Date; limit: "wait" | "sends" } {
  const { resendWaitMs, sendsPerHour, sendsPerDay, sendsPerDayInAll } = verificationLimits;
  const all = ledger.sends.map(({ at }) => Date.parse(at));
  const own = ledger.sends.filter((sent) => sent.destination === destination).map(({ at }) => Date.parse(at));
  // When the n-th message back leaves the window, there is room for another.
  const room = (times: readonly number[], most: number, windowMs: number) => {
    const oldest = times[times.length - most];
    return oldest === undefined ? 0 : oldest + windowMs;
  };
  const stop = stoppedUntil(ledger, destination, now)?.getTime() ?? 0;
  const sends = Math.max(
    stop,
    room(own, sendsPerHour, 60 * minute),
    room(own, sendsPerDay, day),
    room(all, sendsPerDayInAll, day),
  );
  const wait = (own.at(-1) ?? Number.NEGATIVE_INFINITY) + resendWaitMs;
  const limit = sends > now.getTime() ? "sends" : "wait";
  return { at: new Date(Math.max(sends, wait, now.getTime())), limit };
}

/** Whether a code could still be right. */
export function isLive(challenge: Challenge, now: Date): boolean {
  const { status, expiresAt, wrong } = challenge;
  return status === "open" && wrong < verificationLimits.wrongPerCode && now < new Date(expiresAt);
}

/** A challenge as the customer sees it; of the code it says nothing. */
export const pendingSchema = z.object({
  challengeId: z.string(),
  sentAt: z.iso.datetime(),
  expiresAt: z.iso.datetime(),
  resendAvailableAt: z.iso.datetime(),
  attemptsRemaining: z.int(),
  sendFailed: z.boolean().meta({ description: "the latest message could not be delivered" }),
});
export type Pending = z.infer<typeof pendingSchema>;

/** What a customer sees of a challenge. */
export function pendingOf(ledger: Ledger, challenge: Challenge, now: Date): Pending {
  const { id: challengeId, send, sentAt, expiresAt, destination } = challenge;
  return {
    challengeId,
    sentAt,
    expiresAt,
    resendAvailableAt: nextSendAt(ledger, destination, now).at.toISOString(),
    attemptsRemaining: attemptsRemaining(ledger, challenge, now),
    sendFailed: !ledger.sends.some((sent) => isSend(sent, { challengeId, send })),
  };
}

/** A number of which only enough is shown to recognise it: `+49*******78`. */
export function maskedPhone(number: string): string {
  return number.slice(0, 3) + "*".repeat(Math.max(0, number.length - 5)) + number.slice(-2);
}
