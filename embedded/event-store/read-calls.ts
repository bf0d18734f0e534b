/** The Streams service's Read method as far as it ends by itself: a stream or `$all`, forwards or backwards. */

import { setImmediate as nextTurn } from "node:timers/promises";
import type { EventLog, StreamView } from "./event-log.js";
import type { LogRecord } from "./events.js";
import { compileFilter } from "./filters.js";
import { resolveLink } from "./links.js";
import { PageSize } from "./page-size.js";
import type { ReadRequest } from "./requests.js";
import {
  firstStreamPositionResponse,
  lastStreamPositionResponse,
  readEventResponse,
  streamNotFoundResponse,
} from "./responses.js";
import { streamDeleted } from "./status.js";
import type { Call } from "./grpc.js";

/** A read: everything of the request but that it is limited. */
export type LimitedRead = ReadRequest & { readonly count: number };

type ReadableStream = Extract<StreamView, { kind: "readable" }>;

/** Serves one read to its end. */
export async function serveRead(log: EventLog, call: Call, request: LimitedRead): Promise<void> {
  if (request.stream === undefined) await readAll(log, call, request);
  else await readStream(log, call, request, request.stream);
}

/** The record as the response to this request. */
export function toReadEvent(log: EventLog, request: ReadRequest, record: LogRecord): Buffer {
  if (!request.resolveLinks) return readEventResponse(record.record, undefined, record.position, request.uuidForm);
  const { event, link } = resolveLink(log, record);
  return readEventResponse(event?.record, link?.record, record.position, request.uuidForm);
}

async function readStream(log: EventLog, call: Call, request: LimitedRead, stream: string): Promise<void> {
  const view = log.view(stream);
  if (view.kind === "tombstoned") {
    call.fail(streamDeleted(stream));
    return;
  }
  if (view.kind === "missing") {
    call.answer(streamNotFoundResponse(stream));
    return;
  }
  const wantsPositions = request.compatibility >= 1;
  const asksForTruncated = !request.backwards && toNumber(request.from) < view.first;
  if (wantsPositions && asksForTruncated) call.send(firstStreamPositionResponse(view.first));
  const isShown = (record: LogRecord) => record.created >= view.oldest;
  const isWhole = await deliver(log, call, request, streamPages(log, view, request), isShown);
  if (wantsPositions && isWhole) call.send(lastStreamPositionResponse(view.last));
  call.end();
}

async function readAll(log: EventLog, call: Call, request: LimitedRead): Promise<void> {
  const isShown = compileFilter(request.filter, (stream) => log.nameOf(stream));
  await deliver(log, call, request, allPages(log, request), isShown);
  call.end();
}

/** Sends what is shown of the pages, up to the count, as fast as the client reads. Gives whether the end was reached. */
async function deliver(
  log: EventLog,
  call: Call,
  request: LimitedRead,
  pages: Iterable<LogRecord[]>,
  isShown: (record: LogRecord) => boolean,
): Promise<boolean> {
  let left = request.count;
  if (left === 0) return false;
  for (const page of pages) {
    for (const record of page) {
      if (!isShown(record)) continue;
      if (!call.send(toReadEvent(log, request, record))) await call.drained();
      if (call.isClosed || --left === 0) return false;
    }
    // A long read takes turns with everybody else.
    await nextTurn();
    if (call.isClosed) return false;
  }
  return true;
}

/** The stream's pages in the direction asked for. Revisions are inclusive both ways. */
function* streamPages(log: EventLog, view: ReadableStream, request: LimitedRead): Generator<LogRecord[]> {
  const { backwards } = request;
  let { first, last } = view;
  if (backwards) last = Math.min(last, toNumber(request.from));
  else first = Math.max(first, toNumber(request.from));
  const size = new PageSize();
  while (first <= last) {
    const page = log.readStream(view.stream, first, last, Math.min(size.limit, request.count), backwards);
    const end = page.at(-1);
    if (end === undefined) return;
    if (backwards) last = end.revision - 1;
    else first = end.revision + 1;
    size.adapt(page);
    yield page;
  }
}

/** The log's pages: at or after the position forwards, strictly before it backwards. */
function* allPages(log: EventLog, request: LimitedRead): Generator<LogRecord[]> {
  const { backwards, from } = request;
  const end = log.lastPosition;
  let cursor = backwards ? toNumber(from) : toNumber(from) - 1;
  const size = new PageSize();
  const limit = () => (request.filter === undefined ? Math.min(size.limit, request.count) : size.limit);
  for (;;) {
    const page = backwards ? log.readAllBackwards(cursor, limit()) : log.readAllForwards(cursor, limit());
    const last = page.at(-1);
    // Forwards, what is written during the read is not part of it: it would have no end.
    if (last === undefined) return;
    size.adapt(page);
    yield last.position > end ? page.filter((record) => record.position <= end) : page;
    cursor = last.position;
    if (!backwards && cursor >= end) return;
  }
}

/** Revision or position. */
function toNumber(from: ReadRequest["from"]): number {
  if (from === "start") return 0;
  return from === "end" ? Number.POSITIVE_INFINITY : from;
}
