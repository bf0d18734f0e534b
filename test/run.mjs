/**
 * Runs the tests: `node test/run.mjs [unit|int|e2e]... [part of a file name]... [-- options of mocha]`.
 *
 * Unit specs run in one process. Each integration and end-to-end spec file has a process of its own, because they
 * start real servers: a crash or a hang then has a name. Integration specs run two at a time and share one set of
 * backing services (see `support/stack.ts`); end-to-end specs run alone, one after the other.
 *
 * The last line is `N passed, N failed` (and `N skipped` where there are any). A process that crashes, hangs or
 * does not end by itself counts as a failure, and so does a run without a single test.
 */
import { fork } from "node:child_process";
import { existsSync, readdirSync, readFileSync } from "node:fs";
import { dirname, join, relative } from "node:path";
import { fileURLToPath, pathToFileURL } from "node:url";

const root = dirname(dirname(fileURLToPath(import.meta.url)));
const specFolder = join(root, "dist", "test");
const levels = ["unit", "int", "e2e"];

/** A spec file may take this long, and this much longer to end after its last test. */
const fileLimitMs = 600_000;
const endLimitMs = 20_000;

const { timeout, ui } = JSON.parse(readFileSync(join(root, ".mocharc.json"), "utf8"));
const running = new Set();
const total = { passed: 0, skipped: 0, failures: [] };

/** Runs spec files in one mocha process and adds its counts to the total. `live` shows output as it comes. */
function runFiles(files, mochaOptions, env, live) {
  return new Promise((resolve) => {
    const name = files.length === 1 ? relative(specFolder, files[0]).replace(/\.js$/, ".ts") : `${files.length} files`;
    const started = Date.now();
    const args = ["--no-config", "--ui", ui, "--timeout", String(timeout)];
    args.push("--reporter", join(specFolder, "support", "reporter.js"));
    if (process.stdout.isTTY) args.push("--color");
    const child = fork(join(root, "node_modules", "mocha", "bin", "mocha.js"), [...args, ...mochaOptions, ...files], {
      cwd: root,
      execArgv: ["--enable-source-maps"],
      env: { ...process.env, ...env },
      stdio: ["ignore", live ? "inherit" : "pipe", live ? "inherit" : "pipe", "ipc"],
      detached: true, // a group of its own, so that whatever the file started can be stopped with it
    });
    running.add(child);
    let output = "";
    child.stdout?.on("data", (chunk) => (output += chunk));
    child.stderr?.on("data", (chunk) => (output += chunk));

    let report;
    let stopped;
    const stop = (why) => {
      stopped = why;
      stopGroup(child, "SIGKILL");
    };
    let timer = setTimeout(stop, fileLimitMs, `was stopped after ${fileLimitMs / 1000} s`);
    child.on("message", (message) => {
      report = message;
      clearTimeout(timer);
      timer = setTimeout(stop, endLimitMs, "did not end by itself: something was left open");
    });
    child.on("close", (code, signal) => {
      clearTimeout(timer);
      running.delete(child);
      stopGroup(child, "SIGKILL");
      process.stdout.write(output);
      console.log(`  ${name}: ${((Date.now() - started) / 1000).toFixed(1)} s\n`);
      total.passed += report?.passed ?? 0;
      total.skipped += report?.skipped ?? 0;
      for (const failure of report?.failures ?? []) total.failures.push({ name, ...failure });
      const crashed = stopped ?? (report ? undefined : `crashed (${signal ?? `exit code ${code}`})`);
      if (crashed) total.failures.push({ name, title: `the test process ${crashed}`, stack: "" });
      resolve();
    });
  });
}

/** Signals a test process and everything it started. */
function stopGroup(child, signal) {
  try {
    process.kill(-child.pid, signal);
  } catch {
    // all of them are gone already
  }
}

/** Runs the files of a level, `width` at a time, in the order given. */
async function runEach(files, width, mochaOptions, env) {
  const waiting = [...files];
  const lane = async () => {
    for (let file = waiting.shift(); file; file = waiting.shift()) {
      await runFiles([file], mochaOptions, env, width === 1);
    }
  };
  await Promise.all(Array.from({ length: width }, lane));
}

async function runIntegration(files, mochaOptions) {
  const { startSharedServices } = await import(pathToFileURL(join(specFolder, "support", "stack.js")).href);
  const services = await startSharedServices();
  try {
    await runEach(files, 2, mochaOptions, services.env);
  } finally {
    await services.stop();
  }
}

async function main() {
  const args = process.argv.slice(2);
  const split = args.includes("--") ? args.indexOf("--") : args.length;
  const mochaOptions = args.slice(split + 1);
  const wanted = args.slice(0, split);
  const wantedLevels = levels.filter((level) => wanted.includes(level));
  const names = wanted.filter((word) => !levels.includes(word)).map((name) => name.replace(/\.(ts|js)$/, ""));

  const all = existsSync(specFolder) ? readdirSync(specFolder, { recursive: true }).map(String).sort() : [];
  const filesOf = (level) =>
    all
      .filter((file) => file.endsWith(`.${level}.spec.js`))
      .filter((file) => names.length === 0 || names.some((name) => `test/${file}`.includes(name)))
      .map((file) => join(specFolder, file));

  for (const level of wantedLevels.length > 0 ? wantedLevels : levels) {
    const files = filesOf(level);
    if (files.length === 0) continue;
    console.log(`\n${level}: ${files.length} spec files\n`);
    if (level === "unit") await runFiles(files, mochaOptions, {}, true);
    else if (level === "int") await runIntegration(files, mochaOptions);
    else await runEach(files, 1, mochaOptions, {});
  }
}

let interrupted = false;
for (const signal of ["SIGINT", "SIGTERM", "SIGHUP"]) {
  process.on(signal, () => {
    interrupted = true;
    for (const child of running) stopGroup(child, "SIGKILL");
    process.exit(130);
  });
}
// Whatever way this process ends, nothing it started stays behind.
process.on("exit", () => {
  for (const child of running) stopGroup(child, "SIGKILL");
});

try {
  await main();
} catch (error) {
  total.failures.push({ name: "test/run.mjs", title: "the run itself", stack: error.stack });
}
if (total.failures.length > 0) {
  console.log("Failed:\n");
  for (const { name, title, stack } of total.failures) console.log(`  ${name}: ${title}\n    ${stack}\n`);
}
const ran = total.passed + total.failures.length;
if (ran === 0) console.log("No test ran.");
const skipped = total.skipped > 0 ? `, ${total.skipped} skipped` : "";
console.log(`${total.passed} passed, ${total.failures.length} failed${skipped}`);
process.exitCode = total.failures.length > 0 || ran === 0 || interrupted ? 1 : 0;
