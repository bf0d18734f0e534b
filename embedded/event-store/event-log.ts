/**
 * The log: decides on writes, one at a time and in order, and shows what is durable, and only that. A write is
 * decided and inserted by `execute` inside a transaction, and becomes visible to readers by `publish`, which the group
 * commit calls once the transaction is on disk.
 */

import { randomUUID } from "node:crypto";
import { LRUCache } from "lru-cache";
import type { StoredEvents } from "./append-check.js";
import { checkAppend } from "./append-check.js";
import type { Database } from "./database.js";
import type { ExpectedRevision, LogRecord, ProposedEvent, WriteOutcome } from "./events.js";
import {
  isMetadataStream,
  METADATA_EVENT_TYPE,
  metadataStreamOf,
  NO_REVISION,
  streamDescribedBy,
  TOMBSTONE_EVENT_TYPE,
  TOMBSTONE_REVISION,
} from "./events.js";
import { LogTail } from "./log-tail.js";
import { RECENT_EVENTS, RecentEvents } from "./recent-events.js";
import { dataOf, encodeRecord, idOf } from "./recorded-event.js";
import type { StreamMetadata } from "./stream-metadata.js";
import { NO_METADATA, parseStreamMetadata, SOFT_DELETE_METADATA, withTruncateBefore } from "./stream-metadata.js";

/** One write, as the clients' calls ask for it. */
export type WriteCommand =
  | {
      readonly kind: "append";
      readonly stream: string;
      readonly expected: ExpectedRevision;
      readonly events: readonly ProposedEvent[];
    }
  | { readonly kind: "delete" | "tombstone"; readonly stream: string; readonly expected: ExpectedRevision };

/** What a reader may see of a stream at this moment. */
export type StreamView =
  | { readonly kind: "missing" }
  | { readonly kind: "tombstoned" }
  | {
      readonly kind: "readable";
      readonly stream: number;
      /** First and last revision that can be read; nothing to read if first > last. */
      readonly first: number;
      readonly last: number;
      /** Events committed before this moment (milliseconds) have expired. */
      readonly oldest: number;
    };

/** The write side's knowledge of one stream, kept between writes. It runs ahead of what is durable. */
interface StreamHead {
  /** The stream's number; undefined until its first event. */
  id: number | undefined;
  /** The name in UTF-8, as the records carry it. */
  readonly name: Buffer;
  last: number;
  lastPosition: number;
  isTombstoned: boolean;
  isSoftDeleted: boolean;
}

const MAX_HEADS = 50_000;
const MAX_NAMES = 50_000;

/** Room between positions beyond an event's own bytes, so that no event is without width. */
const POSITION_STEP = 64;

export class EventLog {
  private readonly database: Database;
  private readonly heads = new LRUCache<string, StreamHead>({ max: MAX_HEADS });
  private readonly names = new LRUCache<number, string>({ max: MAX_NAMES });
  private readonly ids = new LRUCache<string, number>({ max: MAX_NAMES });
  private readonly recent = new RecentEvents();
  private readonly tail: LogTail;
  private readonly watchers = new Set<() => void>();
  /** Written in the open transaction. */
  private uncommitted: LogRecord[] = [];
  private inTransaction = false;
  private nextPosition: number;
  private durable: number;

  constructor(database: Database) {
    this.database = database;
    this.durable = database.lastPosition();
    this.nextPosition = this.durable + POSITION_STEP;
    this.tail = new LogTail(this.durable);
    for (const record of database.allBackwards(Number.MAX_SAFE_INTEGER, RECENT_EVENTS).reverse()) {
      this.recent.add(record);
    }
  }

  /** Position of the last event that readers may see; 0 in an empty log. */
  get lastPosition(): number {
    return this.durable;
  }

  /** Calls the function after every publication, until the returned function is called. */
  watch(watcher: () => void): () => void {
    this.watchers.add(watcher);
    return () => this.watchers.delete(watcher);
  }

