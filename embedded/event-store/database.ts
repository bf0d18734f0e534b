/**
 * The SQLite database under the store: one row per event in the order of the log, one row per stream name. Every
 * statement of the store is in this file.
 *
 * Commits are made with `synchronous = NORMAL`, which writes the write-ahead log without flushing it; `flush` then
 * flushes it from the thread pool, so that the event loop is free while the disk works. Nothing may be acknowledged or
 * shown before that. Together it is what `synchronous = FULL` guarantees.
 */

import { closeSync, fdatasync, fdatasyncSync, fstatSync, mkdirSync, openSync, statSync, writeSync } from "node:fs";
import { join } from "node:path";
import { promisify } from "node:util";
import Libsql from "libsql";
import type { LogRecord } from "./events.js";
import { StartupError } from "./startup-error.js";

const fdatasyncAsync = promisify(fdatasync);

/** Marks the file as this store's ("EVST"), so that another application's database is never written to. */
const APPLICATION_ID = 0x45565354;
const SCHEMA_VERSION = 1;

const SCHEMA = `
  CREATE TABLE streams (
    id   INTEGER PRIMARY KEY,
    name TEXT NOT NULL UNIQUE
  ) STRICT;

  CREATE TABLE events (
    position INTEGER PRIMARY KEY,      -- place in the log: increasing, with gaps
    stream   INTEGER NOT NULL,         -- streams.id
    revision INTEGER NOT NULL,         -- 0, 1, 2 ... in the stream; 2^53-1: tombstone
    type     TEXT    NOT NULL,
    created  INTEGER NOT NULL,         -- milliseconds since 1970
    record   BLOB    NOT NULL,         -- the event as the protocol's RecordedEvent message
    UNIQUE (stream, revision)
  ) STRICT;
`;

/** A database up to this size is checked whole at start; larger ones would keep people waiting for seconds. */
const MAX_QUICK_CHECK_BYTES = 256 * 1024 * 1024;

/**
 * Room for the write-ahead log, written with zeros before anything else: flushing a file that only gets new contents
 * takes half the time of flushing one that grows, and does not wait for what other programs do to the file system.
 */
export const LOG_BYTES = 16 * 1024 * 1024;

/** Files in the database folder. */
const DATABASE_FILE = "events.db";
const LOCK_FILE = "lock.db";

type EventRow = [position: number, stream: number, revision: number, type: string, created: number, record: Buffer];

type Connection = InstanceType<typeof Libsql>;
type Statement = ReturnType<Connection["prepare"]>;

/** Where the last event of a stream stands. */
export interface LastEvent {
  readonly revision: number;
  readonly position: number;
}

export class Database {
  private readonly connection: Connection;
  /** Held for the life of the process; the operating system lets go of it even after a kill. */
  private readonly lock: Connection | undefined;
  /** Path of the database file; undefined in memory. */
  readonly file: string | undefined;
  private writeAheadLog: number | undefined;

  private readonly beginStatement: Statement;
  private readonly commitStatement: Statement;
  private readonly insertEvent: Statement;
  private readonly insertStream: Statement;
  private readonly selectStreamId: Statement;
  private readonly selectStreamName: Statement;
  private readonly selectLastOfStream: Statement;
  private readonly selectLastPosition: Statement;
  private readonly selectOne: Statement;
  private readonly selectAllForwards: Statement;
  private readonly selectAllBackwards: Statement;
  private readonly selectStreamForwards: Statement;
  private readonly selectStreamBackwards: Statement;

  private constructor(connection: Connection, lock: Connection | undefined, file: string | undefined) {
    this.connection = connection;
    this.lock = lock;
    this.file = file;
    const columns = "position, stream, revision, type, created, record";
    this.beginStatement = connection.prepare("BEGIN IMMEDIATE");
    this.commitStatement = connection.prepare("COMMIT");
    this.insertEvent = connection.prepare(`INSERT INTO events (${columns}) VALUES (?, ?, ?, ?, ?, ?)`);
    this.insertStream = connection.prepare("INSERT INTO streams (name) VALUES (?)");
    this.selectStreamId = connection.prepare("SELECT id FROM streams WHERE name = ?").raw();
    this.selectStreamName = connection.prepare("SELECT name FROM streams WHERE id = ?").raw();
    this.selectLastOfStream = connection
      .prepare(
        "SELECT revision, position FROM events WHERE stream = ? AND position <= ? ORDER BY revision DESC LIMIT 1",
      )
      .raw();
    this.selectLastPosition = connection.prepare("SELECT max(position) FROM events").raw();
    this.selectOne = connection.prepare(`SELECT ${columns} FROM events WHERE stream = ? AND revision = ?`).raw();
    this.selectAllForwards = connection
      .prepare(`SELECT ${columns} FROM events WHERE position > ? AND position <= ? ORDER BY position LIMIT ?`)
      .raw();
    this.selectAllBackwards = connection
      .prepare(`SELECT ${columns} FROM events WHERE position < ? ORDER BY position DESC LIMIT ?`)
      .raw();
    const ofStream = "WHERE stream = ? AND revision BETWEEN ? AND ?";
    this.selectStreamForwards = connection
      .prepare(`SELECT ${columns} FROM events ${ofStream} ORDER BY revision LIMIT ?`)
      .raw();
    this.selectStreamBackwards = connection
      .prepare(`SELECT ${columns} FROM events ${ofStream} ORDER BY revision DESC LIMIT ?`)
      .raw();
  }

