import { expect } from "chai";
import fc from "fast-check";
import { postcodeValidator, postcodeValidatorExistsForCountry } from "postcode-validator";
import { addressesDecider } from "#domain/addresses/addresses.decider.js";
import { Added, type AddressFields, Changed, DefaultChanged, Removed } from "#domain/addresses/addresses.events.js";
import { addressLimits, countryFault } from "#domain/addresses/addresses.policy.js";
import { countryCode, countryCodes, countryRules, normalPostalCode } from "#domain/addresses/countries.policy.js";
import { addressOfPlace } from "#domain/addresses/place.policy.js";
import { type DomainEvent, fold } from "#domain/core/decider.js";
import { streams } from "#domain/core/identifiers.js";
import { CustomerErased } from "#domain/privacy/privacy.events.js";
import { activityEntry } from "#projectors/activity/activity.entries.js";
import { addressProjection } from "#projectors/addresses/addresses.projection.js";
import { knownPlaces } from "../../embedded/providers/places.js";
import { placed, specify } from "../support/decider-specification.js";
import { ada, project, recorded } from "../support/projection-specification.js";

const home: AddressFields = { line1: "Oranienstraße 25", city: "Berlin", postalCode: "10999", country: "DE" };
const at = (line1: string, more: Partial<AddressFields> = {}): AddressFields => ({ ...home, line1, ...more });
const added = (addressId: string, defaults = false, address: AddressFields = at(`Street ${addressId}`)) =>
  Added.create({ addressId, address, isDefaultShipping: defaults, isDefaultBilling: defaults });
const gains = (addressId: string, ...kinds: ("isDefaultShipping" | "isDefaultBilling")[]) =>
  DefaultChanged.create({ addressId, ...Object.fromEntries(kinds.map((kind) => [kind, true])) });
const loses = (addressId: string, ...kinds: ("isDefaultShipping" | "isDefaultBilling")[]) =>
  DefaultChanged.create({ addressId, ...Object.fromEntries(kinds.map((kind) => [kind, false])) });
const add = (addressId: string, address: AddressFields = at(`Street ${addressId}`), more: object = {}) =>
  ({ type: "AddAddress", addressId, address, ...more }) as const;
const change = (addressId: string, changes: object, more: object = {}) =>
  ({ type: "ChangeAddress", addressId, changes, ...more }) as const;
const remove = (addressId: string) => ({ type: "RemoveAddress", addressId }) as const;

