import { type ChildProcess, fork } from "node:child_process";
import { once } from "node:events";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { expect } from "chai";

const lifecycle = fileURLToPath(new URL("../infrastructure/lifecycle.js", import.meta.url));
const environment = fileURLToPath(new URL("../infrastructure/environment.js", import.meta.url));

type Ended = { readonly code: number | null; readonly stdout: string; readonly stderr: string; readonly ms: number };

describe("a process", () => {
  let folder: string;
  before(() => {
    folder = mkdtempSync(join(tmpdir(), "client-data-lifecycle-"));
  });
  after(() => rmSync(folder, { recursive: true, force: true }));

  /** Runs a process whose start function has this body; `act` does something to it once it says it is up. */
  async function run(body: string, act: (child: ChildProcess) => void): Promise<Ended> {
    const file = join(folder, `${Math.random().toString(36).slice(2)}.mjs`);
    writeFileSync(
      file,
      `import { runProcess } from ${JSON.stringify(lifecycle)};
       import { readEnvironment } from ${JSON.stringify(environment)};
       runProcess("probe", async ({ log, onStop, signal }) => { ${body}; process.send("up"); });`,
    );
    const child = fork(file, { silent: true });
    let stdout = "";
    let stderr = "";
    child.stdout?.on("data", (chunk) => (stdout += chunk));
    child.stderr?.on("data", (chunk) => (stderr += chunk));
    let started = performance.now();
    child.once("message", () => {
      started = performance.now();
      act(child);
    });
    const output = [child.stdout, child.stderr].map((stream) => stream && once(stream, "end"));
    const [[code]] = (await Promise.all([once(child, "exit"), ...output])) as [[number | null], ...unknown[]];
    return { code, stdout, stderr, ms: performance.now() - started };
  }

  const idle = "setInterval(() => {}, 1000)";

  it("stops in order on SIGTERM, the last part opened first, and ends with 0", async () => {
    const { code, stdout } = await run(
      `onStop("store", async () => log.info("store closed"));
       onStop("http", () => new Promise((resolve) => setTimeout(resolve, 50)).then(() => log.info("http closed")));
       signal.addEventListener("abort", () => log.info("told")); ${idle}`,
      (child) => child.kill("SIGTERM"),
    );
    expect(code).to.equal(0);
    const said = stdout
      .trim()
      .split("\n")
      .map((line) => JSON.parse(line).msg);
    expect(said).to.deep.equal(["stopping", "told", "http closed", "store closed"]);
  });

  it("stops when its parent goes away", async () => {
    const { code } = await run(idle, (child) => child.disconnect());
    expect(code).to.equal(0);
  });

  it("goes on closing when a part fails to, and ends though a part hangs", async () => {
    const failing = await run(
      `onStop("store", () => log.info("store closed")); onStop("bad", () => { throw new Error("no") }); ${idle}`,
      (child) => child.kill("SIGINT"),
    );
    expect(failing.code).to.equal(0);
    expect(failing.stdout).to.contain("store closed");
    const hanging = await run(`onStop("stuck", () => new Promise(() => {})); ${idle}`, (child) =>
      child.kill("SIGTERM"),
    );
    expect(hanging.code).to.equal(1);
    expect(hanging.ms).to.be.within(4_500, 12_000);
  });

  it("does not wait for whoever asks twice", async () => {
    const { code, ms } = await run(`onStop("stuck", () => new Promise(() => {})); ${idle}`, (child) => {
      child.kill("SIGTERM");
      child.stdout?.on("data", (chunk) => String(chunk).includes("stopping") && child.kill("SIGTERM"));
    });
    expect(code).to.equal(1);
    expect(ms).to.be.lessThan(4_000);
  });

  it("tells every fault of its configuration and ends with 2", async () => {
    const { code, stderr } = await run(`readEnvironment(["MONGODB_URL", "REDIS_URL"], {})`, () => {});
    expect(code).to.equal(2);
    expect(stderr).to.equal("probe: wrong configuration:\n  - MONGODB_URL is required\n  - REDIS_URL is required\n");
  });

  it("ends with 1 after an error nobody caught, and says which", async () => {
    const { code, stdout } = await run(
      `onStop("store", () => log.info("store closed")); setTimeout(() => { throw new Error("surprise") }, 20); ${idle}`,
      () => {},
    );
    expect(code).to.equal(1);
    expect(stdout).to.contain("surprise").and.to.contain("store closed");
    const rejected = await run(`Promise.reject(new Error("forgotten")); ${idle}`, () => {});
    expect([rejected.code, rejected.stdout.includes("forgotten")]).to.deep.equal([1, true]);
  });
});
