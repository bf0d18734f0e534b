import { type Lease, pause } from "./lease.js";

export type LeadingOptions = {
  readonly lease: Lease;
  /** Done while we lead; its signal aborts when we are to stop or the lease is lost, and it may end by itself. */
  readonly work: (signal: AbortSignal) => Promise<void>;
  /** Done each time somebody else was found to lead. */
  readonly standBy?: () => Promise<void>;
  /** Told of whatever ended our turn; what it throws itself ends all. */
  readonly onFailure: (error: unknown, retryInMs: number) => void;
};

const acquireEveryMs = 1_000;
const backOffMs = { first: 100, most: 5_000 };

/**
 * Leads whenever the lease is free, until `signal` aborts; then gives it up, so that the next one need not wait.
 *
 * @throws what `onFailure` throws
 */
export async function lead(signal: AbortSignal, options: LeadingOptions): Promise<void> {
  const { lease, work, standBy, onFailure } = options;
  let wait = backOffMs.first;
  try {
    while (!signal.aborted) {
      try {
        if (await lease.acquire()) await whileHeld(lease, signal, work);
        else await standBy?.();
        wait = backOffMs.first;
        await pause(acquireEveryMs, signal);
      } catch (error) {
        onFailure(error, wait);
        // Not in step with others that met the same trouble.
        await pause(wait * (0.5 + Math.random()), signal);
        wait = Math.min(wait * 2, backOffMs.most);
      }
    }
  } finally {
    await lease.release().catch(() => {}); // MongoDB is away: it runs out by itself
  }
}

async function whileHeld(lease: Lease, signal: AbortSignal, work: LeadingOptions["work"]): Promise<void> {
  const stop = new AbortController();
  const abort = () => stop.abort();
  signal.addEventListener("abort", abort, { once: true });
  const keeping = lease.keep(stop.signal).finally(abort);
  try {
    await work(stop.signal);
  } finally {
    abort();
    signal.removeEventListener("abort", abort);
    await keeping;
  }
}
