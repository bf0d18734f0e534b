import { expect } from "chai";
import type { Request } from "express";
import fc from "fast-check";
import { z } from "zod";
import { rejectionCodes } from "#domain/core/rejection.js";
import { CommandRejected, IdempotencyKeyReused, StreamBusy } from "#infrastructure/command-handler.js";
import { StoreUnavailable } from "#infrastructure/event-store.js";
import { problemOf } from "#infrastructure/http/application.js";
import { decodeCursor, encodeCursor } from "#infrastructure/http/cursors.js";
import { expectedVersion, matchesNone, versionGuard, weakTag } from "#infrastructure/http/etags.js";
import { freshnessOf, wirePosition } from "#infrastructure/http/log-position.js";
import { listQuery } from "#infrastructure/http/paging.js";
import { frameCodes, Problem, problemDocument } from "#infrastructure/http/problem-details.js";
import { preferredLanguage, titleOf } from "#infrastructure/http/titles.js";
import {
  bcp47,
  e164,
  ianaZone,
  id,
  instant,
  jsonObject,
  parseBody,
  parseQuery,
  text,
} from "#infrastructure/http/validation.js";

const requestOf = (parts: { body?: unknown; query?: unknown; headers?: Record<string, string> }) =>
  ({ headers: {}, ...parts }) as unknown as Request;

function problemIn(work: () => unknown): Problem {
  try {
    work();
  } catch (error) {
    if (error instanceof Problem) return error;
    throw error;
  }
  throw new Error("no problem arose");
}

describe("problem documents", () => {
  it("map every kind of refusal to its status", () => {
    const statusOf = (kind: string, code: string) => problemOf(new CommandRejected({ kind, code } as never)).status;
    expect(statusOf("not-found", "ORDER_NOT_FOUND")).to.equal(404);
    expect(statusOf("conflict", "VERSION_CONFLICT")).to.equal(409);
    expect(statusOf("stale", "VERSION_CONFLICT")).to.equal(409);
    expect(statusOf("stale", "PRECONDITION_FAILED")).to.equal(412);
    expect(statusOf("refused", "WISHLIST_FULL")).to.equal(422);
    expect(statusOf("forbidden", "ACCOUNT_LOCKED")).to.equal(403);
    expect(statusOf("gone", "ORDER_NOT_FOUND")).to.equal(410);
    expect(statusOf("too-many", "WISHLIST_FULL")).to.equal(429);
    expect(statusOf("payment", "WISHLIST_FULL")).to.equal(402);
  });

  it("say what else goes wrong: a key used again, a busy stream, a store that is away, our own faults", () => {
    expect(problemOf(new IdempotencyKeyReused())).to.include({ status: 422, code: "IDEMPOTENCY_KEY_REUSED" });
    for (const error of [new StreamBusy(), new StoreUnavailable()]) {
      const problem = problemOf(error);
      expect(problem).to.include({ status: 503, code: "STORE_UNAVAILABLE" });
      expect(problem.options.headers).to.have.property("Retry-After");
    }
    const fault = problemOf(new Error("password=hunter2"));
    expect(fault).to.include({ status: 500, code: "INTERNAL_ERROR" });
    const document = problemDocument(fault, { language: "en", requestId: "r" });
    expect(JSON.stringify(document)).not.to.contain("hunter2");
  });

  it("have the members of RFC 9457, the code, and the two that older clients read", () => {
    const problem = new Problem(409, "VERSION_CONFLICT", { params: { currentVersion: 4, status: 1 } });
    expect(
      problemDocument(problem, { language: "en", requestId: "request-1", instance: "/client-data/x" }),
    ).to.deep.equal({
      type: "urn:client-data:error:VERSION_CONFLICT",
      title: "The record has changed since the version named",
      status: 409,
      instance: "/client-data/x",
      code: "VERSION_CONFLICT",
      currentVersion: 4,
      requestId: "request-1",
      statusCode: 409,
      message: "The record has changed since the version named",
    });
  });

  it("have a title for every code, in the best language of Accept-Language", () => {
    for (const code of [...frameCodes, ...rejectionCodes]) expect(titleOf(code, "en"), code).to.be.a("string");
    expect(preferredLanguage(undefined)).to.equal("en");
    expect(preferredLanguage("fr-FR, fr;q=0.9")).to.equal("en");
    expect(preferredLanguage("fr, de-CH;q=0.8, en;q=0.5")).to.equal("de");
    expect(preferredLanguage("de;q=0.2, en;q=0.5")).to.equal("en");
    expect(preferredLanguage("de;q=0")).to.equal("en");
    expect(titleOf("ORDER_NOT_FOUND", "de")).to.equal("Diese Bestellung gibt es nicht");
    for (const code of [...frameCodes, ...rejectionCodes]) {
      expect(titleOf(code, "de"), code).to.not.equal(titleOf(code, "en"));
    }
    fc.assert(fc.property(fc.string({ unit: "binary" }), (header) => ["en", "de"].includes(preferredLanguage(header))));
  });
});

