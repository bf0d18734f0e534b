/**
 * What the floors share: a bare `node:http` server that verifies the token with jose and hands the request to one
 * function. Nothing else: no router, no headers, no limits, no error documents. The environment's TOKENS holds what
 * tokens are verified with, as JSON.
 */
import { createServer, type IncomingMessage, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import { createLocalJWKSet, jwtVerify } from "jose";
import type { TokenCheck } from "../../support/token-issuer.js";

export type Caller = { readonly org: string; readonly customer: string };

/** Answers with a JSON body. */
export function answer(response: ServerResponse, status: number, body: unknown): void {
  const text = JSON.stringify(body);
  response.writeHead(status, { "content-type": "application/json", "content-length": Buffer.byteLength(text) });
  response.end(text);
}

/** Listens on a free port, tells it to the parent process, and ends with it. */
export function serve(handle: (caller: Caller, request: IncomingMessage, response: ServerResponse) => Promise<void>) {
  const { jwks, issuer, audience } = JSON.parse(process.env.TOKENS ?? "{}") as TokenCheck;
  const keys = createLocalJWKSet(jwks as Parameters<typeof createLocalJWKSet>[0]);
  const server = createServer(async (request, response) => {
    try {
      const token = (request.headers.authorization ?? "").slice("Bearer ".length);
      const { payload } = await jwtVerify(token, keys, { issuer, audience, algorithms: ["ES256"] });
      await handle({ org: String(payload.org), customer: String(payload.sub) }, request, response);
    } catch (error) {
      answer(response, 500, { message: String(error) });
    }
  });
  server.listen(0, "127.0.0.1", () => process.send?.({ port: (server.address() as AddressInfo).port }));
  process.on("disconnect", () => process.exit(0));
}
