import type { IncomingMessage, ServerResponse } from "node:http";
import { errors, Pool } from "undici";

/** Hands requests on to one upstream and streams its answers back, uploads and event streams included. */
export type Proxy = {
  /**
   * @param path path and query as the upstream shall see it
   * @returns when the answer has been sent, or cut because one side went away
   * @throws UpstreamUnavailable as long as nothing has been answered
   */
  forward(request: IncomingMessage, response: ServerResponse, path: string, requestId: string): Promise<void>;
  close(): Promise<void>;
};

/** The upstream did not answer: it is down, refused, or took too long. */
export class UpstreamUnavailable extends Error {}

/** RFC 9110 §7.6.1: these belong to one connection; `expect` is answered by this server itself. */
const hopByHop = new Set([
  "connection",
  "expect",
  "keep-alive",
  "proxy-authenticate",
  "proxy-authorization",
  "proxy-connection",
  "te",
  "trailer",
  "transfer-encoding",
  "upgrade",
]);

/** Written by this server alone: a client must not be able to claim another address. */
const ours = new Set(["forwarded", "host", "x-forwarded-for", "x-forwarded-host", "x-forwarded-proto", "x-request-id"]);

/** @param upstream base URL, for example `http://127.0.0.1:3001` */
export function createProxy(upstream: string): Proxy {
  // An event stream holds its connection for hours, so the number of connections has no bound here: the clients'
  // own connections bound it. The APIs bound their answers themselves; this is for one that hangs. It counts from the
  // last byte of the request.
  const pool = new Pool(upstream, {
    connections: null,
    connectTimeout: 2_000,
    headersTimeout: 30_000,
    bodyTimeout: 0,
  });
  return {
    async forward(request, response, path, requestId) {
      const cut = new AbortController();
      const onClose = () => cut.abort();
      response.once("close", onClose);
      try {
        const hasBody = "content-length" in request.headers || "transfer-encoding" in request.headers;
        await pool.stream(
          {
            method: request.method as "GET",
            path,
            headers: upstreamHeaders(request, requestId),
            body: hasBody ? request : null,
            signal: cut.signal,
          },
          ({ statusCode, headers }) => {
            response.writeHead(statusCode, clientHeaders(headers));
            // The header of an event stream must not wait for its first event.
            if (String(headers["content-type"]).startsWith("text/event-stream")) response.flushHeaders();
            return response;
          },
        );
      } catch (error) {
        if (cut.signal.aborted) return; // the client went away: nobody is left to answer
        if (response.headersSent) {
          response.destroy(); // half an answer must not look like a whole one
          return;
        }
        throw new UpstreamUnavailable(describe(error), { cause: error });
      } finally {
        response.off("close", onClose);
      }
    },
    close: () => pool.destroy(),
  };
}

function upstreamHeaders(request: IncomingMessage, requestId: string): string[] {
  const dropped = connectionOptions(request.headers.connection);
  const headers: string[] = [];
  for (let index = 0; index < request.rawHeaders.length; index += 2) {
    const name = request.rawHeaders[index] ?? "";
    const lower = name.toLowerCase();
    if (hopByHop.has(lower) || ours.has(lower) || dropped.has(lower)) continue;
    headers.push(name, request.rawHeaders[index + 1] ?? "");
  }
  headers.push("x-forwarded-for", request.socket.remoteAddress ?? "", "x-forwarded-proto", "http");
  if (request.headers.host) headers.push("x-forwarded-host", request.headers.host);
  headers.push("x-request-id", requestId);
  return headers;
}

type Headers = Record<string, string | string[] | undefined>;

function clientHeaders(headers: Headers): Headers {
  const dropped = connectionOptions(headers.connection);
  return Object.fromEntries(Object.entries(headers).filter(([name]) => !hopByHop.has(name) && !dropped.has(name)));
}

/** Further header names that a `Connection` header declares to be hop-by-hop. */
function connectionOptions(value: string | string[] | undefined): Set<string> {
  return new Set(
    String(value ?? "")
      .toLowerCase()
      .split(",")
      .map((name) => name.trim()),
  );
}

function describe(error: unknown): string {
  if (error instanceof errors.UndiciError) return error.code;
  return (error as NodeJS.ErrnoException).code ?? (error as Error).message;
}