describe("addresses decider", () => {
  const book = specify(addressesDecider);

  describe("adding", () => {
    it("makes the first address both defaults, even where it is wished not to be", () => {
      book
        .given()
        .when(add("a", home))
        .then(added("a", true, home));
      book
        .given()
        .when(add("a", home, { isDefaultShipping: false, isDefaultBilling: false }))
        .then(added("a", true, home));
    });

    it("leaves the defaults where they are, unless wished otherwise", () => {
      book.given(added("a", true)).when(add("b")).then(added("b"));
      book
        .given(added("a", true))
        .when(add("b", undefined, { isDefaultBilling: true }))
        .then(
          Added.create({
            addressId: "b",
            address: at("Street b"),
            isDefaultShipping: false,
            isDefaultBilling: true,
          }),
          loses("a", "isDefaultBilling"),
        );
    });

    it("takes both defaults from two addresses", () => {
      const history = [
        added("a", true),
        added("b"),
        gains("b", "isDefaultBilling"),
        loses("a", "isDefaultBilling"),
      ] as const;
      book
        .given(...history)
        .when(add("c", undefined, { isDefaultShipping: true, isDefaultBilling: true }))
        .then(added("c", true), loses("a", "isDefaultShipping"), loses("b", "isDefaultBilling"));
    });

    it("finds the very same address there already, whatever its fields' order, and writes nothing", () => {
      const full = at("Street a", { label: "Home", location: { lat: 52.5, lng: 13.4 } });
      const { country, city, ...rest } = full;
      book
        .given(added("a", true, full))
        .when(add("b", { ...rest, location: { lng: 13.4, lat: 52.5 }, city, country }))
        .thenNothing();
    });

    it("is not the same when a field differs or is missing", () => {
      const labelled = at("Street a", { label: "Home" });
      book
        .given(added("a", true, labelled))
        .when(add("b", at("Street a")))
        .then(added("b", false, at("Street a")));
    });

    it("moves a default to the very same address, and does not unset one by a form's unticked box", () => {
      book
        .given(added("a", true), added("b"))
        .when(add("c", at("Street b"), { isDefaultShipping: true }))
        .then(gains("b", "isDefaultShipping"), loses("a", "isDefaultShipping"));
      book
        .given(added("a", true))
        .when(add("b", at("Street a"), { isDefaultShipping: false, isDefaultBilling: false }))
        .thenNothing();
    });

    it("writes nothing when the command of this id has been done", () => {
      book
        .given(added("a", true, home), Changed.create({ addressId: "a", changes: { line1: "Elsewhere 1" } }))
        .when(add("a", home))
        .thenNothing();
    });

    it("refuses the fifty-first, but still finds the same among fifty", () => {
      const full = Array.from({ length: 50 }, (_, index) => added(`a${index}`, index === 0));
      book
        .given(...full)
        .when(add("b"))
        .thenRefused("ADDRESS_LIMIT_REACHED", { limit: 50 });
      book
        .given(...full)
        .when(add("b", at("Street a49")))
        .thenNothing();
      book
        .given(...full, Removed.create({ addressId: "a7" }))
        .when(add("b"))
        .then(added("b"));
    });

    it("refuses what the country's post could not deliver", () => {
      book
        .given()
        .when(add("a", at("Street", { postalCode: "1099" })))
        .thenRefused("POSTAL_CODE_INVALID", { country: "DE", required: true, example: "26133" });
      const { postalCode: _, ...without } = home;
      book.given().when(add("a", without)).thenRefused("POSTAL_CODE_INVALID");
      book
        .given()
        .when(add("a", { ...home, country: "US" }))
        .thenRefused("REGION_REQUIRED", { country: "US" });
    });
  });

  describe("changing", () => {
    it("records what differs only; null clears, and clearing what is not there is no change", () => {
      book
        .given(added("a", true, at("Street a", { label: "Home", phone: "+4930123456" })))
        .when(change("a", { line1: "Street 9", label: "Home", phone: null, line2: null }))
        .then(Changed.create({ addressId: "a", changes: { line1: "Street 9", phone: null } }));
      book
        .given(added("a", true))
        .when(change("a", { city: "Berlin", phone: null }))
        .thenNothing();
    });

    for (const [what, history] of [
      ["never was", [added("a", true)]],
      ["was removed", [added("a", true), added("b"), Removed.create({ addressId: "b" })]],
    ] as const) {
      it(`does not create an address that ${what}`, () => {
        book
          .given(...history)
          .when(change("b", { line1: "Elsewhere 1" }))
          .thenRefused("ADDRESS_NOT_FOUND");
      });
    }

    it("moves a default with true, keeps it with true, refuses to unset it with false", () => {
      const book2 = () => book.given(added("a", true), added("b"));
      book2()
        .when(change("b", { label: "Work" }, { isDefaultShipping: true, isDefaultBilling: true }))
        .then(
          Changed.create({ addressId: "b", changes: { label: "Work" } }),
          gains("b", "isDefaultShipping", "isDefaultBilling"),
          loses("a", "isDefaultShipping", "isDefaultBilling"),
        );
      book2()
        .when(change("a", {}, { isDefaultShipping: true }))
        .thenNothing();
      book2()
        .when(change("b", {}, { isDefaultShipping: false }))
        .thenNothing();
      book2()
        .when(change("a", { label: "x" }, { isDefaultBilling: false }))
        .thenRefused("DEFAULT_CANNOT_BE_UNSET", { field: "isDefaultBilling" });
    });

    it("judges the address as it will be, and only when what its country cares about is touched", () => {
      book
        .given(added("a", true, home))
        .when(change("a", { country: "GB" }))
        .thenRefused("POSTAL_CODE_INVALID");
      book
        .given(added("a", true, home))
        .when(change("a", { country: "GB", postalCode: "N1 0NY", city: "London" }))
        .then(Changed.create({ addressId: "a", changes: { country: "GB", postalCode: "N1 0NY", city: "London" } }));
      const old = at("Street a", { postalCode: "O-1058" });
      book
        .given(added("a", true, old))
        .when(change("a", { label: "Old" }))
        .then(Changed.create({ addressId: "a", changes: { label: "Old" } }));
      book
        .given(added("a", true, old))
        .when(change("a", { postalCode: null }))
        .thenRefused("POSTAL_CODE_INVALID");
    });
  });

  describe("removing", () => {
    it("leaves nothing behind when it was the only one", () => {
      book
        .given(added("a", true))
        .when(remove("a"))
        .then(Removed.create({ addressId: "a" }));
    });

    it("hands its defaults to the one last used: added, changed or chosen", () => {
      const history = [added("a", true), added("b"), added("c")] as const;
      const gone = Removed.create({ addressId: "a" });
      book
        .given(...history)
        .when(remove("a"))
        .then(gains("c", "isDefaultShipping", "isDefaultBilling"), gone);
      book
        .given(...history, Changed.create({ addressId: "b", changes: { label: "Work" } }))
        .when(remove("a"))
        .then(gains("b", "isDefaultShipping", "isDefaultBilling"), gone);
      // Losing a default is no use: c, added after b had its turn, inherits.
      book
        .given(
          added("a"),
          added("b"),
          gains("b", "isDefaultShipping"),
          added("c"),
          gains("a", "isDefaultShipping"),
          loses("b", "isDefaultShipping"),
        )
        .when(remove("a"))
        .then(gains("c", "isDefaultShipping"), gone);
    });

    it("takes one that is no default without a word of the others", () => {
      book
        .given(added("a", true), added("b"))
        .when(remove("b"))
        .then(Removed.create({ addressId: "b" }));
    });

    it("is fine twice, but not for what never was there", () => {
      book
        .given(added("a", true), Removed.create({ addressId: "a" }))
        .when(remove("a"))
        .thenNothing();
      book.given(added("a", true)).when(remove("b")).thenRefused("ADDRESS_NOT_FOUND");
    });
  });

  it("has one default of each kind as long as there are addresses, and fifty at most, whatever is asked", () => {
    const id = fc.integer({ min: 0, max: 60 }).map((number) => `a${number}`);
    const flag = fc.option(fc.boolean(), { nil: undefined });
    const defaults = fc.record({ isDefaultShipping: flag, isDefaultBilling: flag });
    const command = fc.oneof(
      { weight: 3, arbitrary: fc.tuple(id, id, defaults).map(([one, street, more]) => add(one, at(street), more)) },
      fc.tuple(id, id, defaults).map(([one, street, more]) => change(one, { line1: street }, more)),
      id.map(remove),
    );
    fc.assert(
      fc.property(fc.array(command, { maxLength: 150 }), (commands) => {
        let state = addressesDecider.initial;
        let revision = 0;
        for (const asked of commands) {
          // Command ids are never used for another address.
          if (asked.type === "AddAddress" && state.removed.has(asked.addressId)) continue;
          const { events } = addressesDecider.decide(asked, state);
          const stored = placed(events).map((event) => ({ ...event, revision: revision++ }));
          state = fold(addressesDecider, state, stored);
          const { entries } = state;
          const expected = entries.length > 0 ? 1 : 0;
          expect(entries.filter((entry) => entry.isDefaultShipping)).to.have.length(expected);
          expect(entries.filter((entry) => entry.isDefaultBilling)).to.have.length(expected);
          expect(entries.length).to.be.at.most(addressLimits.addresses);
        }
      }),
      { numRuns: 200 },
    );
  });
});

