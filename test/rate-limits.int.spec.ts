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
        rateLimits: { reads: { points: limit, windowSeconds: 60 }, writes: { points: 3, windowSeconds: 2 } },
      },
    },
  });
  let services: BackingServices;
  const connections: Redis[] = [];
  let processes: RateLimits[];

  before(async () => {
    services = await startBackingServices({ services: ["redis"] });
    // Exact as long as Redis answers; here it may take its time, however busy the machine is.
    processes = await connect(10_000);
  });
  after(async () => {
    for (const redis of connections) redis.disconnect();
    await services?.stop();
  });

  async function connect(commandTimeoutMs?: number): Promise<RateLimits[]> {
    const opened = [0, 1, 2].map(() => failFastConnection(services.env.REDIS_URL ?? "", () => {}, commandTimeoutMs));
    connections.push(...opened);
    await Promise.all(opened.map((redis) => once(redis, "ready")));
    return opened.map((redis) => createRateLimits(redis, orgSettings));
  }

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
    const deadline = Date.now() + 60_000;
    while (!(await spend())) {
      if (Date.now() > deadline) throw new Error("the window did not end");
      await new Promise((resolve) => setTimeout(resolve, 20));
    }
  });

  it("tell Redis afterwards what they granted without it", async () => {
    const [process] = (await connect()) as [RateLimits];
    const key = "client-data-limit:reads:acme.uncounted";
    const counted = async () => Number(await connections[0]?.get(key));
    services.kill("redis", "SIGSTOP");
    expect(await servedBy([process], "acme.uncounted", 50)).to.equal(50);
    services.kill("redis", "SIGCONT");
    let served = 50;
    while ((await counted()) < served && (await process.spend("reads", org, "acme.uncounted")).allowed) {
      served++;
      await new Promise((resolve) => setTimeout(resolve, 50)); // Redis is left alone for a second
    }
    expect(await counted()).to.be.at.least(served);
    expect(served).to.be.at.most(limit);
  });

  it("go on in each process while Redis hangs or is dead, without waiting for it, and together again afterwards", async () => {
    const hasty = await connect();
    services.kill("redis", "SIGSTOP");
    const started = performance.now();
    expect(await servedBy(hasty, "acme.hanging", limit + 50)).to.equal(hasty.length * limit);
    // Each would wait a quarter of a second for each of a hundred and fifty.
    expect(performance.now() - started).to.be.lessThan(10_000);
    services.kill("redis", "SIGCONT");
    const lost = Promise.all(connections.map((redis) => event(redis, "close")));
    services.kill("redis", "SIGKILL");
    await lost;
    expect(await servedBy(hasty.slice(0, 1), "acme.dead", limit + 50)).to.be.within(limit, 2 * limit);
    await Promise.all(connections.map((redis) => redis.status === "ready" || event(redis, "ready")));
    const deadline = Date.now() + 60_000;
    for (let round = 0; (await servedBy(hasty, `acme.back-${round}`, limit)) > limit; round++) {
      if (Date.now() > deadline) throw new Error("Redis is not used again");
    }
  });
});
