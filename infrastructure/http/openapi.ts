import type { Express, Request, Response } from "express";
import { z } from "zod";
import {
  createDocument,
  type ZodOpenApiOperationObject,
  type ZodOpenApiPathsObject,
  type ZodOpenApiResponsesObject,
} from "zod-openapi";
import { serveDocumentPage } from "./openapi-page.js";
import type { ProblemCode } from "./problem-details.js";
import type { RouteDefinition } from "./routes.js";

export type DocumentInfo = { readonly title: string; readonly version: string; readonly description?: string };

/** What this module makes is plain JSON; its shape is the OpenAPI 3.1 specification's. */
export type OpenApiDocument = Readonly<Record<string, unknown>>;

const problemSchema = z
  .object({
    type: z.string().meta({ examples: ["urn:client-data:error:VALIDATION_FAILED"] }),
    title: z.string(),
    status: z.int(),
    detail: z.string().optional(),
    instance: z.string().optional(),
    code: z.string().meta({ description: "Stable; clients branch on it" }),
    errors: z
      .array(
        z.object({
          field: z.string(),
          code: z.string(),
          message: z.string(),
          params: z.record(z.string(), z.unknown()).optional(),
        }),
      )
      .optional(),
    requestId: z.string(),
    statusCode: z.int().meta({ description: "Same as status" }),
    message: z.string().meta({ description: "Same as title" }),
  })
  .meta({ id: "Problem", description: "RFC 9457 problem details" });

const header = (name: string, description: string, schema: z.ZodType, required = false) => ({
  name,
  in: "header" as const,
  required,
  description,
  schema: jsonSchemaOf(schema),
});

function jsonSchemaOf(schema: z.ZodType): Record<string, unknown> {
  const { $schema: _, ...bare } = z.toJSONSchema(schema, { io: "input" });
  return bare;
}

const orgidHeader = header("orgid", "The org whose customer calls", z.string().regex(/^[A-Za-z0-9._-]{1,64}$/), true);
const commandHeaders = [
  header("Idempotency-Key", "Same key, same body: the first answer again", z.string().min(1).max(255)),
  header("X-Request-Id", "Taken over when it is 8 to 64 safe characters", z.string().min(8).max(64)),
];
const versionHeaders = [header("If-Match", 'The record\'s version, `"3"`; another one is 412', z.string())];
const readHeaders = [
  header("If-None-Match", "The ETag of an answer at hand; 304 when it still holds", z.string()),
  header("X-Min-Log-Position", "Up to ten positions that the answer must include", z.string()),
  header("Prefer", "`wait=N` seconds for them, `handling=lenient` for a stale answer instead of 503", z.string()),
];

const answerHeader = (description: string) => ({ description, schema: { type: "string" as const } });
const readAnswerHeaders = {
  ETag: answerHeader("Weak; for `If-None-Match`"),
  "X-Log-Position": answerHeader("How far the read models asked are"),
  "X-Stale": answerHeader("`true` when the answer is older than it should be"),
};
const commandAnswerHeaders = {
  ETag: answerHeader("Version of the record, for `If-Match`; absent where no record is answered"),
  "Idempotency-Replayed": answerHeader("`true` when this is the first answer again"),
  "X-Log-Position": answerHeader("Of the last event written, for `X-Min-Log-Position`; absent when none was"),
};
const createdHeaders = { ...commandAnswerHeaders, Location: answerHeader("Where the new record is") };

function answerHeadersOf(method: RouteDefinition["method"], status: string) {
  if (status === "302") return { Location: answerHeader("The link") };
  if (method === "get") return readAnswerHeaders;
  return status === "201" ? createdHeaders : commandAnswerHeaders;
}

/**
 * The OpenAPI 3.1 document of some routes, from the schemas they parse with.
 *
 * @throws Error for a schema that cannot be described
 */