describe("request bodies and queries", () => {
  const schema = z.strictObject({
    name: text(1, 5),
    items: z
      .array(z.strictObject({ quantity: z.int().min(1).max(9) }))
      .max(2)
      .optional(),
  });
  const errorsOf = (body: unknown) => problemIn(() => parseBody(schema, requestOf({ body }))).options.errors;

  it("give the parsed value", () => {
    expect(parseBody(schema, requestOf({ body: { name: " Zoë " } }))).to.deep.equal({ name: "Zoë" });
  });

  it("name every faulty field and how it is faulty", () => {
    expect(errorsOf({})).to.deep.equal([{ field: "name", code: "REQUIRED", message: "is required" }]);
    expect(errorsOf({ name: 5 })?.[0]).to.include({ field: "name", code: "TYPE", message: "must be a string" });
    expect(errorsOf({ name: "" })?.[0]).to.include({ field: "name", code: "TOO_SHORT" });
    expect(errorsOf({ name: "abcdef" })?.[0]).to.deep.include({ code: "TOO_LONG", params: { max: 5 } });
    expect(errorsOf({ name: "a", items: [{ quantity: 10 }] })?.[0]).to.deep.include({
      field: "items[0].quantity",
      code: "TOO_LARGE",
      params: { max: 9 },
    });
    expect(errorsOf({ name: "a", items: [{ quantity: 1.5 }] })?.[0]?.message).to.equal("must be a whole number");
    expect(errorsOf(undefined)?.[0]).to.include({ field: "", code: "REQUIRED" });
  });

  it("refuse fields nobody knows, naming each", () => {
    const problem = problemIn(() => parseBody(schema, requestOf({ body: { name: "", customerId: "x", other: 1 } })));
    expect(problem).to.include({ status: 400, code: "UNKNOWN_FIELD" });
    const unknown = problem.options.errors?.filter(({ code }) => code === "UNKNOWN_FIELD").map(({ field }) => field);
    expect(unknown).to.have.members(["customerId", "other"]);
    const hidden = problemIn(() =>
      parseBody(schema, requestOf({ body: JSON.parse('{"name":"a","__proto__":{"x":1}}') })),
    );
    expect(hidden.code).to.equal("UNKNOWN_FIELD");
  });

  it("bound how many errors they tell of", () => {
    const many = Object.fromEntries(Array.from({ length: 500 }, (_, index) => [`field${index}`, 1]));
    expect(errorsOf(many)).to.have.length(50);
  });

  it("name the faulty query parameter", () => {
    const problem = problemIn(() =>
      parseQuery(z.object({ area: z.enum(["a"]) }), requestOf({ query: { area: ["a", "a"] } })),
    );
    expect(problem).to.include({ status: 400, code: "INVALID_QUERY" });
    expect(problem.options.errors?.[0]?.field).to.equal("area");
  });
});

