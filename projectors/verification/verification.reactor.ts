import { streams, type VerificationChannel, ownerOfKey } from "#domain/core/identifiers.js";
import type { RecordedEvent } from "#domain/core/recorded-event.js";
import { settleEmailChange } from "#sagas/profile/email-change.saga.js";
import { profileDecider } from "#domain/profile/profile.decider.js";
import { EmailChanged, type ProfileEvent, Updated } from "#domain/profile/profile.events.js";
import { verificationDecider } from "#domain/verification/verification.decider.js";
import {
  Requested,
  type SendFailureReason,
  type VerificationEvent,
  Verified,
} from "#domain/verification/verification.events.js";
import { type Challenge, isSend, verificationLimits } from "#domain/verification/verification.policy.js";
import { verificationCode } from "#domain/verification/verification-code.js";
import { type CommandContext, CommandRejected } from "#infrastructure/command-handler.js";
import {
  IntegrationNotConfigured,
  ProviderFault,
  ProviderUnavailable,
  RecipientRefused,
} from "#infrastructure/providers/provider-call.js";
import { type Language, languageOf } from "../messages/message.js";
import { codeMail, codeSms, newAddressMail, oldAddressMail } from "../messages/verification.messages.js";
import { sagaPort } from "../profile/email-claim.reactor.js";
import { causeOf, dutyContext, reactionContext, systemCommandId } from "../runner/command-context.js";
import type { DutyPerformer } from "../runner/duties.js";
import type { Reactor } from "../runner/reactor.js";
import type { WorkerDependencies } from "../worker-dependencies.js";
import { sendCodeDuty, sendNoticeDuty } from "./verification.duties.js";

/** What sends and finishes, for the registry. */
export function verificationReactors(deps: WorkerDependencies): readonly Reactor[] {
  return [sendCodeReactor(deps), finishReactor(deps), voidReactor(deps)];
}

/** What was left open, for the registry. */
export function verificationPerformers(deps: WorkerDependencies): readonly DutyPerformer[] {
  return [sendCodePerformer(deps), sendNoticePerformer(deps)];
}

type CodeMessage = {
  readonly stream: string;
  readonly channel: VerificationChannel;
  readonly challengeId: string;
  readonly send: number;
};

/** Sends a code as soon as it is asked for; what does not go out at once is left to its duty. */
function sendCodeReactor(deps: WorkerDependencies): Reactor {
  const purpose = "send-verification-code";
  return {
    purpose,
    on: [Requested],
    async react(reaction) {
      const cause = (await causeOf(deps, reaction)) as RecordedEvent<VerificationEvent> | null;
      if (cause?.type !== Requested.type) return;
      const { channel, challengeId, send } = cause.data;
      const message = { stream: cause.stream, channel, challengeId, send };
      try {
        await sendCode(deps, message, reactionContext(cause, purpose, deps.clock()));
      } catch (error) {
        if (!(error instanceof ProviderUnavailable)) throw error;
        deps.log.warn({ err: error, eventId: cause.id }, "a code is not sent yet");
      }
    },
  };
}

/** Sends a code whose message has no outcome yet, until the code's life is over. */
function sendCodePerformer(deps: WorkerDependencies): DutyPerformer {
  return {
    duty: sendCodeDuty,
    async perform(due) {
      const [challengeId = "", send] = due.subject.split(" ");
      const channel = channelOf(due.stream);
      const message = { stream: due.stream, channel, challengeId, send: Number(send) };
      await sendCode(deps, message, dutyContext(due, deps.clock()));
    },
  };
}

/**
 * Sends a message and records what came of it. A crash in between sends it twice, with the same code.
 *
 * @throws ProviderUnavailable when it may be tried again
 */
async function sendCode(deps: WorkerDependencies, message: CodeMessage, context: CommandContext): Promise<void> {
  const { commands, clock, log } = deps;
  const { stream, channel, challengeId, send } = message;
  const { state } = await commands.load({ decider: verificationDecider, stream });
  const { challenge } = state;
  // Another message took its place, or nobody needs it any more; or it has its outcome.
  if (challenge?.id !== challengeId || challenge.send !== send || challenge.status !== "open") return;
  if (!state.sends.some((sent) => isSend(sent, message) && !sent.taken)) return;
  let failure: SendFailureReason | undefined;
  if (clock() >= new Date(challenge.expiresAt)) failure = "too-late";
  else {
    try {
      await deliver(deps, channel, challenge, context);
    } catch (error) {
      failure = failureOf(error);
      log.warn({ err: error, reason: failure }, "a code cannot be sent");
    }
  }
  const sent = { channel, challengeId, send };
  await commands.handle({
    decider: verificationDecider,
    stream,
    command: failure ? { type: "RecordSendFailed", ...sent, reason: failure } : { type: "RecordSent", ...sent },
    context,
  });
}

