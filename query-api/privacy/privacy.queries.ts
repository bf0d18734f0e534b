import { z } from "zod";
import { answerDocument, type ReadDependencies } from "#infrastructure/http/reads.js";
import type { RouteDefinition } from "#infrastructure/http/routes.js";
import { type ExportDocument, privacyDocument, privacyDocumentId } from "#projectors/privacy/privacy.document.js";

const instant = z.iso.datetime();

const exportSchema = z.object({
  exportId: z.string(),
  status: z.enum(["pending", "ready", "expired"]),
  requestedAt: instant,
  size: z.int().optional().meta({ description: "bytes" }),
  expiresAt: instant.optional(),
});

const privacySchema = z.object({
  erasure: z.object({ requestedAt: instant, effectiveAt: instant }).nullable(),
  exports: z.array(exportSchema),
});

/** What became of the customer's wishes about the data that is kept of it. */
export function privacyQueries(deps: ReadDependencies): RouteDefinition[] {
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
              exports: (document?.exports ?? []).map((one) => exportData(one, now)),
            },
          }),
        }),
    },
  ];
}

/** An export as its customer sees it: expired on the minute, whenever the duty that removes it comes. */
function exportData({ exportId, status, requestedAt, ready }: ExportDocument, now: Date): z.infer<typeof exportSchema> {
  const isOver = ready !== undefined && ready.expiresAt <= now.toISOString();
  return {
    exportId,
    status: isOver ? "expired" : status,
    requestedAt,
    ...(ready === undefined ? {} : { size: ready.size, expiresAt: ready.expiresAt }),
  };
}
