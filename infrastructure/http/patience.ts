import type { Response } from "express";
import { unavailable } from "./problem-details.js";

/** How long a client waits for an answer when a route says nothing else. */
export const defaultPatienceMs = 8_000;

/**
 * How long the client of one request is kept waiting, whatever hangs behind it. Each call to a server has a limit of
 * its own, but a request makes several, behind others that wait for the same stream: only one bound over all of them
 * holds for their sum.
 */
export class Patience {
  #until: number;

  constructor(milliseconds: number) {
    this.#until = performance.now() + milliseconds;
  }

  /** When it ends, by `performance.now()`. */
  get until(): number {
    return this.#until;
  }

  /** Grants more time: a wait the client has asked for, or the time it took to send its body. */
  prolong(milliseconds: number): void {
    this.#until += milliseconds;
  }

  /**
   * Runs a task, and gives up waiting for it when patience ends; the task then goes on unwatched, within its own
   * limits. An answer that has begun by then is left to its end.
   *
   * @throws Problem 503 `STORE_UNAVAILABLE` when it was too long
   */
  async within<T>(task: Promise<T>, res: Response): Promise<T> {
    let timer: NodeJS.Timeout | undefined;
    const late = new Promise<never>((_, reject) => {
      const check = () => {
        const leftMs = this.#until - performance.now();
        if (leftMs > 0) timer = setTimeout(check, Math.ceil(leftMs));
        else if (!res.headersSent) {
          // Whatever the task still tries to send finds the answer given.
          res.on("error", () => {});
          reject(unavailable("STORE_UNAVAILABLE"));
        }
      };
      timer = setTimeout(check, Math.max(1, Math.ceil(this.#until - performance.now())));
    });
    try {
      return await Promise.race([task, late]);
    } finally {
      clearTimeout(timer);
    }
  }
}

/** The patience of a request's client. Throws when the request came by another way than a route. */
export function patienceOf(res: Response): Patience {
  const patience = res.locals.patience as Patience | undefined;
  if (!patience) throw new Error("the request has no patience");
  return patience;
}
