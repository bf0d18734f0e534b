import { type ChildProcess, spawn } from "node:child_process";
import { dirname, join } from "node:path";
import { createInterface } from "node:readline";
import { setTimeout as delay } from "node:timers/promises";
import { fileURLToPath } from "node:url";
import { expect } from "chai";
import { streams } from "#domain/core/identifiers.js";
import { emailClaimDecider, emailClaimStream } from "#domain/profile/email-claim.decider.js";
import { logStart } from "#infrastructure/event-store.js";
import { createServerKey } from "#infrastructure/server-key.js";
import { verificationCode } from "#domain/verification/verification-code.js";
import { type Answer, sendRequest, startApi, type TestApi } from "../support/api.js";

const dist = join(dirname(fileURLToPath(import.meta.url)), "../..");

/**
 * The change of an e-mail address takes four appends on three streams, by two processes. Each of them is killed as
 * soon as each of the facts can be seen; what is left to do must be done by whoever comes next.
 */
describe("a change of the e-mail address under SIGKILL", function () {
  this.timeout(120_000);
  let api: TestApi;
  let worker: ChildProcess;

  before(async () => {
    api = await startApi({ projections: true, standIns: true });
    worker = await startWorker();
  });
  after(async () => {
    worker?.kill("SIGKILL");
    await api?.stop();
  });

  function start(entry: string): ChildProcess {
    return spawn(process.execPath, [join(dist, entry)], {
      env: { PATH: process.env.PATH, ...api.environment, PORT: "0", LOG_LEVEL: "info" },
      stdio: ["ignore", "pipe", "inherit"],
    });
  }
  /** Starts a process and waits until it listens. */
  async function started(entry: string): Promise<{ process: ChildProcess; url: string }> {
    const child = start(entry);
    for await (const line of createInterface({ input: child.stdout as NodeJS.ReadableStream })) {
      const { msg, port } = JSON.parse(line);
      if (msg !== "listening") continue;
      child.stdout?.resume();
      return { process: child, url: `http://127.0.0.1:${port}` };
    }
    throw new Error(`${entry} ended before it listened`);
  }
  /** Starts a worker and waits until its reactors have begun: on their very first run they begin at the end of the log. */
  async function startWorker(): Promise<ChildProcess> {
    const { process: child } = await started("projectors/worker.js");
    await until("the reactors have begun", async () => {
      return (await api.database.collection("reactor-cursors").countDocuments()) > 0;
    });
    return child;
  }

  const key = (purpose: "verification-code" | "email-claim") =>
    createServerKey(Buffer.from(api.environment.SERVER_KEY ?? "", "base64"))(purpose);
  async function holderOf(email: string): Promise<string | null> {
    const claims = (await api.newEvents(logStart, emailClaimStream(key("email-claim"), api.org, email))) as never[];
    return claims.reduce((state, event) => emailClaimDecider.evolve(state, event), emailClaimDecider.initial).holder;
  }
  const factsOf = async (since: string) => (await api.newEvents(since)).map(({ type }) => type);

  /** Kills a process when a fact of this type becomes visible. */
  async function killAt(type: string, child: ChildProcess, since: string): Promise<void> {
    const stop = AbortSignal.timeout(30_000);
    for await (const item of api.eventStore.subscribe({
      after: since,
      streamPrefixes: ["verification-", "profile-", "emailClaim-"],
      signal: stop,
    })) {
      if (item.kind === "event" && item.event.type === type && item.event.position > since) {
        child.kill("SIGKILL");
        return;
      }
    }
    throw new Error(`${type} did not happen`);
  }

  async function until(what: string, condition: () => Promise<boolean>): Promise<void> {
    const deadline = Date.now() + 40_000;
    while (!(await condition())) {
      if (Date.now() > deadline) throw new Error(`did not come true in time: ${what}`);
      await delay(50);
    }
  }

  /** A registered customer whose address is claimed, and the code of a change that was asked for. */
  async function begin(id: string): Promise<{ headers: Record<string, string>; code: string; since: string }> {
    const { headers, ...person } = await api.as(id, { email: `${id}@example.com` });
    await person.put("/client-data/profile", { body: { about: "here" } });
    await until("the first address is claimed", async () => (await holderOf(`${id}@example.com`)) === id);
    const asked = await person.post("/client-data/profile/email-change", { body: { newEmail: `${id}@new.example` } });
    const code = verificationCode(key("verification-code"), asked.body.data.challengeId);
    await until("the code is sent and the notice too", async () => {
      const sent = await api.newEvents(logStart, streams.verification({ org: api.org, customer: id }, "email-change"));
      return sent.some(({ type }) => type === "verification.NoticeSettled.v1");
    });
    return { headers: { ...headers }, code, since: await api.mark() };
  }
  const prove = (
    url: string,
    headers: Record<string, string>,
    code: string,
    idempotencyKey?: string,
  ): Promise<Answer> =>
    sendRequest(url, "POST", "/client-data/profile/email-change/verify", {
      headers: { ...headers, ...(idempotencyKey ? { "idempotency-key": idempotencyKey } : {}) },
      body: { code },
    });

  /** All that a change leaves behind, once. */
  async function expectChanged(id: string, since: string): Promise<void> {
    await until(`the change of ${id} is finished`, async () => (await holderOf(`${id}@example.com`)) === null);
    expect(await holderOf(`${id}@new.example`)).to.equal(id);
    expect(await factsOf(since)).to.deep.equal([
      "verification.Verified.v1",
      "profile.EmailClaimed.v1",
      "profile.EmailChanged.v1",
      "profile.EmailReleased.v1",
    ]);
    await api.caughtUp();
    const person = await api.as(id);
    expect((await person.get("/client-data/profile")).body.data).to.include({
      email: `${id}@new.example`,
      emailVerified: true,
    });
  }

  for (const type of ["verification.Verified.v1", "profile.EmailClaimed.v1", "profile.EmailChanged.v1"]) {
    it(`is finished by the worker when the command API dies at ${type}, and the repeat gets its answer`, async () => {
      const id = `api-${type.split(".")[1]?.toLowerCase()}`;
      const [victim, { headers, code, since }] = await Promise.all([started("command-api/main.js"), begin(id)]);
      // Held, not killed: what it finds when it goes on is all that the dead process left.
      worker.kill("SIGSTOP");
      const lost = prove(victim.url, headers, code, "change-1").catch(() => undefined);
      await Promise.all([killAt(type, victim.process, since), lost]);
      const facts = await factsOf(since);
      expect(facts[0]).to.equal("verification.Verified.v1");
      expect(facts, "nobody lets go of the old address but the worker").to.not.include("profile.EmailReleased.v1");
      worker.kill("SIGCONT");
      await expectChanged(id, since);
      const repeated = await prove(api.commandApi, headers, code, "change-1");
      expect([repeated.status, repeated.body.data?.email]).to.deep.equal([200, `${id}@new.example`]);
      await expectChanged(id, since);
    });
  }

  it("is finished by the client's repeat, where the command API died and no worker runs", async () => {
    const [victim, { headers, code, since }] = await Promise.all([started("command-api/main.js"), begin("repeats")]);
    worker.kill("SIGSTOP");
    const lost = prove(victim.url, headers, code).catch(() => undefined);
    await Promise.all([killAt("verification.Verified.v1", victim.process, since), lost]);
    const repeated = await prove(api.commandApi, headers, code);
    expect([repeated.status, repeated.body.data?.email]).to.deep.equal([200, "repeats@new.example"]);
    expect(await factsOf(since)).to.deep.equal([
      "verification.Verified.v1",
      "profile.EmailClaimed.v1",
      "profile.EmailChanged.v1",
    ]);
    worker.kill("SIGCONT");
    await expectChanged("repeats", since);
  });

  it("is finished by the next worker when the worker dies at any of its facts", async () => {
    for (const type of ["verification.Verified.v1", "profile.EmailChanged.v1"]) {
      const id = `worker-${type.split(".")[1]?.toLowerCase()}`;
      const { headers, code, since } = await begin(id);
      const dying = killAt(type, worker, since);
      expect((await prove(api.commandApi, headers, code)).status).to.equal(200);
      await dying;
      worker = await startWorker();
      await expectChanged(id, since);
    }
  });

  it("sends a code that was asked for while no worker ran, once one does", async () => {
    worker.kill("SIGKILL");
    const person = await api.as("waits", { email: "waits@example.com" });
    expect((await person.post("/client-data/verification/email/send")).status).to.equal(202);
    worker = await startWorker();
    const stream = streams.verification({ org: api.org, customer: "waits" }, "email");
    await until("the code is sent", async () => {
      return (await api.newEvents(logStart, stream)).some(({ type }) => type === "verification.Sent.v1");
    });
  });
});
