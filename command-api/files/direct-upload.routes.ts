import { createHmac, randomUUID, timingSafeEqual } from "node:crypto";
import { z } from "zod";
import { type Owner, ownerKey, streams } from "#domain/core/identifiers.js";
import { type FilesState, filesDecider, type NewFile, type StoredFile } from "#domain/files/files.decider.js";
import {
  fileDataSchema,
  fileLimits,
  filePurposes,
  isPath,
  maxBytesFor,
  objectKeys,
  pathIn,
  quarantinedBlob,
  typesFor,
} from "#domain/files/files.policy.js";
import { agrees } from "#infrastructure/content-types.js";
import { principalOf } from "#infrastructure/http/principal.js";
import { invalidField, Problem } from "#infrastructure/http/problem-details.js";
import { sendCommandAnswer, sendRecord } from "#infrastructure/http/records.js";
import { recordOf } from "#infrastructure/http/response-schemas.js";
import type { RouteDefinition } from "#infrastructure/http/routes.js";
import { jsonObject, parseBody } from "#infrastructure/http/validation.js";
import type { CommandDependencies } from "../dependencies.js";
import { commandIdOf } from "../idempotency.js";
import { discard, storeMeasured } from "../uploads.js";
import { checkedLocation, filesInUse, keepNamed, locationOf, toRecord } from "./files.routes.js";

/** A form is good for so long, and what was posted with it may be completed for as long again. */
const formSeconds = 900;
/** Reading the object through, and storing it where the form cannot reach it. */
const completePatienceMs = 60_000;

const sha256 = z.string().regex(/^[0-9a-f]{64}$/, { message: "must be 64 lower-case hexadecimal digits" });

const askBody = z.strictObject({
  name: z.string().min(1).max(1_000),
  size: z.int().min(0).meta({ description: "bytes; exactly so many must be posted" }),
  contentType: z.string().min(1).max(100),
  sha256: sha256.optional(),
  location: z.string().max(1_000).optional(),
  purpose: z.enum(filePurposes).default("general"),
  metadata: jsonObject(fileLimits.metadata).optional(),
  overwrite: z.boolean().default(false),
});

const completeBody = z.strictObject({ upload: z.string().min(1).max(16_384), sha256: sha256.optional() });

const formSchema = z.object({
  data: z.object({
    upload: z.string().meta({ description: "opaque; hand it to `complete`" }),
    url: z.url(),
    fields: z.record(z.string(), z.string()).meta({ description: "to be posted before the field `file`" }),
    maxBytes: z.int(),
    expiresAt: z.iso.datetime(),
  }),
});

/** What was promised when the form was given out; sealed against change by a MAC, so nothing need be remembered. */
const promise = z.object({
  id: z.uuid(),
  path: z.string(),
  size: z.int(),
  contentType: z.string(),
  sha256: z.string().optional(),
  purpose: z.enum(filePurposes),
  metadata: z.record(z.string(), z.json()).optional(),
  overwrite: z.boolean(),
  completeBy: z.iso.datetime(),
});
type UploadPromise = z.infer<typeof promise>;

