import { createServer, type Server } from "node:http";
import type { AddressInfo } from "node:net";
import { expect } from "chai";
import { streams } from "#domain/core/identifiers.js";
import { type Caller, startApi, type TestApi } from "../support/api.js";

const kettle = {
  name: "Kettle",
  slug: "kettle",
  imageUrl: "https://shop.example/kettle.jpg",
  priceMinor: 4900,
  currency: "EUR",
  inStock: true,
  available: true,
};
const quiet = { backInStock: false, priceDrop: false };

/** An outside catalogue that knows the kettle, does not know `unknown`, and fails for all else. */
async function startCatalogue(): Promise<{ url: string; server: Server }> {
  const server = createServer((request, response) => {
    if (request.url === "/shop/products/kettle") {
      response.writeHead(200, { "content-type": "application/json" }).end(JSON.stringify(kettle));
    } else response.writeHead(request.url === "/shop/products/unknown" ? 404 : 500).end();
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  return { url: `http://127.0.0.1:${(server.address() as AddressInfo).port}/shop`, server };
}

describe("wishlist over HTTP", () => {
  let api: TestApi;
  let ada: Caller;
  let customer = 0;

  const stream = () => streams.wishlist({ org: api.org, customer: `ada-${customer}` });
  const facts = async (since: string) =>
    (await api.newEvents(since, stream())).map(({ type, data }) => ({ type, data }));
  const nextCustomer = async () => {
    customer += 1;
    ada = await api.as(`ada-${customer}`);
  };

  describe("with the products the platform feeds", () => {
    before(async () => {
      api = await startApi({ projections: true });
    });
    after(() => api?.stop());
    beforeEach(nextCustomer);

    it("adds a product never heard of, without `product`", async () => {
      const since = await api.mark();
      const { status, headers, body } = await ada.post("/client-data/wishlist/p-1");
      expect(status).to.equal(201);
      expect(headers.get("location")).to.equal("/client-data/wishlist?ids=p-1");
      expect(headers.get("etag")).to.equal('"0"');
      expect(body).to.deep.include({ pk: "wishlist_item-p-1", datatype: "wishlist_item", version: 0, state: "active" });
      expect(body.data).to.deep.equal({
        productId: "p-1",
        quantity: 1,
        addedAt: body.createdate,
        notify: quiet,
      });
      expect(await facts(since)).to.deep.equal([
        { type: "wishlist.ProductAdded.v1", data: { productId: "p-1", quantity: 1, notify: quiet } },
      ]);
    });

    it("merges the fields given into an entry that is there, and writes nothing when nothing differs", async () => {
      await ada.post("/client-data/wishlist/p-1", { body: { note: "for Mum", quantity: 2 } });
      const since = await api.mark();
      const changed = await ada.post("/client-data/wishlist/p-1", { body: { notify: { priceDrop: true } } });
      expect(changed.status).to.equal(200);
      expect(changed.body.data).to.deep.include({
        note: "for Mum",
        quantity: 2,
        notify: { backInStock: false, priceDrop: true },
      });
      const again = await ada.post("/client-data/wishlist/p-1");
      expect([again.status, again.body.version]).to.deep.equal([200, 1]);
      expect((await facts(since)).map(({ type }) => type)).to.deep.equal(["wishlist.ProductChanged.v1"]);
      const cleared = await ada.post("/client-data/wishlist/p-1", { body: { note: null } });
      expect(cleared.body.data).not.to.have.property("note");
    });

    it("keeps variants apart, by body, query or entry id", async () => {
      expect((await ada.post("/client-data/wishlist/shirt")).status).to.equal(201);
      const medium = await ada.post("/client-data/wishlist/shirt", { body: { variantId: "m" } });
      expect([medium.status, medium.body.pk]).to.deep.equal([201, "wishlist_item-shirt~m"]);
      expect((await ada.post("/client-data/wishlist/shirt", { body: { variantId: "l" } })).status).to.equal(201);
      const since = await api.mark();
      expect((await ada.delete("/client-data/wishlist/shirt?variantId=l")).status).to.equal(204);
      expect((await ada.delete("/client-data/wishlist/wishlist_item-shirt~m")).status).to.equal(204);
      expect((await ada.delete("/client-data/wishlist/shirt")).status).to.equal(204);
      expect((await facts(since)).map(({ data }) => data)).to.deep.equal([
        { productId: "shirt", variantId: "l" },
        { productId: "shirt", variantId: "m" },
        { productId: "shirt" },
      ]);
    });

    it("answers 204 also for what is not there, and holds on to a version named", async () => {
      const since = await api.mark();
      expect((await ada.delete("/client-data/wishlist/p-1")).status).to.equal(204);
      expect(await facts(since)).to.deep.equal([]);
      await ada.post("/client-data/wishlist/p-1");
      await ada.post("/client-data/wishlist/p-1", { body: { quantity: 5 } });
      const stale = await ada.delete("/client-data/wishlist/p-1", { headers: { "if-match": '"0"' } });
      expect([stale.status, stale.body.code]).to.deep.equal([412, "PRECONDITION_FAILED"]);
      const conflict = await ada.delete("/client-data/wishlist/p-1", { body: { version: 0 } });
      expect([conflict.status, conflict.body.code]).to.deep.equal([409, "VERSION_CONFLICT"]);
      const impostor = await ada.delete("/client-data/wishlist/p-1", { body: { customerId: "grace" } });
      expect([impostor.status, impostor.body.code]).to.deep.equal([400, "UNKNOWN_FIELD"]);
      const fresh = await ada.delete("/client-data/wishlist/p-1", { headers: { "if-match": '"1"' } });
      expect(fresh.status).to.equal(204);
    });

    it("rebuilds the first answer for the same Idempotency-Key, though the product is gone since", async () => {
      const headers = { "idempotency-key": "add-1" };
      const first = await ada.post("/client-data/wishlist/p-1", { body: { quantity: 3 }, headers });
      await ada.delete("/client-data/wishlist/p-1");
      const again = await ada.post("/client-data/wishlist/p-1", { body: { quantity: 3 }, headers });
      expect(again.status).to.equal(201);
      expect(again.headers.get("idempotency-replayed")).to.equal("true");
      expect(again.body).to.deep.equal(first.body);
    });

    it("merges a list: adds what is missing, leaves the rest, says what found no room", async () => {
      const many = (from: number, count: number) =>
        Array.from({ length: count }, (_, index) => ({ productId: `m-${from + index}` }));
      for (const from of [0, 200]) {
        const { body } = await ada.post("/client-data/wishlist", { body: { items: many(from, 200) } });
        expect(body.data).to.deep.equal({ added: 200, existing: 0, refused: [] });
      }
      const headers = { "idempotency-key": "merge-1" };
      const items = [...many(390, 112), { productId: "m-0", variantId: "red", quantity: 2 }, { productId: "m-1" }];
      const { status, body } = await ada.post("/client-data/wishlist", { body: { items }, headers });
      expect(status).to.equal(200);
      expect(body.data).to.deep.equal({
        added: 100,
        existing: 11,
        refused: [
          { productId: "m-500", code: "WISHLIST_FULL" },
          { productId: "m-501", code: "WISHLIST_FULL" },
          { productId: "m-0", variantId: "red", code: "WISHLIST_FULL" },
        ],
      });
      const replay = await ada.post("/client-data/wishlist", { body: { items }, headers });
      expect(replay.body).to.deep.equal(body);
      expect(replay.headers.get("idempotency-replayed")).to.equal("true");
      const full = await ada.post("/client-data/wishlist/one-more");
      expect([full.status, full.body.code, full.body.limit]).to.deep.equal([422, "WISHLIST_FULL", 500]);
      expect((await ada.post("/client-data/wishlist/m-7")).status).to.equal(200);
    });

    describe("read back", () => {
      const list = async (query = "") => (await ada.get(`/client-data/wishlist${query}`)).body;
      const ids = (body: { data: { data: { productId: string } }[] }) => body.data.map(({ data }) => data.productId);

      it("is an empty list for a new customer", async () => {
        const { status, body } = await ada.get("/client-data/wishlist");
        expect(status).to.equal(200);
        expect(body).to.deep.equal({ data: [], total: 0, totalPages: 0, hasNext: false, page: 1, pageSize: 50 });
      });

      it("shows the very record that the command answered with", async () => {
        const written = await ada.post("/client-data/wishlist/p-1", { body: { note: "for Mum", quantity: 2 } });
        await api.caughtUp();
        expect((await list()).data).to.deep.equal([written.body]);
        await ada.delete("/client-data/wishlist/p-1");
        await api.caughtUp();
        expect((await list()).data).to.deep.equal([]);
      });

      it("tells what the catalogue says now, and what the price was", async () => {
        const platform = await api.asService();
        const product = { ...kettle, name: `Kettle ${customer}` };
        const path = `/internal/ingest/products/pot-${customer}`;
        await platform.put(path, { body: { sourceRevision: 1, ...product } });
        await api.caughtUp();
        const added = await ada.post(`/client-data/wishlist/pot-${customer}`);
        expect(added.body.data.priceMinorWhenAdded).to.equal(4900);
        await api.caughtUp();
        const before = await ada.get("/client-data/wishlist");
        await platform.put(path, { body: { sourceRevision: 2, ...product, priceMinor: 3900, inStock: false } });
        await api.caughtUp();
        const etag = before.headers.get("etag") ?? "";
        const { status, body } = await ada.get("/client-data/wishlist", { headers: { "if-none-match": etag } });
        expect(status).to.equal(200);
        expect(body.data[0].data).to.deep.include({
          priceWhenAdded: 49,
          priceMinorWhenAdded: 4900,
          product: { ...product, priceMinor: 3900, inStock: false },
        });
        const fresh = (await ada.get("/client-data/wishlist")).headers.get("etag") ?? "";
        const again = await ada.get("/client-data/wishlist", { headers: { "if-none-match": fresh } });
        expect(again.status).to.equal(304);
      });

      it("sorts by when it was added, by the product's name and price, and pages with p and with a cursor", async () => {
        const platform = await api.asService();
        const products = [
          ["s-1", "Zebra", 300],
          ["s-2", "apple", 100],
          ["s-3", "Mango", 200],
        ] as const;
        for (const [id, name, priceMinor] of products) {
          const body = { sourceRevision: 1, ...kettle, name, priceMinor };
          await platform.put(`/internal/ingest/products/${id}`, { body });
          await ada.post(`/client-data/wishlist/${id}`);
        }
        await ada.post("/client-data/wishlist/s-unknown");
        await api.caughtUp();
        expect(ids(await list())).to.deep.equal(["s-unknown", "s-3", "s-2", "s-1"]);
        expect(ids(await list("?st=asc"))).to.deep.equal(["s-1", "s-2", "s-3", "s-unknown"]);
        const byName = "?s=product.name&st=asc";
        expect(ids(await list(byName))).to.deep.equal(["s-unknown", "s-2", "s-3", "s-1"]);
        expect(ids(await list("?s=data.product.priceMinor"))).to.deep.equal(["s-1", "s-3", "s-2", "s-unknown"]);
        const second = await list(`${byName}&ps=2&p=2`);
        expect(ids(second)).to.deep.equal(["s-3", "s-1"]);
        expect(second).to.include({ total: 4, totalPages: 2, hasNext: false, page: 2, pageSize: 2 });
        const first = await list(`${byName}&ps=3&count=false`);
        expect(first).to.include({ hasNext: true }).and.not.have.property("total");
        const rest = await list(`${byName}&ps=3&cursor=${first.nextCursor}`);
        expect(ids(rest)).to.deep.equal(["s-1"]);
        expect(await list("?p=9")).to.deep.include({ data: [], total: 4, hasNext: false });
        const foreign = await ada.get(`/client-data/wishlist?ps=3&cursor=${first.nextCursor}`);
        expect([foreign.status, foreign.body.code]).to.deep.equal([400, "INVALID_QUERY"]);
        const unsortable = await ada.get("/client-data/wishlist?s=data.note");
        expect([unsortable.status, unsortable.body.code]).to.deep.equal([400, "SORT_NOT_ALLOWED"]);
        expect(unsortable.body.allowed).to.include("data.addedAt");
      });

      it("answers for the hearts of a page only", async () => {
        for (const id of ["h-1", "h-2", "h-3"]) await ada.post(`/client-data/wishlist/${id}`);
        await api.caughtUp();
        const some = await list("?ids=h-1,h-3,h-9&st=asc");
        expect(ids(some)).to.deep.equal(["h-1", "h-3"]);
        expect(some.total).to.equal(2);
        const many = await ada.get(`/client-data/wishlist?ids=${Array(201).fill("h").join(",")}`);
        expect([many.status, many.body.code]).to.deep.equal([400, "INVALID_QUERY"]);
      });

      it("belongs to its customer alone", async () => {
        await ada.post("/client-data/wishlist/secret");
        const bob = await api.as(`bob-${customer}`);
        await bob.delete("/client-data/wishlist/secret");
        await api.caughtUp();
        expect((await bob.get("/client-data/wishlist")).body.total).to.equal(0);
        expect(ids(await list())).to.deep.equal(["secret"]);
      });
    });

    const refusals: [what: string, path: string, body: unknown, field: string, code?: string][] = [
      ["a product id with a space", "/client-data/wishlist/p%201", undefined, "productId"],
      ["too long a product id", `/client-data/wishlist/${"p".repeat(129)}`, undefined, "productId"],
      ["an unknown field", "/client-data/wishlist/p", { colour: "red" }, "colour", "UNKNOWN_FIELD"],
      ["quantity zero", "/client-data/wishlist/p", { quantity: 0 }, "quantity"],
      ["quantity 1000", "/client-data/wishlist/p", { quantity: 1000 }, "quantity"],
      ["half a product", "/client-data/wishlist/p", { quantity: 0.5 }, "quantity"],
      ["too long a note", "/client-data/wishlist/p", { note: "x".repeat(301) }, "note"],
      ["an empty variant", "/client-data/wishlist/p", { variantId: "" }, "variantId"],
      ["no items", "/client-data/wishlist", {}, "items"],
      ["201 items", "/client-data/wishlist", { items: Array(201).fill({ productId: "p" }) }, "items"],
      ["an item without product", "/client-data/wishlist", { items: [{ quantity: 1 }] }, "items[0].productId"],
    ];
    for (const [what, path, body, field, code = "VALIDATION_FAILED"] of refusals) {
      it(`refuses ${what}`, async () => {
        const answer = await ada.post(path, body === undefined ? {} : { body });
        expect([answer.status, answer.body.code]).to.deep.equal([400, code]);
        expect(answer.body.errors.map((error: { field: string }) => error.field)).to.include(field);
      });
    }

    it("takes products from the platform, by newer revisions only", async () => {
      const platform = await api.asService();
      const since = await api.mark();
      const put = (body: object) => platform.put("/internal/ingest/products/kettle.1", { body });
      expect((await put({ sourceRevision: 2, ...kettle })).body).to.deep.equal({ applied: true });
      expect((await put({ sourceRevision: 2, ...kettle, name: "Pot" })).body).to.deep.equal({ applied: false });
      expect((await put({ sourceRevision: 3, ...kettle })).body).to.deep.equal({ applied: true });
      expect((await put({ sourceRevision: 4, ...kettle, priceMinor: 3900 })).body).to.deep.equal({ applied: true });
      const told = await api.newEvents(since, streams.product(api.org, "kettle.1"));
      expect(told.map(({ type }) => type)).to.deep.equal([
        "wishlist.CatalogueProductUpdated.v1",
        "wishlist.CatalogueProductReconfirmed.v1",
        "wishlist.CatalogueProductUpdated.v1",
      ]);
      const faulty = await put({ sourceRevision: 5, name: "Kettle", priceMinor: 1 });
      expect([faulty.status, faulty.body.errors[0].field]).to.deep.equal([400, "currency"]);
      expect((await ada.put("/internal/ingest/products/kettle", { body: kettle })).status).to.equal(403);
    });
  });

  describe("with an outside catalogue", () => {
    let catalogue: Awaited<ReturnType<typeof startCatalogue>>;

    before(async () => {
      catalogue = await startCatalogue();
      api = await startApi({ env: { PRODUCT_CATALOGUE_URL: catalogue.url } });
    });
    after(async () => {
      await api?.stop();
      catalogue.server.close();
    });
    beforeEach(nextCustomer);

    it("shows and keeps what the catalogue says", async () => {
      const since = await api.mark();
      const { status, body } = await ada.post("/client-data/wishlist/kettle", {
        body: { notify: { priceDrop: true } },
      });
      expect(status).to.equal(201);
      expect(body.data).to.deep.equal({
        productId: "kettle",
        quantity: 1,
        addedAt: body.createdate,
        priceWhenAdded: 49,
        priceMinorWhenAdded: 4900,
        product: kettle,
        notify: { backInStock: false, priceDrop: true },
      });
      expect((await facts(since))[0]?.data).to.deep.include({ product: kettle });
    });

    it("refuses what the catalogue does not know: 404 PRODUCT_NOT_FOUND", async () => {
      const since = await api.mark();
      const { status, body } = await ada.post("/client-data/wishlist/unknown");
      expect([status, body.code]).to.deep.equal([404, "PRODUCT_NOT_FOUND"]);
      const items = [{ productId: "unknown" }, { productId: "kettle" }];
      const merged = await ada.post("/client-data/wishlist", { body: { items } });
      const refused = [{ productId: "unknown", code: "PRODUCT_NOT_FOUND" }];
      expect(merged.body.data).to.deep.equal({ added: 1, existing: 0, refused });
      expect((await facts(since)).length).to.equal(1);
    });

    it("goes on without a catalogue that fails", async () => {
      const { status, body } = await ada.post("/client-data/wishlist/pan");
      expect(status).to.equal(201);
      expect(body.data).not.to.have.property("product");
    });
  });
});
