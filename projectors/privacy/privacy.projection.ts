import type { RecordedEvent } from "#domain/core/recorded-event.js";
import type { PrivacyEvent } from "#domain/privacy/privacy.events.js";
import { exportsKept } from "#domain/privacy/privacy.policy.js";
import type { Projection } from "#projectors/runner/projection.js";
import { type ExportDocument, type PrivacyDocument, privacyDocument, privacyDocumentId } from "./privacy.document.js";

type Consumed = Extract<
  PrivacyEvent,
  {
    type:
      | "privacy.ErasureRequested.v1"
      | "privacy.ErasurePostponed.v1"
      | "privacy.ErasureCancelled.v1"
      | "privacy.ExportRequested.v1"
      | "privacy.ExportReady.v1"
      | "privacy.ExportExpired.v1";
  }
>;

const empty: PrivacyDocument = { erasure: null, exports: [] };

/** The list with what an event changed of one export. */
function withExport(
  document: PrivacyDocument | null,
  exportId: string,
  { at, revision }: RecordedEvent,
  changes: Partial<ExportDocument>,
): PrivacyDocument | null {
  if (!document) return null;
  const touched = { ...changes, modifiedAt: at, version: revision };
  const exports = document.exports.map((one) => (one.exportId === exportId ? { ...one, ...touched } : one));
  return { ...document, exports };
}

export const privacyProjection: Projection<PrivacyDocument, Consumed> = {
  definition: privacyDocument,
  idOf: () => privacyDocumentId,
  on: {
    "privacy.ErasureRequested.v1": (document, { at, data }) => ({
      ...(document ?? empty),
      erasure: { requestedAt: at, effectiveAt: data.effectiveAt },
    }),
    "privacy.ErasurePostponed.v1": (document, { data }) =>
      document && { ...document, erasure: document.erasure && { ...document.erasure, effectiveAt: data.effectiveAt } },
    "privacy.ErasureCancelled.v1": (document) => document && { ...document, erasure: null },
    "privacy.ExportRequested.v1": (document, { at, revision, data: { exportId } }) => {
      const { erasure, exports } = document ?? empty;
      const asked = { exportId, status: "pending" as const, version: revision, requestedAt: at, modifiedAt: at };
      return { erasure, exports: [asked, ...exports].slice(0, exportsKept) };
    },
    "privacy.ExportReady.v1": (document, event) => {
      const { exportId, ...ready } = event.data;
      return withExport(document, exportId, event, { status: "ready", ready });
    },
    "privacy.ExportExpired.v1": (document, event) =>
      withExport(document, event.data.exportId, event, { status: "expired" }),
  },
};
