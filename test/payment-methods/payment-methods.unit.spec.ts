import { expect } from "chai";
import { fold } from "#domain/core/decider.js";
import { maskedEmail } from "#domain/core/masking.js";
import { streams } from "#domain/core/identifiers.js";
import { awaitsPayment } from "#domain/orders/orders.policy.js";
import { hasCardData } from "#domain/payment-methods/card-data.policy.js";
import { type PaymentMethodsCommand, paymentMethodsDecider } from "#domain/payment-methods/payment-methods.decider.js";
import {
  Attached,
  AttachFailed,
  AttachMerged,
  AttachRequested,
  CustomerAssigned,
  CustomerLost,
  DefaultChanged,
  Detached,
  Expired,
  Expiring,
  type MethodDetails,
  type PaymentMethodEvent,
  Refreshed,
  Removed,
} from "#domain/payment-methods/payment-methods.events.js";
import { expiresAt, expiryTodo } from "#domain/payment-methods/payment-methods.policy.js";
import { CustomerErased } from "#domain/privacy/privacy.events.js";
import { dueWorkProjection } from "#projectors/due-work.js";
import { paymentMethodDuties } from "#projectors/payment-methods/payment-methods.duties.js";
import { paymentMethodProjection } from "#projectors/payment-methods/payment-methods.projection.js";
import { letGo, type SagaHands, type SagaProvider, settleAttach } from "#sagas/payment-methods/payment-methods.saga.js";
import { placed, specify } from "../support/decider-specification.js";
import { ada, type Fact, project } from "../support/projection-specification.js";

const now = new Date("2026-03-01T10:00:00.000Z");
const card = (number: string, more: Partial<MethodDetails> = {}): MethodDetails => ({
  ...{ providerMethodId: `pm_${number}`, providerCustomerId: "cus_1", type: "card", brand: "visa", last4: "4242" },
  ...{ expMonth: 8, expYear: 2030, fingerprint: `fp-${number}`, ...more },
});
const requested = (id: string, more: Partial<Parameters<typeof AttachRequested.create>[0]> = {}) =>
  AttachRequested.create({ id, provider: "stripe", token: `pm_${id}`, setAsDefault: false, ...more });
const attached = (id: string, more: Partial<MethodDetails> = {}) =>
  Attached.create({ id, provider: "stripe", ...card(id, more) });
const isDefault = (id: string, is = true) => DefaultChanged.create({ id, isDefault: is });
const request = (id: string, more: object = {}): PaymentMethodsCommand => {
  const wish = { type: "RequestAttach", id, provider: "stripe", token: `pm_${id}`, setAsDefault: false, now } as const;
  return { ...wish, ...more };
};
const record = (id: string, more: Partial<MethodDetails> = {}) =>
  ({ type: "RecordAttached", id, details: card(id, more) }) as const;