  /** A database that is gone with the process. */
  static inMemory(): Database {
    const connection = new Libsql(":memory:");
    connection.exec(SCHEMA);
    return new Database(connection, undefined, undefined);
  }

  /**
   * Opens or creates the database in the folder, for this process alone.
   *
   * @throws StartupError in use by another process, not writable, not this store's, damaged
   */
  static open(folder: string): Database {
    try {
      mkdirSync(folder, { recursive: true });
    } catch (error) {
      throw new StartupError(`The database folder ${folder} cannot be created: ${(error as Error).message}.`);
    }
    const lock = lockFolder(folder);
    const file = join(folder, DATABASE_FILE);
    let connection: Connection | undefined;
    try {
      connection = new Libsql(file);
      prepareFile(connection, file);
      reserveLog(`${file}-wal`);
      return new Database(connection, lock, file);
    } catch (error) {
      connection?.close();
      lock.close();
      throw error instanceof StartupError ? error : new StartupError(explain(error, file));
    }
  }

  begin(): void {
    this.beginStatement.run([]);
  }

  /** Commits what was inserted since `begin`. It is on disk only after `flush`. */
  commit(): void {
    this.commitStatement.run([]);
  }

  /** Waits until all that was committed before this call is on disk. A failure leaves the state unknown: stop. */
  async flush(): Promise<void> {
    if (this.file === undefined) return;
    // SQLite keeps this file, under this name, as long as a connection is open: ours lives as long as the process.
    this.writeAheadLog ??= openSync(`${this.file}-wal`, "r+");
    await fdatasyncAsync(this.writeAheadLog);
  }

  insert(record: LogRecord): void {
    this.insertEvent.run([record.position, record.stream, record.revision, record.type, record.created, record.record]);
  }

  createStream(name: string): number {
    return Number(this.insertStream.run([name]).lastInsertRowid);
  }

  streamId(name: string): number | undefined {
    const row = this.selectStreamId.get([name]) as [number] | undefined;
    return row?.[0];
  }

  streamName(id: number): string {
    const [name] = this.selectStreamName.get([id]) as [string];
    return name;
  }

  /** The stream's last event at or before the position. */
  lastOfStream(stream: number, upTo: number): LastEvent | undefined {
    const row = this.selectLastOfStream.get([stream, upTo]) as [number, number] | undefined;
    return row && { revision: row[0], position: row[1] };
  }

  /** Position of the last event, 0 if there is none. */
  lastPosition(): number {
    const [position] = this.selectLastPosition.get([]) as [number | null];
    return position ?? 0;
  }

  eventAt(stream: number, revision: number): LogRecord | undefined {
    const row = this.selectOne.get([stream, revision]) as EventRow | undefined;
    return row && toLogRecord(row);
  }

  /** Events after `after`, up to and including `upTo`, in order. */
  allForwards(after: number, upTo: number, limit: number): LogRecord[] {
    return (this.selectAllForwards.all([after, upTo, limit]) as EventRow[]).map(toLogRecord);
  }

  /** Events before `before`, the newest first. */
  allBackwards(before: number, limit: number): LogRecord[] {
    return (this.selectAllBackwards.all([before, limit]) as EventRow[]).map(toLogRecord);
  }

  /** Events of a stream with `first <= revision <= last`, in order. */
  streamForwards(stream: number, first: number, last: number, limit: number): LogRecord[] {
    return (this.selectStreamForwards.all([stream, first, last, limit]) as EventRow[]).map(toLogRecord);
  }