  // --- writing ---------------------------------------------------------------------------------------------------

  /** Decides on one write and, if it holds, inserts its events into the open transaction, to be ended by `commit`. */
  execute(command: WriteCommand): WriteOutcome {
    switch (command.kind) {
      case "append":
        return this.append(command.stream, command.expected, command.events);
      case "delete":
        return this.softDelete(command.stream, command.expected);
      case "tombstone":
        return this.tombstone(command.stream, command.expected);
    }
  }

  /** Ends the transaction, if there is one. Gives what it wrote, to be flushed and then published. */
  commit(): readonly LogRecord[] {
    if (!this.inTransaction) return [];
    this.database.commit();
    this.inTransaction = false;
    const committed = this.uncommitted;
    this.uncommitted = [];
    return committed;
  }

  /** Brings what was committed to disk. */
  flush(): Promise<void> {
    return this.database.flush();
  }

  /** Shows flushed records to readers and subscribers. */
  publish(records: readonly LogRecord[]): void {
    const last = records.at(-1);
    if (last === undefined) return;
    for (const record of records) this.tail.add(record);
    this.durable = last.position;
    for (const watcher of this.watchers) watcher();
  }

  private append(stream: string, expected: ExpectedRevision, events: readonly ProposedEvent[]): WriteOutcome {
    const head = this.head(stream);
    const outcome = this.check(
      stream,
      head,
      expected,
      events.map((event) => event.id),
    );
    if (outcome !== undefined) return outcome;
    if (events.length === 0) return { kind: "success", revision: head.last, position: undefined };

    const revive = head.isSoftDeleted ? head.last + 1 : undefined;
    const created = Date.now();
    for (const event of events) this.write(stream, head, event, head.last + 1, created);
    const { last: revision, lastPosition: position } = head;
    if (revive !== undefined) this.revive(stream, head, revive, created);
    if (isMetadataStream(stream)) this.applyMetadata(streamDescribedBy(stream), events.at(-1), created);
    return { kind: "success", revision, position };
  }

  /** A soft delete is a metadata event that hides everything written so far. */
  private softDelete(stream: string, expected: ExpectedRevision): WriteOutcome {
    const head = this.head(stream);
    const outcome = this.check(stream, head, expected, [randomUUID()]);
    if (outcome !== undefined) return outcome;
    const metadataStream = metadataStreamOf(stream);
    const metadataHead = this.head(metadataStream);
    if (head.last === NO_REVISION && metadataHead.last === NO_REVISION) {
      return { kind: "wrong-expected-revision", current: NO_REVISION };
    }
    const event = metadataEvent(Buffer.from(SOFT_DELETE_METADATA));
    this.write(metadataStream, metadataHead, event, metadataHead.last + 1, Date.now());
    // Of a metadata stream only the newest event counts, and nothing hides that.
    head.isSoftDeleted = !isMetadataStream(stream);
    return { kind: "success", revision: head.last, position: metadataHead.lastPosition };
  }

  private tombstone(stream: string, expected: ExpectedRevision): WriteOutcome {
    const head = this.head(stream);
    const outcome = this.check(stream, head, expected, [randomUUID()]);
    if (outcome !== undefined) return outcome;
    const event: ProposedEvent = {
      id: randomUUID(),
      type: TOMBSTONE_EVENT_TYPE,
      isJson: false,
      data: Buffer.alloc(0),
      metadata: Buffer.alloc(0),
    };
    this.write(stream, head, event, TOMBSTONE_REVISION, Date.now());
    head.isTombstoned = true;
    return { kind: "success", revision: TOMBSTONE_REVISION, position: head.lastPosition };
  }

