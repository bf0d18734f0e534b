import { hostname } from "node:os";
import { performance } from "node:perf_hooks";
import { setTimeout as delay } from "node:timers/promises";
import type { Collection, Db } from "mongodb";
import { v4 as uuid } from "uuid";

/** Row of `leases`: who leads. Times are the server's, so that the holders' clocks need not agree. */
type LeaseRow = {
  readonly _id: string;
  readonly holder: string;
  readonly host: string;
  readonly pid: number;
  /** Goes up by one with each holder; writes of a former holder are told by it. */
  readonly epoch: number;
  readonly expiresAt: Date;
  /** Somebody asks the holder to hand over; until then nobody else takes the lease. */
  readonly wanted?: { readonly by: string; readonly until: Date };
  /** Whether it was wanted when it was last renewed. */
  readonly handOver?: boolean;
};

export type LeaseTimes = {
  /** How long a lease lasts without being renewed. */
  readonly ttlMs: number;
  readonly renewMs: number;
};

export const defaultLeaseTimes: LeaseTimes = { ttlMs: 15_000, renewMs: 5_000 };

/**
 * The right to lead, one holder at a time. It saves work, it does not guard the data: documents carry their position
 * and cursors the lease's epoch, so that two holders at once would still end in the same state.
 */
export class Lease {
  readonly #rows: Collection<LeaseRow>;
  readonly #name: string;
  readonly #times: LeaseTimes;
  readonly #holder = uuid();
  #epoch = 0;
  /** By our own monotonic clock, counted from before the request left. */
  #validUntil = 0;

  constructor(database: Db, name: string, times: LeaseTimes = defaultLeaseTimes) {
    this.#rows = database.collection<LeaseRow>("leases");
    this.#name = name;
    this.#times = times;
  }

  /** Epoch of the lease held, 0 while none is. */
  get epoch(): number {
    return this.valid ? this.#epoch : 0;
  }

  get valid(): boolean {
    return performance.now() < this.#validUntil;
  }

  /**
   * Takes the lease when it is free: expired, released, our own, or held by a process of this machine that is no more.
   *
   * @returns whether we hold it now
   * @throws the driver's error when MongoDB is away
   */
  async acquire(): Promise<boolean> {
    const free = { $lte: ["$expiresAt", "$$NOW"] };
    const unwanted = { $or: [{ $eq: ["$wanted.by", this.#holder] }, { $lte: ["$wanted.until", "$$NOW"] }] };
    if (await this.#take({ $expr: { $and: [free, unwanted] } })) return true;
    const row = await this.#rows.findOne({ _id: this.#name });
    if (!row) {
      const free = { holder: "", host: "", pid: 0, epoch: 0, expiresAt: new Date(0) };
      await this.#rows.updateOne({ _id: this.#name }, { $setOnInsert: free }, { upsert: true });
      return this.acquire();
    }
    const dead = row.host === hostname() && row.pid !== process.pid && !isAlive(row.pid);
    if (row.holder !== this.#holder && !dead) return false;
    return this.#take({ holder: row.holder, epoch: row.epoch });
  }

  async #take(free: object): Promise<boolean> {
    const asked = performance.now();
    const row = await this.#rows.findOneAndUpdate(
      { _id: this.#name, ...free },
      [
        {
          $set: {
            holder: this.#holder,
            host: hostname(),
            pid: process.pid,
            epoch: { $add: ["$epoch", 1] },
            expiresAt: { $add: ["$$NOW", this.#times.ttlMs] },
          },
        },
        { $unset: ["wanted", "handOver"] },
      ],
      { returnDocument: "after" },
    );
    if (!row) return false;
    this.#epoch = row.epoch;
    this.#validUntil = asked + this.#margin();
    return true;
  }

  /**
   * Asks the holder to hand the lease over, and keeps others from taking it meanwhile; to be repeated while waiting.
   */
  async want(): Promise<void> {
    const wanted = { by: this.#holder, until: { $add: ["$$NOW", this.#times.ttlMs] } };
    await this.#rows.updateOne({ _id: this.#name }, [{ $set: { wanted } }]);
  }

  /**
   * Renews the lease until it is lost, somebody {@link want}s it, or `signal` aborts. MongoDB being away for a moment does not lose it; our own
   * clock does.
   */
  async keep(signal: AbortSignal): Promise<void> {
    while (!signal.aborted) {
      await pause(Math.min(this.#times.renewMs, Math.max(0, this.#validUntil - performance.now())), signal);
      if (signal.aborted) return;
      const asked = performance.now();
      try {
        const renewed = {
          expiresAt: { $add: ["$$NOW", this.#times.ttlMs] },
          handOver: { $gt: ["$wanted.until", "$$NOW"] },
        };
        const row = await this.#rows.findOneAndUpdate(
          { _id: this.#name, holder: this.#holder, epoch: this.#epoch },
          [{ $set: renewed }],
          { returnDocument: "after" },
        );
        this.#validUntil = row ? asked + this.#margin() : 0;
        if (row?.handOver) return await this.release();
      } catch {
        await pause(Math.min(500, this.#times.renewMs), signal);
      }
      if (!this.valid) return;
    }
  }

  /** Gives the lease up, so that the next holder need not wait for its end. */
  async release(): Promise<void> {
    this.#validUntil = 0;
    await this.#rows.updateOne({ _id: this.#name, holder: this.#holder, epoch: this.#epoch }, [
      { $set: { expiresAt: "$$NOW" } },
    ]);
  }

  /** We stop a little before the server would hand the lease on. */
  #margin(): number {
    return this.#times.ttlMs * 0.85;
  }
}

/** Whether a process of this machine lives; signal 0 only asks. */
function isAlive(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch (error) {
    return (error as NodeJS.ErrnoException).code === "EPERM";
  }
}

/** Resolves after some time, or as soon as the signal aborts. */
export function pause(ms: number, signal: AbortSignal): Promise<void> {
  return delay(ms, undefined, { signal }).catch(() => {});
}
