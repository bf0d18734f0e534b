import { execFile } from "node:child_process";
import { existsSync, readFileSync } from "node:fs";
import { link, mkdir, readFile, rename, rm, stat, statfs, writeFile } from "node:fs/promises";
import { dirname, join, resolve } from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";

/** The project's own folder: above `dist/embedded/`. */
export const projectFolder = dirname(dirname(dirname(fileURLToPath(import.meta.url))));

/** Where fetched server programs are kept: `CLIENT_DATA_CACHE`, or `.cache/servers` in the project. */
export const defaultCacheFolder = resolve(process.env.CLIENT_DATA_CACHE || join(projectFolder, ".cache", "servers"));

/** Where the local stack keeps everything: `DATA_DIR`, or `.local` in the project. */
export function dataFolderPath(environment: NodeJS.ProcessEnv = process.env): string {
  return resolve(environment.DATA_DIR || join(projectFolder, ".local"));
}

/** The data folder cannot be used; the message says why in one plain sentence. */
export class DataFolderUnusable extends Error {}

/** A process, told apart from a later one with the same number by the moment it started. */
type ProcessMark = { readonly pid: number; readonly started: string };

export type DataFolder = {
  readonly path: string;
  /** Reads a JSON file of the folder; undefined when there is none. */
  read<T>(name: string): Promise<T | undefined>;
  /** Writes a JSON file so that a reader sees the old or the new one, whole. Mode 0600: some hold secrets. */
  write(name: string, value: unknown): Promise<void>;
  remove(name: string): Promise<void>;
  /** Remembers which processes this stack started, for the next start should this one be killed. */
  recordProcesses(pids: readonly number[]): Promise<void>;
  /** Lets the next start in. */
  release(): Promise<void>;
};

const lockName = "supervisor.json";
const processesName = "processes.json";

/**
 * Makes the data folder this process's own, and stops what a killed stack left running in it.
 *
 * @param freeBytes space that must be left on the disk
 * @throws DataFolderUnusable when it cannot be written, has no space, or another stack runs in it
 */
export async function openDataFolder(path: string, freeBytes: number): Promise<DataFolder> {
  const folder = folderAt(path);
  try {
    await makeFolder(path);
    await takeLock(path);
  } catch (error) {
    throw unusable(path, error as NodeJS.ErrnoException);
  }
  try {
    const { bavail, bsize } = await statfs(path);
    if (bavail * bsize < freeBytes) {
      const [left, wanted] = [bavail * bsize, freeBytes].map((bytes) => Math.round(bytes / 1024 ** 2));
      throw new DataFolderUnusable(
        `The disk of the data folder ${path} is full: ${left} MB are left and ${wanted} MB are needed.`,
      );
    }
    await stopLeftOvers((await folder.read<ProcessMark[]>(processesName)) ?? []);
    await folder.write(processesName, []);
    return folder;
  } catch (error) {
    await folder.release();
    throw unusable(path, error as NodeJS.ErrnoException);
  }
}

function folderAt(path: string): DataFolder {
  let writes = 0;
  // Writes of one file are done in the order asked for, whichever the disk finishes first.
  let queue: Promise<unknown> = Promise.resolve();
  const inOrder = <T>(work: () => Promise<T>): Promise<T> => {
    const done = queue.then(work, work);
    queue = done.catch(() => {});
    return done;
  };
  const folder: DataFolder = {
    path,
    read: async (name) => {
      try {
        return JSON.parse(await readFile(join(path, name), "utf8"));
      } catch (error) {
        if ((error as NodeJS.ErrnoException).code === "ENOENT") return undefined;
        throw error;
      }
    },
    write: (name, value) =>
      inOrder(async () => {
        const temporary = join(path, `.${name}.${process.pid}.${writes++}`);
        await writeFile(temporary, `${JSON.stringify(value, null, 2)}\n`, { mode: 0o600 });
        await rename(temporary, join(path, name));
      }),
    remove: (name) => inOrder(() => rm(join(path, name), { force: true })),
    recordProcesses: async (pids) => {
      const marks = await Promise.all(pids.map((pid) => markOf(pid)));
      await folder.write(
        processesName,
        marks.filter((mark) => mark !== undefined),
      );
    },
    release: () => folder.remove(lockName),
  };
  return folder;
}

/** Makes a folder and those above it. (Node's own recursive mkdir never returns where a file system refuses by ENOENT.) */
async function makeFolder(path: string): Promise<void> {
  try {
    await mkdir(path, { mode: 0o700 });
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    if (code === "EEXIST" && (await stat(path)).isDirectory()) return;
    if (code !== "ENOENT" || existsSync(dirname(path))) throw error;
    await makeFolder(dirname(path));
    await makeFolder(path);
  }
}

