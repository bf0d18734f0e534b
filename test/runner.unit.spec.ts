import { expect } from "chai";
import { defineEvent, type EventDefinition, lifts } from "#domain/core/event-definition.js";
import type { RecordedEvent } from "#domain/core/recorded-event.js";
import type { StoredEvent } from "#infrastructure/event-store.js";
import type { CursorRow } from "#infrastructure/read-models.js";
import { z } from "zod";
import { memberName, settleRows } from "#projectors/runner/cursors.js";
import { DocumentCache, type Held, MetIds } from "#projectors/runner/document-cache.js";
import { erasureType, Fold, idRange, type LogEvent, newEntry, newestTypes } from "#projectors/runner/fold.js";
import { MemoryReadModel } from "#projectors/runner/memory.js";
import { describeError } from "#projectors/runner/parked.js";
import { defineDocument, type Projection } from "#projectors/runner/projection.js";

type Counter = { readonly count: number };
type CounterEvent = { readonly type: "counter.Added.v1"; readonly data: { readonly by: number } };

const projection: Projection<Counter, CounterEvent> = {
  definition: defineDocument<Counter>({ name: "counter", version: 1, indexes: [] }),
  idOf: ({ data: { by } }) => {
    if (by === 666) throw new Error("no id");
    return by === 0 ? null : "counter";
  },
  on: {
    "counter.Added.v1": (document, { data: { by } }) => {
      if (by < 0) throw new RangeError("negative");
      if (by === 99) return null;
      if (by === 1_000) return document;
      return { count: (document?.count ?? 0) + by };
    },
  },
};

const at = (position: number) => String(position).padStart(20, "0");

function logEvent(type: string, position: number, data: unknown): LogEvent {
  const stored: StoredEvent = {
    id: `event-${position}`,
    stream: "wishlist-acme.ada",
    revision: position,
    position: at(position),
    type,
    data,
    metadata: {},
    created: new Date(0),
  };
  const event = { ...stored, at: "", owner: "acme.ada" } as unknown as RecordedEvent;
  return { stored, type, opened: { kind: "event", event } };
}

const added = (position: number, by: number) => logEvent("counter.Added.v1", position, { by });

/** Folds events into one entry, as a batch would. */
function folded(...events: LogEvent[]) {
  const fold = new Fold(projection);
  const entry = newEntry();
  for (const event of events) {
    const target = fold.target(event);
    if (target?.kind === "document") fold.apply(entry, target.event);
    if (target?.kind === "erasure") fold.erase(entry, event.stored.position);
  }
  return entry;
}

describe("fold of a projection", () => {
  const fold = new Fold(projection);

  it("sends an event to the document of its owner, an erasure to all of them, anything else nowhere", () => {
    expect(fold.target(added(1, 5))).to.include({ kind: "document", id: "acme.ada.counter", owner: "acme.ada" });
    expect(fold.target(logEvent(erasureType, 1, {}))).to.deep.equal({ kind: "erasure", owner: "acme.ada" });
    expect(fold.target(logEvent("other.Happened.v1", 1, {}))).to.equal(null);
    expect(fold.target(added(1, 0)), "touches no document").to.equal(null);
    expect(fold.target({ ...added(1, 5), opened: { kind: "erased" } })).to.equal(null);
    expect(fold.target({ ...added(1, 5), opened: { kind: "unknown" } })).to.equal(null);
  });

  it("makes an event that cannot be opened or routed a fault of its owner", () => {
    const error = new Error("unreadable");
    expect(fold.target({ ...added(1, 5), opened: { kind: "bad", error } })).to.deep.equal({
      kind: "fault",
      owner: "acme.ada",
      error,
    });
    expect(fold.target(added(1, 666))).to.include({ kind: "fault", owner: "acme.ada" });
  });

  it("applies each event once, by its position", () => {
    expect(folded(added(1, 2), added(2, 3))).to.deep.equal({ document: { count: 5 }, position: at(2) });
    expect(folded(added(1, 2), added(2, 3), added(1, 2), added(2, 3))).to.deep.equal(folded(added(1, 2), added(2, 3)));
  });

  it("leaves a document that evolve gave back as it is, position included", () => {
    expect(folded(added(1, 2), added(2, 1_000))).to.deep.equal({ document: { count: 2 }, position: at(1) });
  });

  it("keeps the place of what was removed or erased, and can begin again after it", () => {
    expect(folded(added(1, 2), added(2, 99))).to.deep.equal({ document: null, position: at(2) });
    expect(folded(added(1, 2), logEvent(erasureType, 2, {}))).to.deep.equal({ document: null, position: at(2) });
    expect(folded(added(1, 2), added(2, 99), added(3, 4))).to.deep.equal({ document: { count: 4 }, position: at(3) });
  });

  it("changes nothing when evolve throws, and removes the whole document when cleaning it throws", () => {
    const entry = { document: { count: 1 } as object | null, position: at(1) };
    const target = fold.target(added(2, -1));
    if (target?.kind !== "document") throw new Error("no document");
    expect(() => fold.apply(entry, target.event)).to.throw(RangeError);
    expect(entry).to.deep.equal({ document: { count: 1 }, position: at(1) });
    const failing = new Fold({
      ...projection,
      onErased: () => {
        throw new Error("cannot clean");
      },
    });
    expect(failing.erase(entry, at(3))).to.equal(true);
    expect(entry).to.deep.equal({ document: null, position: at(3) });
  });

  it("knows every older name of an event", () => {
    const first = defineEvent("counter.Added.v1", { category: "wishlist", schema: z.object({}) });
    const second = defineEvent("counter.Added.v2", {
      category: "wishlist",
      schema: z.object({}),
      previous: lifts(first, (data) => data),
    });
    expect([...newestTypes([second as unknown as EventDefinition])]).to.deep.equal([
      ["counter.Added.v2", "counter.Added.v2"],
      ["counter.Added.v1", "counter.Added.v2"],
    ]);
  });

  it("takes exactly an owner's ids for the owner's", () => {
    const { $gte, $lt } = idRange("acme.ada");
    const within = (id: string) => id >= $gte && id < $lt;
    expect(["acme.ada.1", "acme.ada.~7a", "acme.ada."].every(within)).to.equal(true);
    expect(["acme.ada2.1", "acme.ad.1", "acme.ada-1.x", "acme.adb.1", "acme.ada"].some(within)).to.equal(false);
  });
});

