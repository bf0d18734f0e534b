import { type Owner, parseStreamName, ownerOfKey } from "#domain/core/identifiers.js";
import { type FilesCommand, filesDecider, type StoredFile } from "#domain/files/files.decider.js";
import { Uploaded } from "#domain/files/files.events.js";
import { isPicture, objectKeys, objectsOf, thumbnailSizes } from "#domain/files/files.policy.js";
import type { CommandContext } from "#infrastructure/command-handler.js";
import { ProviderUnavailable } from "#infrastructure/providers/provider-call.js";
import { createThumbnails, thumbnailType } from "#infrastructure/thumbnails.js";
import { causeOf, dutyContext, reactionContext } from "../runner/command-context.js";
import type { CustomerCleanup } from "../runner/customer-cleanup.js";
import type { DutyPerformer } from "../runner/duties.js";
import type { Reactor } from "../runner/reactor.js";
import type { WorkerDependencies } from "../worker-dependencies.js";
import { fileDuties } from "./files.duties.js";

type ScanDependencies = Pick<WorkerDependencies, "commands" | "objectStorage" | "scanner">;

const scanPurpose = "scan-file";

/** Scans a file as soon as it is there. What cannot be scanned now is due again soon, so nothing waits for it. */
export function scanReactor(deps: WorkerDependencies): Reactor {
  return {
    purpose: scanPurpose,
    on: [Uploaded],
    async react(reaction) {
      const cause = await causeOf(deps, reaction);
      if (cause === null) return;
      const { fileId } = cause.data as { fileId: string };
      try {
        await scanFile(deps, cause.stream, fileId, reactionContext(cause, scanPurpose, deps.clock()));
      } catch (error) {
        if (!(error instanceof ProviderUnavailable)) throw error;
        deps.log.warn({ err: error, provider: error.provider }, "a file stays unscanned for now");
      }
    },
  };
}

/** What falls due of files. */
export function filePerformers(deps: WorkerDependencies): readonly DutyPerformer[] {
  return [scanPerformer(deps), blobPerformer(deps)];
}

/** Scans again what could not be scanned at once, for as long as it takes. */
function scanPerformer(deps: WorkerDependencies): DutyPerformer {
  return {
    duty: fileDuties.scan,
    perform: (due) => scanFile(deps, due.stream, due.subject, dutyContext(due, deps.clock())),
  };
}

/** Deletes what is left in the object store of a file that is gone or infected. */
function blobPerformer(deps: WorkerDependencies): DutyPerformer {
  return {
    duty: fileDuties.deleteBlob,
    async perform(due) {
      const owner = ownerOfKey(due.owner);
      if (owner === null) throw new Error("a file belongs to a customer");
      const { commands, objectStorage } = deps;
      const { state } = await commands.load({ decider: filesDecider, stream: due.stream });
      const blob = state.leftovers.get(due.subject);
      if (blob === undefined) return; // done by another
      await objectStorage.remove(objectsOf(owner, due.subject, blob));
      const command = { type: "ConfirmBlobDeleted", fileId: due.subject } as const;
      await handle(deps, due.stream, command, dutyContext(due, deps.clock()));
    },
  };
}

/** Lets go of everything an erased customer had in the object store. */
export function fileCleanup({ objectStorage }: Pick<WorkerDependencies, "objectStorage">): CustomerCleanup {
  return {
    name: "files",
    again: true, // an upload or a scan may have been under way
    async cleanUp(owner) {
      for (const folder of [objectKeys.folder(owner), objectKeys.quarantineFolder(owner)]) {
        for await (const { key } of objectStorage.list(folder)) await objectStorage.remove([key]);
        await objectStorage.abandonUploads(folder, new Date(8.64e15));
      }
    },
  };
}

/**
 * Scans one file and records the verdict. A clean one is first copied to where it is served from, with its thumbnails:
 * what was scanned and what is served are the same bytes, because nobody else can write to either key. Killed anywhere
 * in between it is done again from the start, over the same keys.
 */
async function scanFile(deps: ScanDependencies, stream: string, fileId: string, context: CommandContext) {
  const owner = ownerOf(stream);
  const { state } = await deps.commands.load({ decider: filesDecider, stream });
  const file = state.files.get(fileId);
  if (file?.scan !== "pending") return;
  const verdict = await verdictOf(deps, owner, file);
  const thumbnails = verdict.scan === "clean" ? await publish(deps, owner, file) : [];
  const command = { type: "RecordScan", fileId, ...verdict, thumbnails } as const;
  const { state: after } = await handle(deps, stream, command, context);
  // Where the worker dies here, the sweep finds it: nothing names a clean file's quarantine object any more.
  if (after.files.get(fileId)?.scan === "clean") {
    await deps.objectStorage.remove([objectKeys.quarantine(owner, file.blob)]).catch(() => {});
  }
}

type RecordedVerdict = Pick<Extract<FilesCommand, { type: "RecordScan" }>, "scan" | "signature">;

async function verdictOf(deps: ScanDependencies, owner: Owner, file: StoredFile): Promise<RecordedVerdict> {
  const key = objectKeys.quarantine(owner, file.blob);
  // Another worker may have been quicker, and the object may be gone: the decision is made on the stream, not on this.
  if ((await deps.objectStorage.stat(key)) === null) return { scan: "error" };
  const verdict = await deps.scanner.scan(async () => {
    const bytes = await deps.objectStorage.read(key);
    if (!bytes) throw new ProviderUnavailable("object-storage");
    return bytes;
  });
  if (verdict.kind === "infected") return { scan: "infected", signature: verdict.signature };
  return { scan: verdict.kind === "clean" ? "clean" : "error" };
}

/** Puts a clean file where it is served from; returns the sizes of the thumbnails that could be made. */
async function publish({ objectStorage }: ScanDependencies, owner: Owner, file: StoredFile): Promise<number[]> {
  const key = objectKeys.file(owner, file.fileId);
  if (!(await objectStorage.copy(objectKeys.quarantine(owner, file.blob), key))) {
    throw new ProviderUnavailable("object-storage");
  }
  if (!isPicture(file.contentType)) return [];
  const bytes = await objectStorage.read(key);
  if (!bytes) throw new ProviderUnavailable("object-storage");
  const made = await createThumbnails(bytes, thumbnailSizes);
  for (const [size, thumbnail] of made) {
    await objectStorage.put(objectKeys.thumbnail(owner, file.fileId, size), thumbnail, thumbnailType);
  }
  return [...made.keys()];
}

function handle(
  deps: Pick<WorkerDependencies, "commands">,
  stream: string,
  command: FilesCommand,
  context: CommandContext,
) {
  return deps.commands.handle({ decider: filesDecider, stream, command, context });
}

function ownerOf(stream: string): Owner {
  const identity = parseStreamName(stream);
  if (identity?.customer === undefined) throw new Error("a file belongs to a customer");
  return { org: identity.org, customer: identity.customer };
}
