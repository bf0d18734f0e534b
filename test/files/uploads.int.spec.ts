import { randomBytes } from "node:crypto";
import { readFile } from "node:fs/promises";
import { request } from "node:http";
import { connect } from "node:net";
import { setTimeout as delay } from "node:timers/promises";
import { expect } from "chai";
import { streams } from "#domain/core/identifiers.js";
import { objectKeys } from "#domain/files/files.policy.js";
import { readEnvironment } from "#infrastructure/environment.js";
import { createObjectStorage, type ObjectStorage, objectStorageEnvironment } from "#infrastructure/object-storage.js";
import { fileCleanup } from "#projectors/files/files.reactor.js";
import { sweepOrphans } from "#projectors/files/orphans.worker.js";
import { openWorkerDependencies, workerEnvironment } from "#projectors/worker-dependencies.js";
import { createLogger } from "#infrastructure/log.js";
import { createRegistry } from "#infrastructure/metrics.js";
import { type Child, startChild } from "../../embedded/child.js";
import { pickPorts } from "../../embedded/ports.js";
import { type ProductProcess, productSpec } from "../../embedded/products.js";
import { type Answer, sendRequest, startApi, type TestApi } from "../support/api.js";
import { samples } from "../support/forms.js";
import { type StoreProxy, startStoreProxy, startTcpProxy, type TcpProxy } from "../support/proxies.js";
import { backingServices } from "../support/stack.js";

const MiB = 1024 * 1024;
const wide = { points: 1_000_000, windowSeconds: 60 };
const path = "/client-data/files/upload";

/** A form with one PDF, as bytes on the wire. */
function formOf(name: string, size: number) {
  const boundary = "----boundary";
  const head = `--${boundary}\r\nContent-Disposition: form-data; name="file"; filename="${name}"\r\nContent-Type: application/pdf\r\n\r\n`;
  const bytes = Buffer.concat([samples.pdf, Buffer.alloc(size - samples.pdf.length, "x")]);
  const body = Buffer.concat([Buffer.from(head), bytes, Buffer.from(`\r\n--${boundary}--\r\n`)]);
  return { body, type: `multipart/form-data; boundary=${boundary}` };
}

async function until(holds: () => boolean | Promise<boolean>, what: string): Promise<void> {
  const deadline = performance.now() + 60_000;
  while (!(await holds())) {
    if (performance.now() > deadline) throw new Error(`not in a minute: ${what}`);
    await delay(20);
  }
}