describe("payment methods decider", () => {
  const methods = specify(paymentMethodsDecider);
  const first = [requested("a"), attached("a"), isDefault("a")];
  const second = [requested("b"), attached("b")];

  it("records the wish before anybody is asked", () => {
    methods
      .given()
      .when(request("a", { label: "mine" }))
      .then(requested("a", { label: "mine" }));
  });

  it("does nothing for what is saved or being attached already, but moves the default when asked", () => {
    methods
      .given(...first)
      .when(request("x", { token: "pm_a" }))
      .thenNothing();
    methods
      .given(requested("a"))
      .when(request("x", { token: "pm_a" }))
      .thenNothing();
    methods
      .given(...first, ...second)
      .when(request("x", { token: "pm_b", setAsDefault: true }))
      .then(isDefault("a", false), isDefault("b"));
  });

  it("knows a saved PayPal wallet by the token it was made of, a Stripe test method never", () => {
    const paypal = { provider: "paypal", token: "SETUP-1" } as const;
    const wallet = Attached.create({ id: "w", provider: "paypal", ...card("w", { type: "paypal" }) });
    methods.given(requested("w", paypal), wallet).when(request("x", paypal)).thenNothing();
    methods
      .given(requested("a", { token: "pm_card_visa" }), attached("a"))
      .when(request("x", { token: "pm_card_visa" }))
      .then(requested("x", { token: "pm_card_visa" }));
  });

  it("refuses the twenty-first, pending ones counted, and what was removed", () => {
    const many = Array.from({ length: 20 }, (_, index) => requested(`m${index}`));
    methods
      .given(...many)
      .when(request("a"))
      .thenRefused("PAYMENT_METHOD_LIMIT_REACHED", { limit: 20 });
    const removed = Removed.create({ id: "a", by: "customer", letGo: true });
    methods
      .given(...first, removed)
      .when(request("x", { token: "pm_a" }))
      .thenRefused("PAYMENT_METHOD_NOT_FOUND");
  });

  it("makes the first one the default, and another one when that was wished", () => {
    methods.given(requested("a")).when(record("a")).then(attached("a"), isDefault("a"));
    methods
      .given(...first, requested("b"))
      .when(record("b"))
      .then(attached("b"));
    methods
      .given(...first, requested("b", { setAsDefault: true }))
      .when(record("b"))
      .then(attached("b"), isDefault("a", false), isDefault("b"));
  });

  it("merges the same card in another object, and refreshes its expiry", () => {
    const same = { fingerprint: "fp-a", expYear: 2034 };
    methods
      .given(...first, requested("b"))
      .when(record("b", same))
      .then(
        AttachMerged.create({ id: "b", provider: "stripe", into: "a", providerMethodId: "pm_b", letGo: true }),
        Refreshed.create({ id: "a", ...card("a", { expYear: 2034 }) }),
      );
    methods
      .given(...first, requested("b", { setAsDefault: true }))
      .when(record("b", { providerMethodId: "pm_a", fingerprint: "fp-a" }))
      .then(AttachMerged.create({ id: "b", provider: "stripe", into: "a", providerMethodId: "pm_a", letGo: false }));
  });

  it("records a failure once, and an outcome never twice", () => {
    const fail = { type: "RecordFailed", id: "a", failureCode: "CARD_DECLINED", declineCode: "do_not_honor" } as const;
    const failed = AttachFailed.create({ id: "a", failureCode: "CARD_DECLINED", declineCode: "do_not_honor" });
    methods.given(requested("a")).when(fail).then(failed);
    methods.given(requested("a"), failed).when(record("a")).thenNothing();
    methods
      .given(...first)
      .when(fail)
      .thenNothing();
    methods.given().when(record("nobody")).thenNothing();
  });

  it("lets go of what was attached after its removal, unless another method wants it", () => {
    const removed = Removed.create({ id: "a", by: "customer", letGo: false });
    methods
      .given(requested("a"), removed)
      .when(record("a"))
      .then(AttachFailed.create({ id: "a", failureCode: "REMOVED", providerMethodId: "pm_a" }));
    methods
      .given(requested("a"), removed, requested("b", { token: "pm_a" }))
      .when(record("a"))
      .then(AttachFailed.create({ id: "a", failureCode: "REMOVED" }));
  });

  it("removes once, and makes the newest active one the default", () => {
    const remove = (id: string) => ({ type: "Remove", id }) as const;
    const removed = (id: string, letGo = true) => Removed.create({ id, by: "customer", letGo });
    const third = [requested("c"), attached("c")];
    methods
      .given(...first, ...second, ...third)
      .when(remove("a"))
      .then(removed("a"), isDefault("c"));
    methods
      .given(...first, ...second)
      .when(remove("b"))
      .then(removed("b"));
    methods.given(requested("a")).when(remove("a")).then(removed("a", false));
    methods
      .given(...first, removed("a"))
      .when(remove("a"))
      .thenNothing();
    methods
      .given(...first)
      .when(remove("b"))
      .thenRefused("PAYMENT_METHOD_NOT_FOUND");
  });

  it("records once that the provider has let go", () => {
    const removed = Removed.create({ id: "a", by: "customer", letGo: true });
    const done = { type: "RecordDetached", id: "a" } as const;
    methods
      .given(...first, removed)
      .when(done)
      .then(Detached.create({ id: "a" }));
    methods
      .given(...first)
      .when(done)
      .thenNothing();
  });

  it("makes only an active one the default, by the clock", () => {
    const make = (id: string, at = now) => ({ type: "MakeDefault", id, now: at }) as const;
    methods
      .given(...first, ...second)
      .when(make("b"))
      .then(isDefault("a", false), isDefault("b"));
    methods
      .given(...first)
      .when(make("a"))
      .thenNothing();
    methods
      .given(...first, requested("b"))
      .when(make("b"))
      .thenRefused("PAYMENT_METHOD_NOT_ACTIVE", { state: "pending" });
    const later = new Date("2030-09-01T00:00:00.000Z");
    methods
      .given(...first, ...second)
      .when(make("b", later))
      .thenRefused("PAYMENT_METHOD_NOT_ACTIVE", { state: "expired" });
    methods.given().when(make("a")).thenRefused("PAYMENT_METHOD_NOT_FOUND");
  });

  it("notes a card's dates as the clock passes them", () => {
    const expiry = (at: string): PaymentMethodsCommand => ({ type: "RecordExpiry", id: "a", now: new Date(at) });
    const dates = { id: "a", expMonth: 8, expYear: 2030 };
    methods
      .given(...first)
      .when(expiry("2030-08-01T23:59:59.999Z"))
      .thenNothing();
    methods
      .given(...first)
      .when(expiry("2030-08-02T00:00:00.000Z"))
      .then(Expiring.create(dates));
    methods
      .given(...first, Expiring.create(dates))
      .when(expiry("2030-08-31T23:59:59.999Z"))
      .thenNothing();
    methods
      .given(...first)
      .when(expiry("2030-09-01T00:00:00.000Z"))
      .then(Expired.create(dates));
    methods.given(requested("a")).when(expiry("2031-01-01T00:00:00.000Z")).thenNothing();
  });

  it("assigns one customer of the provider, and another one only when that was lost", () => {
    const assign = (providerCustomerId: string) =>
      ({ type: "AssignCustomer", provider: "stripe", providerCustomerId }) as const;
    const assigned = CustomerAssigned.create({ provider: "stripe", providerCustomerId: "cus_1" });
    methods.given().when(assign("cus_1")).then(assigned);
    methods.given(assigned).when(assign("cus_2")).thenNothing();
    const lose = { type: "LoseCustomer", provider: "stripe", providerCustomerId: "cus_1" } as const;
    const lost = CustomerLost.create({ provider: "stripe" });
    methods
      .given(assigned, ...first, ...second)
      .when(lose)
      .then(
        Removed.create({ id: "a", by: "provider", letGo: false }),
        Removed.create({ id: "b", by: "provider", letGo: false }),
        lost,
      );
    methods
      .given(assigned, lost)
      .when(assign("cus_2"))
      .then(CustomerAssigned.create({ provider: "stripe", providerCustomerId: "cus_2" }));
  });

  describe("what the provider reports", () => {
    const report = (number: string, found: MethodDetails | null): PaymentMethodsCommand => {
      return { type: "Reconcile", id: "hook", provider: "stripe", providerMethodId: `pm_${number}`, found };
    };

    it("removes what it no longer has, refreshes what changed, and is silent about the rest", () => {
      methods
        .given(...first)
        .when(report("a", card("a")))
        .thenNothing();
      methods
        .given(...first, ...second)
        .when(report("a", null))
        .then(Removed.create({ id: "a", by: "provider", letGo: false }), isDefault("b"));
      const changed = card("a", { expYear: 2033, last4: "1881" });
      methods
        .given(...first)
        .when(report("a", changed))
        .then(Refreshed.create({ id: "a", ...changed }));
      methods.given().when(report("a", null)).thenNothing();
    });

    it("adds what was attached without a request of ours", () => {
      methods
        .given()
        .when(report("z", card("z")))
        .then(Attached.create({ id: "hook", provider: "stripe", ...card("z") }), isDefault("hook"));
    });

    it("leaves an open attempt to itself", () => {
      methods
        .given(requested("a"))
        .when(report("a", card("a")))
        .thenNothing();
      methods
        .given(requested("a"))
        .when(report("z", card("z")))
        .thenRefused("PAYMENT_METHOD_NOT_ACTIVE");
    });

    it("ends a removal whose answer was lost", () => {
      const removed = Removed.create({ id: "a", by: "customer", letGo: true });
      methods
        .given(...first, removed)
        .when(report("a", null))
        .then(Detached.create({ id: "a" }));
      methods
        .given(...first, removed)
        .when(report("a", card("a")))
        .thenNothing();
    });
  });
});

