import { once } from "node:events";
import { connect } from "node:net";
import { gzipSync } from "node:zlib";
import { expect } from "chai";
import { z } from "zod";
import { createApplication, createHealthApplication } from "#infrastructure/http/application.js";
import type { ReadinessCheck } from "#infrastructure/http/health.js";
import { createAuthenticator, principalOf, serviceOf } from "#infrastructure/http/principal.js";
import type { RouteDefinition } from "#infrastructure/http/routes.js";
import { listen, type RunningServer } from "#infrastructure/http/server.js";
import { parseBody, text } from "#infrastructure/http/validation.js";
import { createLogger } from "#infrastructure/log.js";
import { createRegistry } from "#infrastructure/metrics.js";
import { fixedOrgSettings } from "#infrastructure/org-settings.js";
import { failFastConnection } from "#infrastructure/queue.js";
import { createRateLimits } from "#infrastructure/rate-limits.js";
import { type Answer, type RequestOptions, sendRequest, startTestIssuer, type TestIssuer } from "../support/api.js";
import { backingServices } from "../support/stack.js";

const note = z.strictObject({ note: text(1, 100) });

/** Ends the waiting of the route that hangs. */
const letGo: (() => void)[] = [];

/** Routes of no area, one per thing the frame does. */
const probes: RouteDefinition[] = [
  {
    method: "get",
    path: "/client-data/who",
    summary: "who",
    operationId: "who",
    area: "probe",
    responses: {
      200: { description: "who", schema: z.object({}) },
      201: { description: "csv", contentType: "text/csv" },
    },
    handler: (_req, res) => void res.json(principalOf(res)),
  },
  {
    method: "post",
    path: "/client-data/notes/:noteId",
    summary: "note",
    operationId: "note",
    area: "probe",
    request: { params: z.object({ noteId: z.string() }), body: note },
    responses: { 200: { description: "note" } },
    handler: (req, res) => void res.json({ ...parseBody(note, req), client: principalOf(res).client ?? null }),
  },
  {
    method: "delete",
    path: "/client-data/notes/:noteId",
    summary: "remove",
    operationId: "remove",
    area: "probe",
    request: { params: z.object({ noteId: z.string() }) },
    responses: { 204: { description: "gone" } },
    handler: (_req, res) => void res.status(204).end(),
  },
  {
    method: "post",
    path: "/internal/lines",
    summary: "lines",
    operationId: "lines",
    area: "probe",
    access: "service",
    request: { raw: { contentType: "application/x-ndjson", limitBytes: 1_000 } },
    responses: { 200: { description: "lines" } },
    handler: (req, res) => void res.json({ bytes: (req.body as Buffer).length, actor: serviceOf(res).actor }),
  },
  {
    method: "get",
    path: "/client-data/hangs",
    summary: "hang",
    operationId: "hang",
    area: "probe",
    responses: { 200: { description: "too late" } },
    patienceMs: 300,
    handler: async (_req, res) => {
      await new Promise<void>((resolve) => letGo.push(resolve));
      res.json({});
    },
  },
  {
    method: "get",
    path: "/client-data/fault",
    summary: "fault",
    operationId: "fault",
    area: "probe",
    responses: {},
    handler: () => {
      throw new Error("mongodb://user:hunter2@db:27017 eyJhbGciOi.eyJzdWIi.c2ln");
    },
  },
];

