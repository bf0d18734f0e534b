import { randomUUID } from "node:crypto";
import type { Request } from "express";
import { z } from "zod";
import { bareId, type Owner, streams } from "#domain/core/identifiers.js";
import { type FilesState, filesDecider, findFile, type NewFile, type StoredFile } from "#domain/files/files.decider.js";
import {
  fileData,
  fileDataSchema,
  fileLimits,
  type FilePurpose,
  filePurposes,
  maxBytesFor,
  objectKeys,
  pathIn,
  quarantinedBlob,
  typesFor,
} from "#domain/files/files.policy.js";
import { profileDecider } from "#domain/profile/profile.decider.js";
import { CommandRejected, type Handled, IdempotencyKeyReused, StreamBusy } from "#infrastructure/command-handler.js";
import { expectedVersion, versionGuard } from "#infrastructure/http/etags.js";
import { principalOf } from "#infrastructure/http/principal.js";
import { Problem } from "#infrastructure/http/problem-details.js";
import { type RecordBody, record, sendCommandAnswer, sendRecord } from "#infrastructure/http/records.js";
import { recordOf } from "#infrastructure/http/response-schemas.js";
import type { RouteDefinition } from "#infrastructure/http/routes.js";
import { jsonObject, parseBody, parseInput, version } from "#infrastructure/http/validation.js";
import type { CommandDependencies } from "../dependencies.js";
import { commandIdOf } from "../idempotency.js";
import { discard, type FormRules, receiveForm } from "../uploads.js";

const flag = z.enum(["true", "false"]).transform((value) => value === "true");

const formFields = z.strictObject({
  location: z
    .string()
    .optional()
    .meta({ description: `folder, at most ${fileLimits.location} characters` }),
  path: z.string().optional().meta({ description: "the same as `location`" }),
  purpose: z.enum(filePurposes).default("general"),
  metadata: z
    .string()
    .transform(parseJson)
    .pipe(jsonObject(fileLimits.metadata))
    .optional()
    .meta({ description: "a JSON object of at most 2 KiB" }),
  overwrite: flag.default(false),
});

const binary = z.string().meta({ format: "binary" });
const form = formFields.extend({
  file: binary.optional(),
  files: z.array(binary).max(fileLimits.perUpload).optional(),
});

/** In Express a wildcard is a list of segments; encoded slashes in one of them are slashes, too. */
export const fileParams = z.object({ path: z.string().meta({ description: "path, pk or id of a file" }) });

const removeBody = z.strictObject({ version: version().optional() }).prefault({});

/** Receiving takes as long as the server lets a request take; what comes after it is bounded by itself. */
const uploadPatienceMs = 330_000;

/** Changes of the customer's files. */
export function fileRoutes(deps: CommandDependencies): RouteDefinition[] {
  return [
    {
      method: "post",
      path: "/client-data/files/upload",
      summary: "Uploads files, all of them or none; each can be read once it has been scanned",
      operationId: "uploadFiles",
      area: "files",
      limits: ["uploads"],
      patienceMs: uploadPatienceMs,
      request: { form },
      responses: {
        201: {
          description: "The file, or `{data: […]}` of several",
          schema: z.union([recordOf(fileDataSchema), z.object({ data: z.array(recordOf(fileDataSchema)) })]),
        },
      },
      problems: [
        "CONTENT_TYPE_MISMATCH",
        "EMPTY_FILE",
        "FILE_EXISTS",
        "FILE_IN_USE",
        "FILE_TOO_LARGE",
        "FILE_TYPE_NOT_ALLOWED",
        "MULTIPART_INVALID",
        "PATH_INVALID",
        "QUOTA_EXCEEDED",
        "TOO_MANY_FILES",
      ],
      handler: async (req, res) => {
        const { owner } = principalOf(res);
        const received = await receiveForm(req, deps.objectStorage, uploadRules(owner));
        const keys = received.files.map(({ key }) => key);
        const handled = await keepNamed(deps, keys, async () => {
          const { fields, files } = received;
          const { overwrite, purpose, metadata, ...places } = parseInput(formFields, fields);
          if (files.length === 0) throw missingFile();
          const location = checkedLocation(places.location ?? places.path ?? "");
          // The bytes themselves are the object store's; the repeat of a request is known by their digests.
          req.body = { fields, files: files.map(({ field, name, sha256 }) => ({ field, name, sha256 })) };
          const context = deps.idempotency(req, res);
          const added = files.map(
            (file, index): NewFile => ({
              fileId: commandIdOf([context.commandId, "file", String(index)]),
              path: pathIn(location, file.name),
              size: file.size,
              contentType: file.contentType,
              purpose,
              sha256: file.sha256,
              ...(metadata === undefined ? {} : { metadata: metadata as NonNullable<NewFile["metadata"]> }),
              blob: quarantinedBlob(file.key)?.blob ?? "",
            }),
          );
          const inUse = overwrite ? await filesInUse(deps, owner) : [];
          return deps.commands.handle({
            decider: filesDecider,
            stream: streams.files(owner),
            command: { type: "AddFiles", files: added, overwrite, inUse },
            context,
          });
        });
        const shown = uploadedBy(handled).map((fileId) => toRecord(fileOf(handled.state, fileId), owner));
        const [first, ...others] = shown;
        const answer = { ...deps.answerOf(handled), location: first && locationOf(bareId("file", first.pk)) };
        if (first && others.length === 0) sendRecord(res, 201, first, answer);
        else sendCommandAnswer(res, 201, { data: shown }, deps.answerOf(handled));
      },
    },
    {
      method: "delete",
      path: "/client-data/files/*path",
      summary: "Removes a file, by path, pk or id",
      operationId: "removeFile",
      area: "files",
      request: { params: fileParams, body: removeBody },
      responses: { 204: { description: "It is gone" } },
      problems: ["FILE_IN_USE", "FILE_NOT_FOUND", "PRECONDITION_FAILED", "VERSION_CONFLICT"],
      handler: async (req, res) => {
        const { owner } = principalOf(res);
        const file = namedInPath(req);
        const expected = expectedVersion(req, parseBody(removeBody, req).version);
        const guard = versionGuard(expected, (state: FilesState) => findFile(state, file)?.version);
        const handled = await deps.commands.handle({
          decider: filesDecider,
          stream: streams.files(owner),
          command: { type: "RemoveFile", file, inUse: await filesInUse(deps, owner) },
          context: deps.idempotency(req, res),
          ...(guard ? { guard } : {}),
        });
        sendCommandAnswer(res, 204, undefined, deps.answerOf(handled));
      },
    },
  ];
}

