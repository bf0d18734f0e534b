import { expect } from "chai";
import type { StoredEvent } from "#infrastructure/event-store.js";
import { Ledger, type LedgerEntry } from "./ledger.js";

async function* log(...events: StoredEvent[]) {
  yield* events;
}

function eventOf(entry: Pick<LedgerEntry, "requestId" | "stream">, revision: number, position = 100 + revision) {
  return {
    id: `event-${position}`,
    stream: entry.stream,
    revision,
    position: String(position).padStart(20, "0"),
    type: "wishlist.ProductAdded.v1",
    data: {},
    metadata: { requestId: entry.requestId },
    created: new Date(0),
  } satisfies StoredEvent;
}

function acknowledged(ledger: Ledger, position?: string): LedgerEntry {
  const entry = ledger.open("a product put on a list", "wishlist-own.customer-1");
  entry.outcome = "acknowledged";
  if (position) entry.position = position;
  return entry;
}

describe("the ledger of a torture run", () => {
  it("finds nothing wrong where each acknowledged write is there once, and an unanswered one perhaps", async () => {
    const ledger = new Ledger();
    const first = acknowledged(ledger, "epoch.00000000000000000100");
    const unanswered = ledger.open("a changed profile", first.stream);
    expect(await ledger.faults(log(eventOf(first, 0)))).to.deep.equal([]);
    expect(await ledger.faults(log(eventOf(first, 0), eventOf(unanswered, 1)))).to.deep.equal([]);
  });

  it("finds an acknowledged write that is lost", async () => {
    const ledger = new Ledger();
    acknowledged(ledger);
    expect((await ledger.faults(log()))[0]).to.contain("acknowledged, but lost");
  });

  it("finds a write that is doubled", async () => {
    const ledger = new Ledger();
    const entry = acknowledged(ledger);
    expect((await ledger.faults(log(eventOf(entry, 0), eventOf(entry, 1))))[0]).to.contain("written 2 times");
  });

  it("finds a write at another place than the answer said", async () => {
    const ledger = new Ledger();
    const entry = acknowledged(ledger, "epoch.00000000000000000099");
    expect((await ledger.faults(log(eventOf(entry, 0))))[0]).to.contain("said to be at");
    const elsewhere = { ...eventOf(entry, 0), stream: "wishlist-own.customer-2" };
    expect((await ledger.faults(log(elsewhere)))[0]).to.contain("written to wishlist-own.customer-2");
  });

  it("finds a refused command that was written, a hole in a stream, and an event that nobody asked for", async () => {
    const ledger = new Ledger();
    const refused = ledger.open("a changed profile", "profile-own.customer-1");
    refused.outcome = "refused";
    expect((await ledger.faults(log(eventOf(refused, 0))))[0]).to.contain("refused, but written");
    const other = acknowledged(ledger);
    expect((await ledger.faults(log(eventOf(other, 1))))[0]).to.contain("goes on with revision 1 instead of 0");
    const stranger = { ...other, requestId: other.requestId.replace(/\d+$/, "999") };
    const events = log(eventOf(other, 0), eventOf(stranger, 1));
    expect(await ledger.faults(events)).to.deep.equal([`an event of ${stranger.requestId}, which nobody sent`]);
  });
});
