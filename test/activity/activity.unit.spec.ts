import { expect } from "chai";
import { streams } from "#domain/core/identifiers.js";
import { OrderDetailsChanged, OrderReconfirmed, OrderStatusChanged } from "#domain/orders/orders.events.js";
import { CustomerErased } from "#domain/privacy/privacy.events.js";
import { Reconfirmed, Registered, Updated } from "#domain/profile/profile.events.js";
import { TransactionChanged } from "#domain/transactions/transactions.events.js";
import { ProductAdded, ProductChanged } from "#domain/wishlist/wishlist.events.js";
import { activityProjection } from "#projectors/activity/activity.projection.js";
import { ada, type Fact, project } from "../support/projection-specification.js";

const activity = project(activityProjection);
const profile = (event: Fact["event"], metadata?: Fact["metadata"]): Fact => ({
  stream: streams.profile(ada),
  event,
  ...(metadata ? { metadata } : {}),
});
const order = (event: Fact["event"]): Fact => ({ stream: streams.order(ada, "17"), event });
const lines = (...facts: Fact[]) => [...activity.given(...facts).documents.values()];

describe("activity projection", () => {
  it("tells of a changed profile field by field, with the values before", () => {
    activity
      .given(
        profile(
          Updated.create({
            source: "customer",
            phone: "+4930123456",
            marketing: { sms: true },
            metadata: { tier: "gold" },
            previous: { phone: null, marketing: { sms: false }, metadata: { tier: "silver" } },
          }),
          { via: "shop-frontend" },
        ),
      )
      .then({
        "00000000-0000-4000-8000-000000000000": {
          id: "00000000-0000-4000-8000-000000000000",
          at: "2026-03-01T09:00:00.000Z",
          what: "profile.updated",
          area: "profile",
          ref: { datatype: "customer", pk: "customer-ada" },
          actor: { type: "customer" },
          changes: [
            { field: "phone", from: null, to: "+4930123456" },
            { field: "marketing.sms", from: false, to: true },
            { field: "metadata.tier", from: "silver", to: "gold" },
          ],
          via: "shop-frontend",
        },
      });
  });

  it("says who acted by kind alone", () => {
    const [line] = lines(profile(Registered.create({ source: "platform" }), { actor: { type: "system", id: "shop" } }));
    expect(line).to.include({ what: "profile.registered" });
    expect(line?.actor).to.deep.equal({ type: "system" });
  });

  it("names the record an event is about", () => {
    const notify = { backInStock: false, priceDrop: false };
    const [added, changed] = lines(
      {
        stream: streams.wishlist(ada),
        event: ProductAdded.create({ productId: "shirt", variantId: "m", quantity: 1, notify }),
      },
      {
        stream: streams.wishlist(ada),
        event: ProductChanged.create({ productId: "shirt", variantId: "m", quantity: 2 }),
      },
    );
    expect(added?.ref).to.deep.equal({ datatype: "wishlist_item", pk: "wishlist_item-shirt~m" });
    expect(changed?.changes).to.deep.equal([{ field: "quantity", to: 2 }]);
  });

  it("tells of orders and transactions by their status", () => {
    const entry = { status: "pending", direction: "debit", amountMinor: 500, currency: "EUR" } as const;
    const told = lines(
      order(
        OrderStatusChanged.create({
          sourceRevision: 2,
          previousStatus: "new",
          status: "shipped",
          statusAt: "2026-02-02T10:00:00.000Z",
        }),
      ),
      order(OrderDetailsChanged.create({ sourceRevision: 3, totalMinor: 900 })),
      {
        stream: streams.transaction(ada, "t1"),
        event: TransactionChanged.create({ ...entry, status: "completed", previous: entry, sourceRevision: 2 }),
      },
    );
    expect(told.map(({ what, ref, changes }) => ({ what, pk: ref.pk, changes }))).to.deep.equal([
      { what: "order.shipped", pk: "order-17", changes: [{ field: "status", from: "new", to: "shipped" }] },
      { what: "order.changed", pk: "order-17", changes: [{ field: "totalMinor" }] },
      {
        what: "transaction.completed",
        pk: "transaction-t1",
        changes: [{ field: "status", from: "pending", to: "completed" }],
      },
    ]);
  });

  it("is silent about what only confirms", () => {
    activity
      .given(profile(Reconfirmed.create({ sourceRevision: 2 })), order(OrderReconfirmed.create({ sourceRevision: 2 })))
      .thenNothing();
  });

  it("lets go of everything when the customer is erased", () => {
    activity.given(profile(Registered.create({ source: "claims" })), profile(CustomerErased.create({}))).thenNothing();
  });
});