/**
 * Ids of files that something else of the customer's needs: so far the profile's photo. It is looked up before the
 * decision, in another stream, so a photo chosen at the same moment may be missed; then the profile loses the photo
 * (`projectors/profile/profile.reactor.ts`), and no stream ever names a file that is not there for long.
 */
export async function filesInUse(deps: Pick<CommandDependencies, "commands">, owner: Owner): Promise<string[]> {
  const { state } = await deps.commands.load({ decider: profileDecider, stream: streams.profile(owner) });
  const photo = state.status === "active" ? state.profile.photo : null;
  return photo === null ? [] : [bareId("file", photo)];
}

/**
 * Does what names objects that are in the object store already. Those that nothing names in the end go at once,
 * unless nobody knows the end: what an append whose answer is lost may have named is left to the sweep.
 */
export async function keepNamed(
  deps: Pick<CommandDependencies, "objectStorage">,
  keys: readonly string[],
  work: () => Promise<Handled<FilesState>>,
): Promise<Handled<FilesState>> {
  try {
    const handled = await work();
    const named = new Set(handled.events.map(({ data }) => (data as { blob?: string }).blob));
    await discard(
      deps.objectStorage,
      keys.filter((key) => !named.has(quarantinedBlob(key)?.blob)),
    );
    return handled;
  } catch (error) {
    const nothingWritten =
      error instanceof Problem ||
      error instanceof CommandRejected ||
      error instanceof IdempotencyKeyReused ||
      error instanceof StreamBusy;
    if (nothingWritten) await discard(deps.objectStorage, keys);
    throw error;
  }
}

function uploadRules(owner: Owner): FormRules {
  const purposeOf = ({ purpose }: Readonly<Record<string, string>>): FilePurpose =>
    filePurposes.find((known) => known === purpose) ?? "general";
  return {
    fileFields: ["file", "files"],
    textFields: Object.keys(formFields.shape),
    maxFiles: fileLimits.perUpload,
    maxBytes: (fields) => maxBytesFor(purposeOf(fields)),
    accepts: (contentType, fields) => typesFor(purposeOf(fields)).includes(contentType),
    freshKey: () => objectKeys.quarantine(owner, randomUUID()),
  };
}

function missingFile(): Problem {
  return new Problem(400, "VALIDATION_FAILED", {
    errors: [{ field: "file", code: "REQUIRED", message: "is required" }],
  });
}

/** A folder's name; whether the whole path may name a file, the decider says. */
export function checkedLocation(location: string): string {
  if ([...location].length > fileLimits.location) {
    throw new Problem(422, "PATH_INVALID", {
      detail: `the folder must have at most ${fileLimits.location} characters`,
    });
  }
  return location;
}

function parseJson(text: string, context: z.RefinementCtx): unknown {
  try {
    return JSON.parse(text);
  } catch {
    context.addIssue({ code: "custom", message: "must be JSON", params: { code: "PATTERN" } });
    return z.NEVER;
  }
}

function namedInPath(req: Request): string {
  const { path } = req.params as { path: string | string[] };
  return Array.isArray(path) ? path.join("/") : path;
}

/** Ids of the files that a command made. */
function uploadedBy({ events }: Handled<FilesState>): string[] {
  return events.flatMap(({ type, data }) =>
    type === "files.Uploaded.v1" ? [(data as { fileId: string }).fileId] : [],
  );
}

function fileOf(state: FilesState, fileId: string): StoredFile {
  const file = state.files.get(fileId);
  if (!file) throw new Error("a file that was added is there");
  return file;
}

/** Where a file's record is; by its id, which outlives a path. */
export function locationOf(fileId: string): string {
  return `/client-data/files/${fileId}`;
}

/** A file just added: it has no thumbnails before it is scanned. */
export function toRecord(file: StoredFile, { org }: Owner): RecordBody {
  const { fileId: id, version, uploadedAt: createdAt, modifiedAt, scan: state } = file;
  return record({ datatype: "file", id, org, version, state, createdAt, modifiedAt, data: fileData(file, []) });
}
