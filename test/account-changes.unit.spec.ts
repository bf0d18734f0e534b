import { expect } from "chai";
import { streams } from "#domain/core/identifiers.js";
import type { StoredEvent, SubscriptionItem } from "#infrastructure/event-store.js";
import { AccountChanges } from "../command-api/account-changes.js";

const stream = streams.profile({ org: "acme", customer: "ada" });
const position = (at: number) => String(at).padStart(20, "0");
const changed = (revision: number, at: number): SubscriptionItem => ({
  kind: "event",
  event: { stream, revision, position: position(at) } as StoredEvent,
});

/** A log whose subscriptions yield what is told, one list for each, and then break. */
function tellingLog(...subscriptions: SubscriptionItem[][]) {
  const begun: string[] = [];
  let onBroken = () => {};
  const broken = new Promise<void>((resolve) => {
    onBroken = resolve;
  });
  const log = {
    begun,
    broken,
    head: async () => position(7),
    async *subscribe({ after, signal }: { after: string; streamPrefixes: readonly string[]; signal: AbortSignal }) {
      begun.push(after);
      yield* subscriptions.shift() ?? [];
      if (subscriptions.length > 0) throw new Error("the store is away");
      onBroken();
      await new Promise((resolve) => signal.addEventListener("abort", resolve, { once: true }));
    },
  };
  return log;
}

describe("changes of accounts", () => {
  const stopping = new AbortController();
  after(() => stopping.abort());
  const follow = (log: ReturnType<typeof tellingLog>) => {
    const changes = new AccountChanges(log, { warn() {} });
    void changes.follow(stopping.signal);
    return changes;
  };

  it("say nothing of a stream they have not heard of, nor of what was read since", async () => {
    const log = tellingLog([{ kind: "caught-up" }, changed(4, 8)]);
    const changes = follow(log);
    await log.broken;
    expect(changes.hasChanged(stream, 3)).to.equal(true);
    expect(changes.hasChanged(stream, 4)).to.equal(false);
    expect(changes.hasChanged(streams.profile({ org: "acme", customer: "bob" }), -1)).to.equal(false);
  });

  it("let nothing be older than ten seconds before they have listened for longer", async () => {
    const silent = new AccountChanges(tellingLog(), { warn() {} });
    expect(silent.maxAgeMs).to.equal(10_000);
    const log = tellingLog([{ kind: "caught-up" }]);
    const changes = follow(log);
    await log.broken;
    expect(changes.maxAgeMs).to.equal(10_000);
  });

  it("go on behind what they heard last when the store was away", async () => {
    const log = tellingLog(
      [{ kind: "caught-up" }, changed(1, 8), { kind: "checkpoint", position: position(12) }],
      [changed(2, 15)],
    );
    const changes = follow(log);
    await log.broken;
    expect(log.begun).to.deep.equal([position(7), position(12)]);
    expect(changes.hasChanged(stream, 1)).to.equal(true);
  });
});
