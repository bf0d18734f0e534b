import { randomBytes } from "node:crypto";
import { expect } from "chai";
import type { Collection } from "mongodb";
import { MongoClient } from "mongodb";
import { z } from "zod";
import { createApplication } from "#infrastructure/http/application.js";
import { answerList, listQuery } from "#infrastructure/http/paging.js";
import { createAuthenticator, principalOf } from "#infrastructure/http/principal.js";
import { answerDocument, type ReadDependencies } from "#infrastructure/http/reads.js";
import { record } from "#infrastructure/http/records.js";
import type { RouteDefinition } from "#infrastructure/http/routes.js";
import { listen, type RunningServer } from "#infrastructure/http/server.js";
import { parseQuery } from "#infrastructure/http/validation.js";
import { createLogger } from "#infrastructure/log.js";
import { createRegistry } from "#infrastructure/metrics.js";
import { fixedOrgSettings } from "#infrastructure/org-settings.js";
import {
  cursorRows,
  type GenerationRow,
  generationName,
  generationRows,
  openReadModels,
  packRow,
  type ReadModels,
  readModelKey,
} from "#infrastructure/read-models.js";
import { defineDocument } from "#projectors/runner/projection.js";
import { type Answer, sendRequest, startTestIssuer, type TestIssuer } from "../support/api.js";
import { backingServices } from "../support/stack.js";

type Book = {
  readonly id: string;
  readonly version: number;
  readonly createdAt: string;
  readonly modifiedAt: string;
  readonly data: {
    readonly title?: string;
    readonly pages: number;
    readonly status: string;
    readonly boughtAt: string;
  };
  readonly search: string;
};

const bookDocument = defineDocument<Book>({ name: "books", version: 1, indexes: [] });
const query = listQuery({
  sortable: { "data.title": "data.title", "data.pages": "data.pages", "data.boughtAt": "data.boughtAt" },
  statuses: ["read", "unread"],
  datePath: "data.boughtAt",
  searchPath: "search",
});

function bookQueries(deps: ReadDependencies): RouteDefinition[] {
  const toRecord = ({ id, version, createdAt, modifiedAt, data }: Book, org: string) =>
    record({ datatype: "order", id, org, version, state: data.status, createdAt, modifiedAt, data });
  return [
    {
      method: "get",
      path: "/client-data/books",
      summary: "books",
      operationId: "listBooks",
      area: "books",
      request: { query },
      responses: { 200: { description: "books" } },
      handler: (req, res) =>
        answerList(req, res, deps, {
          definition: bookDocument,
          query: parseQuery(query, req),
          toRecord: (book) => toRecord(book, principalOf(res).org),
        }),
    },
    {
      method: "get",
      path: "/client-data/books/:bookId",
      summary: "book",
      operationId: "getBook",
      area: "books",
      request: { params: z.object({ bookId: z.string() }) },
      responses: { 200: { description: "book" } },
      handler: (req, res) =>
        answerDocument(req, res, deps, {
          definition: bookDocument,
          id: String(req.params.bookId),
          notFound: "ORDER_NOT_FOUND",
          body: (book) => book && toRecord(book, principalOf(res).org),
        }),
    },
  ];
}

const position = (value: number) => String(value).padStart(20, "0");

