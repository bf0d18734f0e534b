import { expect } from "chai";
import fc from "fast-check";
import {
  bareId,
  decodePart,
  encodePart,
  ownerKey,
  ownerOfStream,
  parseStreamName,
  recordKey,
  streams,
} from "#domain/core/identifiers.js";

/** Any text that can be written as UTF-8, with what could be confused in a stream name made likely. */
const part = fc.oneof(
  fc.string({ unit: fc.constantFrom(..."ab.-_~2eE%/ é\u{1F600}"), minLength: 1, maxLength: 12 }),
  fc.string({ unit: "binary", minLength: 1, maxLength: 24 }),
);

describe("identifiers", () => {
  it("encodes any part into letters, digits, _, - and ~, and back", () => {
    fc.assert(
      fc.property(part, (text) => {
        const encoded = encodePart(text);
        expect(encoded).to.match(/^[A-Za-z0-9_~-]+$/);
        expect(decodePart(encoded)).to.equal(text);
      }),
    );
  });

  it("gives no two owners the same key, and no two records the same stream", () => {
    fc.assert(
      fc.property(fc.tuple(part, part, part), fc.tuple(part, part, part), (one, other) => {
        const name = ([org, customer, id]: [string, string, string]) => streams.order({ org, customer }, id);
        expect(name(one) === name(other)).to.equal(one.join("\u0000") === other.join("\u0000"));
        const key = ([org, customer]: string[]) => ownerKey({ org: org as string, customer: customer as string });
        expect(key(one) === key(other)).to.equal(one[0] === other[0] && one[1] === other[1]);
      }),
      { numRuns: 500 },
    );
  });

  it("takes every stream name apart into what it was made of", () => {
    fc.assert(
      fc.property(part, part, part, (org, customer, id) => {
        const owner = { org, customer };
        expect(parseStreamName(streams.wishlist(owner))).to.deep.equal({ category: "wishlist", org, customer });
        expect(parseStreamName(streams.order(owner, id))).to.deep.equal({ category: "order", org, customer, id });
        expect(parseStreamName(streams.product(org, id))).to.deep.equal({ category: "product", org, id });
        expect(ownerOfStream(streams.wishlist(owner))).to.equal(ownerKey(owner));
        expect(ownerOfStream(streams.transaction(owner, id))).to.equal(ownerKey(owner));
        expect(ownerOfStream(streams.product(org, id))).to.equal(encodePart(org));
      }),
    );
  });

  it("does not take foreign names for its own", () => {
    for (const name of ["$settings", "$$wishlist-acme.ada", "store-epoch", "order", "-acme.ada", "order-a.b.c.d", ""]) {
      expect(parseStreamName(name), name).to.equal(null);
    }
  });

  it("reads a record's key with and without its datatype", () => {
    expect(bareId("order", recordKey("order", "order-7"))).to.equal("order-7");
    expect(bareId("order", "7")).to.equal("7");
  });
});
