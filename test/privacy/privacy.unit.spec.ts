import { expect } from "chai";
import { streams } from "#domain/core/identifiers.js";
import { orderStatuses } from "#domain/orders/orders.policy.js";
import { privacyDecider } from "#domain/privacy/privacy.decider.js";
import {
  AccountLocked,
  AccountUnlocked,
  CustomerErased,
  ErasureAnnounced,
  ErasureBegun,
  ErasureCancelled,
  ErasurePostponed,
  ErasureRequested,
  ExportAnnounced,
  ExportExpired,
  ExportReady,
  ExportRequested,
  mayAct,
} from "#domain/privacy/privacy.events.js";
import { exportsKept, openObligations, unfinishedOrderStatuses } from "#domain/privacy/privacy.policy.js";
import { Registered } from "#domain/profile/profile.events.js";
import { dueWorkProjection } from "#projectors/due-work.js";
import { exportSections, notExported } from "#projectors/privacy/privacy.export.js";
import { privacyAreaDuties } from "#projectors/privacy/privacy.duties.js";
import { privacyProjection } from "#projectors/privacy/privacy.projection.js";
import { projections } from "#projectors/registry.js";
import { specify } from "../support/decider-specification.js";
import { ada, project } from "../support/projection-specification.js";

const privacy = specify(privacyDecider);
const registered = Registered.create({ source: "claims", name: "Ada Lovelace" });
const now = "2026-03-01T12:00:00.000Z";
const inGrace = "2026-03-15T12:00:00.000Z";
const requested = ErasureRequested.create({ effectiveAt: inGrace });
const begun = ErasureBegun.create({});
const erased = CustomerErased.create({});
const locked = AccountLocked.create({ reason: "fraud" });