describe("reads", () => {
  const org = "acme";
  const epoch = "epoch-1";
  let issuer: TestIssuer;
  let server: RunningServer;
  let mongo: MongoClient;
  let readModels: ReadModels;
  let books: Collection<Record<string, unknown> & { _id: string }>;
  let generations: Collection<GenerationRow>;
  const key = readModelKey(bookDocument);
  const cleanUp: (() => unknown)[] = [];

  before(async () => {
    const services = await backingServices();
    cleanUp.push(() => services.stop());
    issuer = await startTestIssuer(org);
    cleanUp.push(() => issuer.stop());
    mongo = new MongoClient(services.env.MONGODB_URL ?? "");
    cleanUp.push(() => mongo.close());
    const database = mongo.db(`reads-${randomBytes(4).toString("hex")}`);
    cleanUp.push(() => database.dropDatabase());
    generations = generationRows(database);
    await cursorRows(database).insertOne({
      _id: packRow,
      members: [{ projection: "books", version: 1, generation: 1, parked: [`${org}.parked`] }],
      position: position(100),
      event: null,
      events: 0,
      storeEpoch: epoch,
      leaseEpoch: 1,
    });
    books = database.collection(generationName(key, 1));
    await books.createIndex({ owner: 1, _pos: 1 });
    const log = createLogger({ service: "reads", level: "silent" });
    readModels = await openReadModels(database, [bookDocument], log);
    cleanUp.push(() => readModels.close());
    const orgSettings = fixedOrgSettings({
      orgs: { [org]: { issuer: issuer.url, jwksUri: `${issuer.url}/jwks`, audience: "client-data" } },
    });
    const verdict = {
      name: "reads",
      allowed: true,
      limit: { points: 1, windowSeconds: 1 },
      remaining: 1,
      resetSeconds: 1,
    };
    const app = createApplication({
      routes: bookQueries({ readModels, clock: () => new Date("2026-05-01T12:00:00Z") }),
      document: { title: "books", version: "1" },
      orgSettings,
      authenticator: createAuthenticator({ orgSettings }),
      rateLimits: { spend: () => verdict },
      log,
      registry: createRegistry("reads", "test"),
      readiness: [],
    });
    server = await listen(app, { host: "127.0.0.1", port: 0 });
    cleanUp.push(() => server.close(0));
  });
  after(async () => {
    for (const step of cleanUp.reverse()) await step();
  });

  async function reader(customer: string) {
    const authorization = `Bearer ${await issuer.token({ sub: customer })}`;
    return (path: string, headers: Record<string, string> = {}): Promise<Answer> =>
      sendRequest(server.url, "GET", `/client-data/${path}`, { headers: { orgid: org, authorization, ...headers } });
  }

  /** Stores a customer's book as the runner would. */
  async function put(customer: string, id: string, at: number, data: Partial<Book["data"]> = {}, more: object = {}) {
    const owner = `${org}.${customer}`;
    const modifiedAt = new Date(at * 1_000).toISOString();
    const document = {
      owner,
      _pos: position(at),
      id,
      version: 0,
      createdAt: modifiedAt,
      modifiedAt,
      data: { pages: 1, status: "unread", boughtAt: modifiedAt, ...data },
      search: id,
      ...more,
    };
    await books.replaceOne({ _id: `${owner}.${id}` }, document, { upsert: true });
  }

  async function until(holds: () => boolean): Promise<void> {
    const deadline = Date.now() + 30_000;
    while (!holds()) {
      if (Date.now() > deadline) throw new Error("it did not become so");
      await new Promise((resolve) => setImmediate(resolve));
    }
  }

  it("are 503 while the read model is being built", async () => {
    const read = await reader("early");
    const { status, body, headers } = await read("books");
    expect([status, body.code]).to.deep.equal([503, "PROJECTION_BEHIND"]);
    expect(headers.get("retry-after")).to.equal("5");
    await generations.insertOne({ _id: key, live: 1, building: null, retired: [] });
    await until(() => readModels.notBuilt().length === 0);
    expect((await read("books")).status).to.equal(200);
  });

  describe("lists", () => {
    const ids = (answer: Answer) => answer.body.data.map(({ pk }: { pk: string }) => pk.replace("order-", ""));

    before(async () => {
      await put("pager", "a", 1, { title: "Zebra", pages: 30, status: "read" });
      await put("pager", "b", 2, { title: "Ápfel", pages: 10 });
      await put("pager", "c", 3, { pages: 20 });
      await put("pager", "d", 3, { title: "Apfel", pages: 20, status: "read" });
      await put("pager", "e", 5, { pages: 10 });
      await put("pager", "gone", 6, {}, { _deletedAt: new Date() });
      await put("somebody-else", "x", 7);
    });

    it("hold the caller's own living records, newest change first", async () => {
      const read = await reader("pager");
      const answer = await read("books");
      expect(answer.status).to.equal(200);
      expect(ids(answer)).to.deep.equal(["e", "d", "c", "b", "a"]);
      expect(answer.body).to.include({ total: 5, totalPages: 1, hasNext: false, page: 1, pageSize: 50 });
      expect(answer.body).not.to.have.property("nextCursor");
      expect(answer.body.data[0]).to.have.keys(
        "pk",
        "sk",
        "datatype",
        "version",
        "state",
        "createdate",
        "modifydate",
        "data",
      );
      const nobody = await (await reader("nobody"))("books");
      expect([nobody.status, nobody.body.data, nobody.body.total]).to.deep.equal([200, [], 0]);
    });

    it("are cut into pages; one after the end is empty", async () => {
      const read = await reader("pager");
      const second = await read("books?p=2&ps=2");
      expect(ids(second)).to.deep.equal(["c", "b"]);
      expect(second.body).to.include({ total: 5, totalPages: 3, hasNext: true, page: 2 });
      expect(ids(await read("books?p=9&ps=2"))).to.deep.equal([]);
      const uncounted = await read("books?count=false");
      expect(uncounted.body).not.to.have.any.keys("total", "totalPages");
    });

    it("sort by any allowed field, ties by pk, rows without the field at one end", async () => {
      const read = await reader("pager");
      expect(ids(await read("books?s=data.pages&st=asc"))).to.deep.equal(["b", "e", "c", "d", "a"]);
      expect(ids(await read("books?s=title&st=asc"))).to.deep.equal(["c", "e", "d", "a", "b"]);
      expect(ids(await read("books?s=title&st=desc"))).to.deep.equal(["b", "a", "d", "e", "c"]);
    });

    it("can be walked by cursor in every order, each row once, while rows change", async () => {
      const read = await reader("pager");
      for (const order of [
        "",
        "s=title&st=asc",
        "s=title",
        "s=pages&st=asc",
        "s=createdate&st=asc",
        "status=read,unread",
      ]) {
        const seen: string[] = [];
        let cursor = "";
        do {
          const answer = await read(`books?ps=1&${order}${cursor}`);
          seen.push(...ids(answer));
          expect(answer.body.hasNext).to.equal(answer.body.nextCursor !== undefined);
          cursor = answer.body.nextCursor ? `&cursor=${answer.body.nextCursor}` : "";
        } while (cursor !== "");
        expect(seen, order).to.deep.equal(ids(await read(`books?${order}`)));
        expect(seen, order).to.have.length(5);
      }
      const first = await read("books?ps=2");
      await put("pager", "new", 50);
      const next = await read(`books?ps=2&cursor=${first.body.nextCursor}`);
      expect(ids(next)).to.deep.equal(["c", "b"]);
      await books.deleteOne({ _id: `${org}.pager.new` });
    });

    it("can be walked by values too long for a cursor, none left out when a row goes meanwhile", async () => {
      const read = await reader("long");
      const titles = ["a", "b", "c", "d"].map((letter) => `${"Ж".repeat(190)} ${letter}`);
      for (const [index, title] of titles.entries()) await put("long", `t${index}`, 20 + index, { title });
      for (const [st, order] of [
        ["asc", ["t0", "t1", "t2", "t3"]],
        ["desc", ["t3", "t2", "t1", "t0"]],
      ] as const) {
        const first = await read(`books?ps=2&s=title&st=${st}`);
        const { nextCursor } = first.body;
        expect(nextCursor.length).to.be.at.most(512);
        const next = await read(`books?ps=2&s=title&st=${st}&cursor=${nextCursor}`);
        expect([...ids(first), ...ids(next)]).to.deep.equal(order);
        await books.updateOne({ _id: `${org}.long.${order[1]}` }, { $set: { _deletedAt: new Date() } });
        const without = await read(`books?ps=4&s=title&st=${st}&cursor=${nextCursor}`);
        expect(ids(without)).to.include.members(order.slice(2));
        await books.updateOne({ _id: `${org}.long.${order[1]}` }, { $unset: { _deletedAt: "" } });
      }
    });

    it("refuse a cursor of another order, another customer or another making", async () => {
      const read = await reader("pager");
      const { nextCursor } = (await read("books?ps=2")).body;
      const refusals = [
        await read(`books?ps=2&st=asc&cursor=${nextCursor}`),
        await read(`books?ps=2&status=read&cursor=${nextCursor}`),
        await read(`books?cursor=${nextCursor.slice(1)}`),
        await read(`books?cursor=${"x".repeat(500)}`),
        await read(`books?cursor=${"x".repeat(513)}`),
        await (await reader("somebody-else"))(`books?ps=2&cursor=${nextCursor}`),
      ];
      for (const { status, body } of refusals) {
        expect([status, body.code, body.errors?.[0]?.field]).to.deep.equal([400, "INVALID_QUERY", "cursor"]);
      }
    });

    it("filter by state, by date and by words", async () => {
      const read = await reader("pager");
      expect(ids(await read("books?status=read"))).to.deep.equal(["d", "a"]);
      expect(ids(await read("books?from=1970-01-01T00:00:02Z&to=1970-01-01T00:00:05Z"))).to.deep.equal(["d", "c", "b"]);
      expect(ids(await read("books?from=1970-01-02"))).to.deep.equal([]);
      expect(ids(await read("books?from=1970-01-01&to=1970-01-01"))).to.have.length(5);
      expect((await read("books?q=.*")).body.total).to.equal(0);
    });
  });

  describe("entity tags", () => {
    it("answer 304 until something of the caller's changes, and nobody else's", async () => {
      await put("tagged", "a", 10);
      const read = await reader("tagged");
      for (const [index, path] of ["books", "books/a"].entries()) {
        const first = await read(path);
        const tag = first.headers.get("etag") ?? "";
        expect(tag).to.match(/^W\/"/);
        const again = await read(path, { "if-none-match": tag });
        expect([again.status, again.body, again.headers.get("etag")]).to.deep.equal([304, "", tag]);
        expect(again.headers.get("x-log-position")).to.equal(`${epoch}.100`);
        await put("neighbour", "a", 90);
        expect((await read(path, { "if-none-match": tag })).status).to.equal(304);
        await put("tagged", "a", 11 + index);
        expect((await read(path, { "if-none-match": tag })).status).to.equal(200);
      }
    });

    it("notice a removal, and differ between customers and queries", async () => {
      await put("twin-1", "a", 20);
      await put("twin-2", "a", 20);
      const read = await reader("twin-1");
      const tag = (await read("books")).headers.get("etag") ?? "";
      const other = await (await reader("twin-2"))("books", { "if-none-match": tag });
      expect(other.status).to.equal(200);
      expect((await read("books?ps=1", { "if-none-match": tag })).status).to.equal(200);
      await put("twin-1", "a", 21, {}, { _deletedAt: new Date() });
      const after = await read("books", { "if-none-match": tag });
      expect([after.status, after.body.data]).to.deep.equal([200, []]);
    });
  });

  it("of one record: 404 for what is not there, removed, or somebody else's", async () => {
    await put("owner", "mine", 30);
    await put("owner", "removed", 31, {}, { _deletedAt: new Date() });
    const read = await reader("owner");
    expect((await read("books/mine")).body.pk).to.equal("order-mine");
    for (const answer of [
      await read("books/removed"),
      await read("books/none"),
      await (await reader("thief"))("books/mine"),
    ]) {
      expect([answer.status, answer.body.code]).to.deep.equal([404, "ORDER_NOT_FOUND"]);
    }
  });

  describe("positions", () => {
    it("say how far the read model is; an old enough wish is answered at once", async () => {
      const read = await reader("positions");
      const { status, headers } = await read("books", { "x-min-log-position": `${epoch}.99,${epoch}.100` });
      expect([status, headers.get("x-log-position"), headers.get("x-stale")]).to.deep.equal([
        200,
        `${epoch}.100`,
        null,
      ]);
    });

    it("not reached in time are 503, or 200 marked stale for a lenient client", async () => {
      const read = await reader("positions");
      const strict = await read("books", { "x-min-log-position": `${epoch}.500`, prefer: "wait=0" });
      expect([strict.status, strict.body.code]).to.deep.equal([503, "PROJECTION_BEHIND"]);
      expect(strict.headers.get("retry-after")).to.equal("1");
      const lenient = await read("books", { "x-min-log-position": `${epoch}.500`, prefer: "wait=0, handling=lenient" });
      expect([lenient.status, lenient.headers.get("x-stale")]).to.deep.equal([200, "true"]);
    });

    it("are waited for: the answer comes when the read model gets there", async () => {
      const read = await reader("positions");
      const waiting = read("books", { "x-min-log-position": `${epoch}.150`, prefer: "wait=10" });
      await cursorRows(mongo.db(books.dbName)).updateOne({ _id: packRow }, { $set: { position: position(150) } });
      const { status, headers } = await waiting;
      expect([status, headers.get("x-log-position")]).to.deep.equal([200, `${epoch}.150`]);
    });

    it("of another store cannot be waited for; a parked customer is told its data is old", async () => {
      const read = await reader("positions");
      const foreign = await read("books", { "x-min-log-position": "epoch-0.99999" });
      expect([foreign.status, foreign.headers.get("x-stale")]).to.deep.equal([200, "true"]);
      const parked = await (await reader("parked"))("books");
      expect([parked.status, parked.headers.get("x-stale")]).to.deep.equal([200, "true"]);
      expect((await read("books", { "x-min-log-position": "nonsense" })).status).to.equal(400);
    });
  });
});
