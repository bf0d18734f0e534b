import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtemp, readdir, rm, stat, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect } from "chai";
import { entry } from "../embedded/backing-services.js";
import { DataFolderUnusable, isProcessRunning, openDataFolder } from "../embedded/data-folder.js";

describe("data folder of the local stack", () => {
  let folder: string;
  const children: ChildProcess[] = [];

  /** A process that opens the folder, says so, and keeps it until it is killed; or says why it cannot. */
  const opener = async () => {
    const script =
      `import { openDataFolder } from ${JSON.stringify(entry("embedded/data-folder.js"))};` +
      `openDataFolder(${JSON.stringify(folder)}, 0).then(() => { console.log("mine"); setInterval(() => {}, 1e6); },` +
      "(error) => console.log(error.message));";
    const child = spawn(process.execPath, ["--input-type=module", "-e", script], {
      stdio: ["ignore", "pipe", "inherit"],
    });
    children.push(child);
    const [said] = await once(child.stdout, "data");
    return { child, said: String(said).trim() };
  };
  const sleeper = () => {
    const child = spawn(process.execPath, ["-e", "setInterval(() => {}, 1e6)"], { stdio: "ignore" });
    children.push(child);
    return child;
  };

  beforeEach(async () => {
    folder = await mkdtemp(join(tmpdir(), "client-data-test-"));
  });
  afterEach(async () => {
    for (const child of children.splice(0)) child.kill("SIGKILL");
    await rm(folder, { recursive: true, force: true });
  });

  it("belongs to one of several that start at once", async () => {
    const results = await Promise.all(Array.from({ length: 5 }, opener));
    expect(results.filter(({ said }) => said === "mine")).to.have.length(1);
    expect(results.filter(({ said }) => said.startsWith("Another stack"))).to.have.length(4);
  });

  it("is taken over, by one of several, from a process that was killed", async () => {
    const { child } = await opener();
    child.kill("SIGKILL");
    await once(child, "exit");
    const results = await Promise.all(Array.from({ length: 5 }, opener));
    expect(results.filter(({ said }) => said === "mine")).to.have.length(1);
  });

  it("is taken over from a process whose number another one has now", async () => {
    await writeFile(join(folder, "supervisor.json"), JSON.stringify({ pid: sleeper().pid, started: "1" }));
    const opened = await openDataFolder(folder, 0);
    await opened.release();
    expect(await readdir(folder)).to.deep.equal(["processes.json"]);
  });

  it("stops what an earlier stack left running, and nothing that only has the same number", async () => {
    const left = sleeper();
    const stranger = sleeper();
    const first = await openDataFolder(folder, 0);
    await first.recordProcesses([left.pid ?? 0]);
    const [mark] = (await first.read<object[]>("processes.json")) ?? [];
    await first.write("processes.json", [mark, { pid: stranger.pid, started: "1" }]);
    await first.release();
    const second = await openDataFolder(folder, 0);
    expect(await isProcessRunning(left.pid ?? 0)).to.equal(false);
    expect(await isProcessRunning(stranger.pid ?? 0)).to.equal(true);
    await second.release();
  });

  it("shows readers a file whole, with the last of several writes, to its owner alone", async () => {
    const opened = await openDataFolder(folder, 0);
    await Promise.all([1, 2, 3, 4, 5].map((number) => opened.write("value.json", { number })));
    expect(await opened.read("value.json")).to.deep.equal({ number: 5 });
    expect((await stat(join(folder, "value.json"))).mode & 0o077).to.equal(0);
    expect((await readdir(folder)).filter((name) => name.startsWith("."))).to.deep.equal([]);
    await opened.release();
  });

  it("refuses a disk without the space that is needed", async () => {
    const error = await openDataFolder(folder, Number.MAX_SAFE_INTEGER).catch((failure: Error) => failure);
    expect(error).to.be.instanceOf(DataFolderUnusable);
    expect((error as Error).message).to.match(/^The disk of the data folder .* is full: \d+ MB are left/);
    await (await openDataFolder(folder, 0)).release();
  });
});
