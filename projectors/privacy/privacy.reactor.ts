import { ownerKey, ownerOfKey, ownerOfStream } from "#domain/core/identifiers.js";
import { privacyDecider } from "#domain/privacy/privacy.decider.js";
import { type AnnouncementOutcome, CustomerErased } from "#domain/privacy/privacy.events.js";
import { openObligations } from "#domain/privacy/privacy.policy.js";
import { profileDecider } from "#domain/profile/profile.decider.js";
import { type EventStore, logStart } from "#infrastructure/event-store.js";
import { customerPseudonym } from "#infrastructure/log.js";
import type { PersonalDataKeys } from "#infrastructure/personal-data-keys.js";
import { ProviderUnavailable } from "#infrastructure/providers/provider-call.js";
import type { Message } from "#infrastructure/providers/smtp.js";
import { live } from "#infrastructure/read-models.js";
import { dashboardDocument, dashboardDocumentId } from "../dashboard/dashboard.document.js";
import { type Language, languageOf } from "../messages/message.js";
import { erasureMail, exportMail } from "../messages/privacy.messages.js";
import { dutyContext, systemCommandId } from "../runner/command-context.js";
import type { CustomerCleanup } from "../runner/customer-cleanup.js";
import type { DueDuty, DutyPerformer } from "../runner/duties.js";
import { documentId } from "../runner/projection.js";
import type { Reactor } from "../runner/reactor.js";
import type { WorkerDependencies } from "../worker-dependencies.js";
import { privacyDuties } from "./privacy.duties.js";

type ErasureDependencies = Pick<WorkerDependencies, "commands" | "readModels" | "clock" | "log">;

/**
 * An erasure whose grace period is over: first nothing may take it back any more, then everything outside is let go
 * of, and only then is the customer erased. Wherever it stops, the row is still due and it is done again from there.
 */
export function erasurePerformer(deps: ErasureDependencies, cleanups: readonly CustomerCleanup[]): DutyPerformer {
  const { commands, readModels, clock, log } = deps;
  return {
    duty: privacyDuties.erase,
    async perform(due) {
      const owner = ownerOfKey(due.owner);
      if (owner === null) throw new Error("an erasure is about a customer");
      const now = clock();
      const context = dutyContext(due, now);
      const to = { decider: privacyDecider, stream: due.stream };
      const affairs = await readModels
        .collection(dashboardDocument)
        .findOne({ _id: documentId(due.owner, dashboardDocumentId), ...live });
      const begin = { type: "BeginErasure", now: now.toISOString(), obligations: openObligations(affairs) } as const;
      const { state } = await commands.handle({ ...to, command: begin, context });
      if (!state.standing.erasure?.begun) return; // taken back, postponed, or done already
      for (const { name, cleanUp } of cleanups) {
        await cleanUp(owner);
        log.info({ customer: customerPseudonym(ownerKey(owner)), cleanup: name }, "let go of an erased customer's");
      }
      await commands.handle({ ...to, command: { type: "CompleteErasure" }, context: { ...context, step: 1 } });
    },
  };
}

type Announcements = Pick<WorkerDependencies, "commands" | "clock" | "log" | "mail">;

/** A mail is worth something for a day; a mail server that is away longer must not hold up what comes after it. */
const announcedWithinMs = 24 * 60 * 60_000;

/** Tells customers when their erasure takes effect, and that their export can be fetched. */
export function announcementPerformers(deps: Announcements): readonly DutyPerformer[] {
  const { commands, clock } = deps;
  const announce = async (due: DueDuty, mail: (language: Language) => Message | null): Promise<AnnouncementOutcome> => {
    const { state } = await commands.load({ decider: profileDecider, stream: due.stream });
    const { email = null, language = null } = state.status === "active" ? state.profile : {};
    const message = mail(languageOf(language));
    const isLate = clock().getTime() - Date.parse(due.dueAt) > announcedWithinMs;
    return message === null || email === null || isLate ? "failed" : send(deps, due, email, message);
  };
  return [
    {
      duty: privacyDuties.announceErasure,
      async perform(due) {
        const effectiveAt = due.subject;
        const outcome = await announce(due, (language) => erasureMail(effectiveAt, language));
        const command = { type: "RecordErasureAnnounced", effectiveAt, outcome } as const;
        await commands.handle({ ...toPrivacy(due), command, context: dutyContext(due, clock()) });
      },
    },
    {
      duty: privacyDuties.announceExport,
      async perform(due) {
        const { state } = await commands.load(toPrivacy(due));
        const ready = state.exports.find(({ exportId }) => exportId === due.subject)?.ready;
        const outcome = await announce(due, (language) => (ready ? exportMail(ready.expiresAt, language) : null));
        const command = { type: "RecordExportAnnounced", exportId: due.subject, outcome } as const;
        await commands.handle({ ...toPrivacy(due), command, context: dutyContext(due, clock()) });
      },
    },
  ];
}

function toPrivacy({ stream }: DueDuty) {
  return { decider: privacyDecider, stream };
}

/** @throws ProviderUnavailable when it may be tried again */
async function send(
  { mail, log }: Announcements,
  due: DueDuty,
  to: string,
  message: Message,
): Promise<AnnouncementOutcome> {
  try {
    // The same name each time: a crash in between sends it twice, and a mail program can tell.
    await mail.send(ownerOfKey(due.owner)?.org ?? "", to, message, systemCommandId(due.rowId, due.position));
    return "sent";
  } catch (error) {
    if (error instanceof ProviderUnavailable) throw error;
    log.warn({ err: error, duty: due.duty }, "a customer could not be told");
    return "failed";
  }
}

type PrivacyReactorDependencies = {
  readonly eventStore: Pick<EventStore, "readStream">;
  readonly keys: Pick<PersonalDataKeys, "destroy">;
};

/** An erased customer's data key is destroyed: what it sealed, in every event and backup of the log, is gone with it. */
export function eraseReactor(
  { eventStore, keys }: PrivacyReactorDependencies,
  cleanups: readonly CustomerCleanup[] = [],
): Reactor {
  return {
    purpose: "destroy-data-key",
    on: [CustomerErased],
    async react({ eventId, stream, revision }) {
      const [event] = await eventStore.readStream(stream, { from: revision, limit: 1 });
      const owner = ownerOfStream(stream);
      // The log has the last word: a job left over from another store destroys nothing.
      if (event?.id !== eventId || event.type !== CustomerErased.type || owner === null) return;
      await keys.destroy(owner);
      const erased = ownerOfKey(owner);
      if (erased) for (const { again, cleanUp } of cleanups) if (again) await cleanUp(erased);
    },
  };
}

/**
 * Applies every erasure in the log to the key store: a key database restored from a backup may hold keys that were
 * destroyed after it was taken.
 *
 * @returns how many keys had come back
 */
export async function eraseAgain(
  dependencies: {
    readonly eventStore: Pick<EventStore, "readLog">;
    readonly keys: Pick<PersonalDataKeys, "destroy" | "find">;
  },
  signal: AbortSignal,
): Promise<number> {
  const { eventStore, keys } = dependencies;
  let returned = 0;
  const streamPrefixes = [`${CustomerErased.category}-`];
  for await (const { type, stream } of eventStore.readLog({ after: logStart, streamPrefixes, signal })) {
    const owner = type === CustomerErased.type ? ownerOfStream(stream) : null;
    if (owner === null || (await keys.find(owner))?.customer === null) continue;
    await keys.destroy(owner);
    returned++;
  }
  return returned;
}
