import { expect } from "chai";
import { ownerKey } from "#domain/core/identifiers.js";
import { live, openReadModels, ReadModelNotBuilt, type ReadModels } from "#infrastructure/read-models.js";
import {
  createRunnerFixture,
  noteProjection,
  type RunnerFixture,
  tallyProjection,
  until,
} from "./support/runner-fixture.js";
import { type BackingServices, startBackingServices } from "./support/stack.js";

describe("read models", () => {
  let services: BackingServices;
  let fixture: RunnerFixture;
  let readModels: ReadModels;
  const tally = tallyProjection();
  const both = [tally, noteProjection];
  const definitions = both.map(({ definition }) => definition);
  before(async function () {
    this.timeout(120_000);
    services = await startBackingServices({ services: ["eventStore", "mongodb"] });
  });
  after(() => services.stop());
  beforeEach(async () => {
    fixture = createRunnerFixture(services.env);
    readModels = await openReadModels(fixture.database, definitions, { warn() {} });
  });
  afterEach(async () => {
    await readModels.close();
    await fixture.close();
  });

  it("cannot be read before they are built, and say so", async () => {
    expect(readModels.notBuilt()).to.deep.equal(["tally.v1", "notes.v1"]);
    expect(() => readModels.collection(tally.definition)).to.throw(ReadModelNotBuilt);
    fixture.run(both);
    await until("they are built", () => readModels.notBuilt().length === 0);
    expect(readModels.collection(tally.definition).collectionName).to.equal("tally.v1.g1");
    expect(readModels.epoch()).to.equal(await fixture.eventStore.epoch());
  });

  it("are waited for by position: one view, many waiters, each answered when its document is there", async () => {
    fixture.run(both);
    await fixture.caughtUp(both);
    const owners = Array.from({ length: 40 }, (_, index) => fixture.owner(`c${index}`));
    await Promise.all(
      owners.map(async (owner) => {
        const position = await fixture.count(owner, 1);
        expect(await readModels.waitFor(definitions, position, 10_000)).to.equal(true);
        const found = await readModels.collection(tally.definition).findOne({ owner: ownerKey(owner), ...live });
        expect(found?.seen, owner.customer).to.deep.equal([1]);
        expect(readModels.position(tally.definition) >= position).to.equal(true);
      }),
    );
  });

  it("end a wait at its limit, and at once when the client has gone", async () => {
    fixture.run(both);
    await fixture.caughtUp(both);
    const future = "9".repeat(20);
    const started = Date.now();
    expect(await readModels.waitFor(definitions, future, 150)).to.equal(false);
    expect(Date.now() - started).to.be.within(140, 10_000);
    const gone = new AbortController();
    const waiting = readModels.waitFor(definitions, future, 60_000, gone.signal);
    gone.abort();
    expect(await waiting).to.equal(false);
    expect(await readModels.waitFor(definitions, future, 60_000, gone.signal)).to.equal(false);
  });

  it("are waited for in the same way by who does not follow them", async () => {
    fixture.run(both);
    await fixture.caughtUp(both);
    const asking = await openReadModels(fixture.database, definitions, { warn() {} }, { positions: "asked" });
    try {
      await Promise.all(
        Array.from({ length: 20 }, async (_, index) => {
          const position = await fixture.count(fixture.owner(`c${index}`), 1);
          expect(await asking.waitFor(definitions, position, 10_000)).to.equal(true);
          expect(asking.position(tally.definition) >= position).to.equal(true);
        }),
      );
      expect(await asking.waitFor(definitions, "9".repeat(20), 150)).to.equal(false);
    } finally {
      await asking.close();
    }
  });

  it("hide what was removed", async () => {
    const ada = fixture.owner("ada");
    fixture.run(both);
    await fixture.note(ada, "n1", "here");
    await fixture.note(ada, "n2", "gone");
    await fixture.note(ada, "n2", null);
    await fixture.caughtUp(both);
    await until("they are built", () => readModels.notBuilt().length === 0);
    const found = await readModels
      .collection(noteProjection.definition)
      .find({ owner: ownerKey(ada), ...live })
      .toArray();
    expect(found.map(({ id }) => id)).to.deep.equal(["n1"]);
  });

  it("are followed again after MongoDB was killed", async function () {
    this.timeout(120_000);
    const ada = fixture.owner("ada");
    fixture.run(both);
    await fixture.caughtUp(both);
    services.kill("mongodb");
    await until(
      "a position is reached again",
      async () => {
        const position = await fixture.count(ada, 1).catch(() => undefined);
        return position !== undefined && readModels.waitFor(definitions, position, 5_000);
      },
      40_000,
    );
  });
});
