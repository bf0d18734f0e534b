/**
 * Subscriptions: reads that do not end. A subscription is a cursor and a wake-up: it takes the next records after its
 * cursor, and sleeps when there are none until something is published. It has no queue of its own, so there is nothing
 * to overflow and nothing to lose, and a client that reads slowly costs no memory.
 */

import { randomUUID } from "node:crypto";
import { setImmediate as nextTurn } from "node:timers/promises";
import type { EventLog } from "./event-log.js";
import type { LogRecord } from "./events.js";
import { NO_REVISION, TOMBSTONE_REVISION } from "./events.js";
import { compileFilter } from "./filters.js";
import { PageSize } from "./page-size.js";
import { toReadEvent } from "./read-calls.js";
import type { ReadRequest } from "./requests.js";
import { BadRequest } from "./requests.js";
import { caughtUpResponse, checkpointResponse, confirmationResponse } from "./responses.js";
import { streamDeleted } from "./status.js";
import type { Call } from "./grpc.js";

/** What a subscription takes its records from. */
interface Source {
  /** The next records in order. Empty: everything published so far was taken. */
  next(limit: number): LogRecord[];
}

/**
 * Serves one subscription until the client leaves, the server stops, or the stream is tombstoned.
 *
 * @throws BadRequest the filter is not usable
 */
export async function serveSubscription(log: EventLog, call: Call, request: ReadRequest): Promise<void> {
  const { stream } = request;
  if (stream !== undefined && log.view(stream).kind === "tombstoned") {
    call.fail(streamDeleted(stream));
    return;
  }
  const isShown = stream === undefined ? compileFilter(request.filter, (id) => log.nameOf(id)) : () => true;
  const checkpoints = request.filter && new Checkpoints(call, request.filter);
  const source = stream === undefined ? allSource(log, request) : streamSource(log, request, stream);
  const wakeUp = new WakeUp(log, call);
  const size = new PageSize();
  let isLive = false;

  call.send(confirmationResponse(randomUUID()));
  while (!call.isClosed) {
    const page = source.next(size.limit);
    if (page.length === 0) {
      if (isLive) {
        // Between the empty read and going to sleep nothing may be awaited, or a publication would be missed.
        await wakeUp.next();
      } else {
        isLive = true;
        checkpoints?.sendPending();
        call.send(caughtUpResponse());
        await call.drained();
      }
      continue;
    }
    size.adapt(page);
    for (const record of page) {
      if (isShown(record)) {
        if (!call.send(toReadEvent(log, request, record))) await call.drained();
        if (record.revision === TOMBSTONE_REVISION && stream !== undefined) call.fail(streamDeleted(stream));
      }
      if (call.isClosed) return;
      checkpoints?.consider(record);
    }
    if (!isLive) await nextTurn();
  }
}

/** The whole log after a position. */
function allSource(log: EventLog, { from }: ReadRequest): Source {
  let cursor = from === "start" ? NO_REVISION : from === "end" ? log.lastPosition : from;
  return {
    next(limit) {
      const page = log.readAllForwards(cursor, limit);
      cursor = page.at(-1)?.position ?? cursor;
      return page;
    },
  };
}

/**
 * One stream after a revision. Catching up reads the stream itself; once that is exhausted at some position of the
 * log, the newest records in memory are searched for the stream's.
 */
function streamSource(log: EventLog, { from }: ReadRequest, stream: string): Source {
  let revision = from === "start" ? NO_REVISION : from === "end" ? log.lastRevision(stream) : from;
  /** Up to this position of the log there is nothing more in the stream. */
  let searched = NO_REVISION;
  return {
    next(limit) {
      while (searched < log.lastPosition) {
        const newest = log.readTail(searched, limit);
        let page: LogRecord[];
        if (newest !== undefined) {
          searched = newest.at(-1)?.position ?? searched;
          const id = log.idOf(stream);
          page = newest.filter((record) => record.stream === id && record.revision > revision);
        } else {
          page = readStreamAfter(log, stream, revision, limit);
          if (page.length === 0) searched = log.lastPosition;
        }
        revision = page.at(-1)?.revision ?? revision;
        if (page.length > 0) return page;
      }
      return [];
    },
  };
}

/** The stream's next readable records after the revision, its tombstone included. */
function readStreamAfter(log: EventLog, stream: string, after: number, limit: number): LogRecord[] {
  const view = log.view(stream);
  if (view.kind === "missing") return [];
  if (view.kind === "tombstoned")
    return log.readStream(log.idOf(stream) as number, after + 1, TOMBSTONE_REVISION, limit);
  let first = Math.max(view.first, after + 1);
  for (;;) {
    const page = log.readStream(view.stream, first, view.last, limit);
    const fresh = page.filter((record) => record.created >= view.oldest);
    // A page of nothing but expired events is passed over.
    if (fresh.length > 0 || page.length === 0) return fresh;
    first = (page.at(-1) as LogRecord).revision + 1;
  }
}

/** Tells a filtered subscriber now and then how far the store has looked, so that it need not look there again. */
class Checkpoints {
  private readonly call: Call;
  private readonly interval: number;
  private considered = 0;
  private position = NO_REVISION;
  private sent = NO_REVISION;

  constructor(call: Call, filter: NonNullable<ReadRequest["filter"]>) {
    if (filter.checkpointIntervalMultiplier < 1) throw new BadRequest("The checkpoint interval must be at least 1.");
    this.call = call;
    this.interval = filter.checkpointIntervalMultiplier * filter.window;
  }

  /** Counts a record that was looked at, whether it was shown or not. */
  consider(record: LogRecord): void {
    this.position = record.position;
    if (++this.considered >= this.interval) this.sendPending();
  }

  /** Sends the position of the last record looked at, unless that was sent already. */
  sendPending(): void {
    this.considered = 0;
    if (this.position <= this.sent) return;
    this.sent = this.position;
    this.call.send(checkpointResponse(this.position));
  }
}

/** Sleeping until the next publication or the end of the call, with one registration for all times. */
class WakeUp {
  private wake: (() => void) | undefined;

  constructor(log: EventLog, call: Call) {
    const ring = () => this.wake?.();
    const stop = log.watch(ring);
    call.onClose(() => {
      stop();
      ring();
    });
  }

  next(): Promise<void> {
    return new Promise((resolve) => {
      this.wake = () => {
        this.wake = undefined;
        resolve();
      };
    });
  }
}