describe("a read model in memory", () => {
  const tally: Projection<Counter, CounterEvent> = { ...projection, onErased: (document) => document };
  const build = (...events: LogEvent[]) => {
    const model = new MemoryReadModel(tally);
    for (const event of events) model.apply(event);
    return model;
  };
  const count = (model: MemoryReadModel) => model.get("acme.ada.counter")?.document;

  it("leaves out what comes after a fault, as the runner parks it", () => {
    const model = build(added(1, 2), added(2, -1), added(3, 5));
    expect(count(model)).to.deep.equal({ count: 2 });
    expect([...model.faults.keys()]).to.deep.equal(["acme.ada"]);
  });

  it("passes over only the event at fault once the owner is erased, as the runner does", () => {
    const unreadable: LogEvent = { ...added(1, 7), opened: { kind: "erased" } };
    for (const gap of [unreadable, logEvent(erasureType, 1, {})]) {
      const model = build(gap, added(2, -1), added(3, 5));
      expect(count(model)).to.deep.equal({ count: 5 });
      expect(model.faults.size).to.equal(0);
    }
    const parkedBefore = build(added(1, -1), logEvent(erasureType, 2, {}), added(3, 5));
    expect(parkedBefore.faults.size).to.equal(0);
  });
});

describe("bookkeeping of the runner", () => {
  it("lets the pack's row count for a member that a crash left in two", () => {
    const member = (projection: string) => ({ projection, version: 1, generation: 1, parked: [] });
    const row = (_id: string, ...members: string[]) =>
      ({ _id, members: members.map(member), position: at(1) }) as unknown as CursorRow;
    const settled = settleRows([row("behind", "a", "b"), row("pack", "a", "c"), row("left over", "c")]);
    expect(settled.map(({ _id, members }) => [_id, members.map(memberName)])).to.deep.equal([
      ["behind", ["b.v1.g1"]],
      ["pack", ["a.v1.g1", "c.v1.g1"]],
    ]);
  });

  it("keeps a document in memory as long as it is on its way", () => {
    const cache = new DocumentCache(10);
    const held = (inFlight: number): Held => ({ ...newEntry(), owner: "acme.ada", stored: false, inFlight });
    const onItsWay = held(1);
    cache.set("first", onItsWay);
    for (let index = 0; index < 50; index++) {
      cache.set(`other-${index}`, held(0));
      cache.trim();
    }
    expect(cache.get("first")).to.equal(onItsWay);
    expect(cache.get("other-0")).to.equal(undefined);
    expect([...cache.between("other-", "other.")].length).to.be.at.most(15);
  });

  it("never takes a known id for a new one, and seldom a new one for a known", () => {
    const met = new MetIds();
    const ids = Array.from({ length: 50_000 }, (_, index) => `acme.customer-${index}.order-${index % 7}`);
    const wrongly = ids.filter((id) => met.meet(id)).length;
    expect(ids.every((id) => met.meet(id))).to.equal(true);
    expect(wrongly).to.be.below(50);
  });

  it("tells of an error in one bounded line", () => {
    expect(describeError(new RangeError("too far\nsecret second line"))).to.equal("RangeError: too far");
    expect(describeError("x".repeat(1_000))).to.have.lengthOf(300);
  });
});
