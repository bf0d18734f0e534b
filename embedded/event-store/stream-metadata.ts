/**
 * Stream metadata: the JSON document in the newest event of `$$<stream>`. Only what the store itself acts on is read
 * here; access lists and the application's own keys are kept as they came.
 */

/** The effective settings of one stream. An absent one does not limit. */
export interface StreamMetadata {
  /** Only the newest so many events can be read. */
  readonly maxCount?: number;
  /** Seconds after which an event cannot be read any more. */
  readonly maxAge?: number;
  /** Events before this revision cannot be read. */
  readonly truncateBefore?: number;
  /** The stream was soft-deleted: it reads as missing until something is appended again. */
  readonly isDeleted: boolean;
}

export const NO_METADATA: StreamMetadata = { isDeleted: false };

/** `$tb` of a soft-deleted stream: 2^63-1, beyond what JSON numbers carry exactly in JavaScript. */
export const SOFT_DELETE_METADATA = '{"$tb":9223372036854775807}';

/**
 * Reads a metadata document. Malformed JSON, or a known key of the wrong type, makes all of it count as empty; a value
 * out of range makes only that key count as absent (the original server's rule).
 */
export function parseStreamMetadata(data: Buffer): StreamMetadata {
  const document = parseDocument(data);
  if (document === undefined) return NO_METADATA;
  const {
    $maxCount: maxCount,
    $maxAge: maxAge,
    $tb: truncateBefore,
    $cacheControl: cacheControl,
    $acl: acl,
  } = document;
  for (const limit of [maxCount, maxAge, truncateBefore, cacheControl]) {
    if (limit !== undefined && !Number.isInteger(limit)) return NO_METADATA;
  }
  if (acl !== undefined && !isAccessList(acl)) return NO_METADATA;
  const isDeleted = (truncateBefore as number | undefined) !== undefined && Number(truncateBefore) > MAX_REVISION;
  return {
    ...(Number(maxCount) > 0 && { maxCount: Number(maxCount) }),
    ...(Number(maxAge) > 0 && { maxAge: Number(maxAge) }),
    ...(Number(truncateBefore) >= 0 && !isDeleted && { truncateBefore: Number(truncateBefore) }),
    isDeleted,
  };
}

const MAX_REVISION = Number.MAX_SAFE_INTEGER;

/** The same document with another `$tb`: what brings a soft-deleted stream back without showing its old events. */
export function withTruncateBefore(data: Buffer, truncateBefore: number): Buffer {
  return Buffer.from(JSON.stringify({ ...parseDocument(data), $tb: truncateBefore }));
}

function parseDocument(data: Buffer): Record<string, unknown> | undefined {
  try {
    const value: unknown = JSON.parse(data.toString("utf8"));
    return typeof value === "object" && value !== null && !Array.isArray(value)
      ? (value as Record<string, unknown>)
      : undefined;
  } catch {
    return undefined;
  }
}

const ACCESS_KEYS = new Set(["$r", "$w", "$d", "$mr", "$mw"]);

/** `{ $r, $w, $d, $mr, $mw }`, each a role or a list of roles. */
function isAccessList(acl: unknown): boolean {
  if (typeof acl !== "object" || acl === null || Array.isArray(acl)) return false;
  return Object.entries(acl).every(
    ([key, roles]) =>
      !ACCESS_KEYS.has(key) ||
      typeof roles === "string" ||
      (Array.isArray(roles) && roles.every((role) => typeof role === "string")),
  );
}
