import { once } from "node:events";
import { expect } from "chai";
import { ownerKey } from "#domain/core/identifiers.js";
import { cursorRows, openReadModels, packRow } from "#infrastructure/read-models.js";
import { parkedRows } from "#projectors/runner/parked.js";
import { request, requestRows, type Wish } from "#projectors/runner/requests.js";
import { ForeignStore } from "#projectors/runner/subscription.js";
import {
  createRunnerFixture,
  cursorOf,
  noteProjection,
  type RunnerFixture,
  tallyProjection,
  until,
} from "./support/runner-fixture.js";
import { type BackingServices, startBackingServices } from "./support/stack.js";

const range = (from: number, to: number) => Array.from({ length: to - from }, (_, index) => from + index);

describe("runner", () => {
  let services: BackingServices;
  let fixture: RunnerFixture;
  before(async function () {
    this.timeout(120_000);
    services = await startBackingServices({ services: ["eventStore", "mongodb"] });
  });
  after(() => services.stop());
  beforeEach(() => {
    fixture = createRunnerFixture(services.env);
  });
  afterEach(() => fixture.close());

  const tally = tallyProjection();
  const both = [tally, noteProjection];
  const seen = async (customer: string, projection = tally) =>
    (await fixture.document(projection, fixture.owner(customer), "tally"))?.seen;

  async function asked(wish: Wish) {
    const id = await request(fixture.database, wish);
    let row = await requestRows(fixture.database).findOne({ _id: id });
    await until(`${wish.kind} is done`, async () => {
      row = await requestRows(fixture.database).findOne({ _id: id });
      return row?.finishedAt !== undefined;
    });
    return row;
  }

  it("applies history and what comes live, each event once and in order", async () => {
    const [ada, ben] = [fixture.owner("ada"), fixture.owner("ben")];
    await fixture.count(ada, ...range(0, 150));
    await fixture.note(ben, "n1", "first");
    const { runner, stop } = fixture.run(both);
    await fixture.caughtUp(both);
    expect(await seen("ada")).to.deep.equal(range(0, 150));

    for (const n of range(150, 180)) await fixture.count(ada, n);
    const position = await fixture.note(ben, "n1", "second");
    await fixture.caughtUp(both);
    expect(await seen("ada")).to.deep.equal(range(0, 180));
    const note = await fixture.document(noteProjection, ben, "n1");
    expect(note).to.deep.include({ text: "second", changes: 2, owner: ownerKey(ben), _pos: position });
    await until("the runner is ready", () => runner.health().problems.length === 0);
    expect(await fixture.differences(both)).to.deep.equal([]);
    await stop();

    const rows = await cursorRows(fixture.database).find().toArray();
    expect(rows.map(({ _id, members }) => [_id, members.length])).to.deep.equal([[packRow, 2]]);
  });

  it("keeps a tombstone of what was removed, so that a repeat cannot bring it back", async () => {
    const ada = fixture.owner("ada");
    await fixture.note(ada, "n1", "short-lived");
    const first = fixture.run(both);
    await fixture.caughtUp(both);
    const removed = await fixture.note(ada, "n1", null);
    await fixture.caughtUp(both);
    await first.stop();
    const tombstone = await fixture.document(noteProjection, ada, "n1");
    expect(Object.keys(tombstone)).to.have.members(["_id", "owner", "_pos", "_deletedAt"]);
    expect(tombstone._pos).to.equal(removed);

    // As if the cursor had been lost: everything is applied a second time.
    await cursorRows(fixture.database).updateOne({ _id: packRow }, { $set: { position: "0".repeat(20), event: null } });
    const second = fixture.run(both);
    await fixture.caughtUp(both);
    await second.stop();
    expect(await fixture.document(noteProjection, ada, "n1")).to.deep.equal(tombstone);
  });

  it("parks the owner of an event it cannot apply, for that projection alone, until retried", async () => {
    const [ada, ben] = [fixture.owner("ada"), fixture.owner("ben")];
    let broken = true;
    const isOurs = (owner: string) => owner.startsWith(`${fixture.owner("").org}.`);
    const fragile = tallyProjection({ broken: (owner) => broken && isOurs(owner) });
    const projections = [fragile, noteProjection];
    await fixture.count(ada, 1);
    const { runner } = fixture.run(projections);
    await fixture.caughtUp(projections);
    await fixture.count(ada, 2, -3, 4);
    await fixture.count(ada, 5);
    await fixture.count(ben, 10);
    await fixture.note(ada, "n1", "unharmed");
    await fixture.caughtUp(projections);

    expect(await seen("ada", fragile)).to.deep.equal([1, 2]);
    expect(await seen("ben", fragile)).to.deep.equal([10]);
    expect(await fixture.document(noteProjection, ada, "n1")).to.include({ text: "unharmed" });
    const parked = await parkedRows(fixture.database).find().sort({ position: 1 }).toArray();
    expect(parked.map(({ generation, owner, error }) => [generation, owner, error])).to.deep.equal([
      ["tally.v1.g1", ownerKey(ada), "RangeError: cannot count below zero"],
      ["tally.v1.g1", ownerKey(ada), undefined],
      ["tally.v1.g1", ownerKey(ada), undefined],
    ]);
    expect(runner.health().problems.join()).to.contain("tally.v1.g1 has 1 owners parked");
    const readModels = await openReadModels(fixture.database, [fragile.definition, noteProjection.definition], {
      warn() {},
    });
    expect(readModels.isStale(fragile.definition, ownerKey(ada))).to.equal(true);
    expect(readModels.isStale(fragile.definition, ownerKey(ben))).to.equal(false);
    expect(readModels.isStale(noteProjection.definition, ownerKey(ada))).to.equal(false);

    expect(await asked({ kind: "retry", projection: "tally" })).to.deep.include({ state: "done" });
    expect(await seen("ada", fragile), "still broken").to.deep.equal([1, 2]);
    broken = false;
    expect(await asked({ kind: "retry", projection: "tally", owner: ownerKey(ada) })).to.include({ state: "done" });
    expect(await seen("ada", fragile)).to.deep.equal([1, 2, -3, 4, 5]);
    expect(await parkedRows(fixture.database).countDocuments()).to.equal(0);
    await until("readers know", () => !readModels.isStale(fragile.definition, ownerKey(ada)));
    await readModels.close();
    await fixture.count(ada, 6);
    await fixture.caughtUp(projections);
    expect(await seen("ada", fragile)).to.deep.equal([1, 2, -3, 4, 5, 6]);
  });

  it("stops a projection that fails for more than twenty owners, and lets the others go on", async () => {
    let broken = true;
    const isOurs = (owner: string) => owner.startsWith(`${fixture.owner("").org}.`);
    const fragile = tallyProjection({ broken: (owner) => broken && isOurs(owner) });
    const projections = [fragile, noteProjection];
    const owners = range(0, 24).map((index) => fixture.owner(`c${index}`));
    for (const owner of owners) await fixture.count(owner, 1);
    const first = fixture.run(projections);
    await fixture.caughtUp(projections);
    for (const owner of owners) await fixture.count(owner, 2, -1);
    await fixture.note(fixture.owner("ada"), "n1", "goes on");
    await fixture.caughtUp([noteProjection]);
    await until(
      "the tally has stopped",
      async () => (await cursorOf(fixture.database, fragile))?.stopped !== undefined,
    );
    const stopped = await cursorOf(fixture.database, fragile);
    expect(stopped?.stopped?.reason).to.contain("more than 20 owners parked");
    expect(stopped?.stopped?.eventType).to.equal("tally.Counted.v1");
    expect(first.runner.health().problems.join()).to.contain(stopped?.stopped?.eventId);
    await fixture.note(fixture.owner("ada"), "n1", "and on");
    await fixture.caughtUp([noteProjection]);
    await first.stop();

    broken = false;
    const second = fixture.run(projections);
    await fixture.caughtUp(projections);
    await until("it is in the pack again", async () => (await cursorOf(fixture.database, fragile))?._id === packRow);
    expect((await asked({ kind: "retry", projection: "tally" }))?.state).to.equal("done");
    for (const { customer } of owners) expect(await seen(customer, fragile), customer).to.deep.equal([1, 2, -1]);
    await until("all is well", () => second.runner.health().problems.length === 0);
  });

  it("lets go of an erased customer in every projection, parked or not", async () => {
    const [ada, ben] = [fixture.owner("ada"), fixture.owner("ben")];
    await fixture.note(ada, "n1", "a secret");
    await fixture.whisper(ada, "another");
    const fragile = tallyProjection({ broken: (owner) => owner === ownerKey(ada) });
    const { stop } = fixture.run([fragile, noteProjection]);
    await fixture.caughtUp(both);
    await fixture.count(ada, -1);
    await fixture.count(ben, 1);
    await fixture.caughtUp(both);
    expect(await parkedRows(fixture.database).countDocuments()).to.equal(1);
    await fixture.erase(ada);
    await fixture.keys.destroy(ownerKey(ada));
    await fixture.count(ben, 2);
    await fixture.caughtUp(both);

    expect(await fixture.document(noteProjection, ada, "n1")).to.deep.include({
      text: "",
      anonymous: true,
      changes: 1,
    });
    expect(await fixture.document(tally, ada, "tally")).to.have.property("_deletedAt");
    expect(await seen("ben")).to.deep.equal([1, 2]);
    expect(await parkedRows(fixture.database).countDocuments()).to.equal(0);
    await stop();
    expect(await fixture.differences([noteProjection])).to.deep.equal([]);
    expect(JSON.stringify(await dump(fixture))).not.to.contain("secret");
  });

  it("loses and repeats nothing when it is killed between documents and cursor, again and again", async function () {
    this.timeout(120_000);
    const owners = range(0, 5).map((index) => fixture.owner(`c${index}`));
    let written = 0;
    for (const dieAt of [1, 2, 1, 4]) {
      const child = fixture.fork({ DIE_AT_CURSOR: String(dieAt) });
      const exited = once(child, "exit");
      while (child.signalCode === null && child.exitCode === null) {
        for (const owner of owners) await fixture.count(owner, written, written + 1);
        written += 2;
      }
      expect((await exited)[1]).to.equal("SIGKILL");
    }
    const survivor = fixture.fork();
    await fixture.caughtUp(both);
    for (const { customer } of owners) {
      expect(await seen(customer), customer).to.deep.equal(range(0, written));
    }
    expect(await fixture.differences(both)).to.deep.equal([]);
    survivor.kill("SIGTERM");
    expect(await once(survivor, "exit")).to.deep.equal([0, null]);
  });

  it("goes on by itself when MongoDB and the event store are killed under it", async function () {
    this.timeout(120_000);
    const ada = fixture.owner("ada");
    await fixture.count(ada, 0);
    const { runner, stop } = fixture.run(both);
    await fixture.caughtUp(both);
    const total = 60;
    for (let n = 1; n <= total; n++) {
      if (n === 20) services.kill("mongodb");
      if (n === 40) services.kill("eventStore");
      await until(`${n} is appended`, () =>
        fixture.count(ada, n).then(
          () => true,
          () => false,
        ),
      );
    }
    await until("it is ready again", () => runner.health().problems.length === 0, 30_000);
    await fixture.caughtUp(both);
    const numbers: number[] = await seen("ada");
    // An append whose answer was lost may have been made: what counts is that the log and the document agree.
    expect(new Set(numbers)).to.deep.equal(new Set(range(0, total + 1)));
    expect(await fixture.differences(both)).to.deep.equal([]);
    await stop();
  });

  it("refuses a store that is not the one it knows, and says what to do", async () => {
    await fixture.count(fixture.owner("ada"), 1, 2, 3);
    const first = fixture.run(both);
    await fixture.caughtUp(both);
    await first.stop();
    const known = await cursorRows(fixture.database).findOne({ _id: packRow });

    const change = (fields: object) => cursorRows(fixture.database).updateOne({ _id: packRow }, { $set: fields });
    const refusal = () =>
      fixture.run(both).ended.then(
        () => undefined,
        (error) => error,
      );
    await change({ storeEpoch: "another" });
    expect(await refusal())
      .to.be.instanceOf(ForeignStore)
      .with.property("message")
      .that.contains("rebuild");
    await change({ storeEpoch: known?.storeEpoch, "event.id": "00000000-0000-4000-8000-000000000000" });
    expect(await refusal()).to.be.instanceOf(ForeignStore);

    for (const { definition } of both)
      await request(fixture.database, { kind: "rebuild", projection: definition.name });
    fixture.run(both);
    await until(
      "both are rebuilt",
      async () => (await requestRows(fixture.database).countDocuments({ state: "done" })) === 2,
    );
    await fixture.caughtUp(both);
    expect(await fixture.differences(both)).to.deep.equal([]);
  });
});

/** Every document of the fixture's database. */
async function dump({ database }: RunnerFixture): Promise<unknown[]> {
  const collections = await database.listCollections().toArray();
  const contents = collections.map(({ name }) => database.collection(name).find().toArray());
  return (await Promise.all(contents)).flat();
}
