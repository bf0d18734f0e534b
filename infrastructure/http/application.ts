import express, { type Express, type NextFunction, type Request, type Response } from "express";
import { MongoServerError } from "mongodb";
import type { Logger } from "pino";
import type { Registry } from "prom-client";
import { ownerKey } from "#domain/core/identifiers.js";
import { CommandRejected, IdempotencyKeyReused, StreamBusy } from "../command-handler.js";
import { StoreUnavailable } from "../event-store.js";
import { customerPseudonym } from "../log.js";
import { type HttpMetrics, httpMetrics } from "../metrics.js";
import { isMongoUnavailable } from "../mongo.js";
import type { OrgSettings } from "../org-settings.js";
import type { RateLimits, Verdict } from "../rate-limits.js";
import { IntegrationNotConfigured, ProviderFault, ProviderUnavailable } from "../providers/provider-call.js";
import { ReadModelNotBuilt } from "../read-models.js";
import { parseTraceparent } from "../tracing.js";
import { bodyReader } from "./body.js";
import { applyCors } from "./cors.js";
import { createHealth, type ReadinessCheck } from "./health.js";
import { type DocumentInfo, openApiDocument, serveDocument } from "./openapi.js";
import { preferredType } from "./media-types.js";
import { defaultPatienceMs, Patience } from "./patience.js";
import type { Authenticator, Principal, ServicePrincipal } from "./principal.js";
import { Problem, type ProblemCode, providerFailed, rejected, sendProblem, unavailable } from "./problem-details.js";
import { assignRequestId, requestIdOf } from "./request-id.js";
import type { RouteDefinition } from "./routes.js";

/** What a process with a port has, APIs or not. */
export type ServerParts = {
  readonly log: Logger;
  readonly registry: Registry;
  readonly readiness: readonly ReadinessCheck[];
  /** Told when an answer has ended, for what the process counts besides. */
  readonly onAnswer?: (req: Request, res: Response) => void;
};

export type ApplicationParts = ServerParts & {
  readonly routes: readonly RouteDefinition[];
  readonly document: DocumentInfo;
  readonly orgSettings: OrgSettings;
  readonly authenticator: Authenticator;
  readonly rateLimits: RateLimits;
  /** Runs before the handler of each command: registers newcomers, turns locked accounts away. */
  readonly beforeCommand?: (req: Request, res: Response, route: RouteDefinition) => Promise<void>;
};

/** Sent with every answer; an API's answers are data, never pages. */
const securityHeaders: readonly (readonly [string, string])[] = [
  ["Content-Security-Policy", "default-src 'none'; frame-ancestors 'none'"],
  ["Referrer-Policy", "no-referrer"],
  ["Strict-Transport-Security", "max-age=31536000; includeSubDomains"],
  ["X-Content-Type-Options", "nosniff"],
];

/** Health, readiness and metrics alone: for processes that have no routes of their own. */
export function createHealthApplication(parts: ServerParts): Express {
  const app = bareApplication(parts, httpMetrics(parts.registry));
  finish(app, parts.log);
  return app;
}

/**
 * The HTTP frame around the areas' routes: request id, CORS, limits, authentication, health, metrics, OpenAPI, and
 * one error tail. Pure wiring: what it needs is handed in.
 */
export function createApplication(parts: ApplicationParts): Express {
  const app = bareApplication(parts, httpMetrics(parts.registry), parts.orgSettings);
  serveDocument(app, openApiDocument(parts.routes, parts.document));
  app.all("/openapi.json", onlyRead);
  mountRoutes(app, parts);
  finish(app, parts.log);
  return app;
}

function bareApplication(parts: ServerParts, metrics: HttpMetrics, orgSettings?: OrgSettings): Express {
  const app = express();
  app.disable("x-powered-by");
  app.disable("etag");
  app.enable("case sensitive routing");
  app.use((req: Request, res: Response, next: NextFunction) => {
    enter(req, res, metrics, parts);
    if (orgSettings && applyCors(req, res, orgSettings)) return;
    next();
  });
  const health = createHealth(parts.readiness, parts.registry);
  app.get("/healthz", label("/healthz", health.healthz));
  app.get("/readyz", label("/readyz", health.readyz));
  app.get("/metrics", label("/metrics", health.metrics));
  app.all(["/healthz", "/readyz", "/metrics"], onlyRead);
  return app;
}

type Handler = (req: Request, res: Response) => void | Promise<void>;

/** Stands behind what can only be read. */
function onlyRead(): never {
  throw new Problem(405, "METHOD_NOT_ALLOWED", { headers: { Allow: "GET, HEAD" } });
}

