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
      api = await startApi();
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
