import { execFileSync } from "node:child_process";
import { once } from "node:events";
import { existsSync } from "node:fs";
import { chmod, mkdtemp, readFile, rm, stat, writeFile } from "node:fs/promises";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import { expect } from "chai";
import { decodeJwt } from "jose";
import { entry } from "../embedded/backing-services.js";
import { isProcessRunning, projectFolder } from "../embedded/data-folder.js";
import type { StackFile } from "../embedded/stack.js";
import { type RunningStack, runSupervisor, startStack } from "./support/stack.js";

/** Waits until a condition holds; fails after 15 s. */
async function eventually(what: string, holds: () => boolean | Promise<boolean>): Promise<void> {
  const deadline = Date.now() + 15_000;
  while (!(await holds())) {
    if (Date.now() > deadline) expect.fail(`never so: ${what}`);
    await delay(20);
  }
}

const statusOf = (url: string) =>
  fetch(url)
    .then((response) => response.status)
    .catch(() => 0);
/** Those of the processes that are still there. */
const running = async (pids: readonly number[]) => {
  const found = await Promise.all(pids.map(isProcessRunning));
  return pids.filter((_pid, index) => found[index]);
};
const pidsOf = (file: StackFile) => Object.values(file.pids);

describe("local stack", () => {
  let folder: string;
  let stack: RunningStack | undefined;

  beforeEach(async () => {
    folder = await mkdtemp(join(tmpdir(), "client-data-test-"));
  });
  afterEach(async () => {
    await stack?.stop();
    stack = undefined;
    await rm(folder, { recursive: true, force: true });
  });

  it("starts on an empty folder and says where everything is", async () => {
    stack = await startStack({ folder });
    const { file } = stack;
    expect(file).to.have.all.keys(
      ...["gateway", "commandApi", "queryApi", "projectors", "eventStore", "mongodb", "redis", "s3", "issuer", "docs"],
      ...["org", "customers", "serviceToken", "pids"],
    );
    expect(file.pids).to.have.all.keys(
      ...["eventStore", "mongodb", "redis", "s3", "commandApi", "queryApi", "projectors", "worker", "gateway"],
    );
    for (const api of [file.commandApi, file.queryApi, file.projectors]) {
      expect(await statusOf(`${api}/readyz`), api).to.equal(200);
    }
    expect(await statusOf(`${file.gateway}/openapi.json`)).to.equal(200);
    expect(await statusOf(`${file.gateway}/internal/ingest/batch`)).to.equal(404);
    expect(await statusOf(file.docs)).to.equal(200);
    for (const { id, token } of file.customers) {
      const { sub, org, typ, iss, iat = 0, exp = 0 } = decodeJwt(token);
      expect({ sub, org, typ, iss }).to.deep.equal({ sub: id, org: file.org, typ: "customer", iss: file.issuer });
      expect(exp - iat).to.be.at.least(12 * 3600);
    }
    expect(decodeJwt(file.serviceToken)).to.include({ typ: "service", org: file.org });
    const recorded: { pid: number }[] = JSON.parse(await readFile(join(folder, "processes.json"), "utf8"));
    expect(recorded.map(({ pid }) => pid)).to.have.members(pidsOf(file));
  });

  it("keeps secrets to its owner, and addresses and keys over a restart", async () => {
    stack = await startStack({ folder });
    const first = stack.file;
    for (const name of ["stack.json", "secrets.json", "issuer-key.json", "org-settings.json"]) {
      expect((await stat(join(folder, name))).mode & 0o077, name).to.equal(0);
    }
    const secrets = await readFile(join(folder, "secrets.json"), "utf8");
    await stack.stop();
    expect(existsSync(join(folder, "stack.json"))).to.equal(false);
    stack = await startStack({ folder });
    const { pids: _pids, customers: _customers, serviceToken: _token, ...addresses } = stack.file;
    expect(first).to.deep.include(addresses);
    expect(await readFile(join(folder, "secrets.json"), "utf8")).to.equal(secrets);
  });

  it("starts a killed process again at its old address, with its new id in stack.json", async function () {
    this.timeout(60_000);
    stack = await startStack({ folder });
    const { file, read, output } = stack;
    for (const name of ["commandApi", "mongodb", "redis", "s3", "eventStore", "projectors", "gateway"] as const) {
      const before = file.pids[name] ?? 0;
      process.kill(before, "SIGKILL");
      await eventually(`${name} has a new process`, async () => {
        const now = (await read()).pids[name];
        return now !== undefined && now !== before;
      });
    }
    await eventually("all said to be back", () => (output().match(/is back\./g) ?? []).length === 7);
    for (const url of [`${file.commandApi}/readyz`, `${file.queryApi}/readyz`, `${file.gateway}/openapi.json`]) {
      await eventually(url, async () => (await statusOf(url)) === 200);
    }
    const { pids: _pids, ...addresses } = await read();
    expect(file).to.deep.include(addresses);
    expect(output()).to.match(/The command API stopped \(killed by SIGKILL\); starting it again\./);
  });

  it("ends within 10 s, with every process, when the whole group gets SIGTERM or Ctrl-C", async function () {
    this.timeout(60_000);
    for (const signal of ["SIGTERM", "SIGINT"] as const) {
      const { file, process: supervisor } = await startStack({ folder });
      const started = Date.now();
      const ended = once(supervisor, "close");
      process.kill(-(supervisor.pid ?? 0), signal);
      expect((await ended)[0], signal).to.equal(0);
      expect(Date.now() - started).to.be.below(10_000);
      expect(await running(pidsOf(file))).to.deep.equal([]);
    }
  });

  it("leaves nothing running in its folder when it is killed itself, and starts again", async function () {
    this.timeout(60_000);
    const { file, process: supervisor } = await startStack({ folder });
    const ended = once(supervisor, "close");
    process.kill(supervisor.pid ?? 0, "SIGKILL");
    await ended;
    stack = await startStack({ folder });
    expect(await running(pidsOf(file))).to.deep.equal([]);
    expect(await statusOf(`${stack.file.gateway}/openapi.json`)).to.equal(200);
  });

  it("stops what it started when told to stop before it is ready", async () => {
    const supervisor = runSupervisor({ DATA_DIR: folder });
    await eventually("processes are recorded", async () => {
      const text = await readFile(join(folder, "processes.json"), "utf8").catch(() => "[]");
      return JSON.parse(text).length > 0;
    });
    const started: { pid: number }[] = JSON.parse(await readFile(join(folder, "processes.json"), "utf8"));
    supervisor.process.kill("SIGTERM");
    await supervisor.ended;
    expect(await running(started.map(({ pid }) => pid))).to.deep.equal([]);
    expect(existsSync(join(folder, "supervisor.json"))).to.equal(false);
  });

  describe("refuses in one plain sentence", () => {
    const refusal = async (env: Record<string, string>) => {
      const supervisor = runSupervisor({ DATA_DIR: folder, ...env });
      expect(await supervisor.ended).to.equal(1);
      const lines = supervisor.output().trim().split("\n");
      expect(lines).to.have.length(1);
      return lines[0] ?? "";
    };

    it("a second start on the same folder", async () => {
      stack = await startStack({ folder });
      expect(await refusal({})).to.match(/^Another stack \(process \d+\) is running in the data folder /);
      expect(await statusOf(`${stack.file.gateway}/openapi.json`)).to.equal(200);
    });

    it("a taken port", async () => {
      const other = createServer().listen(0, "127.0.0.1");
      await once(other, "listening");
      const { port } = other.address() as { port: number };
      expect(await refusal({ PORT: String(port) })).to.contain(`Port ${port} is taken`);
      other.close();
    });

    it("a folder that cannot be one, cannot be written, or whose disk is full", async () => {
      const file = join(folder, "file");
      await writeFile(file, "");
      expect(await refusal({ DATA_DIR: join(file, "data") })).to.contain("a part of that path is a file");
      if (process.getuid?.() !== 0) {
        await chmod(folder, 0o500);
        expect(await refusal({})).to.contain("this user may not write there");
        await chmod(folder, 0o700);
      }
      // procfs takes no new folders, whoever asks.
      if (process.platform === "linux") {
        expect(await refusal({ DATA_DIR: "/proc/client-data" })).to.contain("takes no new folders");
      }
    });

    it("a missing server program", async () => {
      const supervisor = runSupervisor({ DATA_DIR: folder, PATH: folder, CLIENT_DATA_CACHE: join(folder, "cache") });
      expect(await supervisor.ended).to.equal(1);
      expect(supervisor.output().trim().split("\n").at(-1)).to.match(/^No .* was found .*docker compose up/);
    });

    it("settings that cannot be meant", async () => {
      expect(await refusal({ PORT: "eighty" })).to.contain("PORT must be a port number");
      expect(await refusal({ SAMPLE_DATA: "yes" })).to.contain("SAMPLE_DATA must be 1 or 0");
      expect(await refusal({ S3_ENDPOINT: "http://s3" })).to.contain("S3_ACCESS_KEY");
    });
  });

  it("prints tokens for any customer, alone on the last line", async () => {
    stack = await startStack({ folder });
    const token = (...args: string[]) =>
      execFileSync(process.execPath, [entry("embedded/token.js"), ...args], {
        cwd: projectFolder,
        env: { ...process.env, DATA_DIR: folder },
        encoding: "utf8",
        stdio: ["ignore", "pipe", "pipe"],
      });
    const claims = (output: string) => decodeJwt(output.trimEnd().split("\n").at(-1) ?? "");
    expect(claims(token("--customer", "anyone"))).to.include({ sub: "anyone", typ: "customer", org: stack.file.org });
    const user = claims(token("--customer", "anyone", "--typ", "user", "--org", "other", "--expires", "2h"));
    expect(user).to.include({ customer_id: "anyone", typ: "user", org: "other" });
    expect((user.exp ?? 0) - (user.iat ?? 0)).to.equal(7_200);
    expect(claims(token("--typ", "service"))).to.include({ typ: "service" });
    expect(() => token("--customer", "anyone", "--expires", "soon")).to.throw("--expires must be a time");
    expect(() => token()).to.throw("--customer is missing");
  });
});