describe("privacy decider", () => {
  describe("a staff lock", () => {
    const lock = { type: "LockAccount", reason: "fraud" } as const;
    const unlock = { type: "UnlockAccount" } as const;

    it("locks, and opens again", () => {
      privacy.given(registered).when(lock).then(locked);
      privacy.given(registered, locked).when(unlock).then(AccountUnlocked.create({}));
      privacy.given(registered, locked, AccountUnlocked.create({})).when(lock).then(locked);
    });

    it("changes its reason, and does nothing for the same", () => {
      privacy.given(registered, locked).when(lock).thenNothing();
      privacy
        .given(registered, locked)
        .when({ type: "LockAccount", reason: "security" })
        .then(AccountLocked.create({ reason: "security" }));
      privacy.given(registered).when(unlock).thenNothing();
    });

    it("is not for somebody unknown, nor for somebody erased", () => {
      privacy.given().when(lock).thenRefused("CUSTOMER_NOT_FOUND");
      privacy.given().when(unlock).thenRefused("CUSTOMER_NOT_FOUND");
      privacy.given(registered, requested, begun, erased).when(lock).thenRefused("ACCOUNT_LOCKED");
      privacy.given(registered, requested, begun, erased).when(unlock).thenRefused("ACCOUNT_LOCKED");
    });

    it("keeps the customer from acting, as a pending erasure and a done one do", () => {
      const standings = [[locked], [requested], [requested, begun], [requested, begun, erased]];
      for (const facts of standings) expect(mayAct(privacy.given(registered, ...facts).state.standing)).to.equal(false);
      for (const facts of [[], [locked, AccountUnlocked.create({})], [requested, ErasureCancelled.create({})]]) {
        expect(mayAct(privacy.given(registered, ...facts).state.standing)).to.equal(true);
      }
    });
  });

  describe("an erasure", () => {
    const request = { type: "RequestErasure", now, obligations: [] } as const;
    const cancel = { type: "CancelErasure" } as const;
    const begin = { type: "BeginErasure", now: inGrace, obligations: [] } as const;

    it("takes effect in 14 days", () => {
      privacy.given(registered).when(request).then(requested);
    });

    it("asked for again stays what it was", () => {
      privacy
        .given(registered, requested)
        .when({ ...request, now: inGrace })
        .thenNothing();
    });

    it("waits until nothing is open", () => {
      const open = ["unfinished-order", "positive-wallet"] as const;
      privacy
        .given(registered)
        .when({ ...request, obligations: open })
        .thenRefused("OPEN_OBLIGATIONS", { obligations: open });
    });

    it("is no way out of a staff lock", () => {
      privacy.given(registered, locked).when(request).thenRefused("ACCOUNT_LOCKED");
    });

    it("can be taken back until it begins", () => {
      privacy.given(registered, requested).when(cancel).then(ErasureCancelled.create({}));
      privacy.given(registered, requested, locked).when(cancel).then(ErasureCancelled.create({}));
      privacy.given(registered).when(cancel).thenNothing();
      privacy.given(registered, requested, begun).when(cancel).thenRefused("ACCOUNT_LOCKED");
      privacy.given(registered, requested, begun, erased).when(cancel).thenRefused("ACCOUNT_LOCKED");
    });

    it("begins when its time has come, not before, and not once it was taken back", () => {
      privacy.given(registered, requested).when(begin).then(begun);
      privacy
        .given(registered, requested)
        .when({ ...begin, now })
        .thenNothing();
      privacy.given(registered, requested, begun).when(begin).thenNothing();
      privacy.given(registered, requested, ErasureCancelled.create({})).when(begin).thenNothing();
    });

    it("is not held back by a staff lock", () => {
      privacy.given(registered, requested, locked).when(begin).then(begun);
    });

    it("looks again a day later when something is open by then", () => {
      const postponed = ErasurePostponed.create({
        effectiveAt: "2026-03-16T12:00:00.000Z",
        obligations: ["unfinished-order"],
      });
      const open = { ...begin, obligations: ["unfinished-order"] } as const;
      privacy.given(registered, requested).when(open).then(postponed);
      privacy.given(registered, requested, postponed).when(begin).thenNothing();
      privacy
        .given(registered, requested, postponed)
        .when({ ...begin, now: "2026-03-16T12:00:00.000Z" })
        .then(begun);
    });

    it("is complete once it has begun, once", () => {
      const complete = { type: "CompleteErasure" } as const;
      privacy.given(registered, requested, begun).when(complete).then(erased);
      privacy.given(registered, requested, begun, erased).when(complete).thenNothing();
      privacy.given(registered, requested).when(complete).thenNothing();
      privacy.given(registered).when(complete).thenNothing();
    });
  });

  describe("an export", () => {
    const limit = { points: 1, windowSeconds: 86_400 };
    const ask = { type: "RequestExport", exportId: "e1", now, limit } as const;
    const asked = ExportRequested.create({ exportId: "e1" });
    const finish = { type: "CompleteExport", exportId: "e1", object: "o1", size: 7, now } as const;
    const expiresAt = "2026-03-08T12:00:00.000Z";
    const ready = ExportReady.create({ exportId: "e1", object: "o1", size: 7, expiresAt });

    it("is asked for, made, and expires after 7 days", () => {
      privacy.given(registered).when(ask).then(asked);
      privacy.given(registered, asked).when(finish).then(ready);
      privacy
        .given(registered, asked, ready)
        .when({ type: "ExpireExport", exportId: "e1" })
        .then(ExportExpired.create({ exportId: "e1" }));
    });

    it("is asked for as often as the org allows, and says when again", () => {
      const another = { ...ask, exportId: "e2" };
      // Asked at 09:01, the second fact of the specification.
      privacy.given(registered, asked).when(another).thenRefused("RATE_LIMITED", { retryAfterSeconds: 75_660 });
      privacy
        .given(registered, asked)
        .when({ ...another, now: "2026-03-02T09:01:00.000Z" })
        .then(ExportRequested.create({ exportId: "e2" }));
      privacy
        .given(registered, asked)
        .when({ ...another, limit: { points: 2, windowSeconds: 86_400 } })
        .then(ExportRequested.create({ exportId: "e2" }));
    });

    it("is refused while many lie there, whatever the org allows", () => {
      const many = Array.from({ length: exportsKept }, (_, index) => ExportRequested.create({ exportId: `m${index}` }));
      const generous = { ...ask, limit: { points: 1_000, windowSeconds: 60 } };
      privacy
        .given(registered, ...many)
        .when(generous)
        .thenRefused("RATE_LIMITED");
    });

    it("still expires when many came after it", () => {
      const many = Array.from({ length: exportsKept + 5 }, (_, index) => [
        ExportRequested.create({ exportId: `m${index}` }),
        ExportReady.create({ exportId: `m${index}`, object: "o", size: 1, expiresAt: now }),
        ExportExpired.create({ exportId: `m${index}` }),
      ]).flat();
      const { state, when } = privacy.given(registered, asked, ready, ...many);
      expect(state.exports).to.have.length(exportsKept);
      when({ type: "ExpireExport", exportId: "e1" }).then(ExportExpired.create({ exportId: "e1" }));
    });

    it("is not made for an account that is locked, nor completed for one that is being erased", () => {
      privacy.given(registered, locked).when(ask).thenRefused("ACCOUNT_LOCKED");
      privacy.given(registered, asked, requested, begun).when(finish).thenRefused("ACCOUNT_LOCKED");
      privacy.given(registered, asked, requested, begun, erased).when(finish).thenRefused("ACCOUNT_LOCKED");
      privacy.given(registered, asked, requested).when(finish).then(ready);
    });

    it("is told of once, and so is an erasure", () => {
      const tellExport = { type: "RecordExportAnnounced", exportId: "e1", outcome: "sent" } as const;
      const { expiresAt } = ready.data;
      privacy
        .given(registered, asked, ready)
        .when(tellExport)
        .then(ExportAnnounced.create({ exportId: "e1", expiresAt, outcome: "sent" }));
      privacy.given(registered, asked).when(tellExport).thenNothing();
      const tell = { type: "RecordErasureAnnounced", effectiveAt: inGrace, outcome: "failed" } as const;
      const told = ErasureAnnounced.create({ effectiveAt: inGrace, outcome: "failed" });
      privacy.given(registered, requested).when(tell).then(told);
      privacy.given(registered, requested, ErasureCancelled.create({})).when(tell).thenNothing();
    });

    it("that nobody asked for is not completed, and does not expire", () => {
      privacy.given(registered).when(finish).thenRefused("EXPORT_NOT_FOUND");
      privacy.given(registered, asked, ready).when(finish).thenNothing();
      privacy.given(registered, asked).when({ type: "ExpireExport", exportId: "e1" }).thenNothing();
    });
  });
});

