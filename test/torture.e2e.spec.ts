import { expect } from "chai";
import { torture } from "./torture/torture.js";
import { startTortureStack } from "./torture/torture-stack.js";

/** The long version is `npm run torture -- --minutes N`. */
describe("killed again and again while customers write", () => {
  it("loses nothing, doubles nothing, and comes back by itself", async function () {
    this.timeout(400_000);
    const seed = Date.now() % 1_000_000;
    const stack = await startTortureStack(() => {});
    try {
      const report = await torture(stack, { seed, until: Date.now() + 40_000, say: () => {} });
      console.log(`      seed ${seed}: ${report.blows.length} blows, ${JSON.stringify(report.commands)}`);
      if (report.faults.length > 0) console.log(`      logs: ${await stack.keepLogs(seed)}`);
      expect(report.faults, `npm run torture -- --seed ${seed}`).to.deep.equal([]);
      expect(report.commands.acknowledged).to.be.greaterThan(20);
    } finally {
      await stack.stop();
    }
  });
});
