import { isUtf8 } from "node:buffer";
import express, { type Request, type RequestHandler, type Response } from "express";
import { Problem } from "./problem-details.js";
import type { RouteDefinition } from "./routes.js";

/** A JSON body may have this many bytes. */
export const bodyLimitBytes = 256 * 1024;
/** A body that is read as a whole must have arrived by then; a file may take as long as the server waits. */
const bodyMs = 30_000;

const readJson = express.json({
  limit: bodyLimitBytes,
  strict: true,
  // The content type is judged before: a missing one and text/plain are read as JSON, too.
  type: () => true,
  verify: (_req, _res, bytes) => {
    // Decoding would put replacement characters where the client sent something else.
    if (!isUtf8(bytes)) throw new Error("not UTF-8");
  },
});

/**
 * Reads the body a route wants into `req.body`: parsed JSON, or a Buffer for a route that takes another media type.
 * A `fetch` without a content type sends `text/plain`; what parses as JSON is JSON.
 *
 * @throws Problem 413 `BODY_TOO_LARGE`, 415 `UNSUPPORTED_MEDIA_TYPE`, 400 `MALFORMED_JSON`
 */
export function bodyReader(route: RouteDefinition): ((req: Request, res: Response) => Promise<void>) | undefined {
  const { body, raw, form } = route.request ?? {};
  if (form) {
    return async (req) => {
      if (mediaType(req) !== "multipart/form-data") throw unsupported("expected multipart/form-data");
    };
  }
  if (raw) {
    const read = express.raw({ limit: raw.limitBytes, type: () => true });
    return async (req, res) => {
      if (hasBody(req) && mediaType(req) !== raw.contentType) throw unsupported(`expected ${raw.contentType}`);
      await run(read, req, res);
    };
  }
  if (!body) return undefined;
  return async (req, res) => {
    if (!hasBody(req)) return;
    const type = mediaType(req);
    if (type !== "" && type !== "application/json" && type !== "text/plain") throw unsupported("expected JSON");
    await run(readJson, req, res);
  };
}

function hasBody(req: Request): boolean {
  return req.headers["transfer-encoding"] !== undefined || Number(req.headers["content-length"] ?? 0) > 0;
}

function mediaType(req: Request): string {
  return (req.headers["content-type"] ?? "").split(";", 1)[0]?.trim().toLowerCase() ?? "";
}

function tooSlow(): Problem {
  return new Problem(408, "REQUEST_TIMEOUT", { headers: { Connection: "close" } });
}

function unsupported(detail: string): Problem {
  return new Problem(415, "UNSUPPORTED_MEDIA_TYPE", { detail });
}

async function run(reader: RequestHandler, req: Request, res: Response): Promise<void> {
  let timer: NodeJS.Timeout | undefined;
  await new Promise<void>((resolve, reject) => {
    timer = setTimeout(() => reject(tooSlow()), bodyMs);
    reader(req, res, (error?: unknown) => {
      if (error) reject(bodyProblem(error));
      else resolve();
    });
  }).finally(() => clearTimeout(timer));
}

function bodyProblem(error: unknown): unknown {
  const { type, status } = error as { type?: string; status?: number };
  switch (type) {
    case "entity.too.large":
      return new Problem(413, "BODY_TOO_LARGE");
    case "encoding.unsupported":
    case "charset.unsupported":
      return unsupported(type === "charset.unsupported" ? "expected UTF-8" : "expected gzip, deflate, br or identity");
    case "entity.verify.failed":
      return new Problem(400, "MALFORMED_JSON", { detail: "the body is not UTF-8" });
    case "entity.parse.failed":
      return new Problem(400, "MALFORMED_JSON", { detail: "the body must be a JSON object or array" });
    default:
      // A body cut short, a length that does not fit, broken compression: the client's doing.
      return status !== undefined && status < 500 ? new Problem(400, "MALFORMED_REQUEST") : error;
  }
}
