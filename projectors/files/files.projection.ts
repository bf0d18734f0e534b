import type { FileEvent } from "#domain/files/files.events.js";
import { nameOf } from "#domain/files/files.policy.js";
import type { Projection } from "#projectors/runner/projection.js";
import { type FileDocument, fileDocument } from "./files.document.js";

type Consumed = Exclude<FileEvent, { type: "files.BlobDeleted.v1" }>;

export const fileProjection: Projection<FileDocument, Consumed> = {
  definition: fileDocument,
  idOf: (event) => event.data.fileId,
  on: {
    "files.Uploaded.v1": (_, event) => {
      const { fileId: id, path, size, contentType, purpose, sha256, metadata = null } = event.data;
      const { at, revision: version } = event;
      const data = { path, name: nameOf(path), size, contentType, purpose, sha256, scan: "pending", metadata } as const;
      return { id, version, createdAt: at, modifiedAt: at, data, thumbnails: [] };
    },
    "files.Scanned.v1": (document, event) => {
      if (!document) return null;
      const { scan, thumbnails } = event.data;
      const data = { ...document.data, scan };
      return { ...document, version: event.revision, modifiedAt: event.at, data, thumbnails };
    },
    "files.Removed.v1": () => null,
  },
};
