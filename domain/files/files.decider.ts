import { accept, type Decider, type Decision, type Placed, refuse, unreachable } from "../core/decider.js";
import { bareId } from "../core/identifiers.js";
import { PersistentMap } from "../core/persistent-map.js";
import { rejection } from "../core/rejection.js";
import { BlobDeleted, type FileEvent, Removed, Scanned, Uploaded } from "./files.events.js";
import { type FilePurpose, fileLimits, isPath, isPicture, type ScanState } from "./files.policy.js";

export type StoredFile = {
  readonly fileId: string;
  readonly path: string;
  readonly size: number;
  readonly contentType: string;
  readonly purpose: FilePurpose;
  readonly sha256: string;
  readonly metadata: Readonly<Record<string, unknown>> | null;
  readonly blob: string;
  readonly uploadId: string | null;
  readonly scan: ScanState;
  readonly thumbnails: readonly number[];
  readonly uploadedAt: string;
  readonly modifiedAt: string;
  /** Revision of the last event that touched this file. */
  readonly version: number;
};

export type FilesState = {
  readonly files: PersistentMap<StoredFile>;
  /** Ids by path. */
  readonly paths: PersistentMap<string>;
  /** Bytes that count; an infected file's are on their way out. */
  readonly bytes: number;
  /** Blobs of files that are gone or infected, by file id, until nothing is left of them in the object store. */
  readonly leftovers: PersistentMap<string>;
};

/** A file whose bytes lie in quarantine. */
export type NewFile = {
  readonly fileId: string;
  readonly path: string;
  readonly size: number;
  readonly contentType: string;
  readonly purpose: FilePurpose;
  readonly sha256: string;
  readonly metadata?: Parameters<typeof Uploaded.create>[0]["metadata"];
  readonly blob: string;
  readonly uploadId?: string | undefined;
};

export type FilesCommand =
  /** All of them or none. */
  | {
      readonly type: "AddFiles";
      readonly files: readonly NewFile[];
      readonly overwrite: boolean;
      /** Ids of files that something else of the customer's needs, looked up before. */
      readonly inUse: readonly string[];
    }
  | {
      readonly type: "RecordScan";
      readonly fileId: string;
      readonly scan: Exclude<ScanState, "pending">;
      readonly signature?: string | undefined;
      readonly thumbnails: readonly number[];
    }
  /** `file` is a pk, an id or a path. */
  | { readonly type: "RemoveFile"; readonly file: string; readonly inUse: readonly string[] }
  | { readonly type: "ConfirmBlobDeleted"; readonly fileId: string };

/** One customer's files: stream `files-<org>.<customer>`, so that quota and paths hold whoever uploads at once. */
export const filesDecider: Decider<FilesState, FilesCommand, FileEvent> = {
  initial: { files: PersistentMap.empty(), paths: PersistentMap.empty(), bytes: 0, leftovers: PersistentMap.empty() },
  evolve,
  decide,
};

function evolve(state: FilesState, event: Placed<FileEvent>): FilesState {
  const { fileId } = event.data;
  const before = state.files.get(fileId);
  switch (event.type) {
    case "files.Uploaded.v1": {
      const { metadata = null, uploadId = null, ...data } = event.data;
      const { at, revision } = event;
      const times = { uploadedAt: at, modifiedAt: at, version: revision };
      const file: StoredFile = { ...data, metadata, uploadId, scan: "pending", thumbnails: [], ...times };
      return {
        ...state,
        files: state.files.set(fileId, file),
        paths: state.paths.set(file.path, fileId),
        bytes: state.bytes + file.size,
      };
    }
    case "files.Scanned.v1": {
      if (!before) return state;
      const { scan, thumbnails } = event.data;
      const file = { ...before, scan, thumbnails, modifiedAt: event.at, version: event.revision };
      const scanned = { ...state, files: state.files.set(fileId, file) };
      if (scan !== "infected") return scanned;
      const { bytes, leftovers } = state;
      return { ...scanned, bytes: bytes - before.size, leftovers: leftovers.set(fileId, before.blob) };
    }
    case "files.Removed.v1": {
      if (!before) return state;
      return {
        files: state.files.delete(fileId),
        paths: state.paths.delete(before.path),
        bytes: state.bytes - countedBytes(before),
        leftovers: state.leftovers.set(fileId, before.blob),
      };
    }
    case "files.BlobDeleted.v1":
      return { ...state, leftovers: state.leftovers.delete(fileId) };
    default:
      return unreachable(event);
  }
}

