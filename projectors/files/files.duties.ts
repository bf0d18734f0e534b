import type { FileEvent } from "#domain/files/files.events.js";
import type { RecordedEvent } from "#domain/core/recorded-event.js";
import type { DutyDocument } from "#projectors/due-work.document.js";
import type { AreaDuties } from "#projectors/runner/duties.js";

/** What falls due with nobody calling; the names stand in the queue. */
export const fileDuties = { scan: "files-scan", deleteBlob: "files-delete-blob" } as const;

/** The scan is tried at once; whoever looks after this time finds it failed: the scanner or the store is away. */
const scanAgainMs = 30_000;

function row(duty: string, event: RecordedEvent<FileEvent>, afterMs: number): DutyDocument {
  const dueAt = new Date(Date.parse(event.at) + afterMs).toISOString();
  return { duty, dueAt, stream: event.stream, subject: event.data.fileId };
}

/** A file is scanned until there is a verdict; what is gone or infected is deleted until nothing is left. */
export const fileAreaDuties: AreaDuties<FileEvent> = {
  area: "files",
  idOf: (event) => event.data.fileId,
  on: {
    "files.Uploaded.v1": (_, event) => row(fileDuties.scan, event, scanAgainMs),
    "files.Scanned.v1": (_, event) => (event.data.scan === "infected" ? row(fileDuties.deleteBlob, event, 0) : null),
    "files.Removed.v1": (_, event) => row(fileDuties.deleteBlob, event, 0),
    "files.BlobDeleted.v1": () => null,
  },
};
