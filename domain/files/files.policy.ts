import { z } from "zod";
import { bareId, encodePart, type Owner, type OwnerKey, ownerKey } from "../core/identifiers.js";

/** Limits of CONTRACT §14; text in Unicode code points. */
export const fileLimits = {
  fileBytes: 25 * 1024 * 1024,
  photoBytes: 5 * 1024 * 1024,
  /** Files in one form. */
  perUpload: 10,
  path: 300,
  segment: 120,
  location: 200,
  /** Bytes of the JSON text. */
  metadata: 2_048,
  /** Of one customer. */
  files: 500,
  bytes: 200 * 1024 * 1024,
} as const;

export const filePurposes = ["general", "ticket", "photo", "id", "benefit"] as const;
export type FilePurpose = (typeof filePurposes)[number];

export const scanStates = ["pending", "clean", "infected", "error"] as const;
export type ScanState = (typeof scanStates)[number];

/** What a picture is shown as in a list or beside a name; longer edge in pixels. */
export const thumbnailSizes = [128, 512] as const;

/** Types that thumbnails can be made of; a photo must be one of them. */
const pictures = ["image/jpeg", "image/png", "image/webp", "image/gif"];
const evidence = ["application/pdf", "image/jpeg", "image/png", "image/heic"];
/** Nothing that a browser or a desk would run: no markup, no scripts, no programs. */
const everyday = [
  ...pictures,
  ...["image/heic", "image/avif", "image/tiff", "image/bmp"],
  ...["application/pdf", "application/rtf", "text/plain", "text/csv", "application/x-cfb", "application/zip"],
  ...["document", "sheet", "presentation"].map(officeType),
  ...["text", "spreadsheet", "presentation"].map((kind) => `application/vnd.oasis.opendocument.${kind}`),
  ...["audio/mpeg", "audio/mp4", "audio/wav", "audio/ogg", "video/mp4", "video/quicktime", "video/webm"],
];

function officeType(kind: string): string {
  const family = { document: "wordprocessingml", sheet: "spreadsheetml", presentation: "presentationml" }[kind];
  return `application/vnd.openxmlformats-officedocument.${family}.${kind}`;
}

/** The types a file of this purpose may be of. */
export function typesFor(purpose: FilePurpose): readonly string[] {
  switch (purpose) {
    case "photo":
      return pictures;
    case "id":
    case "benefit":
      return evidence;
    default:
      return everyday;
  }
}

/** The most bytes a file of this purpose may have. */
export function maxBytesFor(purpose: FilePurpose): number {
  return purpose === "photo" ? fileLimits.photoBytes : fileLimits.fileBytes;
}

/** Whether thumbnails can be made of it. */
export function isPicture(contentType: string): boolean {
  return pictures.includes(contentType);
}

/** Whether a browser may show it instead of saving it; of the rest the bytes are only ever an attachment. */
export function mayShowInline(contentType: string): boolean {
  return isPicture(contentType) || contentType === "application/pdf";
}

