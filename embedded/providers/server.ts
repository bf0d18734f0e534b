import { createServer, type IncomingMessage, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import { setTimeout as delay } from "node:timers/promises";
import { Failures, type PlannedFailure } from "./failures.js";
import type { HttpStandIn, WireAnswer, WireRequest } from "./stand-in.js";

/** A request that came, for tests and the curious; newest last. */
export type SeenRequest = { readonly method: string; readonly path: string; readonly body: string };

export type ProviderServer = {
  readonly url: string;
  stop(): Promise<void>;
};

/** So many requests of each stand-in are remembered. */
const mostSeen = 1_000;
const bodyLimitBytes = 30 * 1024 * 1024;

type Played = { readonly standIn: HttpStandIn; readonly failures: Failures; readonly seen: SeenRequest[] };

/**
 * Serves stand-ins on one port of this machine, each below its mount, and plays the failures asked for at
 * `/control/<name>/failures` (POST one, DELETE all). `GET /control/<name>/requests` tells what came.
 *
 * @param port 0 for any free one
 */
export async function serveStandIns(standIns: readonly HttpStandIn[], port: number): Promise<ProviderServer> {
  const played: Played[] = standIns.map((standIn) => ({ standIn, failures: new Failures(), seen: [] }));
  // The longest mount first: the empty one takes what is left.
  const byMount = [...played].sort((one, other) => other.standIn.mount.length - one.standIn.mount.length);

  const server = createServer((request, response) => {
    answer(request, response).catch((error: unknown) => {
      if (!response.headersSent) send(response, { status: 500, body: { error: (error as Error).message } });
      else response.destroy();
    });
  });

  async function answer(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const url = new URL(request.url ?? "/", "http://stand-in");
    const body = await readBody(request);
    const method = request.method ?? "GET";
    const control = /^\/control\/([a-z-]+)\/([a-z-]+)$/.exec(url.pathname);
    if (control) {
      const one = played.find(({ standIn }) => standIn.name === control[1]);
      send(response, one ? await controlled(one, method, control[2] ?? "", body) : { status: 404 });
      return;
    }
    const one = byMount.find(({ standIn: { mount } }) => mount === "" || url.pathname.startsWith(`${mount}/`));
    if (!one) {
      send(response, { status: 404, body: { error: "no stand-in has this path" } });
      return;
    }
    const path = url.pathname.slice(one.standIn.mount.length);
    one.seen.push({ method, path: `${path}${url.search}`, body: body.toString("utf8") });
    if (one.seen.length > mostSeen) one.seen.shift();
    const wire = { method, path, query: url.searchParams, headers: request.headers, body };
    await play(one, wire, response, one.failures.take(method, path));
  }

  server.listen(port, "127.0.0.1");
  await new Promise<void>((resolve, reject) => {
    server.once("listening", resolve);
    server.once("error", reject);
  });
  return {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    stop: () =>
      new Promise((resolve) => {
        server.close(() => resolve());
        server.closeAllConnections();
      }),
  };
}

async function play(
  { standIn }: Played,
  wire: WireRequest,
  response: ServerResponse,
  failure: PlannedFailure | undefined,
): Promise<void> {
  switch (failure?.mode) {
    case "answer":
      return send(response, { status: failure.status ?? 500, ...failure });
    case "drop-before":
      response.destroy();
      return;
    case "hang-before":
      return;
    case "drop-after":
      await standIn.handle(wire);
      response.destroy();
      return;
    case "hang-after":
      await standIn.handle(wire);
      return;
    case "delay":
      await delay(failure.delayMs ?? 0);
      return send(response, await standIn.handle(wire));
    case undefined:
      return send(response, await standIn.handle(wire));
  }
}

async function controlled(
  { standIn, failures, seen }: Played,
  method: string,
  action: string,
  body: Buffer,
): Promise<WireAnswer> {
  if (action === "requests") {
    if (method === "DELETE") seen.length = 0;
    return { status: 200, body: [...seen] };
  }
  try {
    const asked: unknown = body.length === 0 ? {} : JSON.parse(body.toString("utf8"));
    if (action === "failures") {
      if (method === "DELETE") failures.clear();
      else failures.plan(asked as Partial<PlannedFailure>);
      return { status: 204 };
    }
    const act = standIn.actions?.[action];
    if (!act) return { status: 404 };
    return { status: 200, body: ((await act(asked)) ?? {}) as object };
  } catch (error) {
    return { status: 400, body: { error: (error as Error).message } };
  }
}

function send(response: ServerResponse, { status, headers = {}, body }: WireAnswer): void {
  const plain = typeof body === "string" || Buffer.isBuffer(body);
  const type = body === undefined || plain ? {} : { "content-type": "application/json" };
  response.writeHead(status, { ...type, ...headers });
  response.end(body === undefined || plain ? body : JSON.stringify(body));
}

async function readBody(request: IncomingMessage): Promise<Buffer> {
  const chunks: Buffer[] = [];
  let length = 0;
  for await (const chunk of request as AsyncIterable<Buffer>) {
    length += chunk.length;
    if (length > bodyLimitBytes) throw new Error("too large for a stand-in");
    chunks.push(chunk);
  }
  return Buffer.concat(chunks);
}
