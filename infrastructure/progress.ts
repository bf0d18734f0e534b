/** Shows how far a long task is: on a terminal a bar drawn ten times a second, else a line every ten seconds. */
export type Progress = {
  /** @param done units done so far, of the total given at the start */
  update(done: number): void;
  /** Draws the last state and moves to a new line. */
  stop(): void;
};

/**
 * Starts to show progress.
 *
 * @param options `start` is what was done before this run, so that rate and remaining time tell of this run alone
 */
export function startProgress(options: {
  readonly label: string;
  readonly unit: string;
  readonly total: number;
  readonly start?: number;
  readonly output?: NodeJS.WriteStream;
}): Progress {
  const { label, unit, start = 0, output = process.stderr } = options;
  // As far as it was known at the start: a log goes on while it is read.
  let { total } = options;
  const began = performance.now();
  const width = 30;
  let done = start;

  const draw = () => {
    const seconds = (performance.now() - began) / 1000;
    const rate = seconds > 0 ? (done - start) / seconds : 0;
    const share = total > 0 ? Math.min(done / total, 1) : 1;
    const left = rate > 0 ? Math.ceil((total - done) / rate) : undefined;
    const figures = [
      `${Math.floor(share * 100)}%`,
      `${done.toLocaleString("en")} of ${total.toLocaleString("en")} ${unit}`,
      `${Math.round(rate).toLocaleString("en")}/s`,
      left === undefined || left <= 0 ? "" : `${left} s left`,
    ];
    const text = `${label} ${figures.filter(Boolean).join("  ")}`;
    if (!output.isTTY) return output.write(`${text}\n`);
    const bar = "#".repeat(Math.round(share * width)).padEnd(width, ".");
    return output.write(`\r\u001b[K${`[${bar}] ${text}`.slice(0, Math.max(output.columns - 1, 20))}`);
  };

  const timer = setInterval(draw, output.isTTY ? 100 : 10_000);
  timer.unref();
  return {
    update(units) {
      done = units;
      total = Math.max(total, units);
    },
    stop() {
      clearInterval(timer);
      draw();
      if (output.isTTY) output.write("\n");
    },
  };
}