/** Names the route in metrics and logs. */
function label(route: string, handler: Handler): Handler {
  return (req, res) => {
    res.locals.route = route;
    return handler(req, res);
  };
}

function enter(req: Request, res: Response, metrics: HttpMetrics, { log, onAnswer }: ServerParts): void {
  const started = performance.now();
  assignRequestId(req, res);
  for (const [name, value] of securityHeaders) res.setHeader(name, value);
  res.on("close", () => {
    const durationMs = performance.now() - started;
    const route = (res.locals.route as string | undefined) ?? "unmatched";
    metrics.requestDuration.observe({ route, status: String(res.statusCode) }, durationMs / 1_000);
    onAnswer?.(req, res);
    if (req.method !== "GET" && req.method !== "HEAD") log.info(describe(req, res, durationMs), "request");
    else if (log.isLevelEnabled("debug")) log.debug(describe(req, res, durationMs), "request");
  });
}

/** The fields a request has in the log: who, what, how it went; never its path, which holds ids. */
function describe(req: Request, res: Response, durationMs?: number): Record<string, unknown> {
  const principal = res.locals.principal as Principal | undefined;
  const service = res.locals.service as ServicePrincipal | undefined;
  return {
    requestId: requestIdOf(res),
    traceId: parseTraceparent(req.headers.traceparent)?.traceId,
    orgId: principal?.org ?? service?.org,
    customer: principal && customerPseudonym(ownerKey(principal.owner)),
    area: res.locals.area,
    method: req.method,
    route: res.locals.route,
    status: res.statusCode,
    code: res.locals.problemCode,
    ...(durationMs === undefined ? {} : { durationMs: Math.round(durationMs * 10) / 10 }),
  };
}

/** Mounts routes, literal segments before parameters; other methods on their paths are 405 with `Allow`. */
export function mountRoutes(app: Express, parts: Omit<ApplicationParts, "document" | "registry" | "readiness">): void {
  const paths = [...new Set(parts.routes.map(({ path }) => path))].sort(bySpecificity);
  for (const path of paths) {
    const routes = parts.routes.filter((route) => route.path === path);
    const mounted = app.route(path);
    for (const route of routes) mounted[route.method](label(route.path, frame(route, parts)));
    const allow = routes.flatMap(({ method }) => (method === "get" ? ["GET", "HEAD"] : [method.toUpperCase()]));
    mounted.all((req: Request, res: Response) => {
      res.locals.route = path;
      res.setHeader("Allow", allow.join(", "));
      if (req.method !== "OPTIONS") throw new Problem(405, "METHOD_NOT_ALLOWED");
      res.status(204).end();
    });
  }
}

function bySpecificity(one: string, other: string): number {
  const rank = (path: string) => path.split("/").map((segment) => (/^[:*]/.test(segment) ? `~${segment}` : segment));
  return rank(one).join("/") < rank(other).join("/") ? -1 : 1;
}

