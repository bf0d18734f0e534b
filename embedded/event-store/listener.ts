/** The HTTP/2 server that calls arrive at: its port, its connections and their end. */

import type { Http2SecureServer, Http2Server, ServerHttp2Session, ServerOptions as Http2Options } from "node:http2";
import { createSecureServer, createServer } from "node:http2";
import type { AddressInfo } from "node:net";
import type { Router } from "./grpc.js";
import { StartupError } from "./startup-error.js";

/** Clients ping every 10 s by default; so do we, and drop the connection of one that has vanished. */
const KEEPALIVE_MS = 10_000;

/** How much a client may send before we have read it: per call, and per connection. */
const CALL_WINDOW_BYTES = 1024 * 1024;
const CONNECTION_WINDOW_BYTES = 8 * 1024 * 1024;

/**
 * No limit by Node's own count of what a connection keeps in memory: a call that is cancelled with data on its way stays
 * in that count for ever, and a connection on which many reads were left early would be turned away. What a call can
 * keep is bounded here by its window, and by waiting until the client has read.
 */
const MAX_CONNECTION_MEGABYTES = Number.MAX_SAFE_INTEGER;

/** PEM texts. */
export interface Tls {
  readonly certificate: Buffer;
  readonly privateKey: Buffer;
}

export class Listener {
  private readonly server: Http2Server | Http2SecureServer;
  private readonly sessions = new Set<ServerHttp2Session>();

  /**
   * @param tls undefined: unencrypted
   * @throws StartupError the certificate or its key is not usable
   */
  constructor(router: Router, tls: Tls | undefined) {
    this.server = createHttp2Server(tls);
    this.server.on("session", (session: ServerHttp2Session) => this.accept(session));
    this.server.on("stream", (stream, headers) => router.route(stream, headers));
    // A connection that breaks ends its calls by itself; here it only must not end the process.
    this.server.on("sessionError", () => undefined);
  }

  /**
   * Opens the port (0: any free one); gives its number.
   *
   * @throws StartupError the port is taken, or the address is not usable
   */
  listen(host: string, port: number): Promise<number> {
    return new Promise((resolve, reject) => {
      this.server.once("error", (error: NodeJS.ErrnoException) => {
        reject(new StartupError(explainListenError(error, host, port)));
      });
      this.server.listen(port, host, () => resolve((this.server.address() as AddressInfo).port));
    });
  }

  /** Takes no new connections, and closes each one when its last call is over. */
  async close(): Promise<void> {
    const closed = new Promise<void>((resolve) => this.server.close(() => resolve()));
    for (const session of this.sessions) session.close();
    await closed;
  }

  private accept(session: ServerHttp2Session): void {
    this.sessions.add(session);
    session.setLocalWindowSize(CONNECTION_WINDOW_BYTES);
    const keepAlive = setInterval(() => ping(session), KEEPALIVE_MS);
    session.once("close", () => {
      clearInterval(keepAlive);
      this.sessions.delete(session);
    });
  }
}

/** Drops a connection that does not answer: its client is gone without having said so. */
function ping(session: ServerHttp2Session): void {
  if (session.closed || session.destroyed) return;
  const timer = setTimeout(() => session.destroy(), KEEPALIVE_MS);
  const isSent = session.ping(() => clearTimeout(timer));
  if (!isSent) clearTimeout(timer);
}

function createHttp2Server(tls: Tls | undefined): Http2Server | Http2SecureServer {
  const options: Http2Options = {
    settings: { initialWindowSize: CALL_WINDOW_BYTES },
    maxSessionMemory: MAX_CONNECTION_MEGABYTES,
  };
  if (tls === undefined) return createServer(options);
  try {
    return createSecureServer({ ...options, cert: tls.certificate, key: tls.privateKey });
  } catch (error) {
    throw new StartupError(`The certificate or its private key cannot be used: ${(error as Error).message}.`);
  }
}

function explainListenError({ code, message }: NodeJS.ErrnoException, host: string, port: number): string {
  if (code === "EADDRINUSE") return `Port ${port} on ${host} is already in use.`;
  if (code === "EACCES") return `Port ${port} on ${host} may not be used by this user.`;
  return `Cannot listen at ${host}:${port}: ${message}.`;
}
