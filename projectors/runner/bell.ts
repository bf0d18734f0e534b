import { pause } from "./lease.js";

/** Wakes a loop that waits for something to do; a ring while it is busy counts for its next wait. */
export class Bell {
  #rung = new AbortController();

  ring(): void {
    this.#rung.abort();
  }

  /** Waits until it rings, at most for some time, and not once `signal` aborts. */
  async wait(ms: number, signal: AbortSignal): Promise<void> {
    const stop = () => this.ring();
    signal.addEventListener("abort", stop);
    if (!signal.aborted) await pause(ms, this.#rung.signal);
    signal.removeEventListener("abort", stop);
    this.#rung = new AbortController();
  }
}
