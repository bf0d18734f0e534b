/**
 * The thread that moves committed pages from the write-ahead log into the database file. That takes up to hundreds of
 * milliseconds, and on the main thread would stop everybody for as long.
 */

import { parentPort, workerData } from "node:worker_threads";
import Libsql from "libsql";

/** What one checkpoint did. */
export interface CheckpointReport {
  /** Frames (pages) in the write-ahead log. */
  readonly frames: number;
  /** How many of them the database file has by now: with all of them the log can start over. */
  readonly moved: number;
}

const connection = new Libsql(workerData as string);
const checkpoint = connection.prepare("PRAGMA wal_checkpoint(PASSIVE)").raw();

parentPort?.on("message", () => {
  const [, frames, moved] = checkpoint.get([]) as [busy: number, frames: number, moved: number];
  parentPort?.postMessage({ frames, moved } satisfies CheckpointReport);
});