  /** Undefined: go ahead and write. Otherwise how the write ends without anything being written. */
  private check(
    stream: string,
    head: StreamHead,
    expected: ExpectedRevision,
    ids: readonly string[],
  ): WriteOutcome | undefined {
    const { id } = head;
    const stored: StoredEvents = {
      findRecent: (eventId) => (id === undefined ? undefined : this.recent.find(id, eventId)),
      idAt: (revision) => {
        const record = id === undefined ? undefined : this.database.eventAt(id, revision);
        return record && idOf(record.record);
      },
      hasMetadata: () => this.head(metadataStreamOf(stream)).last !== NO_REVISION,
    };
    // The metadata of a tombstoned stream is gone with it.
    const isTombstoned =
      head.isTombstoned || (isMetadataStream(stream) && this.head(streamDescribedBy(stream)).isTombstoned);
    const verdict = checkAppend(
      expected,
      ids,
      { last: head.last, isTombstoned, isSoftDeleted: head.isSoftDeleted },
      stored,
    );
    switch (verdict.kind) {
      case "write":
        return undefined;
      case "repeated": {
        const record = this.database.eventAt(id as number, verdict.revision);
        return { kind: "success", revision: verdict.revision, position: record?.position };
      }
      case "wrong-expected-revision":
        return { kind: "wrong-expected-revision", current: head.last };
      case "stream-deleted":
        return { kind: "stream-deleted" };
    }
  }

  /** Inserts one event behind all others. */
  private write(stream: string, head: StreamHead, event: ProposedEvent, revision: number, created: number): void {
    if (!this.inTransaction) {
      this.database.begin();
      this.inTransaction = true;
    }
    head.id ??= this.database.createStream(stream);
    const position = this.nextPosition;
    this.nextPosition += POSITION_STEP + event.data.length + event.metadata.length;
    const record: LogRecord = {
      position,
      stream: head.id,
      revision,
      type: event.type,
      created,
      record: encodeRecord(event, head.name, revision, position, created),
    };
    this.database.insert(record);
    this.uncommitted.push(record);
    this.recent.add(record);
    head.last = revision;
    head.lastPosition = position;
  }

  /** An append to a soft-deleted stream brings it back, without the events from before its deletion. */
  private revive(stream: string, head: StreamHead, truncateBefore: number, created: number): void {
    const metadataStream = metadataStreamOf(stream);
    const metadataHead = this.head(metadataStream);
    const newest = this.database.eventAt(metadataHead.id as number, metadataHead.last);
    const document = newest ? dataOf(newest.record) : Buffer.alloc(0);
    const event = metadataEvent(withTruncateBefore(document, truncateBefore));
    this.write(metadataStream, metadataHead, event, metadataHead.last + 1, created);
    head.isSoftDeleted = false;
  }

  /** New metadata takes effect; on a soft-deleted stream, setting some also brings the stream back. */
  private applyMetadata(stream: string, newest: ProposedEvent | undefined, created: number): void {
    if (newest === undefined) return;
    const head = this.head(stream);
    const { isDeleted } = parseStreamMetadata(newest.data);
    if (head.isSoftDeleted && !isDeleted) this.revive(stream, head, head.last + 1, created);
    else head.isSoftDeleted = isDeleted;
  }

  private head(stream: string): StreamHead {
    let head = this.heads.get(stream);
    if (head === undefined) {
      head = this.loadHead(stream);
      this.heads.set(stream, head);
    }
    return head;
  }

  private loadHead(stream: string): StreamHead {
    const id = this.database.streamId(stream);
    const last = id === undefined ? undefined : this.database.lastOfStream(id, Number.MAX_SAFE_INTEGER);
    return {
      id,
      name: Buffer.from(stream),
      last: last?.revision ?? NO_REVISION,
      lastPosition: last?.position ?? 0,
      isTombstoned: last?.revision === TOMBSTONE_REVISION,
      isSoftDeleted: this.metadataOf(stream, Number.MAX_SAFE_INTEGER).isDeleted,
    };
  }

  // --- reading ---------------------------------------------------------------------------------------------------

