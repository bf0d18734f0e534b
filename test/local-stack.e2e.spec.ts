import { execFileSync } from "node:child_process";
import { once } from "node:events";
import { existsSync } from "node:fs";
import { mkdtemp, readFile, rm, stat, writeFile } from "node:fs/promises";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import { expect } from "chai";
import { decodeJwt } from "jose";
import { entry } from "../embedded/backing-services.js";
import { isProcessRunning } from "../embedded/data-folder.js";
import type { StackFile } from "../embedded/stack.js";
import { type RunningStack, runSupervisor, startStack } from "./support/stack.js";

/** Waits until a condition holds; fails after 60 s, which is much on an idle machine and little on a busy one. */
async function eventually(what: string, holds: () => boolean | Promise<boolean>): Promise<void> {
  const deadline = Date.now() + 60_000;
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

describe("local stack", function () {
  this.timeout(120_000);
  let folder: string;

  before(async () => {
    folder = await mkdtemp(join(tmpdir(), "client-data-test-"));
  });
  after(() => rm(folder, { recursive: true, force: true }));

  /** What the supervisor says when it refuses to start. */
  const refusal = async (env: Record<string, string>) => {
    const supervisor = runSupervisor({ DATA_DIR: folder, ...env });
    expect(await supervisor.ended).to.equal(1);
    const lines = supervisor.output().trim().split("\n");
    expect(lines, supervisor.output()).to.have.length(1);
    return lines[0] ?? "";
  };

  describe("on an empty folder", () => {
    let stack: RunningStack;

    before(async () => {
      stack = await startStack({ folder, env: { SAMPLE_DATA: "1" } });
    });
    after(() => stack.stop());

    it("says where everything is, and everything is there", async () => {
      const { file } = stack;
      expect(file).to.have.all.keys(
        ...[
          "gateway",
          "commandApi",
          "queryApi",
          "projectors",
          "eventStore",
          "mongodb",
          "redis",
          "s3",
          "providers",
          "issuer",
          "docs",
        ],
        ...["org", "customers", "serviceToken", "pids"],
      );
      expect(file.pids).to.have.all.keys(
        ...["eventStore", "mongodb", "redis", "s3", "providers"],
        ...["commandApi", "queryApi", "projectors", "worker", "gateway"],
      );
      for (const api of [file.commandApi, file.queryApi, file.projectors]) {
        expect(await statusOf(`${api}/readyz`), api).to.equal(200);
      }
      expect(await statusOf(`${file.gateway}/openapi.json`)).to.equal(200);
      expect(await statusOf(`${file.gateway}/internal/ingest/batch`)).to.equal(404);
      expect(await statusOf(file.docs)).to.equal(200);
      const recorded: { pid: number }[] = JSON.parse(await readFile(join(folder, "processes.json"), "utf8"));
      expect(recorded.map(({ pid }) => pid)).to.have.members(pidsOf(file));
    });

    it("gives tokens of a day to its customers and to the platform's services", () => {
      const { customers, serviceToken, org, issuer } = stack.file;
      for (const { id, token } of customers) {
        const { sub, iat = 0, exp = 0, ...claims } = decodeJwt(token);
        expect({ sub, org: claims.org, typ: claims.typ, iss: claims.iss }).to.deep.equal({
          sub: id,
          org,
          typ: "customer",
          iss: issuer,
        });
        expect(exp - iat).to.equal(24 * 3600);
      }
      expect(decodeJwt(serviceToken)).to.include({ typ: "service", org });
    });

    it("has sample data to show, which every customer can already see", async () => {
      for (const { token } of stack.file.customers) {
        const { orders, wallet, wishlist } = await dashboardOf(stack, token);
        expect(orders.total).to.be.at.least(5);
        expect(wallet.balanceMinor).to.be.above(0);
        expect(wishlist.count).to.be.at.least(1);
        expect(await read(stack, "addresses", token)).to.have.length.above(0);
      }
    });

    it("prints three curl lines that work as pasted", async () => {
      const lines = stack
        .output()
        .split("\n")
        .filter((line) => line.startsWith("curl "));
      expect(lines).to.have.length(3);
      for (const line of lines) {
        const answer = JSON.parse(execFileSync("sh", ["-c", line], { encoding: "utf8" }));
        expect(answer, line).to.have.property("data");
      }
    });

    it("prints a token for any customer, alone on the last line", () => {
      const token = (...args: string[]) =>
        execFileSync(process.execPath, [entry("embedded/token.js"), ...args], {
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

    it("keeps its secrets to its owner", async () => {
      for (const name of ["stack.json", "secrets.json", "issuer-key.json", "org-settings.json"]) {
        expect((await stat(join(folder, name))).mode & 0o077, name).to.equal(0);
      }
    });

    it("refuses a second start", async () => {
      expect(await refusal({})).to.match(/^Another stack \(process \d+\) is running in the data folder /);
      expect(await statusOf(`${stack.file.gateway}/openapi.json`)).to.equal(200);
    });

    it("starts a killed process again at its old address, with its new id in stack.json", async () => {
      const { file, read, output } = stack;
      const killed = ["commandApi", "mongodb", "redis", "s3", "eventStore", "projectors", "worker", "gateway"] as const;
      for (const name of killed) process.kill(file.pids[name] ?? 0, "SIGKILL");
      await eventually("all said to be back", () => (output().match(/is back\./g) ?? []).length === killed.length);
      expect(output()).to.match(/The command API stopped \(killed by SIGKILL\); starting it again\./);
      const { pids, ...addresses } = await read();
      expect(file).to.deep.include(addresses);
      for (const name of killed) expect(pids[name], name).to.be.a("number").and.not.equal(file.pids[name]);
      expect(await running(pidsOf({ ...file, pids }))).to.have.members(Object.values(pids));
      for (const api of [file.commandApi, file.queryApi, file.projectors]) {
        await eventually(`${api} is ready`, async () => (await statusOf(`${api}/readyz`)) === 200);
      }
    });

    it("ends within 10 s, with every process, when the whole group gets SIGTERM", async () => {
      await endsInOrder(stack, "SIGTERM");
      expect(existsSync(join(folder, "stack.json"))).to.equal(false);
    });
  });

  describe("on the folder of an earlier one", () => {
    let stack: RunningStack;

    it("has the earlier addresses, secrets and data", async () => {
      const kept = () => Promise.all(["ports.json", "secrets.json", "issuer-key.json"].map((name) => readText(name)));
      const readText = (name: string) => readFile(join(folder, name), "utf8");
      const before = await kept();
      stack = await startStack({ folder, env: { SAMPLE_DATA: "1" } });
      expect(await kept()).to.deep.equal(before);
      expect(stack.output()).to.not.contain("Loading sample data");
      const [customer] = stack.file.customers;
      const profile = await read(stack, "profile", customer?.token ?? "");
      expect(profile).to.include({ about: "Hello from curl", name: customer?.name });
    });

    it("clears away what was left when the supervisor was killed, and ends in order on Ctrl-C", async () => {
      const left = pidsOf(stack.file);
      const ended = once(stack.process, "close");
      process.kill(stack.process.pid ?? 0, "SIGKILL");
      await ended;
      stack = await startStack({ folder });
      expect(await running(left)).to.deep.equal([]);
      await endsInOrder(stack, "SIGINT");
    });

    it("stops what it started when told to stop before it is ready", async () => {
      const supervisor = runSupervisor({ DATA_DIR: folder });
      const recorded = async (): Promise<{ pid: number }[]> =>
        JSON.parse(await readFile(join(folder, "processes.json"), "utf8").catch(() => "[]"));
      await eventually("processes are recorded", async () => (await recorded()).length > 0);
      const started = await recorded();
      supervisor.process.kill("SIGTERM");
      expect(await supervisor.ended).to.equal(0);
      expect(await running(started.map(({ pid }) => pid))).to.deep.equal([]);
      expect(existsSync(join(folder, "supervisor.json"))).to.equal(false);
    });
  });

  describe("refuses in one plain sentence", () => {
    it("a taken port", async () => {
      const other = createServer().listen(0, "127.0.0.1");
      await once(other, "listening");
      const { port } = other.address() as { port: number };
      expect(await refusal({ PORT: String(port) })).to.contain(`Port ${port} is taken`);
      other.close();
    });

    it("a folder that is a file, or that its disk does not take", async () => {
      const file = join(folder, "file");
      await writeFile(file, "");
      expect(await refusal({ DATA_DIR: join(file, "data") })).to.contain("a part of that path is a file");
      // procfs takes no new folders, whoever asks.
      if (process.platform === "linux") {
        expect(await refusal({ DATA_DIR: "/proc/client-data" })).to.contain("takes no new folders");
      }
    });

    it("a missing server program", async () => {
      const cache = join(folder, "cache");
      const supervisor = runSupervisor({ DATA_DIR: join(folder, "other"), PATH: folder, CLIENT_DATA_CACHE: cache });
      expect(await supervisor.ended).to.equal(1);
      expect(supervisor.output().trim().split("\n").at(-1)).to.match(/^No .* was found .*docker compose up/);
    });

    it("settings that cannot be meant", async () => {
      expect(await refusal({ PORT: "eighty" })).to.contain("PORT must be a port number");
      expect(await refusal({ SAMPLE_DATA: "yes" })).to.contain("SAMPLE_DATA must be 1 or 0");
      expect(await refusal({ S3_ENDPOINT: "http://s3" })).to.contain("S3_ACCESS_KEY");
    });
  });
});

/** Reads as a customer, through the gateway: the payload of the answer. */
async function read({ file }: RunningStack, path: string, token: string): Promise<Record<string, unknown>> {
  const headers = { orgid: file.org, authorization: `Bearer ${token}` };
  const response = await fetch(`${file.gateway}/client-data/${path}`, { headers });
  return ((await response.json()) as { data: Record<string, unknown> }).data;
}

type Dashboard = { orders: { total: number }; wallet: { balanceMinor: number }; wishlist: { count: number } };

async function dashboardOf(stack: RunningStack, token: string): Promise<Dashboard> {
  return (await read(stack, "dashboard", token)) as Dashboard;
}

/** Signals the supervisor's whole process group, as a terminal or a service manager does. */
async function endsInOrder({ file, process: supervisor, read }: RunningStack, signal: NodeJS.Signals): Promise<void> {
  const pids = [...pidsOf(file), ...pidsOf(await read())];
  const started = Date.now();
  const ended = once(supervisor, "close");
  process.kill(-(supervisor.pid ?? 0), signal);
  expect((await ended)[0], signal).to.equal(0);
  expect(Date.now() - started).to.be.below(10_000);
  expect(await running(pids)).to.deep.equal([]);
}