function unusable(path: string, error: NodeJS.ErrnoException): Error {
  if (error instanceof DataFolderUnusable) return error;
  const reasons: Record<string, string> = {
    EROFS: "its disk is read-only",
    EACCES: "this user may not write there",
    EPERM: "this user may not write there",
    ENOSPC: "its disk is full",
    EDQUOT: "the disk quota is used up",
    ENOENT: "its disk takes no new folders",
    ENOTDIR: "a part of that path is a file",
    EEXIST: "that path is a file",
  };
  const reason = reasons[error.code ?? ""];
  if (!reason) return error;
  return new DataFolderUnusable(`The data folder ${path} cannot be used: ${reason} (set DATA_DIR to another).`);
}

/** One stack per data folder: the lock names the running one, and is taken over when that process is gone. */
async function takeLock(path: string): Promise<void> {
  const lock = join(path, lockName);
  const mine = join(path, `.${lockName}.${process.pid}`);
  await writeFile(mine, JSON.stringify(await markOf(process.pid)), { mode: 0o600 });
  try {
    for (;;) {
      try {
        await link(mine, lock); // atomic, and nobody ever sees the file without its content
        return;
      } catch (error) {
        if ((error as NodeJS.ErrnoException).code !== "EEXIST") throw error;
      }
      const holder = await readMark(lock);
      if (holder && (await isRunning(holder))) {
        throw new DataFolderUnusable(
          `Another stack (process ${holder.pid}) is running in the data folder ${path}: ` +
            "stop it, or set DATA_DIR to another folder.",
        );
      }
      await removeStale(lock, holder);
    }
  } finally {
    await rm(mine, { force: true });
  }
}

/** Only one of several starts gets to rename the dead lock away; should it catch a fresh one, that is put back. */
async function removeStale(lock: string, holder: ProcessMark | undefined): Promise<void> {
  const stale = `${lock}.stale.${process.pid}`;
  try {
    await rename(lock, stale);
  } catch {
    return;
  }
  const caught = await readMark(stale);
  if (caught && caught.pid !== holder?.pid) await link(stale, lock).catch(() => {});
  await rm(stale, { force: true });
}

async function readMark(file: string): Promise<ProcessMark | undefined> {
  try {
    return JSON.parse(await readFile(file, "utf8"));
  } catch {
    return undefined;
  }
}

async function markOf(pid: number): Promise<ProcessMark | undefined> {
  const started = await startOf(pid);
  return started === undefined ? undefined : { pid, started };
}

/** Whether there is such a process; one that has ended and only waits to be noticed by its parent is none. */
export async function isProcessRunning(pid: number): Promise<boolean> {
  return (await startOf(pid)) !== undefined;
}

async function isRunning(mark: ProcessMark): Promise<boolean> {
  return (await startOf(mark.pid)) === mark.started;
}

/** When a process started, in whatever form this system tells it; undefined when there is no such process. */
async function startOf(pid: number): Promise<string | undefined> {
  if (process.platform === "linux") {
    try {
      // proc(5): field 3 is the state, field 22 the start in ticks since boot; the name before may hold anything.
      const fields = readFileSync(`/proc/${pid}/stat`, "utf8").split(") ").at(-1)?.split(" ") ?? [];
      return fields[0] === "Z" ? undefined : fields[19];
    } catch {
      return undefined;
    }
  }
  try {
    const { stdout } = await promisify(execFile)("ps", ["-o", "lstart=", "-p", String(pid)]);
    return stdout.trim() || undefined;
  } catch {
    return undefined;
  }
}

/** Stops the processes of a stack that was killed before it could do so itself. */
async function stopLeftOvers(marks: readonly ProcessMark[]): Promise<void> {
  const signalAll = async (signal: NodeJS.Signals, withinMs: number) => {
    const deadline = Date.now() + withinMs;
    for (const mark of marks) {
      if (await isRunning(mark)) signalProcess(mark.pid, signal);
    }
    while (Date.now() < deadline) {
      const running = await Promise.all(marks.map(isRunning));
      if (!running.includes(true)) return;
      await delay(50);
    }
  };
  await signalAll("SIGTERM", 8_000);
  await signalAll("SIGKILL", 2_000);
}

function signalProcess(pid: number, signal: NodeJS.Signals): void {
  try {
    process.kill(pid, signal);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== "ESRCH") throw error; // it went by itself
  }
}