describe("addresses read model", () => {
  const stream = streams.addresses(ada);
  const facts = (...events: DomainEvent[]) => events.map((event) => ({ stream, event }));
  const minute = (count: number) => `2026-03-01T09:0${count}:00.000Z`;

  it("has one document per address, which knows its version and its standing in the list", () => {
    const { documents } = project(addressProjection).given(
      ...facts(
        added("a", true, home),
        added("b"),
        Changed.create({ addressId: "a", changes: { label: "Home" } }),
        gains("b", "isDefaultShipping"),
        loses("a", "isDefaultShipping"),
      ),
    );
    expect(documents.get("a")).to.deep.equal({
      ...{ addressId: "a", version: 4, createdAt: minute(0), modifiedAt: minute(4) },
      ...{ isDefaultShipping: false, isDefaultBilling: true, standing: `1 ${minute(4)}` },
      address: { ...home, label: "Home" },
    });
    expect(documents.get("b")).to.deep.include({ version: 3, isDefaultShipping: true, isDefaultBilling: false });
  });

  it("forgets what was removed, and everything of an erased customer", () => {
    const gone = project(addressProjection).given(...facts(added("a", true), Removed.create({ addressId: "a" })));
    gone.thenNothing();
    project(addressProjection)
      .given(
        ...facts(added("a", true)),
        { stream: streams.profile(ada), event: CustomerErased.create({}) },
        // Readable though the key is gone: it must not begin a document again.
        ...facts(gains("a", "isDefaultShipping")),
      )
      .thenNothing();
  });

  it("tells the customer what happened, without the address in the title", () => {
    const entries = recorded(
      facts(
        added("a", true, home),
        Changed.create({ addressId: "a", changes: { label: null } }),
        loses("a", "isDefaultShipping"),
        Removed.create({ addressId: "a" }),
      ),
    ).map((event) => activityEntry(event as Parameters<typeof activityEntry>[0]));
    expect(entries.map(({ what, news }) => [what, news])).to.deep.equal([
      ["address.added", true],
      ["address.changed", true],
      ["address.default-changed", false],
      ["address.removed", true],
    ]);
    expect(entries[1]?.changes).to.deep.equal([{ field: "label", to: null }]);
    expect(entries[2]?.changes).to.deep.equal([{ field: "isDefaultShipping", from: true, to: false }]);
    expect(JSON.stringify(entries)).not.to.include("Oranien");
    expect(entries[0]?.ref).to.deep.equal({ datatype: "address", pk: "address-a" });
  });
});

