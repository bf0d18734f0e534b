/**
 * Group commit: writes that wait together share one transaction and one flush. A lone write does not wait for company:
 * while the disk is idle, a group is committed at the end of the turn of the event loop in which it began. While one
 * group is on its way to the disk the next is decided on and inserted, so that only its commit is left to do; groups
 * grow with the load and with the slowness of the disk, up to a limit.
 */

import type { Checkpoints } from "./checkpoints.js";
import type { EventLog, WriteCommand } from "./event-log.js";
import type { WriteOutcome } from "./events.js";

/** Limits of one group, so that nobody's answer waits for everybody's. */
const MAX_GROUP_WRITES = 512;
const MAX_GROUP_BYTES = 4 * 1024 * 1024;

type Settle = (outcome: WriteOutcome) => void;

/** A write that is not decided on yet. */
interface QueuedWrite {
  readonly command: WriteCommand;
  readonly settle: Settle;
}

/** A write in the open transaction. */
interface DecidedWrite {
  readonly outcome: WriteOutcome;
  readonly settle: Settle;
}

export class GroupCommit {
  private readonly log: EventLog;
  private readonly checkpoints: Checkpoints | undefined;
  private readonly onFailure: (error: unknown) => void;
  private queue: QueuedWrite[] = [];
  private group: DecidedWrite[] = [];
  private groupBytes = 0;
  private isGatherScheduled = false;
  private isStoring = false;
  private hasFailed = false;

  /**
   * @param checkpoints undefined for a database in memory
   * @param onFailure called once when a group could not be stored: the state on disk is unknown, stop the process
   */
  constructor(log: EventLog, checkpoints: Checkpoints | undefined, onFailure: (error: unknown) => void) {
    this.log = log;
    this.checkpoints = checkpoints;
    this.onFailure = onFailure;
  }

  /**
   * Queues a write. `settle` gets its outcome when that, and all it was decided on, is on disk: also a refusal must not
   * speak of events that a power cut could still take back. It is never called if the store fails.
   */
  submit(command: WriteCommand, settle: Settle): void {
    this.queue.push({ command, settle });
    if (this.isGatherScheduled) return;
    this.isGatherScheduled = true;
    setImmediate(() => this.gather());
  }

  /** Resolves when everything submitted so far is settled. */
  async drain(): Promise<void> {
    while ((this.queue.length > 0 || this.isStoring) && !this.hasFailed) {
      await new Promise<void>((resolve) => setImmediate(resolve));
    }
  }

  /** At the end of a turn of the event loop: takes what was submitted during the turn. */
  private gather(): void {
    this.isGatherScheduled = false;
    if (this.hasFailed) return;
    try {
      // Before a pause no transaction may begin: the writes stay queued until `store` has come to it.
      if (!this.checkpoints?.needsPause) this.decide();
    } catch (error) {
      this.fail(error);
      return;
    }
    if (!this.isStoring) void this.store();
  }

  /** Decides on queued writes, in order, until the open group is full. */
  private decide(): void {
    let taken = 0;
    while (taken < this.queue.length && this.group.length < MAX_GROUP_WRITES && this.groupBytes < MAX_GROUP_BYTES) {
      const { command, settle } = this.queue[taken++] as QueuedWrite;
      this.group.push({ outcome: this.log.execute(command), settle });
      this.groupBytes += sizeOf(command);
    }
    this.queue.splice(0, taken);
  }

  /** Brings one group after the other to disk, as long as there is anything to write. */
  private async store(): Promise<void> {
    this.isStoring = true;
    try {
      while (this.group.length > 0 || this.queue.length > 0) {
        if (this.group.length === 0 && this.checkpoints?.needsPause) await this.checkpoints.catchUp();
        this.decide();
        const { group } = this;
        this.group = [];
        this.groupBytes = 0;
        const records = this.log.commit();
        if (records.length > 0) await this.log.flush();
        this.log.publish(records);
        for (const { outcome, settle } of group) settle(outcome);
        this.checkpoints?.committed(records);
      }
      this.isStoring = false;
    } catch (error) {
      this.fail(error);
    }
  }

  private fail(error: unknown): void {
    if (this.hasFailed) return;
    this.hasFailed = true;
    this.onFailure(error);
  }
}

function sizeOf(command: WriteCommand): number {
  if (command.kind !== "append") return 0;
  return command.events.reduce((sum, event) => sum + event.data.length + event.metadata.length, 0);
}
