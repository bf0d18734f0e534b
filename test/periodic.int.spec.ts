import { randomBytes } from "node:crypto";
import { setTimeout as delay } from "node:timers/promises";
import { expect } from "chai";
import { MongoClient } from "mongodb";
import { createLogger } from "#infrastructure/log.js";
import { runPeriodically } from "#projectors/runner/periodic.js";
import { backingServices } from "./support/stack.js";

describe("periodic tasks", () => {
  it("run on one leader at a time, again after their time, and one that fails keeps no other from it", async () => {
    const services = await backingServices();
    const mongo = new MongoClient(services.env.MONGODB_URL ?? "");
    const database = mongo.db(`test-${randomBytes(5).toString("hex")}`);
    const lines: string[] = [];
    const log = createLogger({
      service: "test",
      level: "info",
      destination: { write: (line) => void lines.push(line) },
    });
    const runs: string[] = [];
    const runner = (name: string) => {
      const stopping = new AbortController();
      const tasks = [
        {
          name: "failing",
          everyMs: 10,
          run: async () => {
            runs.push(`${name} failing`);
            throw new Error("no");
          },
        },
        { name: "sweep", everyMs: 10, run: async () => void runs.push(`${name} sweep`) },
      ];
      const running = runPeriodically({ database, tasks, log }, stopping.signal);
      const stop = async () => {
        stopping.abort();
        await running;
      };
      return { stop };
    };
    const ran = async (what: string, times: number) => {
      const deadline = performance.now() + 30_000;
      while (runs.filter((run) => run === what).length < times) {
        if (performance.now() > deadline) throw new Error(`${what} did not run: ${runs.join(", ")}`);
        await delay(20);
      }
    };
    const first = runner("first");
    try {
      await ran("first sweep", 1);
      const second = runner("second");
      try {
        await ran("first sweep", 3);
        await ran("first failing", 2);
        expect(runs.filter((run) => run.startsWith("second"))).to.deep.equal([]);
        expect(lines.join("")).to.include("a periodic task failed");
        await first.stop();
        await ran("second sweep", 1);
      } finally {
        await second.stop();
      }
    } finally {
      await first.stop();
      await database.dropDatabase();
      await mongo.close();
      await services.stop();
    }
  });
});
