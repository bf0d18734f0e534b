import type { RecordedEvent } from "#domain/core/recorded-event.js";
import type { PrivacyEvent } from "#domain/privacy/privacy.events.js";
import type { DutyDocument } from "#projectors/due-work.document.js";
import type { AreaDuties } from "#projectors/runner/duties.js";

/** Names of the duties; `privacy.reactor.ts` and `privacy.worker.ts` perform them. */
export const privacyDuties = {
  announceErasure: "privacy-announce-erasure",
  erase: "privacy-erase",
  export: "privacy-export",
  announceExport: "privacy-announce-export",
  expire: "privacy-export-expire",
} as const;

type Consumed = Exclude<
  PrivacyEvent,
  { type: "privacy.AccountLocked.v1" | "privacy.AccountUnlocked.v1" | "privacy.CustomerErased.v1" }
>;

function duty(event: RecordedEvent, name: string, dueAt: string, subject: string): DutyDocument {
  return { duty: name, dueAt, stream: event.stream, subject };
}

const erasureId = "erasure";
const eraseAt = (event: RecordedEvent, dueAt: string) => duty(event, privacyDuties.erase, dueAt, erasureId);

/**
 * An erasure is told of and takes effect; an export is made, told of, and expires. One thing after the other: each is
 * recorded, which makes the next one due. An erasure done removes every row of its owner.
 */
export const privacyAreaDuties: AreaDuties<Consumed> = {
  area: "privacy",
  idOf: ({ data }) => ("exportId" in data ? `export-${data.exportId}` : erasureId),
  on: {
    "privacy.ErasureRequested.v1": (_, event) =>
      duty(event, privacyDuties.announceErasure, event.at, event.data.effectiveAt),
    "privacy.ErasureAnnounced.v1": (_, event) => eraseAt(event, event.data.effectiveAt),
    "privacy.ErasurePostponed.v1": (_, event) => eraseAt(event, event.data.effectiveAt),
    "privacy.ErasureCancelled.v1": () => null,
    // Begun is not done: it goes on at once, whatever happened to whoever began.
    "privacy.ErasureBegun.v1": (_, event) => eraseAt(event, event.at),
    "privacy.ExportRequested.v1": (_, event) => duty(event, privacyDuties.export, event.at, event.data.exportId),
    "privacy.ExportReady.v1": (_, event) => duty(event, privacyDuties.announceExport, event.at, event.data.exportId),
    "privacy.ExportAnnounced.v1": (_, event) =>
      duty(event, privacyDuties.expire, event.data.expiresAt, event.data.exportId),
    "privacy.ExportExpired.v1": () => null,
  },
};
