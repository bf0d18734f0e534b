/**
 * A failure to play: at the next `times` requests whose `METHOD path` starts with `match`.
 *
 * - `answer`: this answer, and nothing is done.
 * - `drop-before`, `drop-after`: the connection breaks, before or after doing it.
 * - `hang-before`, `hang-after`: no answer at all, without or after doing it.
 * - `delay`: done and answered after `delayMs`.
 */
export type PlannedFailure = {
  readonly match: string;
  readonly mode: "answer" | "drop-before" | "drop-after" | "hang-before" | "hang-after" | "delay";
  readonly times: number;
  readonly status?: number;
  readonly headers?: Readonly<Record<string, string>>;
  readonly body?: object | string;
  readonly delayMs?: number;
};

const modes: readonly string[] = ["answer", "drop-before", "drop-after", "hang-before", "hang-after", "delay"];

/** The failures one stand-in is asked to play, in the order they were asked for. */
export class Failures {
  #planned: PlannedFailure[] = [];

  /** @throws Error for what is no failure */
  plan(asked: Partial<PlannedFailure>): void {
    const { match = "", mode = "answer", times = 1 } = asked;
    if (!modes.includes(mode)) throw new Error(`mode must be one of ${modes.join(", ")}`);
    if (!Number.isInteger(times) || times < 1) throw new Error("times must be a positive integer");
    this.#planned.push({ ...asked, match, mode, times });
  }

  clear(): void {
    this.#planned = [];
  }

  /** Takes the failure that a request runs into; undefined when it goes well. */
  take(method: string, path: string): PlannedFailure | undefined {
    const index = this.#planned.findIndex(({ match }) => `${method} ${path}`.startsWith(match));
    const failure = this.#planned[index];
    if (!failure) return undefined;
    if (failure.times === 1) this.#planned.splice(index, 1);
    else this.#planned[index] = { ...failure, times: failure.times - 1 };
    return failure;
  }
}
