import { expect } from "chai";
import * as fc from "fast-check";
import { streams } from "#domain/core/identifiers.js";
import { CustomerErased } from "#domain/privacy/privacy.events.js";
import { type IngestTransaction, transactionDecider } from "#domain/transactions/transactions.decider.js";
import {
  type LedgerEntry,
  TransactionChanged,
  TransactionReconfirmed,
  TransactionRecorded,
  transactionStatuses,
} from "#domain/transactions/transactions.events.js";
import { moveWallets, type Wallets } from "#domain/transactions/wallet.policy.js";
import { transactionProjection } from "#projectors/transactions/transactions.projection.js";
import { specify } from "../support/decider-specification.js";
import { ada, project } from "../support/projection-specification.js";

const createdAt = "2026-03-01T08:00:00.000Z";
const entry: LedgerEntry = { status: "pending", direction: "credit", amountMinor: 1250, currency: "EUR" };
const details = { type: "bonus" as const, createdAt };

function ingest(changes: Partial<IngestTransaction> = {}): IngestTransaction {
  return { type: "IngestTransaction", sourceRevision: 1, entry, details, ...changes };
}

const recorded = TransactionRecorded.create({ ...details, ...entry, sourceRevision: 1 });

describe("a transaction", () => {
  it("is recorded when the platform first tells of it", () => {
    specify(transactionDecider).given().when(ingest()).then(recorded);
  });

  it("ignores what it was told before, and what comes late", () => {
    const settled = { ...entry, status: "completed" as const };
    specify(transactionDecider)
      .given(recorded)
      .when(ingest({ entry: settled }))
      .thenNothing();
    specify(transactionDecider)
      .given(recorded)
      .when(ingest({ sourceRevision: 0, entry: settled }))
      .thenNothing();
  });

  it("carries what moves a wallet, before and after", () => {
    const settled = { ...entry, status: "completed" as const, amountMinor: 1200 };
    specify(transactionDecider)
      .given(recorded)
      .when(ingest({ sourceRevision: 2, entry: settled }))
      .then(TransactionChanged.create({ sourceRevision: 2, previous: entry, ...settled }));
  });

  it("records changed details alone: absent leaves a field, null clears it", () => {
    const described = TransactionRecorded.create({ ...recorded.data, description: "thanks", reference: "R1" });
    specify(transactionDecider)
      .given(described)
      .when(ingest({ sourceRevision: 2, details: { ...details, description: null, orderId: "o1" } }))
      .then(
        TransactionChanged.create({ sourceRevision: 2, previous: entry, ...entry, description: null, orderId: "o1" }),
      );
  });

  it("remembers a newer revision that says nothing new", () => {
    const reconfirmed = TransactionReconfirmed.create({ sourceRevision: 3 });
    specify(transactionDecider)
      .given(recorded)
      .when(ingest({ sourceRevision: 3 }))
      .then(reconfirmed);
    specify(transactionDecider)
      .given(recorded, reconfirmed)
      .when(ingest({ sourceRevision: 2 }))
      .thenNothing();
  });
});

describe("a wallet", () => {
  it("adds completed credits, subtracts completed debits, keeps pending and held apart, counts nothing else", () => {
    const move = (wallets: Wallets, change: Partial<LedgerEntry>) =>
      moveWallets(wallets, null, { ...entry, status: "completed", ...change });
    let wallets: Wallets = {};
    wallets = move(wallets, { amountMinor: 1000 });
    wallets = move(wallets, { amountMinor: 300, direction: "debit" });
    wallets = move(wallets, { amountMinor: 50, status: "pending" });
    wallets = move(wallets, { amountMinor: 20, status: "held", direction: "debit" });
    for (const status of ["failed", "refunded", "cancelled"] as const) wallets = move(wallets, { status });
    expect(wallets).to.deep.equal({ EUR: { balanceMinor: 700, pendingMinor: 50, heldMinor: -20 } });
  });

  it("is zero, not absent, for an entry of zero", () => {
    expect(moveWallets({}, null, { ...entry, amountMinor: 0 })).to.deep.equal({
      EUR: { balanceMinor: 0, pendingMinor: 0, heldMinor: 0 },
    });
  });

  it("ends where the last state of every entry puts it, whatever happened between", () => {
    const anyEntry = fc.record({
      status: fc.constantFrom(...transactionStatuses),
      direction: fc.constantFrom("credit" as const, "debit" as const),
      amountMinor: fc.nat(1_000_000),
      currency: fc.constantFrom("EUR", "USD"),
    });
    fc.assert(
      fc.property(fc.array(fc.array(anyEntry, { minLength: 1, maxLength: 5 }), { maxLength: 10 }), (histories) => {
        let moved: Wallets = {};
        let last: Wallets = {};
        for (const history of histories) {
          history.forEach((next, index) => {
            moved = moveWallets(moved, history[index - 1] ?? null, next);
          });
          last = moveWallets(last, null, history.at(-1) as LedgerEntry);
        }
        for (const currency of ["EUR", "USD"]) {
          const zero = { balanceMinor: 0, pendingMinor: 0, heldMinor: 0 };
          expect(moved[currency] ?? zero).to.deep.equal(last[currency] ?? zero);
        }
      }),
    );
  });
});

describe("the read model of transactions", () => {
  const stream = streams.transaction(ada, "t1");
  const at = "2026-03-01T09:00:00.000Z";

  it("shows the entry in its latest state, with its amount in the currency's own decimals", () => {
    const yen = TransactionRecorded.create({ ...recorded.data, currency: "JPY", reference: "R1" });
    const changed = TransactionChanged.create({
      sourceRevision: 2,
      previous: { ...entry, currency: "JPY" },
      ...entry,
      currency: "EUR",
      status: "completed",
      reference: null,
    });
    const created = project(transactionProjection).given({ stream, event: yen, at });
    expect(created.documents.get("t1")?.data).to.include({ amountMinor: 1250, amount: 1250, currency: "JPY" });
    project(transactionProjection)
      .given({ stream, event: yen, at }, { stream, event: changed, at })
      .then({
        t1: {
          id: "t1",
          version: 1,
          createdAt: at,
          modifiedAt: at,
          data: { ...entry, ...details, status: "completed", amount: 12.5 },
        },
      });
  });

  it("lets go of free text after an erasure, also in what comes later", () => {
    const { documents } = project(transactionProjection).given(
      {
        stream,
        event: TransactionRecorded.create({
          ...{ ...recorded.data, description: "for Ada", reference: "V-1", failureReason: "Ada's bank said no" },
          paymentMethod: { type: "card", brand: "visa", last4: "4242" },
        }),
      },
      { stream: streams.profile(ada), event: CustomerErased.create({}) },
      {
        stream,
        event: TransactionChanged.create({ sourceRevision: 2, previous: entry, ...entry, description: "Ada again" }),
      },
    );
    expect(documents.get("t1")?.data).to.deep.equal({ ...entry, ...details, amount: 12.5 });
  });
});
