import { randomUUID } from "node:crypto";
import { Readable } from "node:stream";
import { ZipFile } from "yazl";
import { type Owner, ownerKey, ownerOfKey } from "#domain/core/identifiers.js";
import { privacyDecider } from "#domain/privacy/privacy.decider.js";
import { exportKeys } from "#domain/privacy/privacy.policy.js";
import { CommandRejected } from "#infrastructure/command-handler.js";
import type { ObjectStorage } from "#infrastructure/object-storage.js";
import { live, type ReadModels } from "#infrastructure/read-models.js";
import { escapeHtml, type Language, languageOf } from "../messages/message.js";
import { profileDocument, profileDocumentId } from "../profile/profile.document.js";
import { dutyContext } from "../runner/command-context.js";
import type { CustomerCleanup } from "../runner/customer-cleanup.js";
import type { DueDuty, DutyPerformer } from "../runner/duties.js";
import { documentId } from "../runner/projection.js";
import type { WorkerDependencies } from "../worker-dependencies.js";
import { privacyDuties } from "./privacy.duties.js";
import { type ExportedFile, type ExportSection, type ExportSource, exportSections } from "./privacy.export.js";

type ExportDependencies = Pick<WorkerDependencies, "commands" | "readModels" | "objectStorage" | "clock">;

/** Makes the packages that customers ask for, and removes them when they expire. */
export function exportPerformers(deps: ExportDependencies): readonly DutyPerformer[] {
  const { commands, readModels, objectStorage, clock } = deps;
  return [
    {
      duty: privacyDuties.export,
      async perform(due) {
        const owner = customerOf(due);
        const exportId = due.subject;
        const to = { decider: privacyDecider, stream: due.stream };
        const statusOf = ({ exports }: typeof privacyDecider.initial) =>
          exports.find((one) => one.exportId === exportId);
        if (statusOf((await commands.load(to)).state)?.status !== "pending") return;
        const object = randomUUID();
        const key = exportKeys.archive(owner, exportId, object);
        const size = await objectStorage.upload(
          key,
          archive(owner, { readModels, objectStorage, now: clock() }),
          () => {
            return "application/zip";
          },
        );
        try {
          const command = { type: "CompleteExport", exportId, object, size, now: clock().toISOString() } as const;
          const { state } = await commands.handle({ ...to, command, context: dutyContext(due, clock()) });
          // Somebody else made it at the same time, and was first.
          if (statusOf(state)?.ready?.object !== object) await objectStorage.remove([key]);
        } catch (error) {
          if (!(error instanceof CommandRejected)) throw error;
          await objectStorage.remove([key]); // the customer is being erased
        }
      },
    },
    {
      duty: privacyDuties.expire,
      async perform(due) {
        await removeAll(objectStorage, exportKeys.export(customerOf(due), due.subject));
        await commands.handle({
          decider: privacyDecider,
          stream: due.stream,
          command: { type: "ExpireExport", exportId: due.subject },
          context: dutyContext(due, clock()),
        });
      },
    },
  ];
}

/** Packages of an erased customer, finished or not. */
export function exportCleanup({ objectStorage }: Pick<ExportDependencies, "objectStorage">): CustomerCleanup {
  return { name: "exports", again: true, cleanUp: (owner) => removeAll(objectStorage, exportKeys.folder(owner)) };
}

async function removeAll(objectStorage: ObjectStorage, prefix: string): Promise<void> {
  await objectStorage.abandonUploads(prefix, new Date());
  for await (const { key } of objectStorage.list(prefix)) await objectStorage.remove([key]);
}

function customerOf(due: DueDuty): Owner {
  const owner = ownerOfKey(due.owner);
  if (owner === null) throw new Error("an export is about a customer");
  return owner;
}

type ArchiveSource = {
  readonly readModels: ReadModels;
  readonly objectStorage: Pick<ObjectStorage, "read">;
  readonly now: Date;
};

/**
 * The zip of all there is of a customer, as a stream: a list of records for each section, the customer's own files, and
 * a page that tells what is in it. Each part is opened when its turn comes, so only one is ever under way.
 */
