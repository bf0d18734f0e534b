import { randomUUID } from "node:crypto";
import { expect } from "chai";
import { z } from "zod";
import { CustomerErased } from "#domain/core/customer-erased.js";
import type { Decider } from "#domain/core/decider.js";
import { defineEvent, type EventDefinition, type EventOf } from "#domain/core/event-definition.js";
import { type Owner, ownerKey, streams } from "#domain/core/identifiers.js";
import type { EventMetadata } from "#domain/core/recorded-event.js";
import { rejection } from "#domain/core/rejection.js";
import {
  type CommandContext,
  type CommandHandler,
  CommandRejected,
  createCommandHandler,
  IdempotencyKeyReused,
  StreamBusy,
} from "#infrastructure/command-handler.js";
import { createEventSerializer } from "#infrastructure/event-serializer.js";
import { type EventStore, StoreUnavailable, WrongExpectedRevision } from "#infrastructure/event-store.js";
import { createEventStore } from "#infrastructure/eventstoredb.js";
import type { PersonalDataKeys } from "#infrastructure/personal-data-keys.js";
import { memoryKeys } from "./support/memory-keys.js";
import { type BackingServices, startBackingServices } from "./support/stack.js";

const Incremented = defineEvent("wishlist.Incremented.v1", {
  category: "wishlist",
  schema: z.object({ by: z.number(), note: z.string().optional() }),
  personal: ["note"],
});
const GuessFailed = defineEvent("wishlist.GuessFailed.v1", { category: "wishlist", schema: z.object({}) });
type CounterEvent = EventOf<typeof Incremented> | EventOf<typeof GuessFailed> | EventOf<typeof CustomerErased>;

type Counter = { total: number; events: number; failedGuesses: number; notes: readonly string[] };
type CounterCommand =
  | { type: "Add"; by: number; note?: string }
  /** Already true when the total is at least that. */
  | { type: "Reach"; total: number }
  | { type: "Guess" }
  | { type: "Erase" };

/** A decider small enough to see through, with each kind of decision. */
const counter: Decider<Counter, CounterCommand, CounterEvent> = {
  initial: { total: 0, events: 0, failedGuesses: 0, notes: [] },
  evolve(state, event) {
    const events = state.events + 1;
    if (event.type === GuessFailed.type) return { ...state, events, failedGuesses: state.failedGuesses + 1 };
    if (event.type === CustomerErased.type) return { ...state, events };
    const { by, note } = event.data as EventOf<typeof Incremented>["data"];
    return {
      ...state,
      events,
      total: state.total + by,
      notes: note === undefined ? state.notes : [...state.notes, note],
    };
  },
  decide(command, state) {
    switch (command.type) {
      case "Add":
        if (state.total + command.by > 100_000) return { events: [], rejection: rejection("refused", "WISHLIST_FULL") };
        return { events: [Incremented.create({ by: command.by, ...(command.note ? { note: command.note } : {}) })] };
      case "Reach": {
        const missing = command.total - state.total;
        return { events: missing > 0 ? [Incremented.create({ by: missing })] : [] };
      }
      case "Guess":
        return {
          events: [GuessFailed.create({})],
          rejection: rejection("refused", "WISHLIST_FULL", { left: 4 - state.failedGuesses }),
        };
      case "Erase":
        return { events: [CustomerErased.create({})] };
    }
  },
};

const definitions = [Incremented, GuessFailed, CustomerErased] as unknown as EventDefinition[];