describe("HTTP frame", () => {
  let issuer: TestIssuer;
  let server: RunningServer;
  let readiness: ReadinessCheck[];
  const logLines: string[] = [];
  const cleanUp: (() => unknown)[] = [];
  const org = "acme";

  before(async () => {
    const services = await backingServices();
    cleanUp.push(() => services.stop());
    issuer = await startTestIssuer(org);
    cleanUp.push(() => issuer.stop());
    const shared = { issuer: issuer.url, jwksUri: `${issuer.url}/jwks`, audience: "client-data" };
    const orgSettings = fixedOrgSettings({
      orgs: {
        [org]: {
          ...shared,
          corsOrigins: ["https://portal.acme.example"],
          rateLimits: { writes: { points: 30, windowSeconds: 60 } },
        },
        other: { ...shared, corsOrigins: ["https://portal.other.example"] },
        mapped: {
          ...shared,
          claims: { org: "https://id.example/org", customer: "customerId", typ: "kind", scope: "permissions" },
        },
        elsewhere: { ...shared, issuer: "https://issuer.elsewhere.example" },
      },
    });
    const redis = failFastConnection(services.env.REDIS_URL ?? "", () => {}, 10_000);
    cleanUp.push(() => redis.disconnect());
    await once(redis, "ready");
    const log = createLogger({
      service: "probe",
      level: "debug",
      destination: { write: (line) => void logLines.push(line) },
    });
    readiness = [];
    const app = createApplication({
      routes: probes,
      document: { title: "probe", version: "1" },
      orgSettings,
      authenticator: createAuthenticator({ orgSettings, keysCooldownMs: 0 }),
      rateLimits: createRateLimits(redis, orgSettings),
      log,
      registry: createRegistry("probe", "test"),
      readiness,
    });
    server = await listen(app, { host: "127.0.0.1", port: 0 });
    cleanUp.push(() => server.close(0));
  });
  after(async () => {
    for (const step of cleanUp.reverse()) await step();
  });

  const send = (method: string, path: string, options?: RequestOptions) =>
    sendRequest(server.url, method, path, options);
  const bearer = async (claims?: Record<string, unknown>) => `Bearer ${await issuer.token(claims)}`;
  const headersOf = async (claims?: Record<string, unknown>) => ({ orgid: org, authorization: await bearer(claims) });
  const outcome = ({ status, body }: Answer) => [status, body.code];

  describe("who calls", () => {
    const who = async (headers: Record<string, string>) => send("GET", "/client-data/who", { headers });

    it("is a customer, by the subject of the token", async () => {
      const claims = { sub: "c-1", email: "a@b.example", name: "A", auth_time: 5, scope: "one two" };
      const { status, body } = await who(await headersOf(claims));
      expect(status).to.equal(200);
      expect(body).to.deep.equal({
        org,
        owner: { org, customer: "c-1" },
        typ: "customer",
        actor: { type: "customer", id: "c-1" },
        claims: { email: "a@b.example", name: "A", authTime: 5 },
        scope: ["one", "two"],
      });
    });

    it("is a user for its linked record, and nobody without one", async () => {
      const linked = await who(await headersOf({ typ: "user", sub: "u-1", customer_id: "c-2" }));
      expect(linked.body.owner).to.deep.equal({ org, customer: "c-2" });
      const single = await who(await headersOf({ typ: "user", sub: "u-1" }));
      expect(outcome(single)).to.deep.equal([403, "NO_CUSTOMER_RECORD"]);
    });

    it("is never a service by itself, a token of unknown kind, or an API key", async () => {
      for (const typ of ["service", "staff", 7, undefined]) {
        expect(outcome(await who(await headersOf({ typ })))).to.deep.equal([403, "CUSTOMER_PRINCIPAL_REQUIRED"]);
      }
      const key = await who({ orgid: org, "x-api-key": "k" });
      expect(outcome(key)).to.deep.equal([403, "CUSTOMER_PRINCIPAL_REQUIRED"]);
    });

    it("may come through a trusted proxy, which is remembered", async () => {
      const customer = await bearer({ sub: "c-3" });
      const proxied = async (claims: Record<string, unknown>, forwarded = customer) =>
        who({ ...(await headersOf(claims)), "x-client-authorization": forwarded });
      const trusted = await proxied({ typ: "service", sub: "shop", scope: "act-for-customer" });
      expect(trusted.body).to.deep.include({ owner: { org, customer: "c-3" }, via: "shop" });
      const untrusted = await proxied({ typ: "service", sub: "shop", scope: "ingest" });
      expect(outcome(untrusted)).to.deep.equal([403, "CUSTOMER_PRINCIPAL_REQUIRED"]);
      expect((await proxied({ sub: "c-4", scope: "act-for-customer" })).status).to.equal(403);
      expect((await proxied({ typ: "service", scope: "act-for-customer" }, "Bearer nonsense")).status).to.equal(401);
      const foreign = await proxied({ typ: "service", scope: "act-for-customer" }, await bearer({ org: "other" }));
      expect(outcome(foreign)).to.deep.equal([403, "ORG_MISMATCH"]);
      expect((await who({ orgid: org, "x-client-authorization": customer })).status).to.equal(401);
    });

    it("reads claims by the org's own names", async () => {
      const token = await bearer({
        org: undefined,
        typ: undefined,
        "https://id.example/org": "mapped",
        kind: "user",
        customerId: "c-9",
      });
      const { status, body } = await who({ orgid: "mapped", authorization: token });
      expect([status, body.owner]).to.deep.equal([200, { org: "mapped", customer: "c-9" }]);
    });

    it("is unknown with a token that is expired, not yet valid, altered, for others or unsigned", async () => {
      const now = Math.floor(Date.now() / 1_000);
      const [head = "", payload = "", signature = ""] = (await issuer.token()).split(".");
      const none = Buffer.from(JSON.stringify({ alg: "none" })).toString("base64url");
      const tokens = [
        await issuer.token({ exp: now - 60 }),
        await issuer.token({ nbf: now + 60 }),
        await issuer.token({ exp: undefined }),
        await issuer.token({ aud: "other" }),
        await issuer.token({ iss: "https://evil.example" }),
        await issuer.token({ sub: "" }),
        await issuer.token({ sub: "x".repeat(65) }),
        await issuer.token({}, { algorithm: "HS256" }),
        await issuer.token({}, { kid: "unknown" }),
        `${head}.${Buffer.from('{"sub":"x"}').toString("base64url")}.${signature}`,
        `${none}.${payload}.`,
        `${none}.${payload}.${signature}`,
      ];
      for (const [index, token] of tokens.entries()) {
        const answer = await who({ orgid: org, authorization: `Bearer ${token}` });
        expect(outcome(answer), `token ${index}`).to.deep.equal([401, "UNAUTHENTICATED"]);
        expect(answer.headers.get("www-authenticate")).to.match(/^Bearer realm="client-data", error="invalid_token"/);
      }
      expect((await who({ orgid: org })).headers.get("www-authenticate")).to.equal('Bearer realm="client-data"');
      expect((await who({ orgid: "elsewhere", authorization: await bearer({ org: "elsewhere" }) })).status).to.equal(
        401,
      );
    });

    it("survives a rotation of keys, and an issuer that is away: 503, never 401", async () => {
      const old = await headersOf({ sub: "c-5" });
      expect((await who(old)).status).to.equal(200);
      await issuer.rotate();
      expect((await who(await headersOf({ sub: "c-5" }))).status).to.equal(200);
      expect((await who(old)).status).to.equal(401);
      const known = await headersOf({ sub: "c-5" });
      issuer.setDown(true);
      try {
        expect((await who(known)).status, "a key already fetched").to.equal(200);
        const unknown = await who({ orgid: org, authorization: `Bearer ${await issuer.token({}, { kid: "new" })}` });
        expect(outcome(unknown)).to.deep.equal([503, "PROVIDER_UNAVAILABLE"]);
        expect(unknown.headers.get("retry-after")).to.equal("5");
      } finally {
        issuer.setDown(false);
      }
    });

    it("cannot name another customer in the query", async () => {
      for (const name of ["customerId", "customer_id", "userId", "customer"]) {
        const answer = await send("GET", `/client-data/who?${name}=c-9`, { headers: await headersOf() });
        expect(outcome(answer), name).to.deep.equal([400, "UNKNOWN_FIELD"]);
        expect(answer.body.errors[0]).to.include({ field: name, code: "UNKNOWN_FIELD" });
      }
      const encoded = await send("GET", "/client-data/who?x=1&Customer%49d=c-9", { headers: await headersOf() });
      expect(outcome(encoded)).to.deep.equal([400, "UNKNOWN_FIELD"]);
    });
  });

  describe("bodies", () => {
    const post = async (options: RequestOptions, sub = "writer") =>
      send("POST", "/client-data/notes/1", {
        ...options,
        headers: { ...(await headersOf({ sub })), ...options.headers },
      });

    it("are JSON, also as text/plain and without a type", async () => {
      const json = JSON.stringify({ note: "Grüße" });
      for (const type of [
        "application/json",
        "application/json; charset=utf-8",
        "text/plain;charset=UTF-8",
        "TEXT/PLAIN",
      ]) {
        const answer = await post({ body: json, headers: { "content-type": type } });
        expect([answer.status, answer.body.note], type).to.deep.equal([200, "Grüße"]);
      }
      const untyped = await post({ body: new TextEncoder().encode(json) });
      expect(untyped.body.note).to.equal("Grüße");
      const zipped = await post({ body: new Uint8Array(gzipSync(json)), headers: { "content-encoding": "gzip" } });
      expect(zipped.body.note).to.equal("Grüße");
    });

    it("of another type are 415", async () => {
      for (const headers of [
        { "content-type": "application/xml" },
        { "content-type": "multipart/form-data; boundary=x" },
        { "content-type": "application/json; charset=latin9" },
        { "content-type": "application/json", "content-encoding": "lzma" },
      ]) {
        const answer = await post({ body: '{"note":"a"}', headers });
        expect(outcome(answer), JSON.stringify(headers)).to.deep.equal([415, "UNSUPPORTED_MEDIA_TYPE"]);
      }
    });

    it("that are no JSON are 400", async () => {
      const bodies = ["{", "null", "5", '"x"', '{"note":}', "\ufeff{", new Uint8Array([0x7b, 0x22, 0xff, 0x22, 0x7d])];
      for (const body of bodies)
        expect(outcome(await post({ body }, "malformed"))).to.deep.equal([400, "MALFORMED_JSON"]);
      const cut = await post({ body: new Uint8Array([1, 2, 3]), headers: { "content-encoding": "gzip" } }, "malformed");
      expect(outcome(cut)).to.deep.equal([400, "MALFORMED_REQUEST"]);
    });

    it("over 256 KiB are 413, also when they grow that large", async () => {
      const large = JSON.stringify({ note: "x".repeat(256 * 1024) });
      expect(outcome(await post({ body: large }))).to.deep.equal([413, "BODY_TOO_LARGE"]);
      const bomb = await post({ body: new Uint8Array(gzipSync(large)), headers: { "content-encoding": "gzip" } });
      expect(outcome(bomb)).to.deep.equal([413, "BODY_TOO_LARGE"]);
    });

    it("with faults name the fields; a missing one is a fault", async () => {
      const unknown = await post({ body: { note: "a", customerId: "c" } });
      expect(outcome(unknown)).to.deep.equal([400, "UNKNOWN_FIELD"]);
      expect(unknown.body.errors[0].field).to.equal("customerId");
      expect(outcome(await post({}))).to.deep.equal([400, "VALIDATION_FAILED"]);
    });

    it("of other media types go to routes that ask for them, within their own limit", async () => {
      const lines = async (body: string, type = "application/x-ndjson") =>
        send("POST", "/internal/lines", {
          body,
          headers: { ...(await headersOf({ typ: "service", sub: "platform" })), "content-type": type },
        });
      expect((await lines("{}\n{}\n")).body).to.deep.equal({ bytes: 6, actor: { type: "system", id: "platform" } });
      expect(outcome(await lines("{}", "application/json"))).to.deep.equal([415, "UNSUPPORTED_MEDIA_TYPE"]);
      expect(outcome(await lines("x".repeat(1_001)))).to.deep.equal([413, "BODY_TOO_LARGE"]);
    });

    it("carry what the client says of itself; nonsense there is refused", async () => {
      const { body } = await post(
        { body: { note: "a" }, headers: { "x-client-info": '{"app":"1.2"}', "x-client-host": "shop" } },
        "info",
      );
      expect(JSON.parse(body.client)).to.deep.include({ info: { app: "1.2" }, host: "shop", address: "127.0.0.1" });
      const long = { "x-client-info": JSON.stringify("x".repeat(2_048)) };
      for (const headers of [{ "x-client-info": "{" }, long]) {
        const answer = await post({ body: { note: "a" }, headers }, "info");
        expect(answer.body.errors?.[0]?.field).to.equal("x-client-info");
      }
    });
  });

  describe("paths, methods and media types", () => {
    it("unknown ones are 404, 405 with Allow, 406", async () => {
      expect(outcome(await send("GET", "/nothing"))).to.deep.equal([404, "ROUTE_NOT_FOUND"]);
      expect(outcome(await send("GET", "/client-data/notes/%ff"))).to.deep.equal([404, "ROUTE_NOT_FOUND"]);
      const method = await send("PUT", "/client-data/notes/1");
      expect(outcome(method)).to.deep.equal([405, "METHOD_NOT_ALLOWED"]);
      expect(method.headers.get("allow")).to.equal("POST, DELETE");
      for (const path of ["/healthz", "/openapi.json"]) {
        const posted = await send("POST", path);
        expect([...outcome(posted), posted.headers.get("allow")]).to.deep.equal([
          405,
          "METHOD_NOT_ALLOWED",
          "GET, HEAD",
        ]);
      }
      const headers = await headersOf();
      const accept = async (type: string) =>
        (await send("GET", "/client-data/who", { headers: { ...headers, accept: type } })).status;
      expect(await accept("image/png")).to.equal(406);
      for (const type of [
        "*/*",
        "application/*;q=0.5",
        "text/html, application/json",
        "text/csv",
        "application/json; charset=utf-8",
      ]) {
        expect(await accept(type), type).to.equal(200);
      }
    });

    it("HEAD answers as GET does, without a body; OPTIONS says what is allowed", async () => {
      const head = await send("HEAD", "/client-data/who", { headers: await headersOf() });
      expect([head.status, head.body]).to.deep.equal([200, ""]);
      const refused = await send("HEAD", "/client-data/who");
      expect([refused.status, refused.body]).to.deep.equal([400, ""]);
      const options = await send("OPTIONS", "/client-data/notes/1");
      expect([options.status, options.headers.get("allow")]).to.deep.equal([204, "POST, DELETE"]);
    });

    it("what is no HTTP gets a problem document and a closed connection", async () => {
      const raw = async (bytes: string) => {
        const socket = connect(server.port, "127.0.0.1");
        socket.end(bytes);
        let answer = "";
        for await (const chunk of socket) answer += chunk;
        return answer;
      };
      const garbage = await raw("NONSENSE\r\n\r\n");
      expect(garbage).to.match(/^HTTP\/1\.1 400 Bad Request\r\nContent-Type: application\/problem\+json/);
      expect(JSON.parse(garbage.split("\r\n\r\n")[1] ?? "")).to.include({ status: 400, code: "MALFORMED_REQUEST" });
      for (const line of ["GET /client-data/who HTTP/1.1", "PUT /nothing HTTP/1.1"]) {
        const hostless = await raw(`${line}\r\n\r\n`);
        expect(hostless).to.match(/^HTTP\/1\.1 400 Bad Request\r\nContent-Type: application\/problem\+json/);
      }
      const wide = await raw(`GET / HTTP/1.1\r\nHost: x\r\nX-Large: ${"x".repeat(20_000)}\r\n\r\n`);
      expect(wide).to.match(/^HTTP\/1\.1 431 /);
    });
  });

  describe("headers", () => {
    it("take over a safe request id and make one otherwise", async () => {
      const idOf = async (given?: string) =>
        (await send("GET", "/nothing", { headers: { "x-request-id": given } })).headers.get("x-request-id");
      expect(await idOf("request-12345")).to.equal("request-12345");
      for (const given of [undefined, "short", "x".repeat(65), "bad id with spaces"]) {
        expect(await idOf(given)).to.match(/^[0-9a-f-]{36}$/);
      }
    });

    it("keep answers private, tell what they depend on, and harden browsers", async () => {
      const { headers } = await send("GET", "/client-data/who", { headers: await headersOf() });
      expect(headers.get("cache-control")).to.equal("private, no-cache");
      expect(headers.get("vary")).to.equal("Authorization, orgid, Accept-Language");
      expect(headers.get("x-content-type-options")).to.equal("nosniff");
      expect(headers.get("content-security-policy")).to.contain("default-src 'none'");
      expect(headers.get("x-powered-by")).to.equal(null);
    });

    it("let pages of the org's own origins in, and no others", async () => {
      const allowed = async (origin: string, orgid: string) => {
        const { headers } = await send("GET", "/client-data/who", { headers: { origin, orgid } });
        expect(headers.get("vary")).to.contain("Origin");
        return headers.get("access-control-allow-origin");
      };
      expect(await allowed("https://portal.acme.example", org)).to.equal("https://portal.acme.example");
      expect(await allowed("https://portal.other.example", org)).to.equal(null);
      expect(await allowed("https://evil.example", org)).to.equal(null);
      const preflight = await send("OPTIONS", "/client-data/notes/1", {
        headers: { origin: "https://portal.other.example", "access-control-request-method": "POST" },
      });
      expect(preflight.status).to.equal(204);
      expect(preflight.headers.get("access-control-allow-origin")).to.equal("https://portal.other.example");
      expect(preflight.headers.get("access-control-allow-headers")).to.contain("idempotency-key");
      const { headers } = await send("GET", "/client-data/who", {
        headers: { origin: "https://portal.acme.example", orgid: org },
      });
      for (const name of ["ETag", "Link", "X-Log-Position", "Idempotency-Replayed", "RateLimit", "Retry-After"]) {
        expect(headers.get("access-control-expose-headers")).to.contain(name);
      }
    });

    it("say problems in the client's language", async () => {
      const answer = await send("GET", "/nothing", { headers: { "accept-language": "de-DE,de;q=0.9,en;q=0.8" } });
      expect(answer.body.title).to.equal("Unter dieser Adresse gibt es nichts");
      expect(answer.headers.get("content-language")).to.equal("de");
    });
  });

  describe("rate limits", () => {
    it("serve exactly the limit, say what is left, then 429 with Retry-After", async () => {
      const headers = await headersOf({ sub: `limited-${Date.now()}` });
      const answers = await Promise.all(
        Array.from({ length: 40 }, () => send("DELETE", "/client-data/notes/1", { headers })),
      );
      const refused = answers.filter(({ status }) => status === 429);
      expect(answers.filter(({ status }) => status === 204)).to.have.length(30);
      expect(refused).to.have.length(10);
      for (const answer of refused) {
        expect(outcome(answer)).to.deep.equal([429, "RATE_LIMITED"]);
        expect(Number(answer.headers.get("retry-after"))).to.be.within(1, 60);
        expect(answer.headers.get("ratelimit")).to.match(/^"writes";r=0;t=\d+$/);
      }
      expect(answers[0]?.headers.get("ratelimit-policy")).to.equal('"writes";q=30;w=60');
      const other = await send("DELETE", "/client-data/notes/1", { headers: await headersOf({ sub: "unlimited" }) });
      expect(other.status).to.equal(204);
    });
  });

  describe("faults of our own", () => {
    it("are 500 without a word of them, and logged without secrets", async () => {
      const headers = {
        ...(await headersOf({ sub: "c-fault" })),
        traceparent: `00-${"a".repeat(32)}-${"b".repeat(16)}-01`,
      };
      const answer = await send("GET", "/client-data/fault", { headers });
      expect(outcome(answer)).to.deep.equal([500, "INTERNAL_ERROR"]);
      expect(JSON.stringify(answer.body)).not.to.match(/hunter2|mongodb|eyJ/);
      const line = logLines.find((entry) => entry.includes(answer.body.requestId) && entry.includes('"level":"error"'));
      expect(line).to.be.a("string");
      const logged = JSON.parse(line ?? "{}");
      expect(logged).to.include({ service: "probe", area: "probe", orgId: org, code: "INTERNAL_ERROR", status: 500 });
      expect(logged.traceId).to.equal("a".repeat(32));
      expect(logged.customer).to.match(/^[A-Za-z0-9_-]{12}$/);
      expect(logLines.join("\n")).not.to.match(/hunter2|eyJ[\w-]+\.|c-fault/);
    });
  });

  describe("a handler that hangs", () => {
    it("is not waited for: 503 with Retry-After, whatever it answers later", async () => {
      const headers = await headersOf({ sub: "c-hangs" });
      const answer = await send("GET", "/client-data/hangs", { headers });
      expect(outcome(answer)).to.deep.equal([503, "STORE_UNAVAILABLE"]);
      expect(answer.headers.get("retry-after")).to.equal("1");
      for (const go of letGo) go();
      expect((await send("GET", "/client-data/who", { headers })).status).to.equal(200);
    });
  });

  describe("health", () => {
    it("is alive; is ready as long as every required check is; shows numbers", async () => {
      let broken = false;
      let probed = 0;
      const checks: ReadinessCheck[] = [
        {
          name: "store",
          probe: () => {
            probed++;
            if (broken) throw new Error("mongodb://user:hunter2@db refused");
          },
        },
        { name: "extra", required: false, probe: () => Promise.reject(new Error("away")) },
      ];
      const parts = {
        readiness: checks,
        registry: createRegistry("probe", "test"),
        log: createLogger({ service: "p", level: "silent" }),
      };
      const own = await listen(createHealthApplication(parts), { host: "127.0.0.1", port: 0 });
      try {
        expect((await sendRequest(own.url, "GET", "/healthz")).body).to.deep.equal({ status: "ok" });
        const ready = await sendRequest(own.url, "GET", "/readyz");
        expect([ready.status, ready.body.status]).to.deep.equal([200, "ready"]);
        expect(ready.body.checks.map(({ name, status }: Record<string, string>) => [name, status])).to.deep.equal([
          ["store", "ok"],
          ["extra", "failed"],
        ]);
        await sendRequest(own.url, "GET", "/readyz");
        expect(probed, "probes are cached").to.equal(1);
        const metrics = await sendRequest(own.url, "GET", "/metrics");
        expect(metrics.body).to.contain(
          'client_data_http_request_duration_seconds_count{route="/readyz",status="200"} 2',
        );
        expect(metrics.body).to.contain("client_data_build_info{");
      } finally {
        await own.close(0);
      }
      broken = true;
      const again = await listen(createHealthApplication({ ...parts, registry: createRegistry("p", "t") }), {
        host: "127.0.0.1",
        port: 0,
      });
      try {
        const unready = await sendRequest(again.url, "GET", "/readyz");
        expect([unready.status, unready.body.checks[0].status]).to.deep.equal([503, "failed"]);
        expect(JSON.stringify(unready.body)).not.to.contain("hunter2");
        expect(unready.headers.get("retry-after")).to.equal("5");
      } finally {
        await again.close(0);
      }
    });
  });

  describe("documents", () => {
    it("are served with a page that needs nothing from elsewhere", async () => {
      const { body } = await send("GET", "/openapi.json");
      expect(body.openapi).to.equal("3.1.0");
      const redirect = await send("GET", "/docs");
      expect(redirect.status).to.be.oneOf([301, 302]);
      const page = await send("GET", "/docs/");
      expect(page.status).to.equal(200);
      expect(page.body).to.contain("swagger-ui-bundle.js");
      const foreign = [...page.body.matchAll(/(?:src|href)=["']([^"']+)/g)].map(([, url]) => url);
      expect(foreign.length).to.be.greaterThan(3);
      for (const url of foreign) {
        expect(url).to.match(/^\.\//);
        expect((await send("GET", `/docs/${url.slice(2)}`)).status, url).to.equal(200);
      }
      expect((await send("GET", "/docs/swagger-ui-init.js")).body).to.contain("../openapi.json");
    });
  });
});
