import { once } from "node:events";
import { createServer, type IncomingMessage, request, type Server, type ServerResponse } from "node:http";
import { connect } from "node:net";
import { expect } from "chai";
import { pino } from "pino";
import { listen, type RunningServer } from "#infrastructure/http/server.js";
import { createGateway, type Gateway } from "../gateway/application.js";
import { mergeOpenApi } from "../gateway/openapi.js";

type Handler = (request: IncomingMessage, response: ServerResponse) => void;

async function listening(server: Server): Promise<string> {
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  return `http://127.0.0.1:${(server.address() as { port: number }).port}`;
}

describe("gateway", () => {
  let commandApi: Server;
  let queryApi: Server;
  let gateway: Gateway;
  let front: RunningServer;
  let base: string;
  const handlers: { command: Handler; query: Handler } = { command: () => {}, query: () => {} };
  const echo =
    (name: string): Handler =>
    (incoming, response) => {
      let body = "";
      incoming.on("data", (chunk) => {
        body += chunk;
      });
      incoming.on("end", () => {
        const { method, url, headers } = incoming;
        response.writeHead(200, { "content-type": "application/json", "x-upstream": name });
        response.end(JSON.stringify({ name, method, url, headers, body }));
      });
    };

  beforeEach(async () => {
    handlers.command = echo("command");
    handlers.query = echo("query");
    commandApi = createServer((incoming, response) => handlers.command(incoming, response));
    queryApi = createServer((incoming, response) => handlers.query(incoming, response));
    gateway = createGateway({
      commandApi: await listening(commandApi),
      queryApi: await listening(queryApi),
      log: pino({ level: "silent" }),
    });
    front = await listen(gateway.handle, { host: "127.0.0.1", port: 0 });
    base = front.url;
  });

  afterEach(async () => {
    await front.close(0);
    await gateway.close();
    for (const api of [commandApi, queryApi]) {
      api.closeAllConnections();
      api.close();
    }
  });

  it("answers 405 with the methods of both APIs to a method that neither serves at a path", async () => {
    const documentOf = (paths: object): Handler => {
      const json = JSON.stringify({ openapi: "3.1.0", info: {}, paths });
      return (incoming, response) => {
        response.writeHead(200, { "content-type": "application/json" });
        response.end(incoming.url === "/openapi.json" ? json : "{}");
      };
    };
    handlers.query = documentOf({ "/client-data/things": { get: {} }, "/client-data/things/{id}": { get: {} } });
    handlers.command = documentOf({ "/client-data/things/{id}": { put: {}, delete: {} } });
    const call = (method: string, path: string) => fetch(`${base}${path}`, { method });
    await gateway.learn();
    const refused = await call("POST", "/client-data/things/a.b");
    expect(refused.status).to.equal(405);
    expect(refused.headers.get("allow")?.split(", ")).to.have.members(["GET", "HEAD", "PUT", "DELETE"]);
    expect(await refused.json()).to.include({ code: "METHOD_NOT_ALLOWED", instance: "/client-data/things/a.b" });
    expect((await call("PUT", "/api/client-data/things")).status).to.equal(405);
    for (const [method, path] of [
      ["PUT", "/client-data/things/a?x=1"],
      ["HEAD", "/client-data/things"],
      ["POST", "/client-data/unknown"],
      ["OPTIONS", "/client-data/unknown"],
    ] as const) {
      expect((await call(method, path)).status, `${method} ${path}`).to.equal(200);
    }
    const options = await call("OPTIONS", "/client-data/things");
    expect([options.status, options.headers.get("allow")]).to.deep.equal([204, "GET, HEAD"]);
    expect(refused.headers.get("access-control-expose-headers")).to.contain("X-Request-Id");
  });

  const upstreamOf = async (method: string, path: string, headers: Record<string, string> = {}) =>
    (await fetch(`${base}${path}`, { method, headers })).headers.get("x-upstream");

  it("routes reads to the query API and everything else to the command API", async () => {
    expect(await upstreamOf("GET", "/client-data/dashboard")).to.equal("query");
    expect(await upstreamOf("HEAD", "/client-data/dashboard")).to.equal("query");
    expect(await upstreamOf("POST", "/client-data/wishlist/p1")).to.equal("command");
    expect(await upstreamOf("PUT", "/api/client-data/profile")).to.equal("command");
    expect(await upstreamOf("DELETE", "/client-data/wishlist/p1")).to.equal("command");
    expect(await upstreamOf("POST", "/webhooks/stripe")).to.equal("command");
  });

  it("routes a preflight to the API that will get the request", async () => {
    const preflight = (method: string) =>
      upstreamOf("OPTIONS", "/client-data/profile", { "access-control-request-method": method });
    expect(await preflight("GET")).to.equal("query");
    expect(await preflight("PUT")).to.equal("command");
  });

  it("hands on path, query, headers and body as they came, without the /api of a browser's proxy", async () => {
    const response = await fetch(`${base}/api/client-data/orders/a%2Fb?q=%C3%A9&s=x`, {
      method: "POST",
      headers: { orgid: "acme", "idempotency-key": "k1" },
      body: "bücher",
    });
    const seen = (await response.json()) as { url: string; body: string; headers: Record<string, string> };
    expect(seen.url).to.equal("/client-data/orders/a%2Fb?q=%C3%A9&s=x");
    expect(seen.body).to.equal("bücher");
    expect(seen.headers).to.include({ orgid: "acme", "idempotency-key": "k1", "x-forwarded-for": "127.0.0.1" });
    expect(seen.headers["x-request-id"]).to.match(/^[0-9a-f-]{36}$/);
  });

  it("does not let a client claim an address or pick what is hop-by-hop", async () => {
    const answer = await new Promise<string>((resolve, reject) => {
      const headers = {
        "x-forwarded-for": "10.0.0.1",
        forwarded: "for=10.0.0.1",
        connection: "close, x-secret",
        "x-secret": "1",
      };
      const get = request(`${base}/client-data/profile`, { headers }, async (response) => {
        let body = "";
        for await (const chunk of response) body += chunk;
        resolve(body);
      });
      get.on("error", reject);
      get.end();
    });
    const { headers } = JSON.parse(answer);
    expect(headers["x-forwarded-for"]).to.equal("127.0.0.1");
    expect(headers).to.not.have.any.keys("forwarded", "x-secret");
  });

  it("answers 404 ROUTE_NOT_FOUND for what it does not serve, internals and path tricks included", async () => {
    const paths = ["/internal/ingest/batch", "/", "/healthz", "/readyz", "/metrics", "/index.html", "/client-database"];
    for (const path of paths) {
      const response = await fetch(`${base}${path}`);
      expect(response.status, path).to.equal(404);
      expect(response.headers.get("content-type")).to.contain("application/problem+json");
      expect(await response.json()).to.include({ code: "ROUTE_NOT_FOUND", status: 404, instance: path });
    }
    const raw = async (target: string) => {
      const { port } = new URL(base);
      const socket = connect(Number(port), "127.0.0.1");
      socket.write(`GET ${target} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n`);
      let text = "";
      for await (const chunk of socket) text += chunk;
      return text.split("\r\n")[0];
    };
    for (const target of [
      "/client-data/../internal/ingest/batch",
      "/client-data/%2e%2e/internal/x",
      "//internal/x",
      "http://x/internal/ingest/batch",
    ]) {
      expect(await raw(target), target).to.match(/ (404|400) /);
    }
  });

  it("answers 503 with Retry-After while an API is away, and recovers with it", async () => {
    const { port } = commandApi.address() as { port: number };
    commandApi.closeAllConnections();
    await new Promise((resolve) => commandApi.close(resolve));
    const response = await fetch(`${base}/client-data/profile`, { method: "PUT", body: "{}" });
    expect(response.status).to.equal(503);
    expect(response.headers.get("retry-after")).to.equal("1");
    expect(await response.json()).to.include({ code: "STORE_UNAVAILABLE", status: 503 });
    expect(await upstreamOf("GET", "/client-data/profile")).to.equal("query");
    commandApi.listen(port, "127.0.0.1");
    await once(commandApi, "listening");
    expect(await upstreamOf("PUT", "/client-data/profile")).to.equal("command");
  });

  it("cuts its own answer when the API's answer breaks off, rather than end it as if it were whole", async () => {
    handlers.query = (_incoming, response) => {
      response.writeHead(200, { "content-type": "application/json" });
      response.write('{"data":');
      setImmediate(() => response.destroy());
    };
    const outcome = await fetch(`${base}/client-data/all`)
      .then((response) => response.text())
      .catch(() => "cut");
    expect(outcome).to.equal("cut");
  });

  it("passes an event stream on event by event, and ends it at the API when the client goes away", async () => {
    let upstream: ServerResponse | undefined;
    handlers.query = (_incoming, response) => {
      response.writeHead(200, { "content-type": "text/event-stream" });
      response.flushHeaders();
      upstream = response;
    };
    const leave = new AbortController();
    const response = await fetch(`${base}/client-data/stream`, { signal: leave.signal });
    expect(response.headers.get("content-type")).to.equal("text/event-stream");
    const reader = (response.body as ReadableStream<Uint8Array>).getReader();
    for (const event of ["data: 1\n\n", "data: 2\n\n"]) {
      upstream?.write(event);
      const { value } = await reader.read();
      expect(new TextDecoder().decode(value)).to.equal(event);
    }
    const closed = once(upstream as ServerResponse, "close");
    leave.abort();
    await closed;
  });

  it("streams an upload on before it is complete", async () => {
    const firstChunk = new Promise<string>((resolve) => {
      handlers.command = (incoming, response) => {
        incoming.once("data", (chunk) => resolve(String(chunk)));
        incoming.resume().on("end", () => response.end("done"));
      };
    });
    const upload = request(`${base}/client-data/files/upload`, { method: "POST" });
    const answered = once(upload, "response");
    upload.write("first");
    expect(await firstChunk).to.equal("first");
    upload.end("second");
    const [response] = (await answered) as [IncomingMessage];
    expect(response.statusCode).to.equal(200);
    response.resume();
  });

  it("joins the two OpenAPI documents, and serves the last one while an API is away", async () => {
    const document = (paths: object) => ({
      openapi: "3.1.0",
      info: { title: "client-data", version: "1" },
      paths,
      components: { schemas: { Problem: { type: "object" } } },
    });
    const serve =
      (paths: object): Handler =>
      (_incoming, response) =>
        response.end(JSON.stringify(document(paths)));
    handlers.query = serve({ "/client-data/profile": { get: { summary: "read" } } });
    handlers.command = serve({ "/client-data/profile": { put: { summary: "write" } }, "/internal/x": { put: {} } });
    const merged = await (await fetch(`${base}/openapi.json`)).json();
    expect(merged).to.deep.include({
      paths: { "/client-data/profile": { get: { summary: "read" }, put: { summary: "write" } } },
      components: { schemas: { Problem: { type: "object" } } },
    });
    handlers.query = (_incoming, response) => response.destroy();
    expect(await (await fetch(`${base}/openapi.json`)).json()).to.deep.equal(merged);
  });

  it("refuses to join documents that contradict each other", () => {
    const document = (type: string) => ({ openapi: "3.1.0", info: {}, components: { schemas: { Money: { type } } } });
    expect(() => mergeOpenApi(document("object"), document("string"))).to.throw("schemas Money differently");
  });

  it("shows the API page from its own files alone", async () => {
    const page = await fetch(`${base}/docs`);
    expect(page.url).to.equal(`${base}/docs/`);
    const html = await page.text();
    const files = [...html.matchAll(/(?:src|href)="([^"]+)"/g)].map((match) => match[1] ?? "");
    expect(files.length).to.be.greaterThan(3);
    for (const file of files) {
      const { origin, href } = new URL(file, page.url);
      expect(origin).to.equal(base);
      expect((await fetch(href)).status, href).to.equal(200);
    }
    expect((await fetch(`${base}/docs/`, { method: "POST" })).status).to.equal(405);
  });
});
