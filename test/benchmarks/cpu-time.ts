import { readFileSync } from "node:fs";

/** Clock ticks a second in /proc, the same on every Linux that Node runs on. */
const ticksPerSecond = 100;

/** CPU seconds that processes have used since their start, by name; empty where there is no /proc. */
function cpuSeconds(pids: Readonly<Record<string, number | undefined>>): Record<string, number> {
  const seconds: Record<string, number> = {};
  for (const [name, pid] of Object.entries(pids)) {
    try {
      const fields = readFileSync(`/proc/${pid}/stat`, "utf8").split(") ").at(-1)?.split(" ") ?? [];
      seconds[name] = (Number(fields[11]) + Number(fields[12])) / ticksPerSecond;
    } catch {
      // not running, or no Linux
    }
  }
  return seconds;
}

/**
 * Adds up which process spends how much on a request, over all rounds: says where the time goes, also when the
 * machine is busy with other things.
 */
export class CpuTime {
  readonly #pids: Readonly<Record<string, number | undefined>>;
  readonly #seconds: Record<string, number> = {};
  #requests = 0;

  constructor(pids: Readonly<Record<string, number | undefined>>) {
    this.#pids = pids;
  }

  /** Runs a round and counts it. */
  async during<Report extends { readonly requests: number }>(round: () => Promise<Report>): Promise<Report> {
    const before = cpuSeconds(this.#pids);
    const report = await round();
    for (const [name, after] of Object.entries(cpuSeconds(this.#pids))) {
      this.#seconds[name] = (this.#seconds[name] ?? 0) + after - (before[name] ?? after);
    }
    this.#requests += report.requests;
    return report;
  }

  /** Microseconds of CPU for one request, by process. */
  perRequest(): Record<string, number> {
    const spent = Object.entries(this.#seconds).filter(([, seconds]) => seconds > 0);
    return Object.fromEntries(spent.map(([name, seconds]) => [name, Math.round((seconds * 1e6) / this.#requests)]));
  }
}