describe("countries' rules", () => {
  it("know every country of ISO 3166-1, and no other code but Kosovo's", () => {
    // Codes that ICU names although ISO does not list them.
    const others = new Set(["AC", "CP", "CQ", "DG", "EA", "EU", "EZ", "IC", "TA", "UN", "ZZ", "QO", "UK", "XA", "XB"]);
    const names = new Intl.DisplayNames(["en"], { type: "region", fallback: "none" });
    const letters = [..."ABCDEFGHIJKLMNOPQRSTUVWXYZ"];
    const named = letters
      .flatMap((one) => letters.map((other) => one + other))
      .filter((code) => names.of(code) !== undefined && new Intl.Locale(`und-${code}`).region === code)
      .filter((code) => !others.has(code) && Intl.getCanonicalLocales(`und-${code}`)[0] === `und-${code}`);
    expect(countryCodes).to.have.length(250);
    expect(countryCodes.filter((code) => !named.includes(code))).to.deep.equal([]);
    expect(named.filter((code) => !countryCodes.includes(code))).to.deep.equal([]);
  });

  it("accept a postal code of every country that has them, and so does another list, but where that is out of date", () => {
    const outdatedThere = ["KH", "NI", "PE", "SO"];
    const refusedThere: string[] = [];
    for (const code of countryCodes) {
      const { isPostalCode, postalCodeExample } = countryRules(code) ?? expect.fail(code);
      if (postalCodeExample === null) continue;
      expect(isPostalCode(postalCodeExample), `${code} ${postalCodeExample}`).to.equal(true);
      expect(isPostalCode(normalPostalCode(postalCodeExample.toLowerCase())), code).to.equal(true);
      expect(isPostalCode("no code"), code).to.equal(false);
      if (postcodeValidatorExistsForCountry(code) && !postcodeValidator(postalCodeExample, code)) {
        refusedThere.push(code);
      }
    }
    expect(refusedThere).to.deep.equal(outdatedThere);
  });

  const cases: [country: string, postalCode: string | undefined, region: string | undefined, fault: string | null][] = [
    ["DE", "10999", undefined, null],
    ["DE", "0999", undefined, "POSTAL_CODE_INVALID"],
    ["DE", "10999 ", undefined, "POSTAL_CODE_INVALID"],
    ["GB", "SW1A 1AA", undefined, null],
    ["GB", "SW1A1AA", undefined, null],
    ["GB", "GIR 0AA", undefined, null],
    ["GB", "SW1A 1CA", undefined, "POSTAL_CODE_INVALID"],
    ["US", "94110", "CA", null],
    ["US", "94110-1234", "CA", null],
    ["US", "9411", "CA", "POSTAL_CODE_INVALID"],
    ["US", "94110", undefined, "REGION_REQUIRED"],
    ["CA", "H3Z 2Y7", "QC", null],
    ["CA", "D3Z 2Y7", "QC", "POSTAL_CODE_INVALID"],
    ["NL", "1012 JS", undefined, null],
    ["NL", "1012 SS", undefined, "POSTAL_CODE_INVALID"],
    ["IE", undefined, undefined, null],
    ["IE", "D02 X285", undefined, null],
    ["HK", undefined, "Kowloon", null],
    ["HK", "999077", "Kowloon", null],
    ["HK", undefined, undefined, "REGION_REQUIRED"],
    ["AE", undefined, "Dubai", null],
    ["KH", "120101", undefined, null],
  ];
  for (const [country, postalCode, region, fault] of cases) {
    it(`${fault ? "refuse" : "accept"} ${country} with ${postalCode ?? "no code"} and ${region ?? "no region"}`, () => {
      const address = { country, ...(postalCode ? { postalCode } : {}), ...(region ? { region } : {}) };
      expect(countryFault(address)?.code ?? null).to.equal(fault);
    });
  }

  it("read postal codes as people type them", () => {
    expect(normalPostalCode(" sw1a  1aa ")).to.equal("SW1A 1AA");
    expect(normalPostalCode("１５０－０００１")).to.equal("150-0001");
    expect(normalPostalCode("40301–110")).to.equal("40301-110");
  });

  it("take a country's code in either case, and nothing else for one", () => {
    expect(countryCode.parse("de")).to.equal("DE");
    for (const wrong of ["", "D", "DEU", "UK", "XX", "ZZ", "__proto__", "constructor"]) {
      expect(countryCode.safeParse(wrong).success, wrong).to.equal(false);
    }
  });
});

