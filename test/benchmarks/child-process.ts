import { type ChildProcess, fork } from "node:child_process";
import { fileURLToPath } from "node:url";

/** A process of the benchmark, spoken to over its IPC channel: one question at a time, one answer each. */
export type BenchProcess = {
  readonly pid: number;
  /**
   * Sends a message and waits for the answer.
   *
   * @throws Error with the process's own words when it answers `{failed}`, or when it ends first
   */
  ask<Answer>(message: object): Promise<Answer>;
  stop(): Promise<void>;
};

/**
 * Starts a compiled file of this folder (or, given an absolute path, any script) and waits for its first message.
 *
 * @param file relative to `dist/test/benchmarks`, or absolute
 * @param env added to this process's environment
 * @param hello true when the process speaks first (servers say `{port}`)
 */
export async function startProcess<Hello = unknown>(
  file: string,
  env: Record<string, string> = {},
  hello = true,
): Promise<BenchProcess & { readonly hello: Hello }> {
  const path = file.startsWith("/") ? file : fileURLToPath(new URL(file, import.meta.url));
  const child = fork(path, [], { env: { ...process.env, ...env }, stdio: ["ignore", "ignore", "inherit", "ipc"] });
  const said = hello ? ((await answerOf(child, path)) as Hello) : (undefined as Hello);
  return {
    pid: child.pid as number,
    hello: said,
    ask<Answer>(message: object) {
      const answer = answerOf(child, path);
      child.send(message);
      return answer as Promise<Answer>;
    },
    async stop() {
      if (child.exitCode !== null || child.signalCode !== null) return;
      const ended = new Promise((resolve) => child.once("exit", resolve));
      child.kill("SIGTERM");
      const timer = setTimeout(() => child.kill("SIGKILL"), 5_000);
      await ended;
      clearTimeout(timer);
    },
  };
}

function answerOf(child: ChildProcess, path: string): Promise<unknown> {
  return new Promise((resolve, reject) => {
    const onMessage = (message: { failed?: string }) => {
      child.off("exit", onExit);
      if (message.failed) reject(new Error(message.failed));
      else resolve(message);
    };
    const onExit = (code: number | null, signal: string | null) => {
      child.off("message", onMessage);
      reject(new Error(`${path} ended (${signal ?? code})`));
    };
    child.once("message", onMessage);
    child.once("exit", onExit);
  });
}
