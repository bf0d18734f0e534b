import { expect } from "chai";
import { streams } from "#domain/core/identifiers.js";
import { OrderDetailsChanged, OrderPlaced, OrderStatusChanged } from "#domain/orders/orders.events.js";
import { CustomerErased } from "#domain/privacy/privacy.events.js";
import { Registered, Updated } from "#domain/profile/profile.events.js";
import { TransactionChanged, TransactionRecorded } from "#domain/transactions/transactions.events.js";
import { ProductAdded, ProductChanged, ProductRemoved } from "#domain/wishlist/wishlist.events.js";
import { dashboardProjection } from "#projectors/dashboard/dashboard.projection.js";
import { ada, type Fact, project } from "../support/projection-specification.js";

const dashboard = project(dashboardProjection);
const view = (...facts: Fact[]) => {
  const document = dashboard.given(...facts).documents.get("dashboard");
  if (!document) throw new Error("there is no dashboard");
  return document;
};

const profile = (event: Fact["event"]): Fact => ({ stream: streams.profile(ada), event });
const wishlist = (event: Fact["event"]): Fact => ({ stream: streams.wishlist(ada), event });
const order = (id: string, event: Fact["event"]): Fact => ({ stream: streams.order(ada, id), event });
const payment = (id: string, event: Fact["event"]): Fact => ({ stream: streams.transaction(ada, id), event });

const placed = (orderNumber: string, placedAt: string, status: "new" | "completed" = "new") =>
  OrderPlaced.create({
    orderNumber,
    placedAt,
    status,
    statusAt: placedAt,
    currency: "EUR",
    items: [],
    totalMinor: 1000,
    sourceRevision: 1,
  });
const shipped = OrderStatusChanged.create({
  sourceRevision: 2,
  previousStatus: "new",
  status: "shipped",
  statusAt: "2026-02-02T10:00:00.000Z",
});
const entry = { status: "completed", direction: "credit", amountMinor: 500, currency: "EUR" } as const;
const earned = TransactionRecorded.create({
  ...entry,
  type: "earning",
  createdAt: "2026-02-01T10:00:00.000Z",
  sourceRevision: 1,
});
const added = (productId: string) =>
  ProductAdded.create({ productId, quantity: 1, notify: { backInStock: false, priceDrop: false } });

describe("dashboard projection", () => {
  it("counts orders by their status, and moves them by the status before", () => {
    const { orders } = view(
      order("1", placed("1001", "2026-02-01T10:00:00.000Z")),
      order("2", placed("1002", "2026-02-01T11:00:00.000Z")),
      order("3", placed("1003", "2026-02-01T12:00:00.000Z", "completed")),
      order("1", shipped),
    );
    expect(orders).to.deep.equal({ total: 3, byStatus: { new: 1, completed: 1, shipped: 1 } });
  });

  it("moves the wallet by what an entry was and what it is", () => {
    const { wallets } = view(
      payment("1", earned),
      payment("2", TransactionRecorded.create({ ...earned.data, status: "pending", amountMinor: 300 })),
      payment("3", TransactionRecorded.create({ ...earned.data, direction: "debit", amountMinor: 120 })),
      payment(
        "2",
        TransactionChanged.create({
          ...entry,
          amountMinor: 250,
          previous: { ...entry, status: "pending", amountMinor: 300 },
          sourceRevision: 2,
        }),
      ),
    );
    expect(wallets).to.deep.equal({ EUR: { balanceMinor: 630, pendingMinor: 0, heldMinor: 0 } });
  });

  it("counts the wishlist", () => {
    const { wishlistCount } = view(
      wishlist(added("a")),
      wishlist(added("b")),
      wishlist(ProductChanged.create({ productId: "a", quantity: 2 })),
      wishlist(ProductRemoved.create({ productId: "a" })),
    );
    expect(wishlistCount).to.equal(1);
  });

  it("knows whether e-mail and phone are proved", () => {
    const registered = profile(Registered.create({ source: "claims", email: "ada@example.com" }));
    expect(view(registered)).to.include({ email: "unverified", phone: "none" });
    const phone = profile(Updated.create({ source: "customer", phone: "+4930123456", previous: { phone: null } }));
    expect(view(registered, phone)).to.include({ email: "unverified", phone: "unverified" });
    const proved = profile(Updated.create({ source: "platform", emailVerified: true, previous: {} }));
    expect(view(registered, proved)).to.include({ email: "verified", phone: "none" });
    const other = profile(
      Updated.create({ source: "platform", email: "ada@new.example", emailVerified: false, previous: {} }),
    );
    expect(view(registered, proved, other)).to.include({ email: "unverified" });
    const gone = profile(Updated.create({ source: "platform", email: null, emailVerified: false, previous: {} }));
    expect(view(registered, proved, gone)).to.include({ email: "none" });
  });

  it("keeps the ten newest happenings by when they happened, newest first", () => {
    const days = [5, 3, 11, 7, 1, 12, 9, 2, 10, 8, 4, 6].map((day) => String(day).padStart(2, "0"));
    const orders = days.map((day) => order(day, placed(day, `2026-01-${day}T10:00:00.000Z`)));
    const { recentActivity } = view(...orders);
    const newest = ["12", "11", "10", "09", "08", "07", "06", "05", "04", "03"];
    expect(recentActivity.map(({ title }) => title)).to.deep.equal(newest.map((day) => `Order ${day} placed`));
    expect(recentActivity[0]).to.deep.equal({
      id: "00000000-0000-4000-8000-000000000005",
      at: "2026-01-12T10:00:00.000Z",
      kind: "order.placed",
      title: "Order 12 placed",
      actor: { type: "customer", name: null },
      ref: { datatype: "order", pk: "order-12" },
    });
  });

  it("does not call a correction news", () => {
    const { recentActivity, asOf } = view(
      order("1", placed("1001", "2026-02-01T10:00:00.000Z")),
      order("1", OrderDetailsChanged.create({ sourceRevision: 2, totalMinor: 900 })),
    );
    expect(recentActivity.map(({ kind }) => kind)).to.deep.equal(["order.placed"]);
    expect(asOf).to.equal("2026-03-01T09:01:00.000Z");
  });

  it("lets go of everything when the customer is erased, and is not begun again by a late change", () => {
    const erased = profile(CustomerErased.create({}));
    dashboard
      .given(
        profile(Registered.create({ source: "claims" })),
        order("1", placed("1001", "2026-02-01T10:00:00.000Z")),
        payment("1", earned),
        erased,
        order("1", shipped),
        payment("1", TransactionChanged.create({ ...entry, previous: entry, sourceRevision: 2 })),
      )
      .thenNothing();
  });
});
