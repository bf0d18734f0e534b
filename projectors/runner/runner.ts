import { generationRows, type ReadModelKey, readModelKey } from "#infrastructure/read-models.js";
import { Leadership, type LeadershipOptions } from "./leadership.js";
import { defaultLeaseTimes, Lease, type LeaseTimes, pause } from "./lease.js";
import { ForeignStore } from "./subscription.js";

export type RunnerOptions = LeadershipOptions & { readonly leaseTimes?: LeaseTimes };

/** How a runner is, for `/readyz`. Empty `problems` means ready; a standby is. */
export type RunnerHealth = {
  readonly role: "starting" | "standby" | "leader";
  readonly problems: readonly string[];
  /** When the loop last turned, milliseconds since the epoch. */
  readonly heartbeat: number;
};

const acquireEveryMs = 1_000;
const backOffMs = { first: 200, most: 5_000 };

/**
 * Feeds every projection. One process leads, others stand by. The leader runs the pack, all projections that are at the
 * live position, and beside it whoever is behind: new, stopped once, being rebuilt. Those join when they have caught
 * up. Whatever the leader knows it can forget: on any doubt it begins again from the cursors.
 */
export class Runner {
  readonly #options: RunnerOptions;
  readonly #lease: Lease;
  #role: RunnerHealth["role"] = "starting";
  #heartbeat = Date.now();
  #session: Leadership | undefined;
  /** While standing by: our versions that cannot be read yet. */
  #notBuilt: readonly ReadModelKey[] = [];

  constructor(options: RunnerOptions) {
    this.#options = options;
    this.#lease = new Lease(options.database, "runner", options.leaseTimes ?? defaultLeaseTimes);
  }

  /**
   * Runs until `signal` aborts.
   *
   * @throws ForeignStore when the event store is not the one the read models were built from
   */
  async run(signal: AbortSignal): Promise<void> {
    const { log, metrics } = this.#options;
    let wait = backOffMs.first;
    while (!signal.aborted) {
      try {
        if (await this.#lease.acquire()) {
          log.info({ leaseEpoch: this.#lease.epoch }, "leading");
          this.#role = "leader";
          metrics.leader.set(1);
          await this.#lead(signal);
          wait = backOffMs.first;
        } else {
          this.#role = "standby";
          await this.#standBy();
          this.#turned();
        }
        await pause(acquireEveryMs, signal);
      } catch (error) {
        if (error instanceof ForeignStore) {
          await this.#lease.release().catch(() => {});
          throw error;
        }
        log.warn({ err: error, retryInMs: wait }, "stopped leading, beginning again");
        await pause(wait * (0.5 + Math.random()), signal);
        wait = Math.min(wait * 2, backOffMs.most);
      } finally {
        metrics.leader.set(0);
        this.#role = "starting";
      }
    }
    await this.#lease.release().catch(() => {}); // MongoDB is away: it runs out by itself
  }

  health(): RunnerHealth {
    const problems = this.#role === "starting" ? ["waiting for MongoDB and the event store"] : [];
    if (this.#role === "standby") problems.push(...this.#notBuilt.map((key) => `${key} is not built yet`));
    if (this.#role === "leader") problems.push(...(this.#session?.problems() ?? ["beginning to lead"]));
    return { role: this.#role, problems, heartbeat: this.#heartbeat };
  }

  /** A release whose versions nobody builds asks for the lead; one whose versions are there waits its turn. */
  async #standBy(): Promise<void> {
    const { database, projections } = this.#options;
    const rows = await generationRows(database)
      .find({ live: { $ne: null } })
      .toArray();
    const built = new Set(rows.map(({ _id }) => _id));
    this.#notBuilt = projections.map(({ definition }) => readModelKey(definition)).filter((key) => !built.has(key));
    if (this.#notBuilt.length > 0) await this.#lease.want();
  }

  async #lead(signal: AbortSignal): Promise<void> {
    const stop = new AbortController();
    const abort = () => stop.abort();
    signal.addEventListener("abort", abort);
    const keeping = this.#lease.keep(stop.signal).finally(abort);
    try {
      const session = new Leadership(this.#options, this.#lease.epoch, stop.signal, () => this.#turned());
      this.#session = session;
      await session.run();
    } finally {
      this.#session = undefined;
      signal.removeEventListener("abort", abort);
      abort();
      await keeping;
    }
  }

  #turned(): void {
    this.#heartbeat = Date.now();
    this.#options.metrics.heartbeat.set(this.#heartbeat / 1000);
  }
}