export function openApiDocument(routes: readonly RouteDefinition[], info: DocumentInfo): OpenApiDocument {
  const paths: Record<string, Record<string, ZodOpenApiOperationObject>> = {};
  for (const route of routes) {
    const path = route.path.replace(/[:*]([A-Za-z]+)/g, "{$1}");
    const operations = paths[path] ?? {};
    operations[route.method] = operationOf(route);
    paths[path] = operations;
  }
  const document = createDocument(
    {
      openapi: "3.1.0",
      info: { ...info, description: info.description ?? "" },
      tags: [...new Set(routes.map(({ area }) => area))].sort().map((name) => ({ name })),
      paths: paths as ZodOpenApiPathsObject,
      components: {
        securitySchemes: { bearer: { type: "http", scheme: "bearer", bearerFormat: "JWT" } },
        schemas: { Problem: problemSchema },
      },
    },
    // A transform's input is what clients see; where there is none to see, anything goes.
    {
      allowEmptySchema: { custom: true, transform: true },
      override: ({ jsonSchema }) => {
        // Said by the type or the format already; pages would make examples of them that nobody wants to read.
        if (jsonSchema.format === "date-time") delete jsonSchema.pattern;
        if (jsonSchema.minimum === Number.MIN_SAFE_INTEGER) delete jsonSchema.minimum;
        if (jsonSchema.maximum === Number.MAX_SAFE_INTEGER) delete jsonSchema.maximum;
      },
    },
  );
  return document as unknown as OpenApiDocument;
}

function operationOf(route: RouteDefinition): ZodOpenApiOperationObject {
  const access = route.access ?? "customer";
  const isCommand = route.method !== "get";
  const { params, query, body, raw, form } = route.request ?? {};
  // A body with a default may be left away.
  const schema = body instanceof z.ZodPrefault ? body.unwrap() : body;
  const content = raw
    ? { [raw.contentType]: { schema: { type: "string" as const } } }
    : form
      ? { "multipart/form-data": { schema: form as z.ZodType } }
      : body && { "application/json": { schema: schema as z.ZodType } };
  const requestParams = {
    ...(params ? { path: params } : {}),
    ...(query ? { query: query as z.ZodObject } : {}),
  };
  return {
    operationId: route.operationId,
    summary: route.summary,
    tags: [route.area],
    ...(access === "public" ? {} : { security: [{ bearer: [] }] }),
    parameters: [
      ...(access === "public" ? [] : [orgidHeader]),
      ...(isCommand ? commandHeaders : readHeaders),
      ...(access === "customer" && ["put", "delete"].includes(route.method) ? versionHeaders : []),
    ],
    ...(Object.keys(requestParams).length > 0 ? { requestParams } : {}),
    ...(content ? { requestBody: { content, required: body === schema } } : {}),
    responses: responsesOf(route),
  };
}

function responsesOf(route: RouteDefinition): ZodOpenApiResponsesObject {
  const responses: Record<string, unknown> = {};
  for (const [status, { description, schema, contentType, alternative }] of Object.entries(route.responses)) {
    const content = {
      ...(schema ? { [contentType ?? "application/json"]: { schema } } : {}),
      ...(alternative ? { [alternative]: { schema: { type: "string" as const } } } : {}),
    };
    const headers = answerHeadersOf(route.method, status);
    responses[status] = { description, headers, ...(Object.keys(content).length > 0 ? { content } : {}) };
  }
  if (route.method === "get") responses[304] = { description: "The answer at hand still holds" };
  const codes: readonly ProblemCode[] = [...(route.problems ?? [])].sort();
  responses.default = {
    description: codes.length > 0 ? `Refused; besides the common codes: ${codes.join(", ")}` : "Refused",
    content: { "application/problem+json": { schema: problemSchema } },
  };
  return responses as ZodOpenApiResponsesObject;
}

/** Serves `/openapi.json` and a page at `/docs` whose files all come from here: it works offline. */
export function serveDocument(app: Express, document: OpenApiDocument): void {
  const json = Buffer.from(JSON.stringify(document));
  app.get("/openapi.json", (_req: Request, res: Response) => {
    res.locals.route = "/openapi.json";
    res.setHeader("Content-Type", "application/json; charset=utf-8");
    res.setHeader("Cache-Control", "no-cache");
    res.end(json);
  });
  serveDocumentPage(app);
}
