import { expect } from "chai";
import {
  cursorRows,
  generationRows,
  openReadModels,
  packRow,
  type ReadModels,
  readModelKey,
} from "#infrastructure/read-models.js";
import { request, requestRows, type Wish } from "#projectors/runner/requests.js";
import {
  createRunnerFixture,
  noteProjection,
  type RunnerFixture,
  tallyProjection,
  until,
} from "./support/runner-fixture.js";
import { backingServices } from "./support/stack.js";

describe("rebuild", () => {
  let services: Awaited<ReturnType<typeof backingServices>>;
  let fixture: RunnerFixture;
  const tally = tallyProjection();
  const both = [tally, noteProjection];
  before(async function () {
    this.timeout(120_000);
    services = await backingServices();
  });
  after(() => services.stop());
  beforeEach(() => {
    fixture = createRunnerFixture(services.env);
  });
  afterEach(() => fixture.close());

  const generations = (projection = tally) =>
    generationRows(fixture.database).findOne({ _id: readModelKey(projection.definition) });

  async function ask(wish: Wish): Promise<string> {
    const id = await request(fixture.database, wish);
    let answer = "";
    await until(`${wish.kind} has an answer`, async () => {
      const row = await requestRows(fixture.database).findOne({ _id: id });
      answer = `${row?.state}: ${row?.detail}`;
      return row?.finishedAt !== undefined;
    });
    return answer;
  }

  async function withReader(check: (readModels: ReadModels) => Promise<void>) {
    const readModels = await openReadModels(
      fixture.database,
      both.map(({ definition }) => definition),
      { warn() {} },
    );
    try {
      await check(readModels);
    } finally {
      await readModels.close();
    }
  }

  it("fills a new generation beside the old one while readers read and writers write, then flips", async () => {
    const owners = ["ada", "ben", "cy"].map((customer) => fixture.owner(customer));
    for (const owner of owners) await fixture.count(owner, 0, 1, 2);
    fixture.run(both);
    await fixture.caughtUp(both);
    await withReader(async (readModels) => {
      let written = 3;
      let stopped = false;
      const writing = (async () => {
        while (!stopped) {
          for (const owner of owners) await fixture.count(owner, written);
          written++;
        }
      })();
      let holes = 0;
      const reading = (async () => {
        let last = readModels.position(tally.definition);
        while (!stopped) {
          const documents = await readModels.collection(tally.definition).countDocuments({ owner: /./ });
          const position = readModels.position(tally.definition);
          if (documents < owners.length || position < last) holes++;
          last = position;
        }
      })();
      expect(await ask({ kind: "rebuild", projection: "tally" })).to.equal("done: generation 2 is live");
      stopped = true;
      await Promise.all([writing, reading]);
      expect(holes, "moments in which a reader saw less than before").to.equal(0);
      await fixture.caughtUp(both);
      for (const owner of owners) {
        const { seen } = await fixture.document(tally, owner, "tally");
        expect(seen).to.deep.equal(Array.from({ length: written }, (_, index) => index));
      }
    });
    expect(await fixture.differences(both)).to.deep.equal([]);
    expect(await generations()).to.deep.include({ live: 2, building: null });
    const pack = await cursorRows(fixture.database).findOne({ _id: packRow });
    expect(pack?.members.map(({ projection, generation }) => `${projection}.g${generation}`)).to.have.members([
      "tally.g2",
      "notes.g1",
    ]);
    const indexes = await fixture.database.collection("tally.v1.g2").indexes();
    expect(indexes.map(({ key }) => JSON.stringify(key))).to.include.members([
      '{"owner":1,"_id":1}',
      '{"owner":1,"_pos":1}',
      '{"owner":1,"whispers":-1}',
    ]);
  });

  it("goes back to a retired generation, and drops what is no longer wanted but never what is live", async () => {
    const ada = fixture.owner("ada");
    await fixture.count(ada, 1);
    fixture.run(both);
    await fixture.caughtUp(both);
    expect(await ask({ kind: "drop", projection: "tally", generation: 1 })).to.match(/^failed/);
    await ask({ kind: "rebuild", projection: "tally" });
    await fixture.count(ada, 2);
    await fixture.caughtUp(both);
    expect(await ask({ kind: "flip", projection: "tally", generation: 1 })).to.equal("done: generation 1 is live");
    await fixture.caughtUp(both);
    expect((await fixture.document(tally, ada, "tally")).seen).to.deep.equal([1, 2]);
    expect(await ask({ kind: "drop", projection: "tally", generation: 1 })).to.match(/^failed/);
    expect(await ask({ kind: "drop", projection: "tally", generation: 2 })).to.match(/^done/);
    const left = await fixture.database.listCollections({ name: /^tally/ }).toArray();
    expect(left.map(({ name }) => name)).to.deep.equal(["tally.v1.g1"]);
    expect(await ask({ kind: "rebuild", projection: "privacy" })).to.equal("failed: there is no projection privacy");
  });

  it("builds a new version beside the old one; a release is not ready before its versions have caught up", async () => {
    const ada = fixture.owner("ada");
    await fixture.count(ada, 1, 2);
    const old = fixture.run(both);
    await fixture.caughtUp(both);
    await old.stop();
    await fixture.count(ada, 3);

    const next = tallyProjection({ version: 2 });
    const release = fixture.run([next, noteProjection]);
    expect(release.runner.health().problems).not.to.deep.equal([]);
    await until("the release is ready", () => release.runner.health().problems.length === 0);
    expect((await fixture.document(next, ada, "tally")).seen).to.deep.equal([1, 2, 3]);
    expect((await fixture.document(tally, ada, "tally")).seen, "old code reads its own version").to.deep.equal([1, 2]);
    await release.stop();

    const back = fixture.run(both);
    await fixture.caughtUp(both);
    expect((await fixture.document(tally, ada, "tally")).seen).to.deep.equal([1, 2, 3]);
    await back.stop();
  });

  it("hands the lead over to a newer release, whose versions only it can build", async () => {
    const ada = fixture.owner("ada");
    await fixture.count(ada, 1);
    const old = fixture.run(both);
    await fixture.caughtUp(both);
    const next = tallyProjection({ version: 2 });
    const release = fixture.run([next, noteProjection]);
    await until("the newer one is not ready", () => release.runner.health().problems.join().includes("tally.v2"));
    await until("the newer one leads", () => release.runner.health().role === "leader");
    await fixture.count(ada, 2);
    await fixture.caughtUp([next, noteProjection]);
    expect((await fixture.document(next, ada, "tally")).seen).to.deep.equal([1, 2]);
    await until("the older one stands by", () => old.runner.health().role === "standby");
    expect(old.runner.health().problems).to.deep.equal([]);
    await release.stop();
    await fixture.caughtUp(both);
    expect((await fixture.document(tally, ada, "tally")).seen).to.deep.equal([1, 2]);
  });

  it("begins a rebuild again whose leader was killed before it had a cursor", async () => {
    const ada = fixture.owner("ada");
    await fixture.count(ada, 1, 2);
    const first = fixture.run(both);
    await fixture.caughtUp(both);
    await first.stop();
    const key = readModelKey(tally.definition);
    await generationRows(fixture.database).updateOne({ _id: key }, { $set: { building: 2 } });
    const id = await request(fixture.database, { kind: "rebuild", projection: "tally" });
    fixture.run(both);
    await until("it is done", async () => (await requestRows(fixture.database).findOne({ _id: id }))?.state === "done");
    expect(await generations()).to.deep.include({ live: 2, building: null });
    expect((await fixture.document(tally, ada, "tally")).seen).to.deep.equal([1, 2]);
  });

  it("takes up a rebuild where a killed leader left it", async function () {
    this.timeout(120_000);
    const ada = fixture.owner("ada");
    await fixture.count(ada, 1, 2, 3);
    const first = fixture.fork();
    await fixture.caughtUp(both);
    const id = await request(fixture.database, { kind: "rebuild", projection: "tally" });
    await until("it has begun", async () => (await generations())?.building === 2 || (await generations())?.live === 2);
    first.kill("SIGKILL");
    fixture.fork();
    await until("it is done", async () => (await requestRows(fixture.database).findOne({ _id: id }))?.state === "done");
    expect(await generations()).to.deep.include({ live: 2, building: null });
    await fixture.caughtUp(both);
    expect((await fixture.document(tally, ada, "tally")).seen).to.deep.equal([1, 2, 3]);
  });
});