const refusedInPath = /[\p{Cc}\p{Cs}\\:*?"<>|]/u;

/**
 * Whether a path may name a file: 1 to 300 characters, segments of 1 to 120, in NFC, no `.`, `..` or empty segment, no
 * control characters and none that a file system gives a meaning to.
 */
export function isPath(path: string): boolean {
  if ([...path].length > fileLimits.path || path !== path.normalize("NFC") || refusedInPath.test(path)) return false;
  return path.split("/").every((segment) => {
    const length = [...segment].length;
    return length >= 1 && length <= fileLimits.segment && segment.trim() !== "" && segment !== "." && segment !== "..";
  });
}

/** Path of a file in a folder; slashes around the folder's name do not count. */
export function pathIn(location: string, name: string): string {
  const folder = location.replace(/^\/+|\/+$/g, "");
  return (folder === "" ? name : `${folder}/${name}`).normalize("NFC");
}

/** The file's own name. */
export function nameOf(path: string): string {
  return path.slice(path.lastIndexOf("/") + 1);
}

const quarantine = "~quarantine/";

/**
 * Where a file's objects lie. What a customer calls a file is never part of a key, so a path leads nowhere; no org's
 * encoded name begins like the quarantine.
 */
export const objectKeys = {
  /** Everything of one owner that is served. */
  folder: (owner: Owner) => `${encodePart(owner.org)}/customers/${encodePart(owner.customer)}/`,
  file: (owner: Owner, fileId: string) => `${objectKeys.folder(owner)}${fileId}`,
  thumbnail: (owner: Owner, fileId: string, size: number) => `${objectKeys.file(owner, fileId)}-${size}.webp`,
  /** Everything of one owner, or of all, that is not served: what just came, and what was refused. */
  quarantineFolder: (owner?: Owner) => (owner ? `${quarantine}${ownerKey(owner)}/` : quarantine),
  quarantine: (owner: Owner, blob: string) => `${quarantine}${ownerKey(owner)}/${blob}`,
} as const;

/** Takes a quarantine object's key apart; null for another key. */
export function quarantinedBlob(key: string): { readonly owner: OwnerKey; readonly blob: string } | null {
  const [, owner, blob] = /^~quarantine\/([A-Za-z0-9_~-]+\.[A-Za-z0-9_~-]+)\/([A-Za-z0-9-]{1,64})$/.exec(key) ?? [];
  return owner === undefined || blob === undefined ? null : { owner, blob };
}

/** Every object that a file may have. */
export function objectsOf(owner: Owner, fileId: string, blob: string): string[] {
  const thumbnails = thumbnailSizes.map((size) => objectKeys.thumbnail(owner, fileId, size));
  return [objectKeys.quarantine(owner, blob), objectKeys.file(owner, fileId), ...thumbnails];
}

/** Keys of a profile's photo, by the `pk` that the profile holds. */
export function photoKeys(owner: Owner, photo: string): { readonly photo: string; readonly thumbnail: string } {
  const fileId = bareId("file", photo);
  return {
    photo: objectKeys.file(owner, fileId),
    thumbnail: objectKeys.thumbnail(owner, fileId, thumbnailSizes[1]),
  };
}

/** `Content-Disposition` with the name in both forms (RFC 6266). */
export function disposition(kind: "attachment" | "inline", name: string): string {
  const ascii = name.replace(/[^\x20-\x7e]/g, "_").replace(/["\\%]/g, "_");
  const encoded = encodeURIComponent(name).replace(/['()*]/g, (c) => `%${c.charCodeAt(0).toString(16).toUpperCase()}`);
  return `${kind}; filename="${ascii}"; filename*=UTF-8''${encoded}`;
}

/** The payload of a file's record. */
export const fileDataSchema = z.object({
  path: z.string(),
  name: z.string(),
  size: z.int(),
  contentType: z.string().meta({ description: "what the bytes are" }),
  purpose: z.enum(filePurposes),
  sha256: z.string(),
  scan: z.enum(scanStates),
  thumbnails: z
    .array(z.object({ size: z.int(), url: z.url(), expiresAt: z.iso.datetime() }))
    .optional()
    .meta({ description: "signed links that need no token" }),
  metadata: z.record(z.string(), z.unknown()).optional(),
  uploadedAt: z.iso.datetime(),
  retainUntil: z.iso.datetime().optional(),
});

/** What a file's record shows, from the decider's state or the read model. */
export type ShownFile = {
  readonly path: string;
  readonly size: number;
  readonly contentType: string;
  readonly purpose: FilePurpose;
  readonly sha256: string;
  readonly scan: ScanState;
  readonly metadata: Readonly<Record<string, unknown>> | null;
  readonly uploadedAt: string;
};

/** The payload of a file's record. */
export function fileData(
  file: ShownFile,
  thumbnails: readonly { size: number; url: string; expiresAt: string }[],
): z.infer<typeof fileDataSchema> {
  const { path, size, contentType, purpose, sha256, scan, metadata, uploadedAt } = file;
  return {
    path,
    name: nameOf(path),
    size,
    contentType,
    purpose,
    sha256,
    scan,
    ...(thumbnails.length === 0 ? {} : { thumbnails: [...thumbnails] }),
    ...(metadata === null ? {} : { metadata }),
    uploadedAt,
  };
}
