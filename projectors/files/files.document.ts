import type { FilePurpose, ScanState } from "#domain/files/files.policy.js";
import { defineDocument } from "#projectors/runner/projection.js";

/** One file of a customer; its bytes are in the object store, under keys that follow from owner and id. */
export type FileDocument = {
  readonly id: string;
  /** Revision of the last event that touched it. */
  readonly version: number;
  readonly createdAt: string;
  readonly modifiedAt: string;
  readonly data: {
    readonly path: string;
    readonly name: string;
    readonly size: number;
    readonly contentType: string;
    readonly purpose: FilePurpose;
    readonly sha256: string;
    readonly scan: ScanState;
    readonly metadata: Readonly<Record<string, unknown>> | null;
  };
  /** Sizes of the thumbnails there are. */
  readonly thumbnails: readonly number[];
};

export const fileDocument = defineDocument<FileDocument>({
  name: "files",
  version: 1,
  indexes: [{ key: { "data.path": 1 } }, { key: { modifiedAt: -1, _id: -1 } }],
});
