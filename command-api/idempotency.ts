import { createHash, randomUUID } from "node:crypto";
import type { Request, Response } from "express";
import { v5 as uuidV5 } from "uuid";
import type { CommandContext } from "#infrastructure/command-handler.js";
import { patienceOf } from "#infrastructure/http/patience.js";
import type { Principal, ServicePrincipal } from "#infrastructure/http/principal.js";
import { Problem } from "#infrastructure/http/problem-details.js";
import { requestIdOf } from "#infrastructure/http/request-id.js";

/** Namespace of command ids; drawn once. Changing it would forget every idempotency key ever used. */
const commandNamespace = "6f0c1d0e-6a3c-4c1e-9d1f-5b1b7c0f2a54";

export type Idempotency = (req: Request, res: Response, options?: { hashBody?: boolean }) => CommandContext;

/**
 * Makes the context of a command from the request that asks for it.
 *
 * `Idempotency-Key` (IETF httpapi draft 07) determines the command id: the same key on the same route by the same
 * principal is the same command, and the log remembers it. Without a key every request is a command of its own.
 *
 * @returns a function of the request; `hashBody: false` on routes whose body carries a code, which is never hashed
 * @throws Problem 400 `IDEMPOTENCY_KEY_INVALID` unless the key is 1 to 255 visible ASCII characters
 */
export function createIdempotency({ clock }: { clock: () => Date }): Idempotency {
  return (req, res, { hashBody = true } = {}) => {
    const principal = res.locals.principal as Principal | undefined;
    const service = res.locals.service as ServicePrincipal | undefined;
    const caller = principal ?? service;
    if (!caller) throw new Error("a command needs a principal");
    const key = idempotencyKeyOf(req);
    const who = principal ? ["customer", principal.owner.customer] : ["service", caller.actor.id];
    const commandId =
      key === undefined ? randomUUID() : commandIdOf([caller.org, ...who, req.method, pathOf(req), key]);
    const traceparent = traceparentOf(req);
    return {
      commandId,
      idempotent: key !== undefined,
      ...(key !== undefined && hashBody ? { bodyDigest: digestOf(req.query, req.body) } : {}),
      owner: principal?.owner ?? null,
      org: caller.org,
      actor: caller.actor,
      ...(principal?.via === undefined ? {} : { via: principal.via }),
      requestId: requestIdOf(res),
      ...(traceparent === undefined ? {} : { traceparent }),
      correlationId: requestIdOf(res),
      causationId: commandId,
      now: clock(),
      answerBy: patienceOf(res).until,
      ...(caller.client === undefined ? {} : { client: caller.client }),
    };
  };
}

/**
 * UUIDv5 over parts that together name a command; the same parts give the same id, for ever.
 *
 * @param parts any texts; no two different lists collide
 */
export function commandIdOf(parts: readonly string[]): string {
  return uuidV5(JSON.stringify(parts), commandNamespace);
}

/**
 * SHA-256 of a request's query and body, base64url: equal for equal JSON, whatever the order of members or the white
 * space. A body that is not JSON counts byte by byte.
 */
export function digestOf(query: unknown, body: unknown): string {
  const hash = createHash("sha256")
    .update(canonicalJson(query ?? {}))
    .update("\n");
  if (Buffer.isBuffer(body)) hash.update(body);
  else hash.update(canonicalJson(body ?? null));
  return hash.digest("base64url");
}

function idempotencyKeyOf(req: Request): string | undefined {
  const key = req.headers["idempotency-key"];
  if (key === undefined) return undefined;
  if (typeof key !== "string" || !/^[\x21-\x7e]{1,255}$/.test(key)) {
    throw new Problem(400, "IDEMPOTENCY_KEY_INVALID", { detail: "must be 1 to 255 visible ASCII characters" });
  }
  return key;
}

/** The path without query and without the `/api` that a browser's proxy may put before it. */
function pathOf(req: Request): string {
  const path = req.originalUrl.split("?", 1)[0] ?? "";
  return path.startsWith("/api/") ? path.slice(4) : path;
}

/** W3C Trace Context, version 00; anything else is not passed on. */
function traceparentOf(req: Request): string | undefined {
  const { traceparent } = req.headers;
  return typeof traceparent === "string" && /^00-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{2}$/.test(traceparent)
    ? traceparent
    : undefined;
}

/** JSON with the members of every object in order. */
function canonicalJson(value: unknown): string {
  try {
    return JSON.stringify(value, (_, member: unknown) => {
      if (typeof member !== "object" || member === null || Array.isArray(member)) return member;
      return Object.fromEntries(Object.entries(member).sort(([a], [b]) => (a < b ? -1 : a > b ? 1 : 0)));
    });
  } catch (error) {
    // The parser takes any depth, writing recurses.
    if (error instanceof RangeError) throw new Problem(400, "MALFORMED_JSON", { detail: "nested too deeply" });
    throw error;
  }
}