  /** Events of a stream with `first <= revision <= last`, the newest first. */
  streamBackwards(stream: number, first: number, last: number, limit: number): LogRecord[] {
    return (this.selectStreamBackwards.all([stream, first, last, limit]) as EventRow[]).map(toLogRecord);
  }

  /** Leaves a single file behind: what stands in the write-ahead log is moved into the database. */
  close(): void {
    try {
      if (this.file !== undefined) pragma(this.connection, "wal_checkpoint(TRUNCATE)");
    } catch {
      // A full disk, for instance: everything is safe where it is, and is moved after the next start.
    }
    this.connection.close();
    this.lock?.close();
  }
}

function toLogRecord([position, stream, revision, type, created, record]: EventRow): LogRecord {
  return { position, stream, revision, type, created, record };
}

/**
 * Makes this process the folder's only one. The lock is SQLite's own, on a file beside the database: locking the
 * database itself would shut out `VACUUM INTO` from a backup process as well.
 */
function lockFolder(folder: string): Connection {
  const file = join(folder, LOCK_FILE);
  let lock: Connection | undefined;
  try {
    lock = new Libsql(file);
    lock.exec("PRAGMA journal_mode = MEMORY; BEGIN EXCLUSIVE");
    return lock;
  } catch (error) {
    lock?.close();
    if (/locked|busy/i.test((error as Error).message)) {
      throw new StartupError(`The database folder ${folder} is in use by another event store process.`);
    }
    throw new StartupError(explain(error, file));
  }
}

/** Checks that the file is a sound database of this store, or makes an empty file into one. */
function prepareFile(connection: Connection, file: string): void {
  const applicationId = pragma(connection, "application_id");
  const isNew = pragma(connection, "schema_version") === 0 && applicationId === 0;
  if (!isNew && applicationId !== APPLICATION_ID) {
    throw new StartupError(`${file} is a database of another application: it was left alone.`);
  }
  if (!isNew && Number(pragma(connection, "user_version")) > SCHEMA_VERSION) {
    throw new StartupError(`${file} was written by a newer version of this event store.`);
  }
  pragma(connection, "journal_mode = WAL");
  // Checkpoints are made beside the commits, not in them: see checkpoints.ts.
  connection.exec("PRAGMA synchronous = NORMAL; PRAGMA wal_autocheckpoint = 0");
  if (isNew) {
    connection.exec(`
      BEGIN IMMEDIATE;
      PRAGMA application_id = ${APPLICATION_ID};
      PRAGMA user_version = ${SCHEMA_VERSION};
      ${SCHEMA}
      COMMIT`);
    return;
  }
  if (statSync(file).size > MAX_QUICK_CHECK_BYTES) return;
  const finding = pragma(connection, "quick_check(1)");
  if (finding !== "ok") throw new StartupError(`${file} is damaged (${finding}): restore it from a backup.`);
}

/** Extends the write-ahead log to its usual size. What stands behind the valid part of it has no meaning to SQLite. */
function reserveLog(path: string): void {
  const descriptor = openSync(path, "r+");
  try {
    const zeros = Buffer.alloc(1024 * 1024);
    for (let size = fstatSync(descriptor).size; size < LOG_BYTES; size += zeros.length) {
      writeSync(descriptor, zeros, 0, zeros.length, size);
    }
    fdatasyncSync(descriptor);
  } catch {
    // No room for it: then the log grows as far as it can.
  } finally {
    closeSync(descriptor);
  }
}

/** Runs a pragma; gives the first column of its first row. */
function pragma(connection: Connection, source: string): unknown {
  const row = connection.prepare(`PRAGMA ${source}`).raw().get([]) as unknown[] | undefined;
  return row?.[0];
}

/** One sentence about a failed database call. */
export function explain(error: unknown, file: string): string {
  const { code, message } = error as { code?: string; message: string };
  const text = `${code ?? ""} ${message}`;
  if (/NOTADB|not a database/i.test(text)) return `${file} is not a database of this event store: it was left alone.`;
  if (/CORRUPT|malformed/i.test(text)) return `${file} is damaged: restore it from a backup.`;
  if (/FULL|ENOSPC/i.test(text)) return `The disk with ${file} is full.`;
  if (/IOERR|disk I\/O/i.test(text)) return `The disk with ${file} failed.`;
  if (/READONLY|readonly|EROFS|EACCES/i.test(text)) return `${file} cannot be written: it is read-only.`;
  if (/CANTOPEN|unable to open/i.test(text)) return `${file} cannot be opened or created.`;
  return `${file} cannot be used: ${message}.`;
}
