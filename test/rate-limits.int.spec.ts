import { once } from "node:events";
import { expect } from "chai";
import type { Redis } from "ioredis";
import { fixedOrgSettings } from "#infrastructure/org-settings.js";
import { failFastConnection } from "#infrastructure/queue.js";
import { createRateLimits, type RateLimits } from "#infrastructure/rate-limits.js";
import { type BackingServices, startBackingServices } from "./support/stack.js";

/** Unlike `once` of node, not rejected by the errors that come before. */
const event = (redis: Redis, name: string) => new Promise<void>((resolve) => redis.once(name, () => resolve()));

describe("rate limits", () => {
  const org = "acme";
  const limit = 100;
  const orgSettings = fixedOrgSettings({
    orgs: {
      [org]: {
        issuer: "https://issuer.example",
        jwksUri: "https://issuer.example/jwks",
        audience: "client-data",
        rateLimits: { reads: { points: limit, windowSeconds: 60 }, writes: { points: 3, windowSeconds: 1 } },
      },
    },
  });
  let services: BackingServices;
  let connections: Redis[];
  let processes: RateLimits[];

  before(async () => {
    services = await startBackingServices({ services: ["redis"] });
    connections = [0, 1, 2].map(() => failFastConnection(services.env.REDIS_URL ?? "", () => {}));
    await Promise.all(connections.map((redis) => once(redis, "ready")));
    processes = connections.map((redis) => createRateLimits(redis, orgSettings));
  });
  after(async () => {
    for (const redis of connections ?? []) redis.disconnect();
    await services?.stop();
  });

  async function servedBy(limits: readonly RateLimits[], owner: string, requests: number): Promise<number> {
    let served = 0;
    const lane = async (one: RateLimits) => {
      for (let index = 0; index < requests; index++) if ((await one.spend("reads", org, owner)).allowed) served++;
    };
    await Promise.all(limits.map(lane));
    return served;
  }

  it("serve one process exactly the limit, mostly without a round trip", async () => {
    const [process] = processes as [RateLimits];
    let trips = 0;
    for (let index = 0; index < limit; index++) {
      const spent = process.spend("reads", org, "acme.one");
      if (spent instanceof Promise) trips++;
      const verdict = await spent;
      expect(verdict).to.include({ allowed: true, remaining: limit - 1 - index });
    }
    expect(trips).to.equal(10);
    const refused = process.spend("reads", org, "acme.one");
    expect(refused, "known without asking").not.to.be.instanceOf(Promise);
    expect(await refused).to.include({ allowed: false, remaining: 0 });
  });

  it("never serve several processes more than the limit, and little less", async () => {
    const served = await servedBy(processes, "acme.several", limit);
    expect(served).to.be.at.most(limit);
    expect(served).to.be.at.least(limit - processes.length * (limit / 10 - 1));
  });

  it("count each customer and each limit by itself", async () => {
    const [process] = processes as [RateLimits];
    expect(await servedBy([process], "acme.other", 50)).to.equal(50);
    expect((await process.spend("writes", org, "acme.one")).allowed).to.equal(true);
    expect(() => process.spend("unheard-of", org, "acme.one")).to.throw("no rate limit named");
  });

  it("begin anew when the window ends", async () => {
    const [process] = processes as [RateLimits];
    const spend = async () => (await process.spend("writes", org, "acme.window")).allowed;
    for (let index = 0; index < 3; index++) expect(await spend()).to.equal(true);
    expect(await spend()).to.equal(false);
    const deadline = Date.now() + 5_000;
    while (!(await spend())) {
      if (Date.now() > deadline) throw new Error("the window did not end");
      await new Promise((resolve) => setTimeout(resolve, 20));
    }
  });

  it("go on in each process while Redis hangs or is dead, without waiting for it, and together again afterwards", async () => {
    services.kill("redis", "SIGSTOP");
    const started = performance.now();
    expect(await servedBy(processes, "acme.hanging", limit + 50)).to.equal(processes.length * limit);
    expect(performance.now() - started).to.be.lessThan(2_000);
    services.kill("redis", "SIGCONT");
    const lost = Promise.all(connections.map((redis) => event(redis, "close")));
    services.kill("redis", "SIGKILL");
    await lost;
    expect(await servedBy(processes.slice(0, 1), "acme.dead", limit + 50)).to.be.within(limit, 2 * limit);
    await Promise.all(connections.map((redis) => redis.status === "ready" || event(redis, "ready")));
    const deadline = Date.now() + 5_000;
    for (let round = 0; (await servedBy(processes, `acme.back-${round}`, limit)) > limit; round++) {
      if (Date.now() > deadline) throw new Error("Redis is not used again");
    }
  });
});
