/**
 * Floor of the event store: rows inserted through libsql, in WAL mode with synchronous = FULL, in transactions of a
 * given size, into a table with the store's columns and keys. A child process: answers `{group, milliseconds}` with
 * `{perSecond}`. Environment: FOLDER.
 */
import { join } from "node:path";
import Database from "libsql";
import { recordSize, streamCount } from "../event-store-shape.js";

const database = new Database(join(process.env.FOLDER ?? "", "floor.db"));
database.prepare("PRAGMA journal_mode = WAL").raw().get([]);
database.exec(`
  PRAGMA synchronous = FULL;
  CREATE TABLE events (
    position INTEGER PRIMARY KEY,
    stream   INTEGER NOT NULL,
    revision INTEGER NOT NULL,
    type     TEXT    NOT NULL,
    created  INTEGER NOT NULL,
    record   BLOB    NOT NULL,
    UNIQUE (stream, revision)
  ) STRICT`);
const insert = database.prepare("INSERT INTO events VALUES (?, ?, ?, ?, ?, ?)");
const begin = database.prepare("BEGIN IMMEDIATE");
const commit = database.prepare("COMMIT");
const record = Buffer.alloc(recordSize, "r");
const revisions = new Array<number>(streamCount).fill(0);
let position = 0;
let next = 0;

process.on("message", ({ group, milliseconds }: { group: number; milliseconds: number }) => {
  const started = performance.now();
  let rows = 0;
  while (performance.now() - started < milliseconds) {
    begin.run([]);
    for (let index = 0; index < group; index++) {
      const stream = next++ % streamCount;
      position += recordSize;
      insert.run([position, stream, (revisions[stream] as number)++, "bench.Happened.v1", Date.now(), record]);
    }
    commit.run([]);
    rows += group;
  }
  process.send?.({ perSecond: rows / ((performance.now() - started) / 1000) });
});
process.on("disconnect", () => process.exit(0));
