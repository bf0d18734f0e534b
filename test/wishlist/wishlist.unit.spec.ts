import { expect } from "chai";
import fc from "fast-check";
import { type DomainEvent, fold } from "#domain/core/decider.js";
import { streams } from "#domain/core/identifiers.js";
import { PersistentMap } from "#domain/core/persistent-map.js";
import { CustomerErased } from "#domain/privacy/privacy.events.js";
import { productDecider } from "#domain/wishlist/product.decider.js";
import { CatalogueProductReconfirmed, CatalogueProductUpdated, type Product } from "#domain/wishlist/product.events.js";
import { type EntryWish, wishlistDecider } from "#domain/wishlist/wishlist.decider.js";
import { ProductAdded, ProductChanged, ProductRemoved } from "#domain/wishlist/wishlist.events.js";
import { productProjection } from "#projectors/wishlist/product.projection.js";
import { wishlistProjection } from "#projectors/wishlist/wishlist.projection.js";
import { placed, specify } from "../support/decider-specification.js";
import { ada, project } from "../support/projection-specification.js";

const quiet = { backInStock: false, priceDrop: false };
const kettle: Product = {
  name: "Kettle",
  slug: "kettle",
  imageUrl: "https://shop.example/kettle.jpg",
  priceMinor: 4900,
  currency: "EUR",
  inStock: true,
  available: true,
};
const added = (productId: string, more: object = {}) =>
  ProductAdded.create({ productId, quantity: 1, notify: quiet, ...more });
const add = (productId: string, more: Partial<EntryWish> = {}) =>
  ({ type: "AddProduct", productId, product: null, ...more }) as const;
const fullList = Array.from({ length: 500 }, (_, index) => added(`p${index}`));

describe("wishlist decider", () => {
  const wishlist = specify(wishlistDecider);

  it("adds a product with what the catalogue says of it", () => {
    wishlist
      .given()
      .when(add("kettle", { note: "for Mum", quantity: 2, notify: { priceDrop: true }, product: kettle }))
      .then(
        ProductAdded.create({
          productId: "kettle",
          quantity: 2,
          notify: { backInStock: false, priceDrop: true },
          note: "for Mum",
          product: kettle,
        }),
      );
  });

  it("adds a product of which the catalogue says nothing", () => {
    wishlist.given().when(add("unheard-of")).then(added("unheard-of"));
  });

  it("does nothing when the product is there and nothing else is wished", () => {
    wishlist
      .given(added("kettle", { note: "for Mum" }))
      .when(add("kettle", { product: kettle }))
      .thenNothing();
  });

  it("merges the fields given into the entry that is there", () => {
    wishlist
      .given(added("kettle", { note: "for Mum" }))
      .when(add("kettle", { quantity: 3, notify: { backInStock: true }, note: "for Mum" }))
      .then(
        ProductChanged.create({
          productId: "kettle",
          quantity: 3,
          notify: { backInStock: true, priceDrop: false },
        }),
      );
    wishlist
      .given(added("kettle", { note: "for Mum" }))
      .when(add("kettle", { note: null }))
      .then(ProductChanged.create({ productId: "kettle", note: null }));
  });

  it("keeps variants of a product apart", () => {
    wishlist
      .given(added("shirt"), added("shirt", { variantId: "m" }))
      .when(add("shirt", { variantId: "l" }))
      .then(added("shirt", { variantId: "l" }));
    wishlist
      .given(added("shirt"), added("shirt", { variantId: "m" }))
      .when({ type: "RemoveProduct", productId: "shirt" })
      .then(ProductRemoved.create({ productId: "shirt" }));
  });

  it("removes a product, and does nothing when it is not there", () => {
    wishlist
      .given(added("kettle"))
      .when({ type: "RemoveProduct", productId: "kettle" })
      .then(ProductRemoved.create({ productId: "kettle" }));
    wishlist.given().when({ type: "RemoveProduct", productId: "kettle" }).thenNothing();
  });

  it("refuses the product after the 500th, but still changes those that are there", () => {
    wishlist
      .given(...fullList)
      .when(add("one-more"))
      .thenRefused("WISHLIST_FULL", { limit: 500 });
    wishlist
      .given(...fullList)
      .when(add("p7", { quantity: 2 }))
      .then(ProductChanged.create({ productId: "p7", quantity: 2 }));
    wishlist
      .given(...fullList, ProductRemoved.create({ productId: "p7" }))
      .when(add("one-more"))
      .then(added("one-more"));
  });

  describe("merging a list", () => {
    it("adds what is missing, once, and leaves the rest alone", () => {
      wishlist
        .given(added("kettle", { note: "for Mum" }))
        .when({
          type: "MergeProducts",
          items: [
            { productId: "kettle", note: "other", product: null },
            { productId: "pan", quantity: 2, product: null },
            { productId: "pan", quantity: 9, product: null },
          ],
        })
        .then(added("pan", { quantity: 2 }));
    });

    it("leaves out what finds no room", () => {
      const items = ["a", "b", "c"].map((productId) => ({ productId, product: null }));
      const almostFull = fullList.slice(0, 498);
      const { events, rejection } = wishlistDecider.decide(
        { type: "MergeProducts", items },
        wishlist.given(...almostFull).state,
      );
      expect({ events, rejection }).to.deep.equal({ events: [added("a"), added("b")], rejection: undefined });
    });
  });

  it("gives each entry its own version and times", () => {
    const { state } = wishlist.given(
      added("kettle", { product: kettle }),
      added("pan"),
      ProductChanged.create({ productId: "kettle", note: "now" }),
    );
    expect(state.entries.get("kettle")).to.deep.equal({
      productId: "kettle",
      quantity: 1,
      notify: quiet,
      note: "now",
      productWhenAdded: kettle,
      addedAt: "2026-03-01T09:00:00.000Z",
      modifiedAt: "2026-03-01T09:02:00.000Z",
      version: 2,
    });
    expect(state.entries.get("pan")?.version).to.equal(1);
  });

  it("folds a long stream without changing an earlier state", () => {
    const before = wishlist.given(...fullList).state;
    const turnover = Array.from({ length: 4750 }, (_, index) => [
      ProductRemoved.create({ productId: `p${index % 500}` }),
      added(`p${index % 500}`, { quantity: 2 }),
    ]).flat();
    const after = fold(wishlistDecider, before, placed(turnover));
    expect(after.entries.size).to.equal(500);
    expect(after.entries.get("p3")?.quantity).to.equal(2);
    expect(before.entries.get("p3")?.quantity).to.equal(1);
  });
});