/** Members of a query that would name another customer. */
const namesCustomer = /^(customer|customerid|customer_id|userid|user_id|owner)(\[.*)?$/i;

/** There is no impersonation: whoever names a customer is told so, rather than shown something else. */
function refuseCustomerInQuery(req: Request): void {
  if (!req.originalUrl.includes("?")) return;
  const errors = Object.keys(req.query)
    .filter((name) => namesCustomer.test(name))
    .map((name) => ({ field: name.slice(0, 100), code: "UNKNOWN_FIELD", message: "is not a known parameter" }));
  if (errors.length === 0) return;
  const detail = "no customer can be named: the token says whose record it is";
  throw new Problem(400, "UNKNOWN_FIELD", { detail, errors });
}

/** What happens around every handler, in the contract's order: org, token, principal, limits, account, body. */
function frame(route: RouteDefinition, parts: Omit<ApplicationParts, "document" | "registry" | "readiness">): Handler {
  const { authenticator, rateLimits, beforeCommand } = parts;
  const access = route.access ?? "customer";
  const limits = route.limits ?? [route.method === "get" ? "reads" : "writes"];
  const readBody = bodyReader(route);
  const isCommand = route.method !== "get";
  const produces = Object.values(route.responses).flatMap(({ contentType = "application/json", alternative }) =>
    alternative === undefined ? [contentType] : [contentType, alternative],
  );
  // Where a link may be answered, what is behind it decides about `Accept`.
  const mayLink = Object.keys(route.responses).includes("302");
  const cacheControl = isCommand ? "no-store" : "private, no-cache";

  const admit = async (req: Request, res: Response) => {
    if (access !== "public") res.appendHeader("Vary", "Authorization, orgid, Accept-Language");
    if (access === "customer") {
      const principal = await authenticator.customer(req, res);
      const owner = ownerKey(principal.owner);
      for (const name of limits) {
        const spent = rateLimits.spend(name, principal.org, owner);
        applyVerdict(res, spent instanceof Promise ? await spent : spent, route.limitCode);
      }
      refuseCustomerInQuery(req);
    } else if (access === "service") await authenticator.service(req, res);
    if (!mayLink && !isAcceptable(req, produces)) throw new Problem(406, "NOT_ACCEPTABLE", { params: { produces } });
    if (isCommand && beforeCommand) await beforeCommand(req, res, route);
  };

  return async (req, res) => {
    res.locals.area = route.area;
    res.setHeader("Cache-Control", cacheControl);
    const patience = new Patience(route.patienceMs ?? defaultPatienceMs);
    res.locals.patience = patience;
    await patience.within(admit(req, res), res);
    if (readBody) {
      // The client's own time: how long it may take to send is the server's affair.
      const started = performance.now();
      await readBody(req, res);
      patience.prolong(performance.now() - started);
    }
    await patience.within(Promise.resolve(route.handler(req, res)), res);
  };
}

function isAcceptable(req: Request, produces: readonly string[]): boolean {
  if (req.headers.accept === "application/json") return true;
  return preferredType(req, [...produces, "application/problem+json"]) !== undefined;
}

/** IETF draft-ietf-httpapi-ratelimit-headers: what the limit is, and what is left of it. */
function applyVerdict(res: Response, verdict: Verdict, code: ProblemCode = "RATE_LIMITED"): void {
  const { name, limit, remaining, resetSeconds } = verdict;
  res.setHeader("RateLimit-Policy", `"${name}";q=${limit.points};w=${limit.windowSeconds}`);
  res.setHeader("RateLimit", `"${name}";r=${remaining};t=${resetSeconds}`);
  if (!verdict.allowed) {
    throw new Problem(429, code, { headers: { "Retry-After": String(Math.max(1, resetSeconds)) } });
  }
}

/** The end of every application: nothing here, and whatever was thrown. */
function finish(app: Express, log: Logger): void {
  app.use(() => {
    throw new Problem(404, "ROUTE_NOT_FOUND");
  });
  app.use((error: unknown, req: Request, res: Response, _next: NextFunction) => {
    const problem = problemOf(error);
    res.locals.problemCode = problem.code;
    if (problem.status >= 500) {
      // What is briefly away is no fault of the program.
      const level = problem.status === 503 ? "warn" : "error";
      log[level]({ ...describe(req, res), status: problem.status, err: error }, "request failed");
    }
    if (res.headersSent) res.destroy();
    else sendProblem(req, res, problem);
  });
}

/** The one place where what can go wrong becomes an answer. What is not known is 500 without a word of it. */
export function problemOf(error: unknown): Problem {
  if (error instanceof Problem) return error;
  if (error instanceof CommandRejected) return rejected(error.rejection);
  if (error instanceof IdempotencyKeyReused) return new Problem(422, "IDEMPOTENCY_KEY_REUSED");
  if (error instanceof StreamBusy || error instanceof StoreUnavailable) return unavailable("STORE_UNAVAILABLE");
  if (isMongoUnavailable(error) || isMongoTooSlow(error)) return unavailable("STORE_UNAVAILABLE");
  if (error instanceof ReadModelNotBuilt) return unavailable("PROJECTION_BEHIND", 5);
  if (error instanceof ProviderUnavailable) {
    // The object store is part of this system, as a customer sees it.
    const code = error.provider === "object-storage" ? "STORE_UNAVAILABLE" : "PROVIDER_UNAVAILABLE";
    return unavailable(code, error.retryAfterSeconds ?? 5);
  }
  if (error instanceof ProviderFault) return providerFailed();
  if (error instanceof IntegrationNotConfigured) return new Problem(422, "INTEGRATION_NOT_CONFIGURED");
  // The router could not decode a path: nothing can be there.
  if (error instanceof URIError) return new Problem(404, "ROUTE_NOT_FOUND");
  return new Problem(500, "INTERNAL_ERROR");
}

/** A query stopped by its time limit, or interrupted because the primary steps down. */
function isMongoTooSlow(error: unknown): boolean {
  const interrupted: unknown[] = [50, 91, 189, 262, 11600, 11602, 10107, 13435, 13436];
  return error instanceof MongoServerError && interrupted.includes(error.code);
}
