import { expect } from "chai";
import { streams } from "#domain/core/identifiers.js";
import { searchText } from "#domain/core/search-text.js";
import { isNewer } from "#domain/core/source-revision.js";
import { type IngestOrder, orderDecider } from "#domain/orders/orders.decider.js";
import {
  OrderDetailsChanged,
  OrderPlaced,
  OrderReconfirmed,
  OrderStatusChanged,
  orderStatuses,
} from "#domain/orders/orders.events.js";
import { cancellable, withTimelineEntry } from "#domain/orders/orders.policy.js";
import { CustomerErased } from "#domain/privacy/privacy.events.js";
import { orderProjection } from "#projectors/orders/orders.projection.js";
import { specify } from "../support/decider-specification.js";
import { ada, project } from "../support/projection-specification.js";

const now = "2026-03-02T10:00:00.000Z";
const placedAt = "2026-03-01T08:00:00.000Z";
const book = { id: "1", sku: "B-1", title: "A book", quantity: 2, unitPriceMinor: 999, lineTotalMinor: 1998 };
const details = { orderNumber: "A-17", placedAt, currency: "EUR", items: [book], totalMinor: 1998 };
const home = { name: "Ada Lovelace", line1: "12 St James's Square", city: "London", country: "GB" };

function ingest(changes: Partial<IngestOrder> = {}): IngestOrder {
  return { type: "IngestOrder", sourceRevision: 1, status: "new", details, now, ...changes };
}

const placed = OrderPlaced.create({ ...details, sourceRevision: 1, status: "new", statusAt: placedAt });

describe("an order", () => {
  it("is placed when the platform first tells of it, in whatever status", () => {
    specify(orderDecider).given().when(ingest()).then(placed);
    specify(orderDecider)
      .given()
      .when(ingest({ status: "delivered", statusAt: now }))
      .then(OrderPlaced.create({ ...details, sourceRevision: 1, status: "delivered", statusAt: now }));
  });

  it("takes amounts as they are given, zero too, and never adds them up", () => {
    const free = { ...details, totalMinor: 0, subtotalMinor: 5, items: [{ ...book, unitPriceMinor: 0 }] };
    specify(orderDecider)
      .given()
      .when(ingest({ details: free }))
      .then(OrderPlaced.create({ ...free, sourceRevision: 1, status: "new", statusAt: placedAt }));
  });

  it("ignores what it was told before, and what comes late", () => {
    const changed = { ...details, totalMinor: 1 };
    specify(orderDecider)
      .given(placed)
      .when(ingest({ details: changed }))
      .thenNothing();
    specify(orderDecider)
      .given(placed)
      .when(ingest({ sourceRevision: 0, status: "cancelled" }))
      .thenNothing();
  });

  it("moves on and says from where", () => {
    specify(orderDecider)
      .given(placed)
      .when(ingest({ sourceRevision: 2, status: "shipped", statusNote: "left the house" }))
      .then(
        OrderStatusChanged.create({
          sourceRevision: 2,
          status: "shipped",
          previousStatus: "new",
          statusAt: now,
          note: "left the house",
        }),
      );
  });

  it("may take any status after any other: the platform knows best", () => {
    for (const from of orderStatuses) {
      for (const to of orderStatuses.filter((status) => status !== from)) {
        specify(orderDecider)
          .given(OrderPlaced.create({ ...details, sourceRevision: 1, status: from, statusAt: placedAt }))
          .when(ingest({ sourceRevision: 2, status: to }))
          .then(OrderStatusChanged.create({ sourceRevision: 2, status: to, previousStatus: from, statusAt: now }));
      }
    }
  });

  it("records changed details alone: absent leaves a field, null clears it", () => {
    const withAddress = OrderPlaced.create({ ...placed.data, shippingAddress: home, taxMinor: 100 });
    specify(orderDecider)
      .given(withAddress)
      .when(ingest({ sourceRevision: 2, details: { ...details, totalMinor: 2500, taxMinor: null } }))
      .then(OrderDetailsChanged.create({ sourceRevision: 2, totalMinor: 2500, taxMinor: null }));
  });

  it("records details and status of one message as two facts", () => {
    specify(orderDecider)
      .given(placed)
      .when(ingest({ sourceRevision: 2, status: "processing", statusAt: now, details: { ...details, taxMinor: 0 } }))
      .then(
        OrderDetailsChanged.create({ sourceRevision: 2, taxMinor: 0 }),
        OrderStatusChanged.create({ sourceRevision: 2, status: "processing", previousStatus: "new", statusAt: now }),
      );
  });

  it("remembers a newer revision that says nothing new, so that one between comes too late", () => {
    specify(orderDecider)
      .given(placed)
      .when(ingest({ sourceRevision: 3 }))
      .then(OrderReconfirmed.create({ sourceRevision: 3 }));
    specify(orderDecider)
      .given(placed, OrderReconfirmed.create({ sourceRevision: 3 }))
      .when(ingest({ sourceRevision: 2, status: "cancelled" }))
      .thenNothing();
  });
});

