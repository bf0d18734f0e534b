import { expect } from "chai";
import fc from "fast-check";
import type { RouteDefinition } from "#infrastructure/http/routes.js";
import { type Answer, sendRequest, startApi, type TestApi } from "../support/api.js";

/** Texts that break things: control characters, lone surrogates, other scripts, operators, paths, numbers as text. */
const nasty = fc.oneof(
  fc.constantFrom(
    "",
    " ",
    "null",
    "undefined",
    "NaN",
    "-0",
    "1e400",
    "9007199254740993",
    "__proto__",
    "constructor",
    "$where",
    "a.b",
    "../../etc/passwd",
    "'; drop table x; --",
    "\u0000",
    "\u202e",
    "\ufeff",
    "\ud800",
    "👩‍🚀",
    "İ",
    "x".repeat(5_000),
  ),
  fc.string({ unit: "binary", maxLength: 200 }),
);

const nastyJson = fc.oneof(
  nasty,
  fc.double(),
  fc.maxSafeInteger(),
  fc.constantFrom(-1, 0, 1e308, 2 ** 53, null, true),
  fc.jsonValue({ maxDepth: 3 }),
);

/** Header values that `fetch` lets out: no line breaks, Latin-1. */
const headerValue = fc
  .oneof(nasty, fc.constantFrom("W/", '"', "e.", "1.2.3", ",".repeat(200), "=".repeat(2_000)))
  .map((value) => value.replace(/[^\x20-\x7e\xa0-\xff]/g, "").slice(0, 3_000));

const watchedHeaders = [
  "accept",
  "accept-language",
  "content-type",
  "idempotency-key",
  "if-match",
  "if-none-match",
  "prefer",
  "traceparent",
  "x-client-host",
  "x-client-info",
  "x-min-log-position",
  "x-request-id",
] as const;

/** Names that schemas know, so that faults get past the names. */
const knownParameters = [
  "p",
  "ps",
  "s",
  "st",
  "count",
  "cursor",
  "status",
  "from",
  "to",
  "timezone",
  "q",
  "include",
  "area",
  "ids",
  "type",
  "minAmount",
];