describe("command handler", function () {
  this.timeout(120_000);
  let services: BackingServices;
  let eventStore: EventStore;
  let keys: PersonalDataKeys;
  let handler: CommandHandler;
  let conflicts: string[];

  /** A process of its own: same store and keys, nothing folded yet. */
  const another = (store = eventStore) =>
    createCommandHandler({
      eventStore: store,
      serializer: createEventSerializer(definitions, keys),
      keys,
      onConflict: (category) => conflicts.push(category),
    });
  const newOwner = (): Owner => ({ org: "acme", customer: randomUUID() });
  const context = (owner: Owner, more: Partial<CommandContext> = {}): CommandContext => {
    const commandId = randomUUID();
    return {
      commandId,
      idempotent: false,
      owner,
      org: owner.org,
      actor: { type: "customer", id: owner.customer },
      correlationId: "request-1",
      causationId: commandId,
      now: new Date("2026-03-01T10:00:00.000Z"),
      ...more,
    };
  };
  const keyed = (owner: Owner, body = "body", commandId: string = randomUUID()) =>
    context(owner, { commandId, causationId: commandId, idempotent: true, bodyDigest: body });
  const send = (owner: Owner, command: CounterCommand, more?: CommandContext, by = handler) =>
    by.handle({ decider: counter, stream: streams.wishlist(owner), command, context: more ?? context(owner) });
  const add = (owner: Owner, by: number, more?: CommandContext, through = handler) =>
    send(owner, { type: "Add", by }, more, through);
  const eventsOf = (owner: Owner) => eventStore.readStream(streams.wishlist(owner));
  const caught = (promise: Promise<unknown>) =>
    promise.then(
      () => expect.fail("was not refused"),
      (error) => error,
    );

  before(async () => {
    services = await startBackingServices({ services: ["eventStore"] });
    eventStore = createEventStore(services.env.EVENTSTORE_URL as string, { deadlineMs: 15_000 });
  });
  beforeEach(() => {
    keys = memoryKeys();
    conflicts = [];
    handler = another();
  });
  after(async () => {
    await eventStore?.close();
    await services?.stop();
  });

  describe("deciding", () => {
    it("appends what was decided and answers with the state after it", async () => {
      const owner = newOwner();
      const first = await add(owner, 2);
      const second = await add(owner, 3);
      expect(first).to.deep.include({
        revision: 0,
        replayed: false,
        state: { total: 2, events: 1, failedGuesses: 0, notes: [] },
      });
      expect(second).to.deep.include({ revision: 1, state: { total: 5, events: 2, failedGuesses: 0, notes: [] } });
      const stored = await eventsOf(owner);
      expect(second.position).to.equal(stored[1]?.position);
      expect(second.events.map(({ id }) => id)).to.deep.equal([stored[1]?.id]);
      expect(stored[1]?.metadata).to.deep.include({ orgId: "acme", customerId: owner.customer, step: 0 });
      expect(stored[1]?.metadata).not.to.have.property("commandHash");
    });

    it("folds in memory what another process folds from the log", async () => {
      const owner = newOwner();
      for (const by of [1, 2, 3]) await send(owner, { type: "Add", by, note: `note ${by}` });
      const stream = streams.wishlist(owner);
      const here = await handler.load({ decider: counter, stream, maxAgeMs: 60_000 });
      expect(await another().load({ decider: counter, stream })).to.deep.equal(here);
      expect(here.state.notes).to.deep.equal(["note 1", "note 2", "note 3"]);
    });

    it("writes nothing for a wish that is already true, and says so from the newest state", async () => {
      const owner = newOwner();
      await send(owner, { type: "Reach", total: 5 });
      // What this process remembers (5) would need an event; another has made it true meanwhile.
      const elsewhere = another();
      await send(owner, { type: "Reach", total: 9 }, undefined, elsewhere);
      const result = await send(owner, { type: "Reach", total: 7 });
      expect(result).to.deep.include({ events: [], revision: 1, replayed: false });
      expect(result).not.to.have.property("position");
      expect(result.state.total).to.equal(9);
      expect(await eventsOf(owner)).to.have.length(2);
    });

    it("refuses only on the newest state", async () => {
      const owner = newOwner();
      await add(owner, 99_999);
      expect(await caught(add(owner, 2))).to.be.instanceOf(CommandRejected);
      await add(owner, -50_000, undefined, another());
      expect((await add(owner, 2)).state.total).to.equal(50_001);
    });

    it("stores what was decided beside a refusal before it refuses, each time", async () => {
      const owner = newOwner();
      for (const left of [4, 3, 2]) {
        const error = await caught(send(owner, { type: "Guess" }));
        expect(error)
          .to.be.instanceOf(CommandRejected)
          .with.property("rejection")
          .that.deep.includes({ params: { left } });
      }
      expect(await eventsOf(owner)).to.have.length(3);
    });

    it("runs the guard on the very state decided on", async () => {
      const owner = newOwner();
      await add(owner, 1);
      const stream = streams.wishlist(owner);
      const guard = ({ events }: Counter) => (events === 2 ? undefined : rejection("stale", "PRECONDITION_FAILED"));
      const guarded = () =>
        handler.handle({ decider: counter, stream, command: { type: "Add", by: 1 }, context: context(owner), guard });
      expect(await caught(guarded())).to.be.instanceOf(CommandRejected);
      await add(owner, 1, undefined, another());
      expect((await guarded()).revision).to.equal(2);
    });

    it("takes one round trip for a stream it knows", async () => {
      const calls: string[] = [];
      const counting: EventStore = {
        ...eventStore,
        readStream: (...args) => (calls.push("read"), eventStore.readStream(...args)),
        append: (...args) => (calls.push("append"), eventStore.append(...args)),
      };
      const owner = newOwner();
      const through = another(counting);
      for (let index = 0; index < 3; index++) await add(owner, 1, undefined, through);
      expect(calls).to.deep.equal(["read", "append", "append", "append"]);
    });
  });

  describe("racing", () => {
    it("runs commands on one stream one after the other", async () => {
      const owner = newOwner();
      const results = await Promise.all(Array.from({ length: 50 }, (_, index) => add(owner, index)));
      expect(results.map(({ revision }) => revision)).to.deep.equal(Array.from({ length: 50 }, (_, index) => index));
      expect(conflicts).to.deep.equal([]);
    });

    it("lets two processes write to one stream, losing and doubling nothing", async () => {
      const owner = newOwner();
      const [one, other] = [another(), another()];
      const results = await Promise.all(
        Array.from({ length: 60 }, (_, index) => add(owner, 1, undefined, index % 2 ? one : other)),
      );
      expect(new Set(results.map(({ revision }) => revision)).size).to.equal(60);
      const { state } = await another().load({ decider: counter, stream: streams.wishlist(owner) });
      expect(state.total).to.equal(60);
      expect(conflicts.length).to.be.greaterThan(0);
      expect(new Set(conflicts)).to.deep.equal(new Set(["wishlist"]));
    });

    it("gives up as busy when the race is lost for two seconds", async () => {
      const losing: EventStore = {
        ...eventStore,
        append: (stream) => Promise.reject(new WrongExpectedRevision(stream)),
      };
      const started = performance.now();
      expect(await caught(add(newOwner(), 1, undefined, another(losing)))).to.be.instanceOf(StreamBusy);
      expect(performance.now() - started).to.be.within(1_900, 10_000);
    });

    it("forgets a state that is ahead of a restored store", async () => {
      const owner = newOwner();
      await add(owner, 1);
      // The store as it was before that: a stream of another name stands for it.
      const before = newOwner();
      const rename = (stream: string) => (stream === streams.wishlist(owner) ? streams.wishlist(before) : stream);
      let restored = false;
      const store: EventStore = {
        ...eventStore,
        readStream: (stream, options) => eventStore.readStream(restored ? rename(stream) : stream, options),
        append: (stream, ...rest) => eventStore.append(restored ? rename(stream) : stream, ...rest),
      };
      const through = another(store);
      await add(owner, 1, undefined, through);
      restored = true;
      expect(await add(owner, 7, undefined, through)).to.deep.include({ revision: 0 });
    });
  });

  describe("repeating", () => {
    it("answers a repeat with the first answer, whatever happened since, in this process and in another", async () => {
      const owner = newOwner();
      const again = keyed(owner);
      await add(owner, 1);
      const first = await add(owner, 10, again);
      await add(owner, 100);
      for (const through of [handler, another()]) {
        const repeat = await add(owner, 10, again, through);
        expect(repeat).to.deep.include({ state: first.state, revision: 1, position: first.position, replayed: true });
        expect(repeat.events.map(({ id, data }) => ({ id, data }))).to.deep.equal(
          first.events.map(({ id, data }) => ({ id, data })),
        );
      }
      expect(await eventsOf(owner)).to.have.length(3);
    });

    it("lets one win when the same key runs twice at once, in two processes, and answers both alike", async () => {
      for (let round = 0; round < 10; round++) {
        const owner = newOwner();
        const [one, other] = [another(), another()];
        await add(owner, 1, undefined, one);
        await other.load({ decider: counter, stream: streams.wishlist(owner) });
        const same = keyed(owner);
        const results = await Promise.all([add(owner, 5, same, one), add(owner, 5, same, other)]);
        expect(results.map(({ replayed }) => replayed).sort()).to.deep.equal([false, true]);
        expect(results.map(({ state, position }) => ({ state, position }))[0]).to.deep.equal(
          results.map(({ state, position }) => ({ state, position }))[1],
        );
        expect(await eventsOf(owner)).to.have.length(2);
      }
    });

    it("refuses the same key with another body, and compares nothing where there is no digest", async () => {
      const owner = newOwner();
      const { commandId } = keyed(owner);
      await add(owner, 1, keyed(owner, "one body", commandId));
      expect(await caught(add(owner, 2, keyed(owner, "another body", commandId)))).to.be.instanceOf(
        IdempotencyKeyReused,
      );
      const { bodyDigest: _, ...coded } = keyed(owner, "", commandId);
      expect((await add(owner, 1, coded)).replayed).to.equal(true);
      const [stored] = await eventsOf(owner);
      expect((stored?.metadata as { commandHash: string }).commandHash).to.match(/^[A-Za-z0-9_-]{43}$/);
      expect(JSON.stringify(stored)).not.to.include("one body");
    });

    it("refuses a repeat with the words of the first refusal, and records nothing more", async () => {
      const owner = newOwner();
      const again = keyed(owner);
      const first = await caught(send(owner, { type: "Guess" }, again));
      await caught(send(owner, { type: "Guess" }));
      const repeat = await caught(send(owner, { type: "Guess" }, again));
      expect(repeat).to.be.instanceOf(CommandRejected).with.property("replayed", true);
      expect(repeat.rejection).to.deep.equal(first.rejection);
      expect(await eventsOf(owner)).to.have.length(2);
    });

    it("decides again what wrote nothing", async () => {
      const owner = newOwner();
      const again = keyed(owner);
      await add(owner, 99_999);
      expect(await caught(add(owner, 2, again))).to.be.instanceOf(CommandRejected);
      await add(owner, -10);
      expect(await add(owner, 2, again)).to.deep.include({ replayed: false, revision: 2 });
    });
  });

  describe("erasure", () => {
    it("refuses what would record personal data of an erased customer, and folds nothing that is gone", async () => {
      const owner = newOwner();
      await send(owner, { type: "Add", by: 1, note: "for Mum" });
      await add(owner, 10);
      await keys.destroy(ownerKey(owner));
      await send(owner, { type: "Erase" });
      const error = await caught(send(owner, { type: "Add", by: 1, note: "again" }));
      expect(error).to.be.instanceOf(CommandRejected).with.deep.property("rejection", {
        kind: "forbidden",
        code: "ACCOUNT_LOCKED",
      });
      const { state } = await handler.load({ decider: counter, stream: streams.wishlist(owner), maxAgeMs: 60_000 });
      expect(state).to.deep.include({ total: 10, notes: [] });
    });
  });

  describe("long streams", () => {
    it("decides on ten thousand events with one append, and still knows the first command", async () => {
      const owner = newOwner();
      const stream = streams.wishlist(owner);
      const first = keyed(owner);
      await add(owner, 1, first);
      const serializer = createEventSerializer(definitions, keys);
      const metadata = (await eventsOf(owner))[0]?.metadata as EventMetadata;
      for (let revision = 0; revision < 10_000; revision += 500) {
        const batch = Array.from({ length: 500 }, () =>
          serializer.serialize(Incremented.create({ by: 1 }), { ...metadata, commandId: randomUUID() }, stream),
        );
        await eventStore.append(stream, revision, await Promise.all(batch));
      }
      const through = another();
      expect((await add(owner, 1, undefined, through)).revision).to.equal(10_001);
      const repeat = await add(owner, 1, first, through);
      expect(repeat).to.deep.include({ replayed: true, revision: 0 });
      expect(repeat.state.total).to.equal(1);
    });
  });

  describe("when the store is killed", () => {
    it("stores each command once, with appends on their way, whoever re-sends", async () => {
      const owners = Array.from({ length: 40 }, newOwner);
      for (const owner of owners) await add(owner, 1);
      for (let round = 1; round <= 3; round++) {
        const contexts = owners.map((owner) => keyed(owner));
        const running = owners.map((owner, index) => add(owner, 1, contexts[index]));
        await running[5];
        services.kill("eventStore");
        await Promise.all(running);
        // A client that saw no answer repeats with its key, to another process.
        const through = another();
        const repeats = await Promise.all(owners.map((owner, index) => add(owner, 1, contexts[index], through)));
        expect(repeats.every(({ replayed }) => replayed)).to.equal(true);
        for (const owner of owners) expect(await eventsOf(owner)).to.have.length(1 + round);
      }
    });

    it("fails in bounded time while the store is away, and goes on when it is back", async () => {
      const impatient = createEventStore(services.env.EVENTSTORE_URL as string, { deadlineMs: 2_000 });
      const through = another(impatient);
      const owner = newOwner();
      await add(owner, 1, undefined, through);
      services.kill("eventStore", "SIGSTOP");
      const repeatable = keyed(owner);
      const started = performance.now();
      expect(await caught(add(owner, 5, repeatable, through))).to.be.instanceOf(StoreUnavailable);
      expect(performance.now() - started).to.be.below(10_000);
      services.kill("eventStore", "SIGCONT");
      // Whether the lost one arrived or not: the repeat settles it.
      expect((await add(owner, 5, repeatable)).state.total).to.equal(6);
      expect((await add(owner, 1)).state.total).to.equal(7);
      await impatient.close();
    });
  });
});
