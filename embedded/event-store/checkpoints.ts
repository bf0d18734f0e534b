/**
 * When the write-ahead log is moved into the database file. SQLite would do it inside some commit; here a thread does
 * it beside the commits. A log that is written to all the time is never moved completely, and so would never start
 * over: when it has grown long, writing pauses for one last checkpoint, which has little left to do.
 */

import { Worker } from "node:worker_threads";
import { LOG_BYTES } from "./database.js";
import type { LogRecord } from "./events.js";

/** What is written between two checkpoints. An event takes its bytes, and changes a few pages whatever its size. */
const BYTES_PER_CHECKPOINT = 4 * 1024 * 1024;
const BYTES_PER_EVENT = 4096;

/** Frames (pages of 4 KiB and a little) after which writing is to pause, so that the log can start over. */
const MAX_FRAMES = LOG_BYTES / 4120;

/** A store that has nothing to do checkpoints what is left, after this long. */
const IDLE_MS = 1000;

export class Checkpoints {
  private readonly databaseFile: string;
  private readonly onFailure: (error: unknown) => void;
  private worker: Worker | undefined;
  private running: Promise<void> | undefined;
  private idleTimer: NodeJS.Timeout | undefined;
  private bytesSince = 0;
  /** Length of the log at the last checkpoint. */
  private frames = 0;

  /** @param onFailure called when a checkpoint failed, for instance for want of space */
  constructor(databaseFile: string, onFailure: (error: unknown) => void) {
    this.databaseFile = databaseFile;
    this.onFailure = onFailure;
  }

  /** Notes what was committed, and makes a checkpoint when one is due. */
  committed(records: readonly LogRecord[]): void {
    for (const { record } of records) this.bytesSince += record.length + BYTES_PER_EVENT;
    if (this.bytesSince >= BYTES_PER_CHECKPOINT) void this.start();
    this.idleTimer ??= setTimeout(() => this.onIdle(), IDLE_MS).unref();
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
    // The next commit starts over at the beginning of the log, unless another process is reading, for instance a
    // backup. Writing goes on in any case.
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
    if (this.bytesSince === 0) return;
    // Whatever a checkpoint under way does not see is left for the next one.
    if (this.running === undefined) void this.start();
    else this.idleTimer = setTimeout(() => this.onIdle(), IDLE_MS).unref();
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
    this.bytesSince = 0;
    this.worker ??= this.startWorker();
    const { worker } = this;
    this.frames = await new Promise<number>((resolve, reject) => {
      worker.once("message", resolve).once("error", reject);
      worker.postMessage("checkpoint");
    });
    worker.removeAllListeners("error");
  }

  private startWorker(): Worker {
    const worker = new Worker(new URL("./checkpoint-worker.js", import.meta.url), { workerData: this.databaseFile });
    worker.unref();
    return worker;
  }
}