describe("the platform's revision", () => {
  it("orders counters, times, and times after counters", () => {
    expect(isNewer(2, 1)).to.equal(true);
    expect(isNewer(2, 2)).to.equal(false);
    expect(isNewer(0, null)).to.equal(true);
    expect(isNewer("2026-03-01T10:00:00+01:00", "2026-03-01T09:30:00Z")).to.equal(false);
    expect(isNewer("2026-03-01T09:00:00Z", 41)).to.equal(true);
  });

  it("tells times within one millisecond apart", () => {
    expect(isNewer("2026-03-01T09:00:00.123457Z", "2026-03-01T09:00:00.123456Z")).to.equal(true);
    expect(isNewer("2026-03-01T09:00:00.12Z", "2026-03-01T09:00:00.120000Z")).to.equal(false);
    expect(isNewer("2026-03-01T09:00:00Z", "2026-03-01T08:59:59.999999999Z")).to.equal(true);
  });
});

describe("an order may be cancelled", () => {
  it("until something was sent, unless the platform says otherwise", () => {
    const open = orderStatuses.filter((status) => cancellable({ status }));
    expect(open).to.deep.equal(["new", "processing", "on-hold"]);
    expect(cancellable({ status: "shipped", cancellable: true })).to.equal(true);
    expect(cancellable({ status: "new", cancellable: false })).to.equal(false);
  });
});

describe("an order's timeline", () => {
  it("takes the same entry once and stays bounded", () => {
    const entry = { at: now, status: "new" as const };
    expect(withTimelineEntry([entry], entry)).to.deep.equal([entry]);
    const long = Array.from({ length: 200 }, (_, index) => ({
      at: new Date(index * 1000).toISOString(),
      status: "new" as const,
    }));
    const longer = withTimelineEntry(long, entry);
    expect(longer).to.have.length(200);
    expect(longer.at(-1)).to.deep.equal(entry);
  });
});

describe("the read model of orders", () => {
  const stream = streams.order(ada, "o1");
  const first = { stream, event: placed, at: "2026-03-01T09:00:00.000Z" };

  it("shows the order, its history and what it is found by", () => {
    const shipments = [{ carrier: "DHL", tracking: "JD01", status: "in transit", items: [] }];
    project(orderProjection)
      .given(
        first,
        { stream, event: OrderDetailsChanged.create({ sourceRevision: 2, shipments }), at: now },
        {
          stream,
          event: OrderStatusChanged.create({
            sourceRevision: 2,
            status: "shipped",
            previousStatus: "new",
            statusAt: now,
          }),
          at: now,
        },
      )
      .then({
        o1: {
          id: "o1",
          version: 2,
          createdAt: "2026-03-01T09:00:00.000Z",
          modifiedAt: now,
          data: { ...details, shipments, status: "shipped" },
          timeline: [
            { at: placedAt, status: "new" },
            { at: now, status: "shipped" },
          ],
          search: "a-17\na book\njd01",
        },
      });
  });

  it("keeps the platform's own history where it gives one", () => {
    const timeline = [
      { at: placedAt, status: "new" as const },
      { at: now, status: "processing" as const, note: "paid" },
    ];
    const told = OrderDetailsChanged.create({ sourceRevision: 2, timeline });
    const moved = OrderStatusChanged.create({
      sourceRevision: 2,
      status: "processing",
      previousStatus: "new",
      statusAt: now,
    });
    const { documents } = project(orderProjection).given(first, { stream, event: told }, { stream, event: moved });
    expect(documents.get("o1")?.timeline).to.deep.equal(timeline);
  });

  it("lets go of the person and keeps the order, also in what comes later", () => {
    const event = OrderPlaced.create({
      ...placed.data,
      shippingAddress: home,
      billingAddress: home,
      paymentMethod: { type: "card", brand: "visa", last4: "4242" },
      shipments: [{ carrier: "DHL", tracking: "JD0146", status: "new", items: [] }],
      timeline: [{ at: placedAt, status: "new", note: "for Ada" }],
    });
    const { documents } = project(orderProjection).given(
      { stream, event },
      { stream: streams.profile(ada), event: CustomerErased.create({}) },
      { stream, event: OrderDetailsChanged.create({ sourceRevision: 2, totalMinor: 1, billingAddress: home }) },
    );
    const left = documents.get("o1");
    expect(JSON.stringify(left)).not.to.match(/Ada|James|4242|0146/i);
    expect(left?.data).to.deep.equal({ ...details, totalMinor: 1, status: "new" });
    expect(left?.timeline).to.deep.equal([]);
  });
});

describe("searched text", () => {
  it("is lower case, without accents, and skips what is absent", () => {
    expect(searchText("Crème BRÛLÉE", undefined, "", "Ÿ")).to.equal("creme brulee\ny");
  });
});
