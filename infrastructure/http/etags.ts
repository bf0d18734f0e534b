import type { Request } from "express";
import { hash } from "node:crypto";
import { type Rejection, rejection } from "#domain/core/rejection.js";
import { invalidField } from "./problem-details.js";

/**
 * The weak entity tag of a read. The owner is in it because Chromium revalidates across a `Vary` miss: with equal
 * tags a browser's second user would be shown the first one's body. No other customer's write can move it.
 *
 * The UTC day is in it because answers also depend on the clock, and because a deletion leaves only a tombstone that
 * goes after a while: a tag must not outlive the trace of what changed since.
 *
 * @param owner owner key
 * @param collection generation of the read model it was read from
 * @param position of the document, or the owner's last one in that read model
 * @param query what else the answer depends on: the query string
 */
export function weakTag(owner: string, collection: string, position: string, query: string, now: Date): string {
  const day = Math.floor(now.getTime() / 86_400_000);
  return `W/"${hash("sha1", `${owner}\n${collection}\n${position}\n${day}\n${query}`, "base64url")}"`;
}

/** Whether `If-None-Match` names this tag, by weak comparison (RFC 9110 §13.1.2): the answer is then 304. */
export function matchesNone(req: Request, tag: string): boolean {
  const header = req.headers["if-none-match"];
  if (header === undefined) return false;
  if (header === tag || header.trim() === "*") return true;
  const opaque = tag.replace(/^W\//, "");
  return header.split(",").some((candidate) => candidate.trim().replace(/^W\//, "") === opaque);
}

/** The version a client expects a record to have, and the refusal that says otherwise. */
export type ExpectedVersion = {
  readonly versions: readonly number[] | "any";
  readonly code: "PRECONDITION_FAILED" | "VERSION_CONFLICT";
};

/**
 * Reads `If-Match` (strong comparison, RFC 9110 §13.1.1), else the body's `version`.
 *
 * @param bodyVersion version in the body, when the route takes one
 * @returns undefined when the client names none: the last write wins
 * @throws Problem 400 for a header that is no list of entity tags
 */
export function expectedVersion(req: Request, bodyVersion?: number): ExpectedVersion | undefined {
  const header = req.headers["if-match"];
  if (header === undefined) {
    return bodyVersion === undefined ? undefined : { versions: [bodyVersion], code: "VERSION_CONFLICT" };
  }
  if (header.trim() === "*") return { versions: "any", code: "PRECONDITION_FAILED" };
  if (header.length > 1_000 || !/^\s*(W\/)?"[^"]*"\s*(,\s*(W\/)?"[^"]*"\s*)*$/.test(header)) {
    throw invalidField("If-Match", "PATTERN", 'must be an entity tag such as "3"');
  }
  const versions = header.split(",").flatMap((tag) => {
    const [, digits] = /^\s*"(\d{1,15})"\s*$/.exec(tag) ?? [];
    return digits === undefined ? [] : [Number(digits)];
  });
  return { versions, code: "PRECONDITION_FAILED" };
}

/**
 * Checks a record's version on the state a command is decided on; hand it to the command handler as its `guard`.
 *
 * @param versionOf the record's version in that state, undefined when there is no such record
 */
export function versionGuard<State>(
  expected: ExpectedVersion | undefined,
  versionOf: (state: State) => number | undefined,
): ((state: State) => Rejection | undefined) | undefined {
  if (!expected) return undefined;
  const { versions, code } = expected;
  return (state) => {
    const current = versionOf(state);
    const holds = current !== undefined && (versions === "any" || versions.includes(current));
    return holds ? undefined : rejection("stale", code, current === undefined ? {} : { currentVersion: current });
  };
}