describe("uploads when something fails", () => {
  let api: TestApi;
  let store: StoreProxy;
  let storage: ObjectStorage;
  let customer = 0;
  const children: Child[] = [];
  const proxies: TcpProxy[] = [];

  before(async () => {
    const services = await backingServices();
    store = await startStoreProxy(services.env.S3_ENDPOINT ?? "");
    // A bucket of its own: the sweep looks at all there is.
    const env = { S3_ENDPOINT: store.url, S3_BUCKET: `files-${randomBytes(5).toString("hex")}` };
    const settings = { rateLimits: { reads: wide, writes: wide, uploads: wide } };
    api = await startApi({ projections: true, standIns: true, settings, env });
    storage = createObjectStorage(readEnvironment(objectStorageEnvironment, api.environment));
    await storage.ensureBucket();
  });
  after(async () => {
    for (const child of children) await child.stop();
    for (const proxy of proxies) await proxy.stop();
    await api?.stop();
    await store?.stop();
  });
  beforeEach(() => {
    customer += 1;
  });
  afterEach(() => store.fail(undefined));

  const owner = () => ({ org: api.org, customer: `ada-${customer}` });
  const facts = async (since: string) => (await api.newEvents(since, streams.files(owner()))).map(({ type }) => type);
  const objects = async () => {
    const keys: string[] = [];
    for (const folder of [objectKeys.folder(owner()), objectKeys.quarantineFolder(owner())]) {
      for await (const { key } of storage.list(folder)) keys.push(key);
    }
    return keys;
  };
  const headersOf = async () => (await api.as(`ada-${customer}`)).headers;
  const upload = async (base: string, name: string, size: number): Promise<Answer> => {
    const { body, type } = formOf(name, size);
    return sendRequest(base, "POST", path, { body, headers: { ...(await headersOf()), "content-type": type } });
  };

  async function start(name: ProductProcess, environment: Readonly<Record<string, string>>) {
    const { [name]: port } = await pickPorts([name]);
    const child = startChild(
      productSpec(name, {
        host: "127.0.0.1",
        port,
        healthPort: port,
        environment: { ...process.env, ...api.environment, ...environment },
        logFile: `/tmp/client-data-test-${process.pid}-${name}.log`,
      }),
    );
    children.push(child);
    await child.ready;
    return { child, url: `http://127.0.0.1:${port}` };
  }
  async function eventStoreBehindProxy() {
    const [, port] = /:(\d+)/.exec(api.environment.EVENTSTORE_URL ?? "") ?? [];
    const proxy = await startTcpProxy(Number(port));
    proxies.push(proxy);
    return { proxy, url: (api.environment.EVENTSTORE_URL ?? "").replace(`:${port}`, `:${proxy.port}`) };
  }
  async function workerDependencies(clock: () => Date) {
    const closing: (() => unknown)[] = [];
    const deps = await openWorkerDependencies(readEnvironment(workerEnvironment, api.environment), {
      log: createLogger({ service: "worker", level: "silent" }),
      registry: createRegistry("worker", "test"),
      onStop: (_, close) => void closing.push(close),
      clock,
    });
    const close = async () => {
      for (const one of closing.reverse()) await one();
    };
    return { deps, close };
  }

  for (const [failure, where] of [
    ["gone", "partNumber=2"],
    ["full", "partNumber=2"],
    ["full", "PUT"],
    ["silent", "partNumber=2"],
  ] as const) {
    it(`answers 503 when the object store is ${failure} in the middle (${where}), and records nothing`, async () => {
      const since = await api.mark();
      store.fail(failure, (method, url) => `${method} ${url}`.includes(where));
      const started = performance.now();
      const { body, type } = formOf("a.pdf", 12 * MiB);
      const response = await fetch(`${api.commandApi}${path}`, {
        method: "POST",
        body: new Uint8Array(body),
        headers: { ...(await headersOf()), "content-type": type },
      });
      const problem = (await response.json()) as { code: string };
      expect([response.status, problem.code]).to.deep.equal([503, "STORE_UNAVAILABLE"]);
      expect(response.headers.get("retry-after")).to.match(/^\d+$/);
      expect(performance.now() - started).to.be.below(45_000);
      store.fail(undefined);
      expect([await facts(since), await objects()]).to.deep.equal([[], []]);
      expect((await upload(api.commandApi, "a.pdf", 12 * MiB)).status).to.equal(201);
    });
  }

  it("keeps nothing of an upload that its client gives up", async () => {
    await upload(api.commandApi, "first.pdf", 1_000);
    const since = await api.mark();
    const before = await objects();
    const { body, type } = formOf("cut.pdf", 12 * MiB);
    const { hostname, port } = new URL(api.commandApi);
    const seen = store.seen.length;
    const socket = connect(Number(port), hostname);
    const headers = {
      ...(await headersOf()),
      host: `${hostname}:${port}`,
      "content-type": type,
      "content-length": body.length,
    };
    const head = Object.entries(headers).map(([name, value]) => `${name}: ${value}`);
    socket.write(`POST ${path} HTTP/1.1\r\n${head.join("\r\n")}\r\n\r\n`);
    socket.write(body.subarray(0, 7 * MiB));
    await until(() => store.seen.slice(seen).some((one) => one.includes("partNumber=1")), "the first part is sent");
    socket.destroy();
    await until(
      () => store.seen.slice(seen).some((one) => /^DELETE .*uploadId=/.test(one)),
      "the upload is called off",
    );
    await until(async () => (await objects()).length === before.length, "nothing is left");
    expect(await facts(since)).to.deep.equal([]);
  });

  it("says what is wrong with a form that is none", async () => {
    const boundary = "multipart/form-data; boundary=b";
    const part = (name: string, more = "") => `--b\r\nContent-Disposition: form-data; name="${name}"${more}\r\n\r\n`;
    const cases: [string, string, number, string][] = [
      ["multipart/form-data", "x", 400, "MULTIPART_INVALID"],
      [boundary, "no form at all", 400, "MULTIPART_INVALID"],
      [boundary, `${part("file", '; filename="a.txt"')}cut sho`, 400, "MULTIPART_INVALID"],
      [boundary, `${part("purpose")}general`, 400, "MULTIPART_INVALID"],
      [boundary, `${part("purpose")}general\r\n--b--`, 400, "VALIDATION_FAILED"],
      [boundary, `${part("purpose")}id\r\n${part("purpose")}id\r\n--b--`, 400, "VALIDATION_FAILED"],
      [boundary, `${part("metadata")}${"x".repeat(20_000)}\r\n--b--`, 400, "VALIDATION_FAILED"],
      ["application/json", "{}", 415, "UNSUPPORTED_MEDIA_TYPE"],
    ];
    const since = await api.mark();
    for (const [type, body, status, code] of cases) {
      const headers = { ...(await headersOf()), "content-type": type };
      const answer = await sendRequest(api.commandApi, "POST", path, { body, headers });
      expect([answer.status, answer.body.code], body.slice(0, 60)).to.deep.equal([status, code]);
    }
    const large = await upload(api.commandApi, "large.pdf", 25 * MiB + 1);
    expect([large.status, large.body.code, large.body.limitBytes]).to.deep.equal([413, "FILE_TOO_LARGE", 25 * MiB]);
    expect([await facts(since), await objects()]).to.deep.equal([[], []]);
  });

  it("takes ten files of 25 MiB at once from two customers in less than 100 MB", async () => {
    // No proxy of ours in between: it would need the same processor.
    const direct = (await backingServices()).env.S3_ENDPOINT ?? "";
    const { child, url } = await start("commandApi", { S3_ENDPOINT: direct });
    const residentBytes = async () => {
      const status = await readFile(`/proc/${child.pid}/status`, "utf8");
      return Number(/VmRSS:\s+(\d+) kB/.exec(status)?.[1]) * 1024;
    };
    const people = await Promise.all(["eve", "bob"].map((name) => api.as(`${name}-${customer}`)));
    const send = (who: number, form: ReturnType<typeof formOf>) =>
      new Promise<number>((resolve, reject) => {
        const headers = { ...people[who]?.headers, "content-type": form.type, "content-length": form.body.length };
        const sending = request(`${url}${path}`, { method: "POST", headers, agent: false }, (response) => {
          response.resume().on("end", () => resolve(response.statusCode ?? 0));
        });
        sending.on("error", reject);
        sending.end(form.body);
      });
    for (const who of [0, 1]) expect(await send(who, formOf("warm.pdf", 1_000))).to.equal(201);
    const before = await residentBytes();
    let most = before;
    let measuring = true;
    const measured = (async () => {
      while (measuring) {
        most = Math.max(most, await residentBytes());
        await delay(20);
      }
    })();
    const statuses = await Promise.all(
      Array.from({ length: 10 }, (_, index) => send(index % 2, formOf(`${index}.pdf`, 25 * MiB))),
    );
    measuring = false;
    await measured;
    expect(statuses).to.deep.equal(Array(10).fill(201));
    console.log(`      grew by ${Math.round((most - before) / 1e6)} MB from ${Math.round(before / 1e6)} MB`);
    expect(most - before).to.be.below(100e6);
    await child.stop();
  });

  it("leaves an orphan when it is killed between the object and its event; a sweep removes that, and nothing else", async () => {
    const { proxy, url: eventStore } = await eventStoreBehindProxy();
    const { child, url } = await start("commandApi", { EVENTSTORE_URL: eventStore });
    // The other process registers the customer, so that this one need not ask the event store before it appends.
    expect((await upload(api.commandApi, "first.pdf", 1_000)).status).to.equal(201);
    expect((await upload(url, "second.pdf", 1_000)).status).to.equal(201);
    const kept = await objects();
    const since = await api.mark();
    proxy.hold();
    const lost = upload(url, "third.pdf", 1_000).catch((error: unknown) => error);
    await until(async () => (await objects()).length === 3, "the object is stored");
    await child.stop(0);
    await lost;
    // What it may have sent is lost on the way.
    proxy.cut();
    proxy.release();
    expect(await facts(since)).to.deep.equal([]);

    let now = Date.now();
    const { deps, close } = await workerDependencies(() => new Date(now));
    try {
      expect(await sweepOrphans(deps)).to.equal(0);
      now += 24 * 3_600_000 + 60_000;
      await sweepOrphans(deps);
      expect(await objects()).to.deep.equal(kept);
    } finally {
      await close();
    }
  });

  it("scans a file once more when the worker is killed between the verdict and its event", async () => {
    const { proxy, url: eventStore } = await eventStoreBehindProxy();
    const { child } = await start("worker", { EVENTSTORE_URL: eventStore });
    const control = async (action: string, body: object = {}) =>
      (await fetch(`${api.providers}/control/clamav/${action}`, { method: "POST", body: JSON.stringify(body) })).json();
    const earlier = (await control("scans")) as { ended: number; begun: number };
    await control("play", { mode: "hold" });
    const since = await api.mark();
    expect((await upload(api.commandApi, "a.pdf", 1_000)).status).to.equal(201);
    await until(async () => ((await control("scans")) as typeof earlier).begun > earlier.begun, "the scan has begun");
    proxy.hold();
    await control("release");
    await until(async () => ((await control("scans")) as typeof earlier).ended > earlier.ended, "there is a verdict");
    child.kill("SIGKILL");
    proxy.cut();
    expect(await facts(since)).to.deep.equal(["files.Uploaded.v1"]);
    proxy.release();
    await until(async () => (await facts(since)).length > 1, "the verdict is recorded");
    await until(async () => (await objects()).length === 1, "nothing is left in quarantine");
    expect(await facts(since)).to.deep.equal(["files.Uploaded.v1", "files.Scanned.v1"]);
    expect((await objects())[0]).to.match(/\/customers\//);
    await child.stop();
  });

  it("lets go of everything an erased customer had in the object store, and of nobody else's", async () => {
    expect((await upload(api.commandApi, "a.pdf", 1_000)).status).to.equal(201);
    const mine = owner();
    await storage.put(objectKeys.file(mine, "f"), Buffer.from("x"), "text/plain");
    await storage.put(objectKeys.thumbnail(mine, "f", 128), Buffer.from("x"), "image/webp");
    // Its name begins like the other's.
    const neighbour = { org: api.org, customer: `${mine.customer}0` };
    const others = [objectKeys.file(neighbour, "f"), objectKeys.quarantine(neighbour, "b")];
    for (const key of others) await storage.put(key, Buffer.from("x"), "text/plain");
    const { deps, close } = await workerDependencies(() => new Date());
    try {
      await fileCleanup(deps).cleanUp(mine);
      expect(await objects()).to.deep.equal([]);
      await fileCleanup(deps).cleanUp(mine);
      for (const key of others) expect(await storage.stat(key)).not.to.equal(null);
    } finally {
      await close();
    }
  });
});