function decide(command: FilesCommand, state: FilesState): Decision<FileEvent> {
  switch (command.type) {
    case "AddFiles":
      return addFiles(command, state);
    case "RecordScan": {
      const { fileId, scan, signature, thumbnails } = command;
      // Removed meanwhile, or another worker was first.
      if (state.files.get(fileId)?.scan !== "pending") return accept();
      const found = signature === undefined ? {} : { signature };
      return accept(Scanned.create({ fileId, scan, ...found, thumbnails: [...thumbnails] }));
    }
    case "RemoveFile": {
      const file = findFile(state, command.file);
      if (!file) return refuse(rejection("not-found", "FILE_NOT_FOUND"));
      if (command.inUse.includes(file.fileId)) return refuse(rejection("conflict", "FILE_IN_USE"));
      return accept(Removed.create({ fileId: file.fileId, reason: "customer" }));
    }
    case "ConfirmBlobDeleted": {
      const { fileId } = command;
      return state.leftovers.has(fileId) ? accept(BlobDeleted.create({ fileId })) : accept();
    }
    default:
      return unreachable(command);
  }
}

function addFiles(command: Extract<FilesCommand, { type: "AddFiles" }>, state: FilesState): Decision<FileEvent> {
  const known = [...state.files.values()];
  const isThere = (file: NewFile) =>
    state.files.has(file.fileId) ||
    (file.uploadId !== undefined && known.some(({ uploadId }) => uploadId === file.uploadId));
  const added = command.files.filter((file) => !isThere(file));
  const events: FileEvent[] = [];
  const named = new Set<string>();
  let count = state.files.size;
  let { bytes } = state;
  for (const [index, { metadata, uploadId, ...file }] of added.entries()) {
    if (!isPath(file.path)) return refuse(rejection("refused", "PATH_INVALID", { index }));
    const present = state.files.get(state.paths.get(file.path) ?? "");
    if (named.has(file.path) || (present && !command.overwrite)) {
      return refuse(rejection("conflict", "FILE_EXISTS", { index }));
    }
    named.add(file.path);
    if (present) {
      if (command.inUse.includes(present.fileId)) return refuse(rejection("conflict", "FILE_IN_USE", { index }));
      events.push(Removed.create({ fileId: present.fileId, reason: "overwritten" }));
      count--;
      bytes -= countedBytes(present);
    }
    const more = { ...(metadata === undefined ? {} : { metadata }), ...(uploadId === undefined ? {} : { uploadId }) };
    events.push(Uploaded.create({ ...file, ...more }));
    count++;
    bytes += file.size;
  }
  if (count > fileLimits.files || bytes > fileLimits.bytes) {
    if (added.length === 0) return accept();
    const params = {
      files: state.files.size,
      bytes: state.bytes,
      maxFiles: fileLimits.files,
      maxBytes: fileLimits.bytes,
    };
    return refuse(rejection("refused", "QUOTA_EXCEEDED", params));
  }
  return accept(...events);
}

function countedBytes(file: StoredFile): number {
  return file.scan === "infected" ? 0 : file.size;
}

/** A file by its pk, its id or its path, in this order. */
export function findFile(state: FilesState, file: string): StoredFile | undefined {
  return state.files.get(bareId("file", file)) ?? state.files.get(state.paths.get(file.normalize("NFC")) ?? "");
}

/** Whether a file can be the profile's photo: a picture meant as one, that was scanned and could be read. */
export function isUsablePhoto(file: StoredFile | undefined): boolean {
  if (!file || file.purpose !== "photo" || file.scan !== "clean") return false;
  return isPicture(file.contentType) && file.thumbnails.length > 0;
}

/** Whether a quarantine object is still needed: it waits for the scanner, or somebody is about to remove it. */
export function isNamed(state: FilesState, blob: string): boolean {
  for (const file of state.files.values()) if (file.blob === blob && file.scan !== "clean") return true;
  return [...state.leftovers.values()].includes(blob);
}
