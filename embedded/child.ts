import { type ChildProcess, execFileSync, spawn } from "node:child_process";
import { closeSync, existsSync, openSync, readFileSync, renameSync, statSync } from "node:fs";
import { setTimeout as delay } from "node:timers/promises";

export type ChildSpec = {
  /** Key in stack.json and name of the log file. */
  readonly name: string;
  /** What people are told, for example "event store". */
  readonly title: string;
  readonly command: string;
  readonly args: readonly string[];
  readonly env?: NodeJS.ProcessEnv;
  readonly logFile: string;
  /** One probe: whether the process serves. Asked again every few milliseconds until it does. */
  readonly isReady: () => Promise<boolean>;
  /** Default 60 s. */
  readonly startTimeoutMs?: number;
};

/** A child process that could not be started; the message says why in one plain sentence. */
export class StartFailed extends Error {}

export type Child = {
  readonly name: string;
  /** Process id of the server itself; undefined while it is down. */
  readonly pid: number | undefined;
  /** Sends SIGTERM, after `timeoutMs` SIGKILL, and resolves when the process is gone. It is not started again. */
  stop(timeoutMs?: number): Promise<void>;
  /** Kills the process at once; it is started again like after any other death. For tests. */
  kill(signal: NodeJS.Signals): void;
};

export type ChildEvents = {
  /** A line for people: the child died, or is back. */
  readonly say?: (line: string) => void;
  /** The child was started again and serves. */
  readonly restarted?: () => void;
};

const probeIntervalMs = 20;
const backOffMs = { first: 100, most: 10_000 };
/** A child that lived this long starts over with the shortest back-off. */
const healthyAfterMs = 30_000;
const logLimitBytes = 50 * 1024 * 1024;

/**
 * Starts a child process, waits until it serves, and from then on starts it again whenever it dies.
 *
 * A child is the leader of a process group of its own, so a Ctrl-C in the terminal reaches the supervisor alone and
 * it can stop the children in order. Should the supervisor be killed, Linux sends the children SIGTERM (`setpriv`
 * asks for that and then becomes the program, keeping the process id); elsewhere the next start clears them away.
 *
 * @throws StartFailed when it ends, or does not serve in time, at this first start
 */
export async function startChild(spec: ChildSpec, events: ChildEvents = {}): Promise<Child> {
  let process_: ChildProcess | undefined;
  let stopping = false;
  let backOff = backOffMs.first;

  const launch = async (): Promise<void> => {
    const startedAt = Date.now();
    const current = spawnProcess(spec);
    process_ = current;
    let ended: string | undefined;
    const exited = new Promise<void>((resolve) => {
      current.on("error", (error) => {
        ended = error.message;
        resolve();
      });
      current.on("exit", (code, signal) => {
        ended = signal ? `killed by ${signal}` : `exit code ${code}`;
        resolve();
      });
    });
    const deadline = startedAt + (spec.startTimeoutMs ?? 60_000);
    while (!(await spec.isReady().catch(() => false))) {
      if (ended !== undefined) break;
      if (Date.now() > deadline) {
        current.kill("SIGKILL");
        await exited;
        ended = "not ready in time";
        break;
      }
      await delay(probeIntervalMs);
    }
    if (ended !== undefined) {
      process_ = undefined;
      throw new StartFailed(`The ${spec.title} could not be started (${ended}): ${lastWords(spec.logFile)}`);
    }
    void exited.then(() => {
      process_ = undefined;
      if (stopping) return;
      if (Date.now() - startedAt > healthyAfterMs) backOff = backOffMs.first;
      events.say?.(`The ${spec.title} stopped (${ended}); starting it again.`);
      void startAgain();
    });
  };

  const startAgain = async (): Promise<void> => {
    while (!stopping) {
      await delay(backOff);
      backOff = Math.min(backOff * 2, backOffMs.most);
      if (stopping) return;
      try {
        await launch();
        events.say?.(`The ${spec.title} is back.`);
        events.restarted?.();
        return;
      } catch (error) {
        if (!stopping) events.say?.(`${(error as Error).message} Trying again in ${backOff / 1000} s.`);
      }
    }
  };

  await launch();
  return {
    name: spec.name,
    get pid() {
      return process_?.pid;
    },
    async stop(timeoutMs = 5_000) {
      stopping = true;
      const current = process_;
      if (!current || current.exitCode !== null || current.signalCode !== null) return;
      const gone = new Promise((resolve) => current.once("exit", resolve));
      current.kill("SIGTERM");
      const timer = setTimeout(() => current.kill("SIGKILL"), timeoutMs);
      await gone;
      clearTimeout(timer);
    },
    kill(signal) {
      process_?.kill(signal);
    },
  };
}

function spawnProcess(spec: ChildSpec): ChildProcess {
  if (existsSync(spec.logFile) && statSync(spec.logFile).size > logLimitBytes) {
    renameSync(spec.logFile, `${spec.logFile}.1`);
  }
  const log = openSync(spec.logFile, "a");
  try {
    const [command, args] = diesWithParent(spec.command, spec.args);
    return spawn(command, args, {
      stdio: ["ignore", log, log],
      env: spec.env ?? process.env,
      detached: true,
    });
  } finally {
    closeSync(log);
  }
}

let setpriv: boolean | undefined;

/** Has Linux send the program SIGTERM when this process dies, whatever kills it. */
function diesWithParent(command: string, args: readonly string[]): [string, string[]] {
  if (setpriv === undefined) {
    try {
      execFileSync("setpriv", ["--pdeathsig", "TERM", "true"], { stdio: "ignore" });
      setpriv = true;
    } catch {
      setpriv = false;
    }
  }
  return setpriv ? ["setpriv", ["--pdeathsig", "TERM", "--", command, ...args]] : [command, [...args]];
}

/** The last line or two that a process wrote, for the sentence about its death. */
function lastWords(logFile: string): string {
  try {
    const lines = readFileSync(logFile, "utf8").trimEnd().split("\n");
    return `${lines.slice(-2).join(" ").slice(-600)} (log: ${logFile})`;
  } catch {
    return `see ${logFile}`;
  }
}
