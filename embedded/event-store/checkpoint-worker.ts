/**
 * The thread that moves committed pages from the write-ahead log into the database file. That takes up to hundreds of
 * milliseconds, and on the main thread would stop everybody for as long.
 */

import { parentPort, workerData } from "node:worker_threads";
import Libsql from "libsql";

const connection = new Libsql(workerData as string);
const checkpoint = connection.prepare("PRAGMA wal_checkpoint(PASSIVE)").raw();

/** Answers each message with the number of frames (pages) that are in the write-ahead log. */
parentPort?.on("message", () => {
  const [, frames] = checkpoint.get([]) as [busy: number, frames: number, moved: number];
  parentPort?.postMessage(frames);
});