/** Uploads that go straight to the object store: a form for it, and the completion that makes a file of what came. */
export function directUploadRoutes(deps: CommandDependencies): RouteDefinition[] {
  return [
    {
      method: "post",
      path: "/client-data/files/upload-url",
      summary: "A form to post one file with, straight to the object store",
      operationId: "createUploadForm",
      area: "files",
      limits: ["uploads"],
      request: { body: askBody },
      responses: { 200: { description: "The form", schema: formSchema } },
      problems: ["EMPTY_FILE", "FILE_TOO_LARGE", "FILE_TYPE_NOT_ALLOWED", "PATH_INVALID"],
      handler: async (req, res) => {
        const { owner } = principalOf(res);
        const { name, location = "", ...wish } = parseBody(askBody, req);
        const path = pathIn(checkedLocation(location), name);
        const maxBytes = maxBytesFor(wish.purpose);
        if (!isPath(path)) throw new Problem(422, "PATH_INVALID");
        if (wish.size === 0) throw new Problem(422, "EMPTY_FILE");
        if (wish.size > maxBytes) throw new Problem(413, "FILE_TOO_LARGE", { params: { limitBytes: maxBytes } });
        if (!typesFor(wish.purpose).some((type) => agrees(wish.contentType, type))) {
          throw new Problem(415, "FILE_TYPE_NOT_ALLOWED");
        }
        const id = randomUUID();
        const { contentType, size } = wish;
        const posting = { contentType, maxBytes: size, seconds: formSeconds };
        const posted = await deps.objectStorage.postForm(objectKeys.quarantine(owner, id), posting);
        const completeBy = new Date(deps.clock().getTime() + 2 * formSeconds * 1_000).toISOString();
        const promised = { id, path, ...wish, completeBy } as UploadPromise;
        const upload = sealPromise(deps, owner, promised);
        sendCommandAnswer(res, 200, { data: { upload, ...posted, maxBytes: size } });
      },
    },
    {
      method: "post",
      path: "/client-data/files/upload-url/complete",
      summary: "Makes a file of what was posted, once its size, type and digest are right",
      operationId: "completeUpload",
      area: "files",
      patienceMs: completePatienceMs,
      request: { body: completeBody },
      responses: {
        200: { description: "It was completed before", schema: recordOf(fileDataSchema) },
        201: { description: "The file", schema: recordOf(fileDataSchema) },
      },
      problems: [
        "CONTENT_TYPE_MISMATCH",
        "EMPTY_FILE",
        "FILE_EXISTS",
        "FILE_IN_USE",
        "FILE_NOT_FOUND",
        "FILE_TOO_LARGE",
        "FILE_TYPE_NOT_ALLOWED",
        "LINK_INVALID",
        "QUOTA_EXCEEDED",
      ],
      handler: async (req, res) => {
        const { owner } = principalOf(res);
        const body = parseBody(completeBody, req);
        const promised = openPromise(deps, owner, body.upload);
        const stream = streams.files(owner);
        const { state } = await deps.commands.load({ decider: filesDecider, stream });
        const there = fileOfUpload(state, promised.id);
        // What was posted is gone by now: it is not looked for again.
        if (there) return sendRecord(res, 200, toRecord(there, owner));

        const posted = objectKeys.quarantine(owner, promised.id);
        const key = objectKeys.quarantine(owner, randomUUID());
        const kept = await takeOver(deps, { posted, key, promised, sha256: body.sha256 });
        const context = deps.idempotency(req, res);
        const handled = await keepNamed(deps, [key], async () => {
          const file: NewFile = {
            fileId: commandIdOf([context.commandId, "file", "0"]),
            path: promised.path,
            ...kept,
            purpose: promised.purpose,
            ...(promised.metadata === undefined ? {} : { metadata: promised.metadata }),
            blob: quarantinedBlob(key)?.blob ?? "",
            uploadId: promised.id,
          };
          const { overwrite } = promised;
          const inUse = overwrite ? await filesInUse(deps, owner) : [];
          const command = { type: "AddFiles", files: [file], overwrite, inUse } as const;
          return deps.commands.handle({ decider: filesDecider, stream, command, context });
        });
        await discard(deps.objectStorage, [posted]);
        const file = fileOfUpload(handled.state, promised.id);
        if (!file) throw new Error("an upload that was completed is a file");
        const created = handled.events.length > 0;
        const answer = { ...deps.answerOf(handled), ...(created ? { location: locationOf(file.fileId) } : {}) };
        sendRecord(res, created ? 201 : 200, toRecord(file, owner), answer);
      },
    },
  ];
}

/**
 * Reads what was posted and stores it again, under a key that the form cannot write to: until the form expires it
 * could put other bytes where the first ones were judged.
 */
async function takeOver(
  { objectStorage }: CommandDependencies,
  given: { posted: string; key: string; promised: UploadPromise; sha256: string | undefined },
) {
  const { posted, key, promised } = given;
  const bytes = await objectStorage.read(posted);
  if (!bytes) throw new Problem(404, "FILE_NOT_FOUND", { detail: "nothing has been posted, or it was not accepted" });
  try {
    const found = await storeMeasured(objectStorage, bytes, {
      key,
      declared: promised.contentType,
      maxBytes: () => promised.size,
      accepts: (contentType) => typesFor(promised.purpose).includes(contentType),
    });
    if (found.size !== promised.size) throw invalidField("size", "MISMATCH", `is ${found.size} bytes`);
    for (const expected of [promised.sha256, given.sha256]) {
      if (expected !== undefined && expected !== found.sha256) {
        throw invalidField("sha256", "MISMATCH", "is not the digest of what was posted");
      }
    }
    return found;
  } catch (error) {
    // What is not what was promised will not become it.
    if (error instanceof Problem) await discard(objectStorage, [key, posted]);
    throw error;
  } finally {
    bytes.destroy();
  }
}

function fileOfUpload(state: FilesState, uploadId: string): StoredFile | undefined {
  for (const file of state.files.values()) if (file.uploadId === uploadId) return file;
  return undefined;
}

function sealPromise(deps: CommandDependencies, owner: Owner, promised: UploadPromise): string {
  const payload = Buffer.from(JSON.stringify(promised)).toString("base64url");
  return `${payload}.${macOf(deps, owner, payload).toString("base64url")}`;
}

/** @throws Problem 400 `LINK_INVALID` for a promise that is not ours, not this customer's, or too old */
function openPromise(deps: CommandDependencies, owner: Owner, upload: string): UploadPromise {
  const [payload = "", mac = ""] = upload.split(".", 2);
  const given = Buffer.from(mac, "base64url");
  const own = macOf(deps, owner, payload);
  if (given.length !== own.length || !timingSafeEqual(given, own)) throw new Problem(400, "LINK_INVALID");
  const promised = promise.parse(JSON.parse(Buffer.from(payload, "base64url").toString("utf8")));
  if (promised.completeBy < deps.clock().toISOString()) throw new Problem(400, "LINK_INVALID", { detail: "expired" });
  return promised;
}

function macOf({ serverKey }: CommandDependencies, owner: Owner, payload: string): Buffer {
  return createHmac("sha256", serverKey("signed-link"))
    .update(`upload\n${ownerKey(owner)}\n${payload}`)
    .digest();
}
