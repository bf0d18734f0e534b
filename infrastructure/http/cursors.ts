import { hash } from "node:crypto";
import { Problem } from "./problem-details.js";

/** Where a page ended: the last row's sort value and local id. */
export type CursorPlace = {
  readonly value: string | number | boolean | null;
  readonly id: string;
  /** The value is only the beginning of one that is too long for a cursor. */
  readonly cut?: true;
};

/** A cursor has at most so many characters. */
export const cursorLength = 512;
const digestLength = 16;
/** Bytes that value and id have together, as JSON in base64. */
const placeBytes = Math.floor((cursorLength - digestLength - 1) / 4) * 3 - "[,,1]".length;

/**
 * Makes a cursor, opaque to clients.
 *
 * The digest ties it to its list, its query and its owner. It is no secret: whoever forges one still reads only the
 * owner's own rows, under the filters of the request itself.
 *
 * @param scope what the cursor belongs to; a page that goes on must have the same
 */
export function encodeCursor(place: CursorPlace, scope: string): string {
  const { value, id, cut } = shortened(place);
  const payload = Buffer.from(JSON.stringify(cut ? [value, id, 1] : [value, id])).toString("base64url");
  return `${payload}.${digest(payload, scope)}`;
}

/**
 * Reads a cursor back.
 *
 * @throws Problem 400 `INVALID_QUERY` when it was altered or made for another list, query or owner
 */
export function decodeCursor(cursor: string, scope: string): CursorPlace {
  const [payload = "", given, ...more] = cursor.split(".");
  if (more.length > 0 || given !== digest(payload, scope)) throw invalidCursor();
  let place: unknown;
  try {
    place = JSON.parse(Buffer.from(payload, "base64url").toString("utf8"));
  } catch {
    throw invalidCursor();
  }
  if (!Array.isArray(place) || place.length < 2 || place.length > 3) throw invalidCursor();
  const [value, id, cut] = place as unknown[];
  const scalar = value === null || ["string", "number", "boolean"].includes(typeof value);
  if (!scalar || typeof id !== "string") throw invalidCursor();
  return { value: value as CursorPlace["value"], id, ...(cut === 1 ? { cut: true } : {}) };
}

function shortened(place: CursorPlace): CursorPlace {
  const { value, id } = place;
  const bytes = (text: string) => Buffer.byteLength(JSON.stringify(text));
  const room = placeBytes - bytes(id);
  if (typeof value !== "string" || bytes(value) <= room) return place;
  let beginning = "";
  for (const character of value) {
    if (bytes(beginning + character) > room) break;
    beginning += character;
  }
  return { value: beginning, id, cut: true };
}

function digest(payload: string, scope: string): string {
  return hash("sha256", `${payload}\n${scope}`, "base64url").slice(0, digestLength);
}

function invalidCursor(): Problem {
  const message = "must be a cursor from this very list and query";
  return new Problem(400, "INVALID_QUERY", { errors: [{ field: "cursor", code: "INVALID", message }] });
}