async function* archive(owner: Owner, source: ArchiveSource): AsyncGenerator<Buffer> {
  const { readModels, objectStorage, now } = source;
  const language = await languageFor(owner, readModels);
  const zip = new ZipFile();
  const output = zip.outputStream as Readable;
  const counts = new Map<string, number>();
  let open: Readable | undefined;
  const add = (path: string, content: () => AsyncIterable<string | Buffer>) =>
    zip.addReadStreamLazy(path, { mtime: now }, (callback) => {
      open = Readable.from(content());
      callback(null, open);
    });
  zip.on("error", (error: Error) => output.destroy(error));

  const from = { owner, readModels, now };
  for (const section of exportSections) {
    add(`data/${section.name}.json`, () => records(section, from, (count) => counts.set(section.name, count)));
  }
  const files = await filesOf(owner, readModels);
  for (const { path, key } of files) {
    add(`files/${path}`, async function* () {
      const bytes = await objectStorage.read(key);
      // Removed since it was listed: its place stays empty.
      if (bytes) yield* bytes as AsyncIterable<Buffer>;
    });
  }
  // Last, because it tells how much there is of everything.
  add("index.html", async function* () {
    yield indexPage({ language, counts, files, now });
  });
  zip.end();
  try {
    yield* output as AsyncIterable<Buffer>;
  } finally {
    open?.destroy();
  }
}

async function languageFor(owner: Owner, readModels: ReadModels): Promise<Language> {
  const _id = documentId(ownerKey(owner), profileDocumentId);
  const found = await readModels.collection(profileDocument).findOne({ _id, ...live });
  return languageOf(found?.profile.language);
}

/** The documents of a section, one after the other. */
function documentsOf({ definition, sort }: ExportSection, { owner, readModels }: Omit<ExportSource, "now">) {
  const collection = readModels.collection(definition);
  return collection.find({ owner: ownerKey(owner), ...live }).sort(sort ?? { _id: 1 });
}

/** A JSON list of a section's records, a line each; tells in the end how many there were. */
async function* records(
  section: ExportSection,
  from: ExportSource,
  onEnd: (count: number) => void,
): AsyncGenerator<string> {
  let count = 0;
  for await (const document of documentsOf(section, from)) {
    const shown = await section.toRecord(document as never, from);
    if (shown === null) continue;
    yield `${count++ === 0 ? "[" : ","}\n${JSON.stringify(shown)}`;
  }
  yield count === 0 ? "[]\n" : "\n]\n";
  onEnd(count);
}

/** Every file there is to go in, by its path: an archive may hold a name once. */
async function filesOf(owner: Owner, readModels: ReadModels): Promise<ExportedFile[]> {
  const files = new Map<string, ExportedFile>();
  for (const section of exportSections) {
    if (!section.toFile) continue;
    for await (const document of documentsOf(section, { owner, readModels })) {
      const file = section.toFile(document as never, owner);
      if (file) files.set(file.path, file);
    }
  }
  return [...files.values()];
}

const texts = {
  en: {
    title: "A copy of your data",
    made: "Made on",
    data: "What we keep about you, as JSON (text that any editor and most programs read):",
    files: "Your own files:",
    entries: "entries",
  },
  de: {
    title: "Eine Kopie Ihrer Daten",
    made: "Erstellt am",
    data: "Was über Sie gespeichert ist, als JSON (Text, den jeder Editor und die meisten Programme lesen):",
    files: "Ihre eigenen Dateien:",
    entries: "Einträge",
  },
} as const;

function indexPage(content: {
  readonly language: Language;
  readonly counts: ReadonlyMap<string, number>;
  readonly files: readonly ExportedFile[];
  readonly now: Date;
}): string {
  const { language, counts, files, now } = content;
  const text = texts[language];
  const rows = exportSections.map(({ name, title }) => {
    return `<li><a href="data/${name}.json">${title[language]}</a>: ${counts.get(name) ?? 0} ${text.entries}</li>`;
  });
  const own = files.map(({ path }) => {
    const href = path.split("/").map(encodeURIComponent).join("/");
    return `<li><a href="files/${escapeHtml(href)}">${escapeHtml(path)}</a></li>`;
  });
  return [
    `<!doctype html><html lang="${language}"><meta charset="utf-8"><title>${text.title}</title>`,
    "<style>body{font:16px/1.5 system-ui,sans-serif;max-width:45rem;margin:2rem auto;padding:0 1rem}</style>",
    `<h1>${text.title}</h1><p>${text.made} ${now.toISOString()}</p>`,
    `<p>${text.data}</p><ul>${rows.join("")}</ul>`,
    own.length === 0 ? "" : `<p>${text.files}</p><ul>${own.join("")}</ul>`,
    "</html>\n",
  ].join("\n");
}
