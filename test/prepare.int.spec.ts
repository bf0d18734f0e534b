import { spawn } from "node:child_process";
import { existsSync } from "node:fs";
import { copyFile, mkdir, mkdtemp, readFile, rm, symlink, utimes, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { expect } from "chai";
import { projectFolder } from "../embedded/data-folder.js";

/** Runs `node` in a folder and gives what came of it. */
function run(cwd: string, args: readonly string[]): Promise<{ code: number | null; stdout: string; stderr: string }> {
  return new Promise((resolve) => {
    const child = spawn(process.execPath, args, { cwd, stdio: ["ignore", "pipe", "pipe"] });
    let stdout = "";
    let stderr = "";
    child.stdout.on("data", (chunk) => {
      stdout += chunk;
    });
    child.stderr.on("data", (chunk) => {
      stderr += chunk;
    });
    child.on("close", (code) => resolve({ code, stdout, stderr }));
  });
}

describe("the scripts behind npm start and npm test", function () {
  this.timeout(120_000);
  /** A small project with these scripts and the packages that are installed here. */
  let folder: string;
  const write = async (path: string, text: string) => {
    await mkdir(dirname(join(folder, path)), { recursive: true });
    await writeFile(join(folder, path), text);
  };
  const bring = async (path: string) => {
    await mkdir(dirname(join(folder, path)), { recursive: true });
    await copyFile(join(projectFolder, path), join(folder, path));
  };

  beforeEach(async () => {
    folder = await mkdtemp(join(tmpdir(), "client-data-test-"));
    for (const file of ["package.json", "package-lock.json", ".mocharc.json", "embedded/prepare.mjs", "test/run.mjs"]) {
      await bring(file);
    }
    await bring("test/support/reporter.ts");
    const tsconfig = JSON.parse(await readFile(join(projectFolder, "tsconfig.json"), "utf8"));
    await write("tsconfig.json", JSON.stringify({ ...tsconfig, include: ["domain", "test"] }));
    await write("domain/word.ts", 'export const word: string = "one";\n');
    await write("domain/asset.json", "{}");
    await symlink(join(projectFolder, "node_modules"), join(folder, "node_modules"));
  });
  afterEach(() => rm(folder, { recursive: true, force: true }));

  describe("prepare", () => {
    const prepare = (...nodeOptions: string[]) => run(folder, [...nodeOptions, "embedded/prepare.mjs"]);
    const built = (path: string) => readFile(join(folder, "dist", path), "utf8");

    it("builds once, with what is no TypeScript beside it, and then has nothing to do or say", async () => {
      expect(await prepare()).to.deep.include({ code: 0, stdout: "" });
      expect(await built("domain/word.js")).to.contain('"one"');
      expect(await built("domain/asset.json")).to.equal("{}");
      expect(await prepare()).to.deep.equal({ code: 0, stdout: "", stderr: "" });
    });

    it("builds again when a source has changed, and forgets what has no source any more", async () => {
      await write("domain/old.ts", "export {};\n");
      await prepare();
      await rm(join(folder, "domain/old.ts"));
      await write("domain/word.ts", 'export const word: string = "two";\n');
      await utimes(join(folder, "domain/word.ts"), new Date(), new Date(Date.now() + 5_000));
      expect((await prepare()).code).to.equal(0);
      expect(await built("domain/word.js")).to.contain('"two"');
      expect(existsSync(join(folder, "dist/domain/old.js"))).to.equal(false);
      expect(existsSync(join(folder, "dist/domain/old.js.map"))).to.equal(false);
    });

    it("fails on a type error, every time until it is mended", async () => {
      await write("domain/word.ts", "export const word: string = 1;\n");
      for (const _ of [1, 2]) {
        const { code, stderr } = await prepare();
        expect(code).to.equal(1);
        expect(stderr).to.contain("domain/word.ts(1,14)").and.contain("The build failed");
      }
      await write("domain/word.ts", 'export const word: string = "mended";\n');
      expect((await prepare()).code).to.equal(0);
    });

    it("lets several at once take turns, and takes over from one that was killed", async () => {
      await write(".cache/prepare.lock", "999999999");
      const results = await Promise.all([prepare(), prepare(), prepare()]);
      expect(results.map(({ code }) => code)).to.deep.equal([0, 0, 0]);
      expect(results.filter(({ stderr }) => stderr.includes("Building"))).to.have.length(1);
      expect(existsSync(join(folder, ".cache/prepare.lock"))).to.equal(false);
    });

    it("refuses an old Node.js in one sentence", async () => {
      await write("old.cjs", 'Object.defineProperty(process, "versions", { value: { node: "20.18.3" } });\n');
      expect(await prepare("--require", "./old.cjs")).to.deep.equal({
        code: 1,
        stdout: "",
        stderr: "This program needs Node.js 20.19 or newer, and this is 20.18.3.\n",
      });
    });
  });

  describe("the test run", () => {
    const spec = (name: string, body: string) =>
      write(`test/${name}.spec.ts`, `describe("${name}", () => {${body}});\n`);
    const test = async (...args: string[]) => {
      expect((await run(folder, ["embedded/prepare.mjs"])).code).to.equal(0);
      const { code, stdout } = await run(folder, ["test/run.mjs", ...args]);
      return { code, last: stdout.trimEnd().split("\n").at(-1), stdout };
    };

    it("ends with one plain line", async () => {
      await spec("a.unit", 'it("works", () => {});');
      await spec("b.e2e", 'it("works too", () => {}); it.skip("waits", () => {});');
      expect(await test()).to.deep.include({ code: 0, last: "2 passed, 0 failed, 1 skipped" });
      expect(await test("unit")).to.deep.include({ code: 0, last: "1 passed, 0 failed" });
      expect(await test("b.e2e")).to.deep.include({ code: 0, last: "1 passed, 0 failed, 1 skipped" });
      expect(await test("--", "--grep", "too")).to.deep.include({ code: 0, last: "1 passed, 0 failed" });
    });

    it("shows a failure with the line of its source", async () => {
      await spec("a.unit", '\nit("works", () => {});\nit("breaks", () => { throw new Error("broken"); });\n');
      const { code, last, stdout } = await test();
      expect({ code, last }).to.deep.equal({ code: 1, last: "1 passed, 1 failed" });
      expect(stdout).to.contain("a.unit > breaks").and.contain("a.unit.spec.ts:3");
    });

    it("counts a crash, something left open, and no test at all as failures", async () => {
      await spec("a.e2e", 'it("works", () => {}); it("crashes", () => { process.kill(process.pid, "SIGKILL"); });');
      expect(await test()).to.deep.include({ code: 1, last: "0 passed, 1 failed" });
      await spec("a.e2e", 'it("works", () => { setInterval(() => {}, 1000); });');
      const open = await test();
      expect(open).to.deep.include({ code: 1, last: "1 passed, 1 failed" });
      expect(open.stdout).to.contain("something was left open");
      expect(await test("nothing-has-this-name")).to.deep.include({ code: 1, last: "0 passed, 0 failed" });
    });
  });
});
