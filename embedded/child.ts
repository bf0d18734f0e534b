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
  /** Resolves when it serves for the first time; rejects with StartFailed when it ends before, or takes too long. */
  readonly ready: Promise<void>;
  /** Sends SIGTERM, after `timeoutMs` SIGKILL, and resolves when the process is gone. It is not started again. */
  stop(timeoutMs?: number): Promise<void>;
  /** Signals the process; should it die of that, it is started again like after any other death. */
  kill(signal: NodeJS.Signals): void;
};

export type ChildEvents = {
  /** A line for people: the child died, or is back. */
  readonly say?: (line: string) => void;
  /** A process was started, at first or again: `pid` is new. */
  readonly started?: () => void;
};

const probeIntervalMs = 50;
const backOffMs = { first: 100, most: 10_000 };
/** A child that lived this long starts over with the shortest back-off. */
const healthyAfterMs = 30_000;
const logLimitBytes = 50 * 1024 * 1024;

/**
 * Starts a child process and, once it has served, starts it again whenever it dies.
 *
 * A child is the leader of a process group of its own, so a Ctrl-C in the terminal reaches the supervisor alone and
 * it can stop the children in order. Should the supervisor be killed, Linux sends the children SIGTERM (`setpriv`
 * asks for that and then becomes the program, keeping the process id); elsewhere the next start clears them away.
 */
export function startChild(spec: ChildSpec, events: ChildEvents = {}): Child {
  let current: Running | undefined;
  let stopping = false;
  let backOff = backOffMs.first;
  const wake = new AbortController();

  const launch = async (): Promise<void> => {
    const startedAt = Date.now();
    const running = spawnProcess(spec);
    current = running;
    queueMicrotask(() => events.started?.()); // the caller has the child in its hands by then
    try {
      await untilReady(spec, running, startedAt + (spec.startTimeoutMs ?? 60_000));
    } catch (error) {
      current = undefined;
      throw error;
    }
    void running.ended.then((how) => {
      current = undefined;
      if (stopping) return;
      if (Date.now() - startedAt > healthyAfterMs) backOff = backOffMs.first;
      events.say?.(`The ${spec.title} stopped (${how}); starting it again.`);
      void startAgain();
    });
  };

  const startAgain = async (): Promise<void> => {
    while (!stopping) {
      await delay(backOff, undefined, { signal: wake.signal }).catch(() => {});
      backOff = Math.min(backOff * 2, backOffMs.most);
      if (stopping) return;
      try {
        await launch();
        events.say?.(`The ${spec.title} is back.`);
        return;
      } catch (error) {
        if (!stopping) events.say?.(`${(error as Error).message} Trying again.`);
      }
    }
  };

  const ready = launch();
  ready.catch(() => {}); // whoever waits for it hears of it; nobody has to
  return {
    name: spec.name,
    ready,
    get pid() {
      return current?.process.pid;
    },
    async stop(timeoutMs = 5_000) {
      stopping = true;
      wake.abort();
      const running = current;
      if (!running) return;
      running.process.kill("SIGTERM");
      const timer = setTimeout(() => running.process.kill("SIGKILL"), timeoutMs);
      await running.ended;
      clearTimeout(timer);
    },
    kill(signal) {
      current?.process.kill(signal);
    },
  };
}

/** A started process and, once it is gone, how it ended. */
type Running = { readonly process: ChildProcess; readonly ended: Promise<string> };

async function untilReady(spec: ChildSpec, running: Running, deadline: number): Promise<void> {
  let how: string | undefined;
  void running.ended.then((ending) => {
    how = ending;
  });
  while (!(await spec.isReady().catch(() => false)) && how === undefined) {
    if (Date.now() > deadline) {
      running.process.kill("SIGKILL");
      await running.ended;
      how = "not ready in time";
    } else {
      await delay(probeIntervalMs);
    }
  }
  if (how !== undefined) {
    throw new StartFailed(`The ${spec.title} could not be started (${how}): ${lastWords(spec.logFile)}`);
  }
}

function spawnProcess(spec: ChildSpec): Running {
  if (existsSync(spec.logFile) && statSync(spec.logFile).size > logLimitBytes) {
    renameSync(spec.logFile, `${spec.logFile}.1`);
  }
  const log = openSync(spec.logFile, "a");
  try {
    const [command, args] = diesWithParent(spec.command, spec.args);
    const child = spawn(command, args, {
      stdio: ["ignore", log, log],
      env: spec.env ?? process.env,
      detached: true,
    });
    const ended = new Promise<string>((resolve) => {
      child.once("error", (error) => resolve(error.message));
      child.once("exit", (code, signal) => resolve(signal ? `killed by ${signal}` : `exit code ${code}`));
    });
    return { process: child, ended };
  } finally {
    closeSync(log);
  }
}

/** The program of util-linux where it is there and knows the option; null elsewhere. */
let setpriv: string | null | undefined;

/** A command line that runs the program so that Linux sends it SIGTERM when this process dies, whatever kills it. */
export function diesWithParent(command: string, args: readonly string[]): [string, string[]] {
  if (setpriv === undefined) {
    setpriv = ["/usr/bin/setpriv", "/bin/setpriv"].find((path) => existsSync(path)) ?? null;
    try {
      if (setpriv) execFileSync(setpriv, ["--pdeathsig", "TERM", "--", setpriv, "--version"], { stdio: "ignore" });
    } catch {
      setpriv = null;
    }
  }
  return setpriv ? [setpriv, ["--pdeathsig", "TERM", "--", command, ...args]] : [command, [...args]];
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