describe("payment methods saga", () => {
  /** Hands on a stream in memory and a provider that is asked by number; `fails` breaks that call, once. */
  function hands(history: PaymentMethodEvent[], provider: Partial<SagaProvider>) {
    const calls: string[] = [];
    const ask =
      (name: keyof SagaProvider, otherwise: unknown) =>
      async (...args: unknown[]): Promise<any> => {
        calls.push([name, ...args.map((one) => JSON.stringify(one))].join(" "));
        return provider[name] ? (provider[name] as (...all: unknown[]) => unknown)(...args) : otherwise;
      };
    const state = () => fold(paymentMethodsDecider, paymentMethodsDecider.initial, placed(history));
    const outside: SagaHands = {
      load: async () => state(),
      record: async (_, command) => {
        history.push(...(paymentMethodsDecider.decide(command, state()).events as PaymentMethodEvent[]));
        return state();
      },
      provider: () => ({
        ...{ customer: ask("customer", "cus_1"), attach: ask("attach", { kind: "attached", method: card("a") }) },
        ...{ detach: ask("detach", undefined), updateExpiry: ask("updateExpiry", undefined) },
      }),
      isFault: (error) => (error as Error).message === "fault",
    };
    return { outside, calls, types: () => history.map(({ type }) => type.split(".")[1]) };
  }

  it("asks for the customer, attaches under the method's id, and does nothing when it is done", async () => {
    const { outside, calls, types } = hands([requested("a")], {});
    await settleAttach(outside, "a");
    await settleAttach(outside, "a");
    expect(calls).to.deep.equal(["customer 0", 'attach "pm_a" "cus_1" "a"']);
    expect(types()).to.deep.equal(["AttachRequested", "CustomerAssigned", "Attached", "DefaultChanged"]);
  });

  it("goes on from where it was stopped, with the same keys", async () => {
    let tries = 0;
    const attach = async () => {
      if (++tries === 1) throw new Error("no answer");
      return { kind: "attached", method: card("a") } as const;
    };
    const { outside, calls } = hands([requested("a")], { attach });
    await settleAttach(outside, "a").catch(() => {});
    await settleAttach(outside, "a");
    expect(calls).to.deep.equal(["customer 0", 'attach "pm_a" "cus_1" "a"', 'attach "pm_a" "cus_1" "a"']);
  });

  it("takes another customer where the provider's was removed", async () => {
    const attach: SagaProvider["attach"] = async (_, customer) =>
      customer === "cus_1" ? { kind: "no-customer" } : { kind: "attached", method: card("a") };
    const customer = async (lost: number) => `cus_${lost + 1}`;
    const { outside, types } = hands([requested("a")], { attach, customer });
    await settleAttach(outside, "a");
    expect(types().slice(1, 5)).to.deep.equal(["CustomerAssigned", "CustomerLost", "CustomerAssigned", "Attached"]);
  });

  it("records that the provider refuses us", async () => {
    const customer = async () => {
      throw new Error("fault");
    };
    const { outside, types } = hands([requested("a")], { customer });
    await settleAttach(outside, "a");
    expect(types()).to.deep.equal(["AttachRequested", "AttachFailed"]);
  });

  it("tells the object kept when the card expires, lets go of the other, and of nothing that is wanted again", async () => {
    const first = [requested("a"), attached("a"), isDefault("a")];
    const merged = AttachMerged.create({
      id: "b",
      provider: "stripe",
      into: "a",
      providerMethodId: "pm_b",
      letGo: true,
    });
    const one = hands([...first, requested("b"), merged], {});
    await letGo(one.outside, "b");
    await letGo(one.outside, "b");
    expect(one.calls).to.deep.equal([
      'updateExpiry "pm_a" {"expMonth":8,"expYear":2030} "b-2030-8"',
      'detach "pm_b" "b"',
    ]);
    const failed = AttachFailed.create({ id: "b", failureCode: "REMOVED", providerMethodId: "pm_a" });
    const other = hands([...first, requested("b"), failed], {});
    await letGo(other.outside, "b");
    expect(other.calls).to.deep.equal([]);
    expect(other.types().at(-1)).to.equal("Detached");
  });
});