describe("places as addresses", () => {
  const address = (id: string) => {
    const place = knownPlaces.find((one) => one.id === `ChIJ_local_${id}`) ?? expect.fail(id);
    const { lat, lng, formatted } = place;
    const parts = place.parts.map(([long, short, ...types]) => ({ long, short, types }));
    const {
      placeId,
      formatted: line,
      location,
      ...fields
    } = addressOfPlace({ placeId: id, formatted, location: { lat, lng }, parts });
    expect([placeId, line, location]).to.deep.equal([id, formatted, { lat, lng }]);
    return fields;
  };

  for (const [id, expected] of Object.entries({
    garfield_place: { line1: "418 Garfield Place", city: "Brooklyn", region: "NY", postalCode: "11215", country: "US" },
    valencia_street: {
      ...{ line1: "1190 Valencia Street", line2: "4", city: "San Francisco" },
      ...{ region: "CA", postalCode: "94110", country: "US" },
    },
    oranienstrasse: { line1: "Oranienstraße 25", city: "Berlin", postalCode: "10999", country: "DE" },
    lindengasse: { line1: "Lindengasse 9", city: "Wien", postalCode: "1070", country: "AT" },
    hornsgatan: { line1: "Hornsgatan 64", city: "Stockholm", postalCode: "118 21", country: "SE" },
    upper_street: { line1: "71 Upper Street", city: "London", postalCode: "N1 0NY", country: "GB" },
    rue_oberkampf: { line1: "38 Rue Oberkampf", city: "Paris", postalCode: "75011", country: "FR" },
    via_dei_coronari: {
      ...{ line1: "Via dei Coronari 112", city: "Roma", region: "RM" },
      ...{ postalCode: "00186", country: "IT" },
    },
    jingumae: { line1: "Jingumae 3-12-5", city: "Shibuya", region: "Tokyo", postalCode: "150-0001", country: "JP" },
    queens_road: { line1: "88 Queen's Road Central", city: "Central", region: "Hong Kong Island", country: "HK" },
  })) {
    it(`fill in ${id} as its country writes it`, () => {
      const fields = address(id);
      expect(fields).to.deep.equal(expected);
      expect(countryFault(fields as AddressFields)).to.equal(undefined);
    });
  }

  it("leave out what the place does not tell, and a country we do not know", () => {
    const place = addressOfPlace({
      placeId: "p",
      formatted: "Nowhere",
      location: null,
      parts: [{ long: "Atlantis", short: "ZZ", types: ["country"] }],
    });
    expect(place).to.deep.equal({ placeId: "p", formatted: "Nowhere", city: "Atlantis" });
  });

  it("cut what would be too long for an address, without control characters", () => {
    const long = `${"😀".repeat(130)}\u0007`;
    const place = { placeId: "p", formatted: "", location: null, parts: [{ long, short: "", types: ["locality"] }] };
    expect([...(addressOfPlace(place).city ?? "")]).to.have.length(120);
    expect(addressOfPlace({ ...place, parts: [{ long: "A\u0000B", short: "", types: ["locality"] }] }).city).to.equal(
      "A B",
    );
  });
});