describe("persistent map", () => {
  it("behaves as a plain map that is copied at every change", () => {
    const key = fc.string({ maxLength: 3, unit: "grapheme-ascii" });
    const changes = fc.array(fc.oneof(fc.tuple(fc.constant("set"), key), fc.tuple(fc.constant("delete"), key)));
    fc.assert(
      fc.property(changes, (steps) => {
        let map = PersistentMap.empty<number>();
        const model = new Map<string, number>();
        for (const [index, [kind, name]] of steps.entries()) {
          const before = map;
          const beforeSize = model.size;
          map = kind === "set" ? map.set(name, index) : map.delete(name);
          if (kind === "set") model.set(name, index);
          else model.delete(name);
          expect(before.size).to.equal(beforeSize);
          expect(map.size).to.equal(model.size);
          expect(map.get(name)).to.equal(model.get(name));
        }
        expect([...map.values()].sort()).to.deep.equal([...model.values()].sort());
      }),
    );
  });
});

describe("product decider", () => {
  const product = specify(productDecider);
  const ingest = (sourceRevision: number, changes: Partial<Product> = {}) =>
    ({ type: "IngestProduct", productId: "kettle", sourceRevision, product: { ...kettle, ...changes } }) as const;
  const known = CatalogueProductUpdated.create({
    productId: "kettle",
    sourceRevision: 5,
    product: kettle,
    previous: null,
  });

  it("takes a product into the catalogue", () => {
    product.given().when(ingest(5)).then(known);
  });

  it("records a change with what was said before", () => {
    const cheaper = { ...kettle, priceMinor: 3900 };
    product
      .given(known)
      .when(ingest(6, { priceMinor: 3900 }))
      .then(
        CatalogueProductUpdated.create({
          productId: "kettle",
          sourceRevision: 6,
          product: cheaper,
          previous: kettle,
        }),
      );
  });

  it("ignores the same and older revisions", () => {
    product
      .given(known)
      .when(ingest(5, { name: "Pot" }))
      .thenNothing();
    product
      .given(known)
      .when(ingest(4, { name: "Pot" }))
      .thenNothing();
  });

  it("remembers a newer revision that says nothing new", () => {
    const confirmed = CatalogueProductReconfirmed.create({ productId: "kettle", sourceRevision: 9 });
    product.given(known).when(ingest(9)).then(confirmed);
    product
      .given(known, confirmed)
      .when(ingest(8, { name: "Pot" }))
      .thenNothing();
  });
});

describe("wishlist projection", () => {
  const on = (...events: DomainEvent[]) => events.map((event) => ({ stream: streams.wishlist(ada), event }));

  it("keeps one document per entry, each with its own version and times", () => {
    project(wishlistProjection)
      .given(
        ...on(
          added("kettle", { product: kettle, note: "for Mum" }),
          added("shirt", { variantId: "m" }),
          added("pan"),
          ProductChanged.create({ productId: "kettle", quantity: 2, note: null }),
          ProductRemoved.create({ productId: "pan" }),
        ),
      )
      .then({
        kettle: {
          productId: "kettle",
          variantId: null,
          quantity: 2,
          notify: quiet,
          note: null,
          productWhenAdded: kettle,
          addedAt: "2026-03-01T09:00:00.000Z",
          modifiedAt: "2026-03-01T09:03:00.000Z",
          version: 3,
        },
        "shirt~m": {
          productId: "shirt",
          variantId: "m",
          quantity: 1,
          notify: quiet,
          note: null,
          productWhenAdded: null,
          addedAt: "2026-03-01T09:01:00.000Z",
          modifiedAt: "2026-03-01T09:01:00.000Z",
          version: 1,
        },
      });
  });

  it("lets go of an erased customer", () => {
    project(wishlistProjection)
      .given(...on(added("kettle")), { stream: streams.profile(ada), event: CustomerErased.create({}) })
      .thenNothing();
  });
});

describe("product projection", () => {
  it("shows what the catalogue said last", () => {
    const update = (sourceRevision: number, product: Product, previous: Product | null) => ({
      stream: streams.product("acme", "kettle"),
      event: CatalogueProductUpdated.create({ productId: "kettle", sourceRevision, product, previous }),
    });
    const soldOut = { ...kettle, inStock: false };
    project(productProjection)
      .given(update(1, kettle, null), update(2, soldOut, kettle))
      .then({ kettle: { productId: "kettle", ...soldOut } });
  });
});