describe("what is open between a customer and the org", () => {
  const affairs = (byStatus: Record<string, number>, wallet?: Record<string, number>) => ({
    orders: { byStatus },
    wallets: wallet ? { EUR: { balanceMinor: 0, pendingMinor: 0, heldMinor: 0, ...wallet } } : {},
  });

  it("is an order under way", () => {
    expect(openObligations(affairs({ shipped: 1, delivered: 3 }))).to.deep.equal(["unfinished-order"]);
    expect(openObligations(affairs({ delivered: 3, cancelled: 1, completed: 2, refunded: 1 }))).to.deep.equal([]);
    const finished = orderStatuses.filter((status) => !unfinishedOrderStatuses.includes(status));
    expect(finished, "every status is one or the other").to.have.members([
      ...["delivered", "completed", "cancelled", "refunded"],
    ]);
  });

  it("is money of the customer's, also where it is not settled; never a debt", () => {
    for (const bucket of ["balanceMinor", "pendingMinor", "heldMinor"]) {
      expect(openObligations(affairs({}, { [bucket]: 1 }))).to.deep.equal(["positive-wallet"]);
      expect(openObligations(affairs({}, { [bucket]: -1 }))).to.deep.equal([]);
    }
  });

  it("is nothing for somebody who never ordered", () => {
    expect(openObligations(null)).to.deep.equal([]);
  });
});