describe("pieces that fields are made of", () => {
  const accepts = (schema: z.ZodType, value: unknown) => schema.safeParse(value).success;

  it("text: NFC, trimmed, newline as newline, code points counted, no control characters", () => {
    expect(text(1, 20).parse("  Cafe\u0301\r\nbar\t ")).to.equal("Café\nbar");
    expect(accepts(text(1, 2), "👩‍🚀")).to.equal(false); // three code points
    expect(accepts(text(1, 3), "👩‍🚀")).to.equal(true);
    expect(accepts(text(2, 2), "👍👍")).to.equal(true);
    for (const bad of ["a\u0000", "a\u007fb", "a\u0085b", "a\rb", "\ud800"])
      expect(accepts(text(0, 9), bad), bad).to.equal(false);
    expect(accepts(text(1, 9), "   ")).to.equal(false);
  });

  it("text: what was accepted once is accepted unchanged", () => {
    fc.assert(
      fc.property(fc.string({ unit: "binary" }), (value) => {
        const first = text(0, 1_000).safeParse(value);
        return !first.success || text(0, 1_000).parse(first.data) === first.data;
      }),
    );
  });

  it("instant: any offset in, UTC with milliseconds out", () => {
    expect(instant().parse("2026-03-29T02:30:00+02:00")).to.equal("2026-03-29T00:30:00.000Z");
    expect(instant().parse("2026-03-29T02:30:00.123456Z")).to.equal("2026-03-29T02:30:00.123Z");
    const refused = ["2026-03-29T02:30:00", "2026-03-29", "2026-02-30T00:00:00Z", "0000-01-01T00:00:00+01:00", 1, ""];
    for (const bad of refused) expect(accepts(instant(), bad), String(bad)).to.equal(false);
  });

  it("telephone numbers, languages, zones, ids", () => {
    expect(accepts(e164(), "+4915112345678")).to.equal(true);
    for (const bad of ["+0123", "015112345678", "+491511234567890123", "+49 151", ""])
      expect(accepts(e164(), bad)).to.equal(false);
    expect(bcp47().parse("EN-gb")).to.equal("en-GB");
    for (const bad of ["", "english!", "x".repeat(36), "de_AT"]) expect(accepts(bcp47(), bad), bad).to.equal(false);
    expect(accepts(ianaZone(), "Europe/Berlin")).to.equal(true);
    for (const bad of ["Europe/Atlantis", "+02:00", "", "../etc"])
      expect(accepts(ianaZone(), bad), bad).to.equal(false);
    expect(accepts(id(), "order-01J.x:y~z_")).to.equal(true);
    for (const bad of ["", "a/b", "a b", "ä", "x".repeat(65)]) expect(accepts(id(), bad), bad).to.equal(false);
  });

  it("free-form objects: bounded in bytes and depth", () => {
    const schema = jsonObject(64, 2);
    expect(accepts(schema, { a: { b: 1 } })).to.equal(true);
    expect(accepts(schema, { a: { b: { c: 1 } } })).to.equal(false);
    expect(accepts(schema, { a: "x".repeat(64) })).to.equal(false);
    expect(accepts(schema, { "a\u0000": 1 })).to.equal(false);
    expect(accepts(schema, [])).to.equal(false);
  });
});

describe("list queries", () => {
  const schema = listQuery({
    sortable: { "data.placedAt": "data.placedAt" },
    statuses: ["new", "old"],
    datePath: "data.placedAt",
    searchPath: "search",
    filters: { kind: z.enum(["a", "b"]).optional() },
  });
  const parse = (query: Record<string, unknown>) => parseQuery(schema, requestOf({ query }));
  const fieldsOf = (query: Record<string, unknown>) =>
    problemIn(() => parse(query)).options.errors?.map(({ field }) => field);

  it("have defaults", () => {
    expect(parse({})).to.deep.include({
      page: 1,
      pageSize: 50,
      sortPath: "modifiedAt",
      direction: -1,
      count: true,
      cursor: undefined,
      filter: {},
      filters: {},
    });
    expect(parseQuery(listQuery({ sortable: {}, feed: true }), requestOf({ query: {} }))).to.include({
      pageSize: 20,
      count: false,
    });
  });

  it("take aliases and bare payload names", () => {
    expect(parse({ page: "2", pageSize: "7", sort: "placedAt", sortType: "asc" })).to.deep.include({
      page: 2,
      pageSize: 7,
      sortPath: "data.placedAt",
      direction: 1,
    });
    expect(parse({ s: "createdate" }).sortPath).to.equal("createdAt");
  });

  it("name the parameter that is not valid", () => {
    for (const [query, field] of [
      [{ p: "0" }, "p"],
      [{ p: "1.5" }, "p"],
      [{ p: ["1", "2"] }, "p"],
      [{ ps: "201" }, "ps"],
      [{ st: "up" }, "st"],
      [{ count: "yes" }, "count"],
      [{ status: "new,gone" }, "status"],
      [{ from: "yesterday" }, "from"],
      [{ from: "2026-02-30" }, "from"],
      [{ to: "2026-01-01T00:00:00" }, "to"],
      [{ from: "2026-02-02", to: "2026-01-01" }, "to"],
      [{ timezone: "Mars/Base" }, "timezone"],
      [{ q: "x" }, "q"],
      [{ q: "x".repeat(101) }, "q"],
      [{ kind: "c" }, "kind"],
      [{ cursor: "" }, "cursor"],
      [{ cursor: "abc", p: "2" }, "p"],
    ] as const) {
      expect(fieldsOf(query), JSON.stringify(query)).to.deep.equal([field]);
    }
  });

  it("say which fields sort, and how deep pages go", () => {
    const sort = problemIn(() => parse({ s: "data.secret" }));
    expect(sort).to.include({ status: 400, code: "SORT_NOT_ALLOWED" });
    expect(sort.options.params?.allowed).to.deep.equal(["data.placedAt", "createdate", "modifydate", "version"]);
    expect(problemIn(() => parse({ s: "__proto__" })).code).to.equal("SORT_NOT_ALLOWED");
    expect(parse({ p: "50", ps: "200" }).page).to.equal(50);
    expect(problemIn(() => parse({ p: "51", ps: "200" }))).to.include({ status: 400, code: "PAGE_TOO_DEEP" });
  });

  it("take dates as days of the zone, the last one whole", () => {
    const range = (query: Record<string, string>) => parse(query).filter["data.placedAt"];
    expect(range({ from: "2026-03-29", to: "2026-03-29", timezone: "Europe/Berlin" })).to.deep.equal({
      $gte: "2026-03-28T23:00:00.000Z",
      $lt: "2026-03-29T22:00:00.000Z", // 23 hours: the clocks went forward
    });
    expect(range({ from: "2026-03-29" })).to.deep.equal({ $gte: "2026-03-29T00:00:00.000Z" });
    expect(range({ to: "2026-03-29T12:00:00+02:00" })).to.deep.equal({ $lt: "2026-03-29T10:00:00.000Z" });
  });

  it("look for words as text, never as a pattern", () => {
    const { $regex } = parse({ q: "a.*b (x" }).filter.search as { $regex: string };
    expect(new RegExp($regex).test("zz a.*b\n(x")).to.equal(true);
    expect(new RegExp($regex).test("a123b (x")).to.equal(false);
    expect(fieldsOf({ q: "\0ab" })).to.deep.equal(["q"]);
    expect(parse({ q: "\u0308\u0308" }).filter.search).to.deep.equal({ $in: [] });
  });
});