describe("payment methods read model", () => {
  const fact = (event: Fact["event"]): Fact => ({ stream: streams.paymentMethods(ada), event });
  const facts = (...events: Fact["event"][]) => events.map(fact);

  it("follows a method from the wish to its end, and forgets what was there already", () => {
    const shown = project(paymentMethodProjection);
    const one = shown
      .given(...facts(requested("a", { label: "mine" }), attached("a"), isDefault("a")))
      .documents.get("a");
    expect(one).to.deep.include({ status: "active", label: "mine", isDefault: true, version: 2, last4: "4242" });
    expect(one).to.deep.include({ expiresAt: "2030-09-01T00:00:00.000Z", rank: "1 2026-03-01T09:00:00.000Z" });
    const removed = Removed.create({ id: "a", by: "customer", letGo: true });
    const gone = shown.given(...facts(requested("a"), attached("a"), isDefault("a"), removed)).documents.get("a");
    expect(gone).to.deep.include({ status: "removed", isDefault: false, version: 3 });
    const merged = AttachMerged.create({
      id: "b",
      provider: "stripe",
      into: "a",
      providerMethodId: "pm_b",
      letGo: true,
    });
    expect([...shown.given(...facts(requested("b"), merged)).documents.keys()]).to.deep.equal([]);
    const erased: Fact = { stream: streams.profile(ada), event: CustomerErased.create({}) };
    shown.given(...facts(requested("a"), attached("a")), erased).thenNothing();
  });

  it("has one duty at a time for a method, which its events begin, move and end", () => {
    const due = (...events: Fact["event"][]) => {
      const row = project(dueWorkProjection([paymentMethodDuties]))
        .given(...facts(...events))
        .documents.get("payment-methods.a");
      return row && [row.duty, row.dueAt];
    };
    const removed = (letGo: boolean) => Removed.create({ id: "a", by: "customer", letGo });
    expect(due(requested("a"))).to.deep.equal(["payment-methods-settle", "2026-03-01T09:00:30.000Z"]);
    expect(due(requested("a"), removed(false))).to.deep.equal(["payment-methods-settle", "2026-03-01T09:00:30.000Z"]);
    expect(due(requested("a"), attached("a"))).to.deep.equal(["payment-methods-expire", "2030-08-02T00:00:00.000Z"]);
    const dates = { id: "a", expMonth: 8, expYear: 2030 };
    const expiring = [requested("a"), attached("a"), Expiring.create(dates)];
    expect(due(...expiring)).to.deep.equal(["payment-methods-expire", "2030-09-01T00:00:00.000Z"]);
    expect(due(...expiring, Expired.create(dates))).to.equal(undefined);
    const letting = [requested("a"), attached("a"), removed(true)];
    expect(due(...letting)).to.deep.equal(["payment-methods-let-go", "2026-03-01T09:02:30.000Z"]);
    expect(due(...letting, Detached.create({ id: "a" }))).to.equal(undefined);
    expect(due(requested("a"), AttachFailed.create({ id: "a", failureCode: "CARD_DECLINED" }))).to.equal(undefined);
  });
});

