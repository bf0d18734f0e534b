import { execFile, spawn } from "node:child_process";
import { existsSync } from "node:fs";
import { mkdir, readdir, rename, rm } from "node:fs/promises";
import { connect } from "node:net";
import { join } from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import { promisify } from "node:util";
import { defaultCacheFolder } from "../../embedded/data-folder.js";

const run = promisify(execFile);
/** What takes longer is given up; the tools' own caches make the next try shorter. */
const installMs = 200_000;

/** versitygw from the cache, built into it once where there is Go; undefined elsewhere. */
export function versitygw(): Promise<string | undefined> {
  const version = "v1.8.0";
  return cached(`versitygw-${version}`, async (folder) => {
    await run("go", ["install", `github.com/versity/versitygw/cmd/versitygw@${version}`], {
      env: { ...process.env, GOBIN: folder },
      timeout: installMs,
    });
    return "versitygw";
  });
}

/** Debian's clamd with its libraries, unpacked into the cache once where there is apt; nothing is installed. */
export async function clamd(): Promise<{ program: string; env: NodeJS.ProcessEnv } | undefined> {
  const folder = await cached("clamd-debian", async (work) => {
    const packages = [
      "clamav-daemon",
      "libclamav12",
      "libmspack0",
      "libjson-c5",
      "libxml2",
      "libicu72",
      "libpcre2-8-0",
    ];
    await run("apt-get", ["download", ...packages], { cwd: work, timeout: installMs });
    for (const file of await readdir(work)) {
      if (file.endsWith(".deb")) await run("dpkg", ["-x", join(work, file), join(work, "root")]);
    }
    return "root";
  });
  if (folder === undefined) return undefined;
  const libraries = (await readdir(join(folder, "usr/lib"))).map((name) => join(folder, "usr/lib", name));
  const env = { ...process.env, LD_LIBRARY_PATH: libraries.join(":") };
  return { program: join(folder, "usr/sbin/clamd"), env };
}

async function cached(name: string, make: (folder: string) => Promise<string>): Promise<string | undefined> {
  const target = join(defaultCacheFolder, name);
  if (existsSync(target)) return target;
  const work = join(defaultCacheFolder, `.${name}-${process.pid}`);
  try {
    await mkdir(work, { recursive: true });
    await rename(join(work, await make(work)), target);
    return target;
  } catch {
    return undefined;
  } finally {
    await rm(work, { recursive: true, force: true });
  }
}

/**
 * Runs a server until the test is over.
 *
 * @returns its `stop`, once it takes connections on the port
 * @throws Error with what it said when it ends before
 */
export async function serve(
  program: string,
  args: readonly string[],
  options: { readonly port: number; readonly env?: NodeJS.ProcessEnv; readonly cwd?: string },
): Promise<() => Promise<void>> {
  const { port, env = process.env, cwd = process.cwd() } = options;
  const child = spawn(program, args, { env, cwd, stdio: ["ignore", "pipe", "pipe"] });
  let said = "";
  child.stdout.on("data", (chunk) => (said += chunk));
  child.stderr.on("data", (chunk) => (said += chunk));
  let over = false;
  const ended = new Promise<void>((resolve) => {
    for (const event of ["close", "error"]) {
      child.once(event, () => {
        over = true;
        resolve();
      });
    }
  });
  while (!(await accepts(port))) {
    if (over) throw new Error(`${program} ended: ${said}`);
    await delay(50);
  }
  return async () => {
    child.kill("SIGKILL");
    await ended;
  };
}

function accepts(port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect(port, "127.0.0.1");
    socket.once("connect", () => resolve(true));
    socket.once("error", () => resolve(false));
    socket.once("close", () => resolve(false));
    socket.once("connect", () => socket.destroy());
  });
}
