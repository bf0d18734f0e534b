import type { Request, Response } from "express";
import { z } from "zod";
import { bareId, type Owner, ownerKey } from "#domain/core/identifiers.js";
import {
  disposition,
  fileData,
  fileDataSchema,
  fileLimits,
  filePurposes,
  mayShowInline,
  objectKeys,
  scanStates,
} from "#domain/files/files.policy.js";
import { answerList, listQuery } from "#infrastructure/http/paging.js";
import { principalOf } from "#infrastructure/http/principal.js";
import { Problem } from "#infrastructure/http/problem-details.js";
import { beginRead } from "#infrastructure/http/reads.js";
import { type RecordBody, record, sendJson } from "#infrastructure/http/records.js";
import { listOf } from "#infrastructure/http/response-schemas.js";
import type { RouteDefinition } from "#infrastructure/http/routes.js";
import { parseQuery } from "#infrastructure/http/validation.js";
import { steadyLinkPeriod } from "#infrastructure/object-storage.js";
import { live } from "#infrastructure/read-models.js";
import { type FileDocument, fileDocument } from "#projectors/files/files.document.js";
import { documentId, type Stored } from "#projectors/runner/projection.js";
import type { Filter } from "mongodb";
import type { QueryDependencies } from "../dependencies.js";

/** A link to a file's bytes is good for so long: enough to follow it. */
const linkSeconds = 60;

const query = listQuery({
  sortable: { "data.name": "data.name", "data.size": "data.size" },
  filters: {
    prefix: z
      .string()
      .min(1)
      .refine((value) => [...value].length <= fileLimits.path, {
        message: `must have at most ${fileLimits.path} characters`,
      })
      .optional()
      .meta({ description: "what the path begins with" }),
    purpose: z.enum(filePurposes).optional(),
    scan: z.enum(scanStates).optional(),
  },
});

const switchedOn = z.enum(["0", "1"]).optional();
const linkQuery = z.object({
  json: switchedOn.meta({ description: "1: the link as JSON instead of a redirect" }),
  inline: switchedOn.meta({ description: "1: shown by the browser, where it is a picture or a PDF" }),
});

const params = z.object({ path: z.string().meta({ description: "path, pk or id of a file" }) });
const linkSchema = z.object({ data: z.object({ url: z.url(), expiresAt: z.iso.datetime() }) });

/** Reads of the customer's files. */
export function fileQueries(deps: QueryDependencies): RouteDefinition[] {
  return [
    {
      method: "get",
      path: "/client-data/files",
      summary: "The customer's files",
      operationId: "listFiles",
      area: "files",
      request: { query },
      responses: { 200: { description: "A page of files", schema: listOf(fileDataSchema) } },
      problems: ["SORT_NOT_ALLOWED", "PAGE_TOO_DEEP"],
      handler: (req, res) => {
        const { owner } = principalOf(res);
        const parsed = parseQuery(query, req);
        return answerList(req, res, deps, {
          definition: fileDocument,
          query: parsed,
          filter: filterOf(parsed.filters),
          tag: steadyLinkPeriod(),
          toRecord: (document) => toRecord(deps, document, owner),
        });
      },
    },
    {
      method: "get",
      path: "/client-data/files/*path",
      summary: "A link to a file's bytes, by path, pk or id; only once it has been scanned",
      operationId: "getFile",
      area: "files",
      request: { params, query: linkQuery },
      responses: {
        200: { description: "The link, with `json=1`", schema: linkSchema },
        302: { description: "To the bytes, for a minute" },
      },
      problems: ["FILE_INFECTED", "FILE_NOT_FOUND", "FILE_NOT_SCANNED"],
      handler: async (req, res) => {
        const { owner } = principalOf(res);
        const asked = parseQuery(linkQuery, req);
        const file = await findFile(deps, req, res);
        if (file.data.scan === "infected") throw new Problem(422, "FILE_INFECTED");
        if (file.data.scan !== "clean") throw new Problem(409, "FILE_NOT_SCANNED");
        const inline = asked.inline === "1" && mayShowInline(file.data.contentType);
        const link = await deps.objectStorage.link(objectKeys.file(owner, file.id), linkSeconds, {
          // A signature is good for one method only.
          method: req.method === "HEAD" && asked.json !== "1" ? "HEAD" : "GET",
          contentType: file.data.contentType,
          disposition: disposition(inline ? "inline" : "attachment", file.data.name),
        });
        res.setHeader("Cache-Control", "no-store");
        if (asked.json === "1") return sendJson(res, 200, JSON.stringify({ data: link }));
        res.statusCode = 302;
        res.setHeader("Location", link.url);
        res.end();
      },
    },
  ];
}

/** The caller's file that the rest of the path names: a pk or an id before a path. */
async function findFile(deps: QueryDependencies, req: Request, res: Response): Promise<Stored<FileDocument>> {
  await beginRead(req, res, deps.readModels, [fileDocument]);
  const owner = ownerKey(principalOf(res).owner);
  const { path } = req.params as { path: string | string[] };
  // In Express a wildcard is a list of segments; encoded slashes in one of them are slashes, too.
  const named = (Array.isArray(path) ? path.join("/") : path).normalize("NFC");
  const collection = deps.readModels.collection(fileDocument);
  for (const condition of [{ _id: documentId(owner, bareId("file", named)) }, { "data.path": named }]) {
    const filter = { ...condition, owner, ...live } as unknown as Filter<Stored<FileDocument>>;
    const found = (await collection.findOne(filter)) as Stored<FileDocument> | null;
    if (found) return found;
  }
  throw new Problem(404, "FILE_NOT_FOUND");
}

type ListFilters = {
  readonly prefix?: string | undefined;
  readonly purpose?: string | undefined;
  readonly scan?: string | undefined;
};

function filterOf({ prefix, purpose, scan }: ListFilters): Filter<Stored<FileDocument>> {
  const beginning = prefix?.normalize("NFC").replace(/[\\^$.*+?()[\]{}|/-]/g, "\\$&");
  const filter = {
    ...(beginning === undefined ? {} : { "data.path": { $regex: `^${beginning}` } }),
    ...(purpose === undefined ? {} : { "data.purpose": purpose }),
    ...(scan === undefined ? {} : { "data.scan": scan }),
  };
  return filter as unknown as Filter<Stored<FileDocument>>;
}

async function toRecord(deps: QueryDependencies, document: FileDocument, owner: Owner): Promise<RecordBody> {
  const { id, version, createdAt, modifiedAt, data, thumbnails } = document;
  const links = thumbnails.map(async (size) => {
    const link = await deps.objectStorage.steadyLink(objectKeys.thumbnail(owner, id, size), { disposition: "inline" });
    return { size, ...link };
  });
  const shown = fileData({ ...data, uploadedAt: createdAt }, await Promise.all(links));
  const { org } = owner;
  return record({ datatype: "file", id, org, version, state: data.scan, createdAt, modifiedAt, data: shown });
}
