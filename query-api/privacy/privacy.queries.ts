import type { Request, Response } from "express";
import { z } from "zod";
import { bareId, type OrgId, type Owner, ownerKey } from "#domain/core/identifiers.js";
import { exportDataSchema, exportKeys, exportShown } from "#domain/privacy/privacy.policy.js";
import { principalOf } from "#infrastructure/http/principal.js";
import { Problem } from "#infrastructure/http/problem-details.js";
import { answerDocument, beginRead } from "#infrastructure/http/reads.js";
import { record, sendJson } from "#infrastructure/http/records.js";
import { recordOf } from "#infrastructure/http/response-schemas.js";
import type { RouteDefinition } from "#infrastructure/http/routes.js";
import { id, parseParams } from "#infrastructure/http/validation.js";
import { live } from "#infrastructure/read-models.js";
import { type ExportDocument, privacyDocument, privacyDocumentId } from "#projectors/privacy/privacy.document.js";
import { documentId } from "#projectors/runner/projection.js";
import type { QueryDependencies } from "../dependencies.js";

const instant = z.iso.datetime();

const privacySchema = z.object({
  erasure: z.object({ requestedAt: instant, effectiveAt: instant }).nullable(),
  exports: z.array(exportDataSchema),
});

const linkSchema = exportDataSchema.extend({
  url: z.url().optional().meta({ description: "where the zip can be fetched until it expires; needs no token" }),
});

const params = z.object({ id: id(80) });

/** What became of the customer's wishes about the data that is kept of it. */
export function privacyQueries(deps: QueryDependencies): RouteDefinition[] {
  return [
    {
      method: "get",
      path: "/client-data/privacy",
      summary: "Whether an erasure is pending, and the exports asked for, newest first",
      operationId: "getPrivacy",
      area: "privacy",
      responses: { 200: { description: "Erasure and exports", schema: z.object({ data: privacySchema }) } },
      handler: (req, res) =>
        answerDocument(req, res, deps, {
          definition: privacyDocument,
          id: privacyDocumentId,
          body: (document, now) => ({
            data: {
              erasure: document?.erasure ?? null,
              exports: (document?.exports ?? []).map((one) => exportShown(one, now.toISOString())),
            },
          }),
        }),
    },
    {
      method: "get",
      path: "/client-data/privacy/export/:id",
      summary: "One export: pending, ready with a link that is good until it expires, or expired",
      operationId: "getExport",
      area: "privacy",
      request: { params },
      responses: { 200: { description: "The export", schema: recordOf(linkSchema) } },
      problems: ["EXPORT_NOT_FOUND"],
      handler: async (req, res) => {
        const exportId = bareId("privacy", parseParams(params, req).id);
        const { org, owner } = principalOf(res);
        const one = await findExport(req, res, deps, owner, exportId);
        if (!one) throw new Problem(404, "EXPORT_NOT_FOUND");
        // Whoever has the link has the data: no copy of it stays in a cache.
        res.setHeader("Cache-Control", "no-store");
        sendJson(res, 200, JSON.stringify(await toRecord(one, owner, org, deps)));
      },
    },
  ];
}

async function findExport(
  req: Request,
  res: Response,
  { readModels }: QueryDependencies,
  owner: Owner,
  exportId: string,
): Promise<ExportDocument | undefined> {
  await beginRead(req, res, readModels, [privacyDocument]);
  const _id = documentId(ownerKey(owner), privacyDocumentId);
  const document = await readModels.collection(privacyDocument).findOne({ _id, ...live });
  return document?.exports.find((one) => one.exportId === exportId);
}

async function toRecord(one: ExportDocument, owner: Owner, org: OrgId, { clock, objectStorage }: QueryDependencies) {
  const now = clock();
  const data = exportShown(one, now.toISOString());
  const link = data.status === "ready" && one.ready ? await linkTo(one.exportId, one.ready) : {};
  const { exportId: id, version, requestedAt: createdAt, modifiedAt } = one;
  const state = data.status;
  return record({ datatype: "privacy", id, org, version, state, createdAt, modifiedAt, data: { ...data, ...link } });

  async function linkTo(exportId: string, { object, expiresAt }: NonNullable<ExportDocument["ready"]>) {
    const seconds = Math.max(1, Math.floor((Date.parse(expiresAt) - now.getTime()) / 1_000));
    const { url } = await objectStorage.link(exportKeys.archive(owner, exportId, object), seconds, {
      contentType: "application/zip",
      disposition: 'attachment; filename="my-data.zip"',
    });
    return { url };
  }
}
