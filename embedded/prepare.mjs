/**
 * What `npm start`, `npm test` and the other scripts run first: makes a fresh clone ready, and otherwise costs
 * a few milliseconds. Plain JavaScript without dependencies, because it runs before anything is installed or built.
 *
 * 1. refuses a Node.js that is too old, in one sentence;
 * 2. `npm ci` when what is installed is not what package-lock.json says;
 * 3. `tsc` and a copy of the other files (assets) when any source changed since the last build.
 *
 * Two of these at once take turns through a lock file. All its output goes to stderr: stdout belongs to the
 * program that follows (`npm run token` prints a token there).
 */
import { spawnSync } from "node:child_process";
import { createHash } from "node:crypto";
import * as fs from "node:fs";
import { dirname, extname, join } from "node:path";
import { fileURLToPath } from "node:url";

const root = dirname(dirname(fileURLToPath(import.meta.url)));
const at = (...parts) => join(root, ...parts);
const lockFile = at(".cache", "prepare.lock");
const stampFile = at("dist", ".build");

/** A reason to stop that is told as it is, in one sentence. */
class Refusal extends Error {}

function refuse(sentence) {
  throw new Refusal(sentence);
}

function checkNode() {
  const [major, minor] = process.versions.node.split(".").map(Number);
  if (major < 20 || (major === 20 && minor < 19)) {
    refuse(`This program needs Node.js 20.19 or newer, and this is ${process.versions.node}.`);
  }
}

function readJson(path) {
  try {
    return JSON.parse(fs.readFileSync(path, "utf8"));
  } catch {
    return undefined;
  }
}

/**
 * Whether node_modules holds exactly what package-lock.json asks for. npm writes its own list of what it
 * installed as the last step, so an interrupted installation counts as none.
 */
function isInstalled() {
  const installed = readJson(at("node_modules", ".package-lock.json"))?.packages;
  const wanted = readJson(at("package-lock.json"))?.packages;
  if (!wanted) refuse("package-lock.json is missing or not readable: this is not a complete copy of the project.");
  if (!installed) return false;
  return Object.entries(wanted).every(([path, entry]) => {
    if (path === "") return true;
    const found = installed[path];
    return found ? found.version === entry.version : entry.optional === true || entry.devOptional === true;
  });
}

function install() {
  process.stderr.write("Installing packages (npm ci) ...\n");
  // No package here needs an install script, so none may run. npm sets npm_execpath for its scripts.
  const options = ["ci", "--ignore-scripts", "--include=dev", "--no-audit", "--no-fund"];
  const npm = process.env.npm_execpath;
  const [program, args] = npm?.endsWith(".js") ? [process.execPath, [npm, ...options]] : ["npm", options];
  const result = spawnSync(program, args, { cwd: root, stdio: ["ignore", 2, 2] });
  if (result.status !== 0) refuse("The packages could not be installed: npm ci failed, its message is above.");
}

const { include = [], exclude = [] } = readJson(at("tsconfig.json")) ?? {};

/** Every file below a folder that the compiler does not leave out, as paths relative to the root, with slashes. */
function* filesBelow(folder) {
  for (const entry of fs.readdirSync(at(folder), { withFileTypes: true })) {
    const path = `${folder}/${entry.name}`;
    if (entry.isFile()) yield path;
    else if (entry.isDirectory() && entry.name !== "node_modules" && !exclude.includes(path)) yield* filesBelow(path);
  }
}

/** The files of the folders that tsconfig.json compiles. */
function sourceFiles() {
  const folders = include.filter((folder) => fs.existsSync(at(folder)));
  return folders.flatMap((folder) => [...filesBelow(folder)]).sort();
}

/** A digest of names, sizes and times of everything the build reads: equal digests mean nothing changed. */
function fingerprint(files) {
  const digest = createHash("sha256");
  for (const file of ["tsconfig.json", "package.json", "package-lock.json", ...files]) {
    const { mtimeMs, size } = fs.statSync(at(file));
    digest.update(`${file}\0${size}\0${mtimeMs}\0`);
  }
  return digest.digest("hex");
}

function lastBuild() {
  try {
    return fs.readFileSync(stampFile, "utf8");
  } catch {
    return undefined;
  }
}

/** Deletes compiled files whose source is gone: an old test must not run on. */
function removeOrphans(files) {
  if (!fs.existsSync(at("dist"))) return;
  const sources = new Set(files.map((file) => file.replace(/\.ts$/, "")));
  for (const file of filesBelow("dist")) {
    const source = file.slice("dist/".length);
    if (!sources.has(source.replace(/\.js(\.map)?$/, "")) && !sources.has(source)) fs.rmSync(at(file), { force: true });
  }
}

function build(files, print) {
  process.stderr.write("Building (tsc) ...\n");
  removeOrphans(files);
  const tsc = at("node_modules", "typescript", "bin", "tsc");
  const result = spawnSync(process.execPath, [tsc, "-p", "."], { cwd: root, stdio: ["ignore", 2, 2] });
  if (result.status !== 0) refuse("The build failed: the messages of tsc are above.");
  for (const file of files) {
    if ([".ts", ".mjs", ".md"].includes(extname(file))) continue;
    fs.mkdirSync(dirname(at("dist", file)), { recursive: true });
    fs.copyFileSync(at(file), at("dist", file));
  }
  fs.writeFileSync(`${stampFile}.${process.pid}`, print);
  fs.renameSync(`${stampFile}.${process.pid}`, stampFile);
}

function isRunning(pid) {
  try {
    process.kill(pid, 0);
    return true;
  } catch (error) {
    return error.code === "EPERM";
  }
}

/** Waits until this process alone may install and build. A lock left by a process that died is taken over. */
function takeLock() {
  fs.mkdirSync(dirname(lockFile), { recursive: true });
  const mine = `${lockFile}.${process.pid}`;
  fs.writeFileSync(mine, String(process.pid));
  let said = false;
  try {
    for (;;) {
      try {
        fs.linkSync(mine, lockFile); // atomic, and the file is never seen without its content
        return;
      } catch (error) {
        if (error.code !== "EEXIST") throw error;
      }
      const holder = Number(readJson(lockFile));
      if (holder && !isRunning(holder)) {
        // Renaming first lets only one of several waiters remove the old lock.
        const stale = `${lockFile}.stale.${process.pid}`;
        try {
          fs.renameSync(lockFile, stale);
          if (Number(readJson(stale)) !== holder) fs.linkSync(stale, lockFile);
          fs.rmSync(stale, { force: true });
        } catch {
          // another waiter was quicker
        }
        continue;
      }
      if (!said) process.stderr.write(`Waiting for process ${holder}, which is preparing this folder ...\n`);
      said = true;
      Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 100);
    }
  } finally {
    fs.rmSync(mine, { force: true });
  }
}

function main() {
  checkNode();
  const current = () => {
    const files = sourceFiles();
    return { files, print: fingerprint(files) };
  };
  if (isInstalled() && lastBuild() === current().print) return;
  takeLock();
  try {
    if (!isInstalled()) install();
    const { files, print } = current();
    if (lastBuild() !== print) build(files, print);
  } finally {
    fs.rmSync(lockFile, { force: true });
  }
}

try {
  main();
} catch (error) {
  const sentence = error instanceof Refusal ? error.message : `This folder could not be prepared: ${error.message}`;
  process.stderr.write(`${sentence}\n`);
  process.exitCode = 1;
}
