/**
 * When the write-ahead log is moved into the database file. SQLite would do it inside some commit; here a thread does
 * it beside the commits. A log that is written to all the time is never moved completely, and so would never start
 * over: when it has grown long, writing pauses for one last checkpoint, which has little left to do.
 */

import { Worker } from "node:worker_threads";
import type { CheckpointReport } from "./checkpoint-worker.js";

/** Events between two checkpoints: a few megabytes of log. */
const EVENTS_PER_CHECKPOINT = 2000;

/**
 * Frames of 4 KiB after which writing is to pause, so that the log can start over: 16 MiB. Flushing a file that is
 * written over takes half the time of flushing one that grows.
 */
const MAX_FRAMES = 4096;

/** A store that has nothing to do checkpoints what is left, after this long. */
const IDLE_MS = 1000;

export class Checkpoints {
  private readonly databaseFile: string;
  private readonly onFailure: (error: unknown) => void;
  private worker: Worker | undefined;
  private running: Promise<void> | undefined;
  private idleTimer: NodeJS.Timeout | undefined;
  private eventsSince = 0;
  private frames = 0;

  /** @param onFailure called when a checkpoint failed, for instance for want of space */
  constructor(databaseFile: string, onFailure: (error: unknown) => void) {
    this.databaseFile = databaseFile;
    this.onFailure = onFailure;
  }

  /** Notes what was committed, and makes a checkpoint when one is due. */
  committed(events: number): void {
    this.eventsSince += events;
    if (this.eventsSince >= EVENTS_PER_CHECKPOINT) void this.start();
    else this.idleTimer ??= setTimeout(() => this.onIdle(), IDLE_MS).unref();
  }

  /** True when no transaction should begin before `catchUp` was called and is done. */
  get needsPause(): boolean {
    return this.frames > MAX_FRAMES;
  }

  /** Moves all that was committed. No transaction may be open, or the log could not start over. */
  async catchUp(): Promise<void> {
    // The checkpoint under way may have begun before the newest commits; one more sees them all.
    await this.running;
    await this.start();
    // Another process that reads, a backup, can keep the log from starting over: writing goes on nevertheless.
    this.frames = 0;
  }

  /** Waits for a checkpoint under way and ends the thread. */
  async stop(): Promise<void> {
    clearTimeout(this.idleTimer);
    await this.running;
    await this.worker?.terminate();
  }

  private onIdle(): void {
    this.idleTimer = undefined;
    if (this.eventsSince > 0) void this.start();
  }

  private start(): Promise<void> {
    this.running ??= this.moveFrames()
      .catch(this.onFailure)
      .finally(() => {
        this.running = undefined;
      });
    return this.running;
  }

  private async moveFrames(): Promise<void> {
    this.eventsSince = 0;
    this.worker ??= this.startWorker();
    const { worker } = this;
    const { frames, moved } = await new Promise<CheckpointReport>((resolve, reject) => {
      worker.once("message", resolve).once("error", reject);
      worker.postMessage("checkpoint");
    });
    worker.removeAllListeners("error");
    // Moved completely, the log starts over with the next commit.
    this.frames = moved === frames ? 0 : frames;
  }

  private startWorker(): Worker {
    const worker = new Worker(new URL("./checkpoint-worker.js", import.meta.url), { workerData: this.databaseFile });
    worker.unref();
    return worker;
  }
}
