import { generationRows, type ReadModelKey, readModelKey } from "#infrastructure/read-models.js";
import { Leadership, type LeadershipOptions } from "./leadership.js";
import { lead } from "./leading.js";
import { defaultLeaseTimes, Lease, type LeaseTimes } from "./lease.js";
import { ForeignStore } from "./subscription.js";

export type RunnerOptions = LeadershipOptions & { readonly leaseTimes?: LeaseTimes };

/** How a runner is, for `/readyz`. Empty `problems` means ready; a standby is. */
export type RunnerHealth = {
  readonly role: "starting" | "standby" | "leader";
  readonly problems: readonly string[];
  /** When the loop last turned, milliseconds since the epoch. */
  readonly heartbeat: number;
};

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
    await lead(signal, {
      lease: this.#lease,
      work: (held) => this.#lead(held),
      standBy: async () => {
        this.#role = "standby";
        await this.#standBy();
        this.#turned();
      },
      onFailure: (error, retryInMs) => {
        this.#role = "starting";
        if (error instanceof ForeignStore) throw error;
        this.#options.log.warn({ err: error, retryInMs }, "stopped leading, beginning again");
      },
    });
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
    const { log, metrics } = this.#options;
    log.info({ leaseEpoch: this.#lease.epoch }, "leading");
    this.#role = "leader";
    metrics.leader.set(1);
    try {
      const session = new Leadership(this.#options, this.#lease.epoch, signal, () => this.#turned());
      this.#session = session;
      await session.run();
    } finally {
      this.#session = undefined;
      this.#role = "starting";
      metrics.leader.set(0);
    }
  }

  #turned(): void {
    this.#heartbeat = Date.now();
    this.#options.metrics.heartbeat.set(this.#heartbeat / 1000);
  }
}
