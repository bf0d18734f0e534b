/**
 * Group commit: writes that wait together share one transaction and one flush. A lone write does not wait for company:
 * when the disk is idle a group is closed at the end of the current turn of the event loop. While a group is on its way
 * to the disk the next one gathers, so groups grow with the load and with the slowness of the disk, up to a limit.
 */

import type { Checkpoints } from "./checkpoints.js";
import type { EventLog, WriteCommand } from "./event-log.js";
import type { WriteOutcome } from "./events.js";

/** Limits of one group, so that nobody's answer waits for everybody's. */
const MAX_GROUP_WRITES = 512;
const MAX_GROUP_BYTES = 4 * 1024 * 1024;

interface QueuedWrite {
  readonly command: WriteCommand;
  readonly bytes: number;
  readonly settle: (outcome: WriteOutcome) => void;
}

export class GroupCommit {
  private readonly log: EventLog;
  private readonly checkpoints: Checkpoints | undefined;
  private readonly onFailure: (error: unknown) => void;
  private queue: QueuedWrite[] = [];
  private isRunning = false;
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
  submit(command: WriteCommand, settle: (outcome: WriteOutcome) => void): void {
    this.queue.push({ command, bytes: sizeOf(command), settle });
    if (this.isRunning) return;
    this.isRunning = true;
    setImmediate(() => this.run());
  }

  /** Resolves when everything submitted so far is settled. */
  async drain(): Promise<void> {
    while (this.isRunning && !this.hasFailed) await new Promise<void>((resolve) => setImmediate(resolve));
  }

  private async run(): Promise<void> {
    try {
      while (this.queue.length > 0) {
        const group = this.nextGroup();
        const outcomes = group.map((write) => this.log.execute(write.command));
        const events = this.log.commit();
        if (events > 0) await this.log.flush();
        this.log.publish();
        for (const [index, write] of group.entries()) write.settle(outcomes[index] as WriteOutcome);
        await this.checkpoints?.committed(events);
        // Let requests that arrived meanwhile join the next group.
        await new Promise<void>((resolve) => setImmediate(resolve));
      }
      this.isRunning = false;
    } catch (error) {
      this.hasFailed = true;
      this.onFailure(error);
    }
  }

  private nextGroup(): QueuedWrite[] {
    let bytes = 0;
    let size = 0;
    for (const write of this.queue) {
      bytes += write.bytes;
      if (size > 0 && bytes > MAX_GROUP_BYTES) break;
      if (++size === MAX_GROUP_WRITES) break;
    }
    return this.queue.splice(0, size);
  }
}

function sizeOf(command: WriteCommand): number {
  if (command.kind !== "append") return 0;
  return command.events.reduce((sum, event) => sum + event.data.length + event.metadata.length, 0);
}
