import { randomUUID } from "node:crypto";
import type { IncomingMessage, RequestListener, ServerResponse } from "node:http";
import express from "express";
import type { Logger } from "pino";
import { exposedHeaders } from "#infrastructure/http/cors.js";
import { serveDocumentPage } from "#infrastructure/http/openapi-page.js";
import { Problem, problemDocument, unavailable } from "#infrastructure/http/problem-details.js";
import { preferredLanguage } from "#infrastructure/http/titles.js";
import { allowedMethods } from "./allowed-methods.js";
import { type MergedDocument, mergedDocument } from "./openapi.js";
import { createProxy, type Proxy, UpstreamUnavailable } from "./proxy.js";

export type GatewayDependencies = {
  /** Base URLs. */
  readonly commandApi: string;
  readonly queryApi: string;
  readonly log: Pick<Logger, "error" | "warn">;
};

export type Gateway = {
  readonly handle: RequestListener;
  /** Asks the APIs what they serve; rejects while one of them has never told. */
  learn(): Promise<void>;
  /** Closes the connections to the APIs. */
  close(): Promise<void>;
};

/**
 * The one host that customers see. By path: `/client-data/*` (also under `/api`), reads to the query API and the rest
 * to the command API; `/webhooks/*` to the command API; `/openapi.json` and `/docs` from both. Anything else is 404,
 * which keeps `/internal/*` and the APIs' health and metrics inside.
 */
export function createGateway({ commandApi, queryApi, log }: GatewayDependencies): Gateway {
  const command = createProxy(commandApi);
  const query = createProxy(queryApi);
  const openApi = mergedDocument([queryApi, commandApi]);
  const methods = allowedMethods(openApi);
  const docs = docsPage();

  const answer = async (request: IncomingMessage, response: ServerResponse, requestId: string): Promise<void> => {
    const target = targetOf(request);
    switch (target.kind) {
      case "api": {
        const allowed = methods.at(target.path.split("?", 1)[0] ?? "");
        const { method = "GET" } = request;
        // A preflight is for the API that will get the request; any other OPTIONS asks what there is on this path.
        const preflight = "access-control-request-method" in request.headers;
        if (allowed && method === "OPTIONS" && !preflight) {
          response.writeHead(204, { allow: allowed.join(", "), "x-request-id": requestId }).end();
          return;
        }
        if (allowed && method !== "OPTIONS" && !allowed.includes(method)) throw notAllowed(allowed);
        const proxy: Proxy = target.api === "query" ? query : command;
        return proxy.forward(request, response, target.path, requestId);
      }
      case "openapi":
        return sendDocument(request, response, openApi);
      case "docs":
        return docs(request, response);
      case "unknown":
        throw new Problem(404, "ROUTE_NOT_FOUND");
    }
  };

  return {
    handle: (request, response) => {
      const requestId = requestIdFor(request);
      answer(request, response, requestId).catch((error: unknown) => {
        if (error instanceof UpstreamUnavailable) log.warn({ err: error, requestId }, "an API did not answer");
        else if (!(error instanceof Problem)) log.error({ err: error, requestId }, "the gateway failed");
        sendProblem(request, response, requestId, problemOf(error));
      });
    },
    learn: methods.learn,
    close: async () => {
      await Promise.all([command.close(), query.close()]);
    },
  };
}

type Target =
  | { readonly kind: "api"; readonly api: "command" | "query"; readonly path: string }
  | { readonly kind: "openapi" | "docs" | "unknown" };

/** Decides by the raw path: what an upstream might read differently (dot segments, backslashes) is no path here. */
function targetOf({ url = "/", method = "GET", headers }: IncomingMessage): Target {
  const [pathname = "/"] = url.split("?", 1);
  if (/\\|(^|\/)(\.|%2e){1,2}(\/|$)/i.test(pathname)) return { kind: "unknown" };
  const path = url.startsWith("/api/client-data") ? url.slice("/api".length) : url;
  if (/^\/client-data([/?]|$)/.test(path)) {
    const effective = method === "OPTIONS" ? String(headers["access-control-request-method"] ?? "") : method;
    return { kind: "api", api: ["GET", "HEAD"].includes(effective.toUpperCase()) ? "query" : "command", path };
  }
  if (path.startsWith("/webhooks/")) return { kind: "api", api: "command", path };
  if (pathname === "/openapi.json") return { kind: "openapi" };
  if (pathname === "/docs" || pathname.startsWith("/docs/")) return { kind: "docs" };
  return { kind: "unknown" };
}

function requestIdFor(request: IncomingMessage): string {
  const given = request.headers["x-request-id"];
  return typeof given === "string" && /^[A-Za-z0-9._-]{8,64}$/.test(given) ? given : randomUUID();
}

function problemOf(error: unknown): Problem {
  if (error instanceof Problem) return error;
  return error instanceof UpstreamUnavailable ? unavailable("STORE_UNAVAILABLE") : new Problem(500, "INTERNAL_ERROR");
}

async function sendDocument(request: IncomingMessage, response: ServerResponse, openApi: MergedDocument) {
  if (request.method !== "GET" && request.method !== "HEAD") throw notAllowed();
  const document = await openApi().catch((error: unknown) => {
    throw new UpstreamUnavailable("no OpenAPI document", { cause: error });
  });
  response.writeHead(200, {
    "content-type": "application/json; charset=utf-8",
    "content-length": Buffer.byteLength(document),
    "access-control-allow-origin": "*",
    "cache-control": "no-cache",
  });
  response.end(request.method === "HEAD" ? undefined : document);
}

function notAllowed(allowed: readonly string[] = ["GET", "HEAD"]): Problem {
  return new Problem(405, "METHOD_NOT_ALLOWED", { headers: { Allow: allowed.join(", ") } });
}

function docsPage(): (request: IncomingMessage, response: ServerResponse) => void {
  const app = express();
  app.disable("x-powered-by");
  app.use((request, _response, next) => next(["GET", "HEAD"].includes(request.method) ? undefined : notAllowed()));
  serveDocumentPage(app);
  app.use((_request, _response, next) => next(new Problem(404, "ROUTE_NOT_FOUND")));
  const failed: express.ErrorRequestHandler = (error, request, response, _next) => {
    sendProblem(request, response, requestIdFor(request), problemOf(error));
  };
  app.use(failed);
  return (request, response) => app(request, response);
}

function sendProblem(request: IncomingMessage, response: ServerResponse, requestId: string, problem: Problem): void {
  if (response.headersSent || response.destroyed) {
    response.destroy();
    return;
  }
  const language = preferredLanguage(request.headers["accept-language"]);
  const [instance = "/"] = (request.url ?? "/").split("?", 1);
  const body = JSON.stringify(problemDocument(problem, { language, requestId, instance }));
  response.writeHead(problem.status, {
    ...problem.options.headers,
    "content-type": "application/problem+json; charset=utf-8",
    "content-length": Buffer.byteLength(body),
    "content-language": language,
    "cache-control": "no-store",
    "access-control-allow-origin": "*",
    "access-control-expose-headers": exposedHeaders,
    "x-content-type-options": "nosniff",
    "x-request-id": requestId,
    // An unread request body would keep the connection busy.
    ...("content-length" in request.headers || "transfer-encoding" in request.headers ? { connection: "close" } : {}),
  });
  response.end(request.method === "HEAD" ? undefined : body);
}