describe("cursors", () => {
  const value = fc.oneof(fc.string({ unit: "binary" }), fc.integer(), fc.boolean(), fc.constant(null));

  it("come back as they went", () => {
    fc.assert(
      fc.property(value, fc.string(), fc.string(), (sortValue, rowId, scope) => {
        const place = { value: sortValue, id: rowId };
        expect(decodeCursor(encodeCursor(place, scope), scope)).to.deep.equal(place);
      }),
    );
  });

  it("are 512 characters at most: of a long value they keep the beginning", () => {
    fc.assert(
      fc.property(fc.string({ unit: "binary", minLength: 200, maxLength: 400 }), fc.nat(250), (long, idLength) => {
        const place = { value: long, id: "i".repeat(idLength) };
        const cursor = encodeCursor(place, "scope");
        expect(cursor.length).to.be.at.most(512);
        const { value, id, cut } = decodeCursor(cursor, "scope");
        expect(id).to.equal(place.id);
        expect(long.startsWith(String(value))).to.equal(true);
        expect(cut === true).to.equal(value !== long);
      }),
    );
  });

  it("are refused when altered, cut or of another list", () => {
    const cursor = encodeCursor({ value: 5, id: "x" }, "scope");
    expect(problemIn(() => decodeCursor(cursor, "other"))).to.include({ status: 400, code: "INVALID_QUERY" });
    fc.assert(
      fc.property(fc.nat(cursor.length - 1), fc.constantFrom(..."abcXYZ019-_."), (index, character) => {
        const altered = cursor.slice(0, index) + character + cursor.slice(index + 1);
        if (altered !== cursor) expect(problemIn(() => decodeCursor(altered, "scope")).status).to.equal(400);
      }),
    );
    fc.assert(fc.property(fc.string(), (garbage) => problemIn(() => decodeCursor(garbage, "scope")).status === 400));
  });
});