  /** What can be read of the stream now: its deletion, truncation and expiry are applied here. */
  view(stream: string): StreamView {
    const id = this.idOf(stream);
    const last = id === undefined ? undefined : this.database.lastOfStream(id, this.durable);
    if (last?.revision === TOMBSTONE_REVISION) return { kind: "tombstoned" };
    if (isMetadataStream(stream) && this.view(streamDescribedBy(stream)).kind === "tombstoned") {
      return { kind: "tombstoned" };
    }
    if (id === undefined || last === undefined) return { kind: "missing" };
    const metadata = isMetadataStream(stream) ? METADATA_OF_METADATA : this.metadataOf(stream, this.durable);
    if (metadata.isDeleted) return { kind: "missing" };
    return {
      kind: "readable",
      stream: id,
      first: Math.max(
        0,
        metadata.truncateBefore ?? 0,
        metadata.maxCount === undefined ? 0 : last.revision - metadata.maxCount + 1,
      ),
      last: last.revision,
      oldest: metadata.maxAge === undefined ? Number.NEGATIVE_INFINITY : Date.now() - metadata.maxAge * 1000,
    };
  }

  /** The next records of the log after the position, in order; empty at its end. */
  readAllForwards(after: number, limit: number): LogRecord[] {
    return this.tail.read(after, limit) ?? this.database.allForwards(after, this.durable, limit);
  }

  /** As `readAllForwards`, if the position is recent enough to be in memory; otherwise undefined. */
  readTail(after: number, limit: number): LogRecord[] | undefined {
    return this.tail.read(after, limit);
  }

  /** The records of the log before the position, the newest first. */
  readAllBackwards(before: number, limit: number): LogRecord[] {
    return this.database.allBackwards(Math.min(before, this.durable + 1), limit);
  }

  /** Records of the stream with `first <= revision <= last`; the bounds come from `view`. */
  readStream(stream: number, first: number, last: number, limit: number, backwards = false): LogRecord[] {
    return backwards
      ? this.database.streamBackwards(stream, first, last, limit)
      : this.database.streamForwards(stream, first, last, limit);
  }

  /** Revision of the stream's last event, readable or not; `NO_REVISION` if there is none. */
  lastRevision(stream: string): number {
    const id = this.idOf(stream);
    const last = id === undefined ? undefined : this.database.lastOfStream(id, this.durable);
    return last?.revision ?? NO_REVISION;
  }

  /** One event, if readers may see it: the target of a link. */
  readEvent(stream: string, revision: number): LogRecord | undefined {
    const view = this.view(stream);
    if (view.kind !== "readable" || revision < view.first || revision > view.last) return undefined;
    const record = this.database.eventAt(view.stream, revision);
    return record !== undefined && record.created >= view.oldest ? record : undefined;
  }

  /** The stream's number, if anything was ever written to it and can be seen. */
  idOf(stream: string): number | undefined {
    let id = this.ids.get(stream);
    if (id === undefined) {
      id = this.database.streamId(stream);
      if (id !== undefined) this.ids.set(stream, id);
    }
    return id;
  }

  nameOf(stream: number): string {
    let name = this.names.get(stream);
    if (name === undefined) {
      name = this.database.streamName(stream);
      this.names.set(stream, name);
    }
    return name;
  }

  private metadataOf(stream: string, upTo: number): StreamMetadata {
    if (isMetadataStream(stream)) return NO_METADATA;
    const id = this.idOf(metadataStreamOf(stream));
    if (id === undefined) return NO_METADATA;
    const last = this.database.lastOfStream(id, upTo);
    const newest = last && this.database.eventAt(id, last.revision);
    return newest === undefined ? NO_METADATA : parseStreamMetadata(dataOf(newest.record));
  }
}

/** Of a metadata stream only the newest event counts. */
const METADATA_OF_METADATA: StreamMetadata = { maxCount: 1, isDeleted: false };

function metadataEvent(data: Buffer): ProposedEvent {
  return { id: randomUUID(), type: METADATA_EVENT_TYPE, isJson: true, data, metadata: Buffer.alloc(0) };
}