describe("payment methods policy", () => {
  it("lets a card live to the end of its month", () => {
    expect(expiresAt({ expMonth: 12, expYear: 2030 })).to.equal("2031-01-01T00:00:00.000Z");
    expect(expiresAt({})).to.equal(null);
    const end = "2031-01-01T00:00:00.000Z";
    expect(expiryTodo(end, new Date("2030-12-01T23:59:59.999Z"))).to.equal(null);
    expect(expiryTodo(end, new Date("2030-12-02T00:00:00.000Z"))).to.equal("CARD_EXPIRING");
    expect(expiryTodo(end, new Date(end))).to.equal("CARD_EXPIRED");
  });

  it("masks an address so that its owner knows it", () => {
    expect(["ada@example.com", "a@b.c", "@x", ""].map(maskedEmail)).to.deep.equal([
      "a***@example.com",
      "a***@b.c",
      "***",
      "***",
    ]);
  });

  it("sees card numbers and security codes, and leaves everything else alone", () => {
    const cards: unknown[] = [
      ...[
        "4242424242424242",
        "4242-4242 4242.4242",
        "pay with 378282246310005 please",
        "5555555555554444",
        4242424242424242,
      ],
      ...["pm_4242424242424242", { a: [{ b: "6011111111111117" }] }, { "4242424242424242": 1 }],
      ...[
        { cvc: "123" },
        { CVV2: 123 },
        { card_number: "x" },
        { card: { securityCode: "9999" } },
        "cvc: 123",
        "CVV 1234",
      ],
    ];
    for (const value of cards) expect(hasCardData(value), JSON.stringify(value)).to.equal(true);
    const harmless: unknown[] = [
      ...[
        "pm_1MqLiJLkdIwHu7ixUEgbFdYF",
        "BA-8A802366G0648845Y",
        "4242424242424241",
        "0000000000000000",
        "123456789012",
        null,
      ],
      ...[
        { label: "Visa 4242" },
        { number: "" },
        { provider: "stripe", setAsDefault: true },
        "a1b2c3d4e5f60718293a4242424242424242",
        42,
      ],
    ];
    for (const value of harmless) expect(hasCardData(value), JSON.stringify(value)).to.equal(false);
    let deep: unknown = "x";
    for (let depth = 0; depth < 5_000; depth++) deep = [deep];
    expect(hasCardData(deep)).to.equal(true);
  });

  it("knows an order to be unpaid only where the platform told of its payments", () => {
    const order = { status: "processing", totalMinor: 1_000 } as const;
    const payment = (status: string, amountMinor: number) => ({ status, amountMinor });
    expect(awaitsPayment(order)).to.equal(false);
    expect(awaitsPayment({ ...order, payments: [] })).to.equal(true);
    expect(awaitsPayment({ ...order, payments: [payment("pending", 1_000)] })).to.equal(true);
    expect(awaitsPayment({ ...order, payments: [payment("completed", 600), payment("captured", 400)] })).to.equal(
      false,
    );
    expect(awaitsPayment({ ...order, status: "cancelled", payments: [] })).to.equal(false);
  });
});
