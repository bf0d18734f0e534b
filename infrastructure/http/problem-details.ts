import type { Request, Response } from "express";
import type { Rejection, RejectionCode, RejectionKind } from "#domain/core/rejection.js";
import { requestIdOf } from "./request-id.js";
import { preferredLanguage, titleOf } from "./titles.js";

/** One thing wrong with one field: `items[0].quantity`, a query parameter or a header, and how. */
export type FieldError = {
  readonly field: string;
  readonly code: string;
  readonly message: string;
  readonly params?: Readonly<Record<string, unknown>>;
};

/** Codes of the HTTP surface itself. With the domain's rejection codes they are the closed list clients branch on. */
export const frameCodes = [
  "AUTOCOMPLETE_QUOTA",
  "BODY_TOO_LARGE",
  "CONTENT_TYPE_MISMATCH",
  "CUSTOMER_PRINCIPAL_REQUIRED",
  "EMPTY_UPDATE",
  "FILE_TOO_LARGE",
  "FILE_TYPE_NOT_ALLOWED",
  "IDEMPOTENCY_KEY_INVALID",
  "IDEMPOTENCY_KEY_REUSED",
  "INTEGRATION_NOT_CONFIGURED",
  "INTERNAL_ERROR",
  "INVALID_QUERY",
  "LINK_INVALID",
  "MALFORMED_JSON",
  "MALFORMED_REQUEST",
  "METHOD_NOT_ALLOWED",
  "MULTIPART_INVALID",
  "NOT_ACCEPTABLE",
  "NO_CUSTOMER_RECORD",
  "ORG_MISMATCH",
  "ORG_REQUIRED",
  "PAGE_TOO_DEEP",
  "PROJECTION_BEHIND",
  "PROVIDER_ERROR",
  "PROVIDER_UNAVAILABLE",
  "RANGE_TOO_LONG",
  "RAW_CARD_DATA_REFUSED",
  "REAUTH_REQUIRED",
  "REQUEST_TIMEOUT",
  "ROUTE_NOT_FOUND",
  "SERVICE_PRINCIPAL_REQUIRED",
  "SORT_NOT_ALLOWED",
  "STORE_UNAVAILABLE",
  "TOO_MANY_FILES",
  "UNAUTHENTICATED",
  "UNKNOWN_FIELD",
  "UNSUPPORTED_MEDIA_TYPE",
  "VALIDATION_FAILED",
  "WEBHOOK_SIGNATURE_INVALID",
] as const;

export type ProblemCode = (typeof frameCodes)[number] | RejectionCode;

export type ProblemOptions = {
  /** What exactly is wrong, in English; never another customer's data, a stack or a provider's text. */
  readonly detail?: string;
  readonly errors?: readonly FieldError[];
  readonly headers?: Readonly<Record<string, string>>;
  /** Facts that help to mend the request; they stand beside `code` in the document. */
  readonly params?: Readonly<Record<string, unknown>>;
};

/** An answer that is a refusal: thrown anywhere while a request is handled, sent as `application/problem+json`. */
export class Problem extends Error {
  constructor(
    readonly status: number,
    readonly code: ProblemCode,
    readonly options: ProblemOptions = {},
  ) {
    super(options.detail ?? code);
    this.name = "Problem";
  }
}

/** The one table from the domain's refusals to HTTP. A stale version is 412 or 409 by its code, see {@link rejected}. */
const statusByKind: Readonly<Record<RejectionKind, number>> = {
  "not-found": 404,
  conflict: 409,
  refused: 422,
  stale: 409,
  forbidden: 403,
  gone: 410,
  "too-many": 429,
  payment: 402,
};

/** A refusal of the domain as a problem; `If-Match` that does not hold is 412, a version in the body 409. */
export function rejected(rejection: Rejection): Problem {
  const status = rejection.code === "PRECONDITION_FAILED" ? 412 : statusByKind[rejection.kind];
  const { retryAfterSeconds } = rejection.params ?? {};
  return new Problem(status, rejection.code, {
    ...(rejection.params ? { params: rejection.params } : {}),
    ...(typeof retryAfterSeconds === "number" ? { headers: { "Retry-After": String(retryAfterSeconds) } } : {}),
  });
}

/** 503: something we depend on is away; nothing was lost, the client may repeat. */
export function unavailable(code: ProblemCode, retryAfterSeconds = 1): Problem {
  return new Problem(503, code, { headers: { "Retry-After": String(retryAfterSeconds) } });
}

/** 502: an outside party gave an answer that we cannot use. Somebody may have to mend it first, so not at once again. */
export function providerFailed(retryAfterSeconds = 60): Problem {
  return new Problem(502, "PROVIDER_ERROR", { headers: { "Retry-After": String(retryAfterSeconds) } });
}

/** 400 for one faulty field of a body or a header. */
export function invalidField(field: string, code: string, message: string): Problem {
  return new Problem(400, "VALIDATION_FAILED", { errors: [{ field, code, message }] });
}

/** The document of RFC 9457 with our members; `statusCode` and `message` serve clients of the AppEngine error shape. */
export function problemDocument(
  problem: Problem,
  context: { language: string; requestId: string; instance?: string },
): Record<string, unknown> {
  const title = titleOf(problem.code, context.language);
  const { detail, errors, params } = problem.options;
  return {
    ...params,
    type: `urn:client-data:error:${problem.code}`,
    title,
    status: problem.status,
    ...(detail === undefined ? {} : { detail }),
    ...(context.instance === undefined ? {} : { instance: context.instance }),
    code: problem.code,
    ...(errors === undefined ? {} : { errors }),
    requestId: context.requestId,
    statusCode: problem.status,
    message: title,
  };
}

/** Sends a problem as `application/problem+json` in the client's language. */
export function sendProblem(req: Request, res: Response, problem: Problem): void {
  const language = preferredLanguage(req.headers["accept-language"]);
  // The path without its query: a query may carry what should not be echoed or logged.
  const [instance = "/"] = req.originalUrl.split("?", 1);
  const document = problemDocument(problem, { language, requestId: requestIdOf(res), instance });
  const body = Buffer.from(JSON.stringify(document));
  res.statusCode = problem.status;
  for (const [name, value] of Object.entries(problem.options.headers ?? {})) res.setHeader(name, value);
  res.removeHeader("ETag");
  res.setHeader("Cache-Control", "no-store");
  res.setHeader("Content-Language", language);
  res.setHeader("Content-Type", "application/problem+json; charset=utf-8");
  res.setHeader("Content-Length", body.length);
  res.end(req.method === "HEAD" ? undefined : body);
}
