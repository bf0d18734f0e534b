/**
 * How the command speaks: one JSON object on stdout with `--json` (streams as NDJSON), tables otherwise; everything
 * else goes to stderr; the exit code says what kind of end it was.
 */

/** Exit codes: 0 ok · 1 found (difference, failed check, lag, parked) · 2 usage or configuration · 3 dependency unreachable · 4 refused for safety · 5 stopped early, the same command resumes. */
export const exitCodes = { ok: 0, found: 1, usage: 2, unreachable: 3, refused: 4, stopped: 5 } as const;

export type Outcome = {
  readonly status: "ok" | "found";
  readonly data: unknown;
  /** What was found wrong, a sentence each. */
  readonly problems?: readonly string[];
  /** The same for a person; without it the data is shown as JSON. */
  readonly text?: string;
};

/** The command cannot or may not go on; the message is a plain sentence. */
export class CommandFailed extends Error {
  constructor(
    readonly exit: Exclude<keyof typeof exitCodes, "ok" | "found">,
    message: string,
    cause?: unknown,
  ) {
    super(message, cause === undefined ? undefined : { cause });
    this.name = "CommandFailed";
  }
}

/** Shape of the one object on stdout. */
export type Envelope = {
  readonly v: 1;
  readonly command: string;
  readonly status: "ok" | "found" | "error";
  readonly data: unknown;
  readonly problems: readonly string[];
};

/**
 * Runs a verb, prints its outcome and gives the exit code.
 *
 * @param command the verb as typed, for the envelope
 * @param json one JSON object instead of text
 */
export async function report(command: string, json: boolean, verb: () => Promise<Outcome>): Promise<number> {
  let envelope: Envelope;
  let text: string | undefined;
  let code: number;
  try {
    const outcome = await verb();
    envelope = { v: 1, command, status: outcome.status, data: outcome.data, problems: outcome.problems ?? [] };
    text = outcome.text;
    code = exitCodes[outcome.status];
  } catch (error) {
    const failure = asFailure(error);
    envelope = { v: 1, command, status: "error", data: null, problems: [failure.message] };
    code = exitCodes[failure.exit];
  }
  if (json) process.stdout.write(`${JSON.stringify(envelope)}\n`);
  else {
    if (envelope.status !== "error") process.stdout.write(`${text ?? JSON.stringify(envelope.data, null, 2)}\n`);
    for (const problem of envelope.problems) process.stderr.write(`${problem}\n`);
  }
  return code;
}

/** One line of a streaming verb: NDJSON, waiting while the reader of the pipe is behind. */
export async function writeLine(value: unknown): Promise<void> {
  if (process.stdout.write(`${typeof value === "string" ? value : JSON.stringify(value)}\n`)) return;
  await new Promise<void>((resolve) => process.stdout.once("drain", resolve));
}

function asFailure(error: unknown): CommandFailed {
  if (error instanceof CommandFailed) return error;
  const named = error instanceof Error ? error : new Error(String(error));
  if (named.name === "ConfigurationError") return new CommandFailed("usage", named.message, error);
  if (/^(StoreUnavailable|Mongo.*|ECONNREFUSED|MaxRetriesPerRequestError)$/.test(named.name)) {
    return new CommandFailed("unreachable", `a service is not reachable: ${named.message}`, error);
  }
  return new CommandFailed("unreachable", `${named.name}: ${named.message}`, error);
}

/** Lines up rows under a heading; numbers to the right. */
export function table(heading: readonly string[], rows: readonly (readonly (string | number | null)[])[]): string {
  const cells = [heading, ...rows].map((row) => row.map((cell) => (cell === null ? "-" : String(cell))));
  const widths = heading.map((_, column) => Math.max(...cells.map((row) => (row[column] ?? "").length)));
  const numeric = heading.map((_, column) => rows.length > 0 && rows.every((row) => typeof row[column] === "number"));
  return cells
    .map((row) =>
      row
        .map((cell, column) =>
          numeric[column] ? cell.padStart(widths[column] ?? 0) : cell.padEnd(widths[column] ?? 0),
        )
        .join("  ")
        .trimEnd(),
    )
    .join("\n");
}
