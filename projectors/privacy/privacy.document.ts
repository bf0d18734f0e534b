import { defineDocument } from "#projectors/runner/projection.js";

/** One export as its customer sees it. */
export type ExportDocument = {
  readonly exportId: string;
  readonly status: "pending" | "ready" | "expired";
  /** Revision of the last event that touched it. */
  readonly version: number;
  readonly requestedAt: string;
  readonly modifiedAt: string;
  /** Where it lies, how large it is, and until when. */
  readonly ready?: { readonly object: string; readonly size: number; readonly expiresAt: string };
};

/** A customer's erasure and exports. */
export type PrivacyDocument = {
  readonly erasure: { readonly requestedAt: string; readonly effectiveAt: string } | null;
  /** Newest first, bounded. */
  readonly exports: readonly ExportDocument[];
};

export const privacyDocument = defineDocument<PrivacyDocument>({ name: "privacy", version: 1, indexes: [] });

/** Local id of the document: an owner has one. */
export const privacyDocumentId = "privacy";