describe("malformed requests", function () {
  this.timeout(120_000);
  let api: TestApi;
  let routes: { base: string; route: RouteDefinition; headers: Record<string, string> }[];

  before(async () => {
    api = await startApi({ projections: true });
    const customer = { ...(await api.as("malformed-1")).headers };
    const service = { ...(await api.asService()).headers };
    const withHeaders = (base: string) => (route: RouteDefinition) => ({
      base,
      route,
      headers: route.access === "service" ? service : customer,
    });
    routes = [...api.commandRoutes.map(withHeaders(api.commandApi)), ...api.queryRoutes.map(withHeaders(api.queryApi))];
  });
  after(() => api?.stop());

  /** Never a fault of ours: 2xx, 304 or a problem document of 4xx. */
  function check(answer: Answer, what: string): void {
    const { status, body, headers } = answer;
    if (status < 200 || status >= 500) throw new Error(`${what}: ${status} ${JSON.stringify(body)}`);
    if (status < 400) return;
    const context = `${what}: ${status}`;
    expect(headers.get("content-type"), context).to.match(/^application\/problem\+json/);
    if (body === "") return; // HEAD
    expect(body.type, context).to.equal(`urn:client-data:error:${body.code}`);
    expect(body, context).to.include({ status, statusCode: status, message: body.title });
    expect(JSON.stringify(body), context).not.to.match(/ at .*\.js:\d+|MongoServerError|node_modules/);
  }

  const route = () => fc.constantFrom(...routes);
  const fill = (path: string, values: readonly string[]) => {
    let index = 0;
    return path.replace(/[:*][A-Za-z]+/g, () => encodeURIComponent(wellFormed(values[index++] ?? "x")) || "x");
  };
  const run = { numRuns: 150, timeout: 10_000 } as const;

  it("in path parameters and query never get a 5xx", async () => {
    const query = fc.array(fc.tuple(fc.oneof(fc.constantFrom(...knownParameters), nasty), nasty), { maxLength: 4 });
    await fc.assert(
      fc.asyncProperty(route(), fc.array(nasty, { minLength: 3, maxLength: 3 }), query, async (target, ids, pairs) => {
        const search = new URLSearchParams(
          pairs.map(([name, value]): [string, string] => [wellFormed(name), wellFormed(value)]),
        );
        const path = `${fill(target.route.path, ids).slice(0, 6_000)}?${search}`.slice(0, 9_000);
        const { base, headers } = target;
        const answer = await sendRequest(base, target.route.method.toUpperCase(), path, { headers });
        check(answer, `${target.route.method} ${path}`);
      }),
      run,
    );
  });

  it("in headers never get a 5xx", async () => {
    const given = fc.array(fc.tuple(fc.constantFrom(...watchedHeaders), headerValue), { minLength: 1, maxLength: 3 });
    await fc.assert(
      fc.asyncProperty(route(), given, async (target, pairs) => {
        const headers = { ...target.headers, ...Object.fromEntries(pairs) };
        const body = target.route.method === "get" ? undefined : "{}";
        const path = fill(target.route.path, []);
        const answer = await sendRequest(target.base, target.route.method.toUpperCase(), path, { headers, body });
        check(answer, `${target.route.method} ${path} ${JSON.stringify(pairs)}`);
      }),
      run,
    );
  });

  it("in orgid and Authorization are 400, 401 or 403", async () => {
    await fc.assert(
      fc.asyncProperty(route(), headerValue, headerValue, async (target, orgid, authorization) => {
        const path = fill(target.route.path, []);
        const headers = { orgid, authorization, "x-client-authorization": authorization };
        const answer = await sendRequest(target.base, target.route.method.toUpperCase(), path, { headers });
        expect(answer.status).to.be.oneOf([400, 401, 403]);
        check(answer, `${orgid} ${authorization}`);
      }),
      { ...run, numRuns: 100 },
    );
  });

  it("in bodies that are JSON of the wrong shape never get a 5xx", async () => {
    const writing = () => fc.constantFrom(...routes.filter((target) => target.route.request?.body));
    if (routes.every((target) => !target.route.request?.body)) return;
    await fc.assert(
      fc.asyncProperty(
        writing(),
        fc.dictionary(nasty, nastyJson, { maxKeys: 4 }),
        fc.nat(),
        async (target, body, seed) => {
          const { base, route: definition, headers } = target;
          // Known names with nasty values reach deeper than unknown ones.
          const names = bodyFields(definition);
          const entries = Object.entries(body).map(([key, value], index) => [
            names.length > 0 && (seed + index) % 4 !== 0 ? names[(seed + index) % names.length] : key,
            value,
          ]);
          const text = JSON.stringify(Object.fromEntries(entries));
          const answer = await sendRequest(base, definition.method.toUpperCase(), fill(definition.path, []), {
            headers: { ...headers, "content-type": "application/json" },
            body: text,
          });
          check(answer, `${definition.method} ${definition.path} ${text}`);
        },
      ),
      { ...run, numRuns: 200 },
    );
  });

  it("in bytes that are no JSON never get a 5xx", async () => {
    const writing = routes.filter((target) => target.route.method !== "get");
    const bytes = fc.oneof(
      fc.uint8Array({ maxLength: 300 }),
      nasty.map((text) => new TextEncoder().encode(text)),
      fc
        .constantFrom("[".repeat(100_000), `${'{"a":'.repeat(20_000)}1${"}".repeat(20_000)}`, '{"a":1e999}')
        .map((text) => new TextEncoder().encode(text)),
    );
    await fc.assert(
      fc.asyncProperty(fc.constantFrom(...writing), bytes, async (target, body) => {
        const { base, route: definition, headers } = target;
        const answer = await sendRequest(base, definition.method.toUpperCase(), fill(definition.path, []), {
          headers: {
            ...headers,
            "content-type": definition.request?.raw?.contentType ?? "application/json",
            "idempotency-key": "malformed-bytes",
          },
          body: new Uint8Array(body),
        });
        if (answer.status !== 200) check(answer, `${definition.method} ${definition.path}`);
      }),
      { ...run, numRuns: 100 },
    );
  });
});

/** A URL holds UTF-8: lone surrogates become replacement characters, as in a browser. */
function wellFormed(text: string): string {
  return Buffer.from(text).toString();
}

function bodyFields(route: RouteDefinition): string[] {
  const shape = (route.request?.body as { shape?: Record<string, unknown> } | undefined)?.shape;
  return shape ? Object.keys(shape) : [];
}
