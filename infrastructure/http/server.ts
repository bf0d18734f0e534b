import { randomUUID } from "node:crypto";
import { createServer, type RequestListener, STATUS_CODES } from "node:http";
import type { AddressInfo } from "node:net";
import { expressClasses } from "./express-classes.js";
import { Problem, type ProblemCode, problemDocument } from "./problem-details.js";

export type RunningServer = {
  readonly port: number;
  /** Base URL on this machine. */
  readonly url: string;
  /** Takes no new requests, lets running ones finish for a while, then closes every connection. */
  close(graceMs?: number): Promise<void>;
};

/**
 * Listens for HTTP. Slow or silent clients are cut off, so that none can hold a connection for ever; what is no HTTP
 * is answered with a problem document, too.
 *
 * @throws Error naming the address when the port is taken or may not be used
 */
export async function listen(
  app: RequestListener,
  address: {
    readonly host: string;
    readonly port: number;
    /** A whole request must have arrived by then, default 30 s; longer where files come in over slow lines. */
    readonly requestTimeoutMs?: number;
  },
): Promise<RunningServer> {
  const server = createServer(
    {
      ...expressClasses(app),
      headersTimeout: 10_000,
      requestTimeout: address.requestTimeoutMs ?? 30_000,
      keepAliveTimeout: 65_000,
      maxHeaderSize: 16_384,
      // Refused below, where it gets a problem document.
      requireHostHeader: false,
    },
    (request, response) => {
      if (request.httpVersion === "1.1" && request.headers.host === undefined) request.socket.end(refusal(undefined));
      else app(request, response);
    },
  );
  server.on("clientError", (error: NodeJS.ErrnoException, socket) => {
    if (error.code === "ECONNRESET" || !socket.writable) socket.destroy();
    else socket.end(refusal(error.code));
  });
  await new Promise<void>((resolve, reject) => {
    server.once("error", (error: NodeJS.ErrnoException) => {
      reject(new Error(`cannot listen on ${address.host}:${address.port} (${error.code ?? error.message})`));
    });
    server.listen(address.port, address.host, resolve);
  });
  const { port } = server.address() as AddressInfo;
  const host = address.host === "0.0.0.0" || address.host === "::" ? "127.0.0.1" : address.host;
  return {
    port,
    url: `http://${host.includes(":") ? `[${host}]` : host}:${port}`,
    async close(graceMs = 2_000) {
      const closed = new Promise<void>((resolve) => {
        server.close(() => resolve());
      });
      server.closeIdleConnections();
      const timer = setTimeout(() => server.closeAllConnections(), graceMs);
      await closed;
      clearTimeout(timer);
    },
  };
}

/** Raw answer to a request that node's parser refused. */
function refusal(code: string | undefined): string {
  const [status, problemCode]: [number, ProblemCode] =
    code === "HPE_HEADER_OVERFLOW"
      ? [431, "MALFORMED_REQUEST"]
      : code === "ERR_HTTP_REQUEST_TIMEOUT"
        ? [408, "REQUEST_TIMEOUT"]
        : [400, "MALFORMED_REQUEST"];
  const context = { language: "en", requestId: randomUUID() };
  const body = JSON.stringify(problemDocument(new Problem(status, problemCode), context));
  return [
    `HTTP/1.1 ${status} ${STATUS_CODES[status] ?? ""}`,
    "Content-Type: application/problem+json; charset=utf-8",
    `Content-Length: ${Buffer.byteLength(body)}`,
    `X-Request-Id: ${context.requestId}`,
    "Connection: close",
    "",
    body,
  ].join("\r\n");
}