describe("entity tags", () => {
  const now = new Date("2026-05-01T12:00:00Z");

  it("differ by owner, read model, position, query and day", () => {
    const tags = [
      weakTag("acme.a", "orders.v1.g1", "5", "", now),
      weakTag("acme.b", "orders.v1.g1", "5", "", now),
      weakTag("acme.a", "orders.v1.g2", "5", "", now),
      weakTag("acme.a", "orders.v1.g1", "6", "", now),
      weakTag("acme.a", "orders.v1.g1", "5", "p=2", now),
      weakTag("acme.a", "orders.v1.g1", "5", "", new Date("2026-05-02T12:00:00Z")),
    ];
    expect(new Set(tags).size).to.equal(tags.length);
    expect(tags[0]).to.equal(weakTag("acme.a", "orders.v1.g1", "5", "", new Date("2026-05-01T23:59:59Z")));
    expect(tags[0]).to.match(/^W\/"[A-Za-z0-9_-]+"$/);
  });

  it("match If-None-Match weakly, in a list, and by a star", () => {
    const matches = (header: string) => matchesNone(requestOf({ headers: { "if-none-match": header } }), 'W/"a"');
    expect(matches('W/"a"')).to.equal(true);
    expect(matches('"a"')).to.equal(true);
    expect(matches('"b", W/"a"')).to.equal(true);
    expect(matches("*")).to.equal(true);
    expect(matches('"b"')).to.equal(false);
    expect(matchesNone(requestOf({}), 'W/"a"')).to.equal(false);
  });

  it("give the version a command expects, from If-Match before the body", () => {
    const expected = (header: string | undefined, version?: number) =>
      expectedVersion(requestOf({ headers: header === undefined ? {} : { "if-match": header } }), version);
    expect(expected(undefined)).to.equal(undefined);
    expect(expected(undefined, 3)).to.deep.equal({ versions: [3], code: "VERSION_CONFLICT" });
    expect(expected('"4"', 3)).to.deep.equal({ versions: [4], code: "PRECONDITION_FAILED" });
    expect(expected('"4", "x", W/"5"')?.versions).to.deep.equal([4]);
    expect(expected("*")?.versions).to.equal("any");
    for (const bad of ["4", '"4', "", '"4" "5"']) expect(problemIn(() => expected(bad)).status, bad).to.equal(400);
  });

  it("guard the state decided on", () => {
    const guard = (header: string) =>
      versionGuard<number | undefined>(
        expectedVersion(requestOf({ headers: { "if-match": header } })),
        (state) => state,
      );
    expect(guard('"4"')?.(4)).to.equal(undefined);
    expect(guard('"4"')?.(5)).to.deep.include({ code: "PRECONDITION_FAILED", params: { currentVersion: 5 } });
    expect(guard("*")?.(7)).to.equal(undefined);
    expect(guard("*")?.(undefined)).to.include({ code: "PRECONDITION_FAILED" });
    expect(guard('W/"4"')?.(4)).to.include({ code: "PRECONDITION_FAILED" });
    expect(versionGuard(undefined, () => 1)).to.equal(undefined);
  });
});

describe("log positions", () => {
  const position = (digits: string) => digits.padStart(20, "0");
  const freshness = (headers: Record<string, string>, epoch = "e1") => freshnessOf(requestOf({ headers }), epoch);

  it("travel with the store's epoch and come back", () => {
    expect(wirePosition("e1", position("420"))).to.equal("e1.420");
    expect(wirePosition("e1", position("0"))).to.equal("e1.0");
    expect(freshness({ "x-min-log-position": "e1.420" })?.position).to.equal(position("420"));
  });

  it("ask for the highest of a list, within the default time", () => {
    expect(freshness({ "x-min-log-position": "e1.9, e1.10,e1.2" })).to.deep.equal({
      position: position("10"),
      foreign: false,
      waitMs: 2_000,
      lenient: false,
    });
    expect(freshness({})).to.equal(undefined);
  });

  it("heed Prefer, at most ten seconds, and pass over what they do not know", () => {
    const wait = (prefer: string) => freshness({ "x-min-log-position": "e1.9", prefer });
    expect(wait("wait=5, handling=lenient")).to.include({ waitMs: 5_000, lenient: true });
    expect(wait("handling=strict; wait=99")).to.include({ waitMs: 10_000, lenient: false });
    expect(wait("wait=0")).to.include({ waitMs: 0 });
    expect(wait("wait=soon, respond-async")).to.include({ waitMs: 2_000 });
  });

  it("of another store are told apart; what is no position is refused", () => {
    expect(freshness({ "x-min-log-position": "old.9, e1.5" })).to.include({ foreign: true, position: position("5") });
    for (const bad of ["", "9", "e1.", "e1.x", "e1.9,", "e1.-1", "e1.9.9", Array(11).fill("e1.1").join(",")]) {
      expect(
        problemIn(() => freshness({ "x-min-log-position": bad })),
        bad,
      ).to.include({ status: 400 });
    }
  });
});
