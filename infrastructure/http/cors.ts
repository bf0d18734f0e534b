import type { Request, Response } from "express";
import type { OrgSettings } from "../org-settings.js";

const allowedHeaders = [
  "accept",
  "accept-language",
  "authorization",
  "content-type",
  "idempotency-key",
  "if-match",
  "if-none-match",
  "orgid",
  "prefer",
  "traceparent",
  "x-client-authorization",
  "x-client-host",
  "x-client-info",
  "x-min-log-position",
  "x-request-id",
].join(", ");

/** What a page may read of an answer besides the headers that every page may. */
export const exposedHeaders = [
  "ETag",
  "Idempotency-Replayed",
  "Link",
  "Location",
  "RateLimit",
  "RateLimit-Policy",
  "Retry-After",
  "X-Log-Position",
  "X-New-Default",
  "X-Request-Id",
  "X-Stale",
].join(", ");

/**
 * Lets browser pages of an org's own origins read the answers. A preflight names no org, so any org's origin will do
 * there; the request itself is held against its `orgid`. No cookies are used, hence no credentials.
 *
 * @returns true when the request was a preflight and is answered
 */
export function applyCors(req: Request, res: Response, orgSettings: OrgSettings): boolean {
  const { origin } = req.headers;
  if (origin === undefined) return false;
  const preflight = req.method === "OPTIONS" && req.headers["access-control-request-method"] !== undefined;
  const { orgid } = req.headers;
  const org = preflight || typeof orgid !== "string" ? undefined : orgid;
  res.appendHeader("Vary", "Origin");
  if (orgSettings.allowsOrigin(origin, org)) {
    res.setHeader("Access-Control-Allow-Origin", origin);
    res.setHeader("Access-Control-Expose-Headers", exposedHeaders);
    if (preflight) {
      res.setHeader("Access-Control-Allow-Methods", "GET, HEAD, POST, PUT, DELETE");
      res.setHeader("Access-Control-Allow-Headers", allowedHeaders);
      res.setHeader("Access-Control-Max-Age", "600");
    }
  }
  if (preflight) res.status(204).end();
  return preflight;
}