async function deliver(
  deps: WorkerDependencies,
  channel: VerificationChannel,
  { id, send, destination }: Challenge,
  { org, owner }: CommandContext,
): Promise<void> {
  const code = verificationCode(deps.serverKey("verification-code"), id);
  const words = { code, minutes: verificationLimits.codeLifeMs / 60_000 };
  const language = await languageFor(deps, owner);
  if (channel === "phone") return deps.sms.send(org, destination, codeSms(words, language));
  const mail = channel === "email" ? codeMail(words, language) : newAddressMail(words, language);
  // The name of a mail is no secret, but it stands in other people's logs: not the challenge's id itself.
  return deps.mail.send(org, destination, mail, systemCommandId(id, `mail ${send}`));
}

async function languageFor({ commands }: WorkerDependencies, owner: CommandContext["owner"]): Promise<Language> {
  if (!owner) return languageOf(null);
  const { state } = await commands.load({ decider: profileDecider, stream: streams.profile(owner) });
  return languageOf(state.status === "active" ? state.profile.language : null);
}

/** @throws the error itself where it is no provider's verdict, or may pass */
function failureOf(error: unknown): SendFailureReason {
  if (error instanceof RecipientRefused) return "recipient-refused";
  if (error instanceof ProviderFault) return "provider-fault";
  if (error instanceof IntegrationNotConfigured) return "not-configured";
  throw error;
}

function channelOf(stream: string): VerificationChannel {
  return stream.slice(stream.lastIndexOf(".") + 1) as VerificationChannel;
}

/** Tells the address that a customer has until now of the change to come. */
function sendNoticePerformer(deps: WorkerDependencies): DutyPerformer {
  return {
    duty: sendNoticeDuty,
    async perform(due) {
      const { commands, clock, log, mail } = deps;
      const { stream, subject: challengeId } = due;
      const { state } = await commands.load({ decider: verificationDecider, stream });
      const { notice } = state;
      if (notice?.challengeId !== challengeId || notice.isSettled) return;
      const context = dutyContext(due, clock());
      let outcome: "sent" | "failed" = "sent";
      // A notice is worth something for a day; a mail server that is away longer must not hold it back for ever.
      if (clock().getTime() - Date.parse(due.dueAt) > 24 * 60 * 60_000) outcome = "failed";
      else {
        try {
          const message = oldAddressMail(notice.about, await languageFor(deps, context.owner));
          await mail.send(context.org, notice.destination, message, systemCommandId(challengeId, "notice"));
        } catch (error) {
          log.warn({ err: error, reason: failureOf(error) }, "a notice cannot be sent");
          outcome = "failed";
        }
      }
      const command = { type: "RecordNotice", challengeId, outcome } as const;
      await commands.handle({ decider: verificationDecider, stream, command, context });
    },
  };
}

/** Carries a proof to the profile, where the request that brought it did not get so far. */
function finishReactor(deps: WorkerDependencies): Reactor {
  const purpose = "finish-verification";
  return {
    purpose,
    on: [Verified],
    async react(reaction) {
      const cause = (await causeOf(deps, reaction)) as RecordedEvent<VerificationEvent> | null;
      const owner = cause && ownerOfKey(cause.owner);
      if (cause?.type !== Verified.type || !owner) return;
      const { channel, challengeId, destination } = cause.data;
      const proof = { challengeId, provedAt: cause.at };
      const port = sagaPort(deps, cause, purpose);
      if (channel === "email-change") await settleEmailChange(port, { owner, email: destination, ...proof });
      else {
        const command = { type: "ConfirmDestination", channel, destination, ...proof } as const;
        await port.ask({ decider: profileDecider, stream: streams.profile(owner), command, step: 0 });
      }
    },
  };
}

/** Another address or number in the profile makes an open challenge to the one before void. */
function voidReactor(deps: WorkerDependencies): Reactor {
  const purpose = "void-verification";
  return {
    purpose,
    on: [Updated, EmailChanged],
    async react(reaction) {
      const cause = (await causeOf(deps, reaction)) as RecordedEvent<ProfileEvent> | null;
      const owner = cause && ownerOfKey(cause.owner);
      if (!owner) return;
      const { state } = await deps.commands.load({ decider: profileDecider, stream: cause.stream });
      if (state.status !== "active") return;
      const port = sagaPort(deps, cause, purpose);
      for (const channel of ["email", "phone"] as const) {
        if (!(channel in cause.data)) continue;
        const command = { type: "VoidOthers", channel, destination: state.profile[channel] } as const;
        await port.ask({
          decider: verificationDecider,
          stream: streams.verification(owner, channel),
          command,
          step: 0,
        });
      }
    },
  };
}