describe("privacy read model and duties", () => {
  const stream = streams.profile(ada);
  const facts = (...events: { type: string; data: unknown }[]) => events.map((event) => ({ stream, event }));
  const exported = ExportRequested.create({ exportId: "e1" });
  const ready = ExportReady.create({ exportId: "e1", object: "o1", size: 7, expiresAt: inGrace });

  it("shows the erasure that is pending, and none once it is taken back", () => {
    const pending = { requestedAt: "2026-03-01T09:01:00.000Z", effectiveAt: inGrace };
    project(privacyProjection)
      .given(...facts(registered, requested))
      .then({ privacy: { erasure: pending, exports: [] } });
    project(privacyProjection)
      .given(...facts(registered, requested, ErasureCancelled.create({})))
      .then({ privacy: { erasure: null, exports: [] } });
  });

  it("shows exports newest first, each with what became of it", () => {
    const { documents } = project(privacyProjection).given(
      ...facts(registered, exported, ready, ExportRequested.create({ exportId: "e2" })),
    );
    expect(documents.get("privacy")?.exports).to.deep.equal([
      {
        ...{ exportId: "e2", status: "pending", version: 3 },
        ...{ requestedAt: "2026-03-01T09:03:00.000Z", modifiedAt: "2026-03-01T09:03:00.000Z" },
      },
      {
        ...{ exportId: "e1", status: "ready", version: 2 },
        ...{ requestedAt: "2026-03-01T09:01:00.000Z", modifiedAt: "2026-03-01T09:02:00.000Z" },
        ready: { object: "o1", size: 7, expiresAt: inGrace },
      },
    ]);
  });

  it("has one duty for the erasure and one for each export: the next thing that is due for it", () => {
    const due = (...events: { type: string; data: unknown }[]) =>
      [...project(dueWorkProjection([privacyAreaDuties])).given(...facts(...events)).documents].map(
        ([id, { duty, dueAt }]) => [id, duty, dueAt],
      );
    const erasure = "privacy.erasure";
    const told = ErasureAnnounced.create({ effectiveAt: inGrace, outcome: "sent" });
    expect(due(registered, requested)).to.deep.equal([
      [erasure, "privacy-announce-erasure", "2026-03-01T09:01:00.000Z"],
    ]);
    expect(due(registered, requested, told)).to.deep.equal([[erasure, "privacy-erase", inGrace]]);
    expect(due(registered, requested, ErasureCancelled.create({}))).to.deep.equal([]);
    expect(due(registered, requested, begun)).to.deep.equal([[erasure, "privacy-erase", "2026-03-01T09:02:00.000Z"]]);
    expect(due(registered, requested, begun, erased)).to.deep.equal([]);
    const later = "2026-03-16T12:00:00.000Z";
    const postponed = ErasurePostponed.create({ effectiveAt: later, obligations: ["positive-wallet"] });
    expect(due(registered, requested, postponed)).to.deep.equal([[erasure, "privacy-erase", later]]);
    const row = "privacy.export-e1";
    expect(due(exported)).to.deep.equal([[row, "privacy-export", "2026-03-01T09:00:00.000Z"]]);
    expect(due(exported, ready)).to.deep.equal([[row, "privacy-announce-export", "2026-03-01T09:01:00.000Z"]]);
    const announced = ExportAnnounced.create({ exportId: "e1", expiresAt: inGrace, outcome: "failed" });
    expect(due(exported, ready, announced)).to.deep.equal([[row, "privacy-export-expire", inGrace]]);
    expect(due(exported, ready, ExportExpired.create({ exportId: "e1" }))).to.deep.equal([]);
  });
});

describe("what an export holds", () => {
  it("is every read model with something of a customer's own, or there is a reason why not", () => {
    const named = [...exportSections.map(({ definition }) => definition.name), ...Object.keys(notExported)];
    const readModels = projections.map(({ definition }) => definition.name);
    const forgotten = readModels.filter((name) => !named.includes(name));
    expect(forgotten, "add a section to projectors/privacy/privacy.export.ts, or say there why not").to.deep.equal([]);
    expect(named.filter((name) => !readModels.includes(name))).to.deep.equal([]);
    expect(new Set(named).size, "each once").to.equal(named.length);
  });
});
