import { once } from "node:events";
import { expect } from "chai";
import { packRow } from "#infrastructure/read-models.js";
import { Lease, pause } from "#projectors/runner/lease.js";
import {
  createRunnerFixture,
  noteProjection,
  type RunnerFixture,
  tallyProjection,
  testLease,
  until,
} from "./support/runner-fixture.js";
import { backingServices } from "./support/stack.js";

describe("lease", () => {
  let services: Awaited<ReturnType<typeof backingServices>>;
  let fixture: RunnerFixture;
  const both = [tallyProjection(), noteProjection];
  const times = { ttlMs: 1_500, renewMs: 200 };
  const never = new AbortController().signal;
  before(async function () {
    this.timeout(120_000);
    services = await backingServices();
  });
  after(() => services.stop());
  beforeEach(() => {
    fixture = createRunnerFixture(services.env);
  });
  afterEach(() => fixture.close());

  const leases = () => fixture.database.collection<any>("leases");
  const lease = () => new Lease(fixture.database, "test", times);

  it("has one winner, whatever the number of rivals, and each holder its own epoch", async () => {
    const rivals = Array.from({ length: 8 }, lease);
    for (let round = 1; round <= 3; round++) {
      const won = await Promise.all(rivals.map((rival) => rival.acquire()));
      expect(won.filter(Boolean)).to.have.lengthOf(1);
      const winner = rivals[won.indexOf(true)] as Lease;
      expect(winner.epoch).to.equal(round);
      await winner.release();
      expect(winner.valid).to.equal(false);
    }
  });

  it("is kept by renewing and lost by silence; the holder knows before anyone else can take it", async () => {
    const [holder, rival] = [lease(), lease()];
    await holder.acquire();
    const keeping = new AbortController();
    const kept = holder.keep(keeping.signal);
    await pause(2 * times.ttlMs, never);
    expect(holder.valid).to.equal(true);
    expect(await rival.acquire()).to.equal(false);
    keeping.abort();
    await kept;
    let validWhenTaken: boolean | undefined;
    await until("the rival has it", async () => {
      if (!(await rival.acquire())) return false;
      validWhenTaken = holder.valid;
      return true;
    });
    expect(validWhenTaken).to.equal(false);
    expect(rival.epoch).to.equal(2);
  });

  it("ends keeping when somebody took the row over", async () => {
    const holder = lease();
    await holder.acquire();
    const kept = holder.keep(never);
    await leases().updateOne({ _id: "test" }, { $set: { holder: "somebody", epoch: 7 } });
    await kept;
    expect(holder.valid).to.equal(false);
  });

  it("passes at once to a standby when the leader stops, and soon when it is killed", async function () {
    this.timeout(120_000);
    const ada = fixture.owner("ada");
    await fixture.count(ada, 1);
    const leader = fixture.fork();
    await fixture.caughtUp(both);
    const standby = fixture.run(both);
    await until("the second is a standby", () => standby.runner.health().role === "standby");
    expect(standby.runner.health().problems, "a standby is ready").to.deep.equal([]);
    leader.kill("SIGKILL");
    await once(leader, "exit");
    await fixture.count(ada, 2);
    await fixture.caughtUp(both);
    expect(standby.runner.health().role).to.equal("leader");
    expect((await fixture.document(tallyProjection(), ada, "tally")).seen).to.deep.equal([1, 2]);
  });

  it("does not guard the data: two leaders at once end in the same state, and the older one steps down", async function () {
    this.timeout(120_000);
    const owners = ["ada", "ben"].map((customer) => fixture.owner(customer));
    const long = { leaseTimes: { ttlMs: 60_000, renewMs: 20_000 } };
    const first = fixture.run(both, long);
    await fixture.caughtUp(both);
    for (let round = 0; round < 6; round++) {
      for (const owner of owners) await fixture.count(owner, round);
      if (round !== 2) continue;
      // The first still believes in its lease, for a minute by its own clock.
      await leases().updateOne({ _id: "runner" }, { $set: { expiresAt: new Date(0) } });
      fixture.run(both, { leaseTimes: testLease });
      await until("the second leads, too", async () => (await leases().findOne({ _id: "runner" })).epoch === 2);
    }
    await fixture.caughtUp(both);
    await until("the first has stepped down", () => first.runner.health().role !== "leader");
    for (const owner of owners) {
      expect((await fixture.document(tallyProjection(), owner, "tally")).seen).to.deep.equal([0, 1, 2, 3, 4, 5]);
    }
    expect(await fixture.differences(both)).to.deep.equal([]);
    const rows = await fixture.database.collection<any>("cursors").find().toArray();
    expect(rows.map(({ _id, leaseEpoch }) => [_id, leaseEpoch])).to.deep.equal([[packRow, 2]]);
  });
});
