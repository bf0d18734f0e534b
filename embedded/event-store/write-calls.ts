/** The Streams service's writing methods: Append, BatchAppend, Delete, Tombstone. */

import type { ExpectedRevision, ProposedEvent, WriteOutcome } from "./events.js";
import type { GroupCommit } from "./group-commit.js";
import type { BatchAppendPart, StreamTarget } from "./requests.js";
import {
  decodeAppendMessage,
  decodeBatchAppendPart,
  decodeDeleteRequest,
  isRequestFault,
  MissingEventMetadata,
} from "./requests.js";
import type { BatchAppendKey } from "./responses.js";
import {
  appendResponse,
  batchAppendBadRequest,
  batchAppendResponse,
  batchAppendTimeout,
  batchAppendTooLarge,
  deleteResponse,
} from "./responses.js";
import {
  appendTooLarge,
  type FailureStatus,
  invalidArgument,
  missingEventMetadata,
  streamDeleted,
  wrongExpectedVersion,
} from "./status.js";
import type { Call, CallHandler } from "./grpc.js";

/** The events of one append together, in bytes; the original server's default. */
const MAX_APPEND_SIZE = 1024 * 1024;

/** An append whose parts take longer than this is given up, in milliseconds; the original server's write time-out. */
const WRITE_TIMEOUT_MS = 2000;

/** Appends of one BatchAppend call whose parts are still coming: clients send one after the other. */
const MAX_UNFINISHED_APPENDS = 64;

/** A BatchAppend call with this much on its way is not read from until some of it is answered. */
const MAX_PENDING_APPENDS = 4096;
const MAX_PENDING_BYTES = 16 * 1024 * 1024;

/** Size of an event as the limit counts it. */
function sizeOf(event: ProposedEvent): number {
  return event.data.length + event.metadata.length + 2 * event.type.length;
}

/** The failure that answers a request which cannot be understood; rethrows what is not the client's fault. */
export function requestFault(error: unknown): FailureStatus {
  if (!isRequestFault(error)) throw error;
  return error instanceof MissingEventMetadata ? missingEventMetadata(error.message) : invalidArgument(error.message);
}

/** `Append`: the target, then one message per event, then the end; one answer. */
export function openAppend(commit: GroupCommit, call: Call): CallHandler {
  let target: StreamTarget | undefined;
  let size = 0;
  const events: ProposedEvent[] = [];
  return {
    onMessage(bytes) {
      try {
        const message = decodeAppendMessage(bytes);
        if (message.kind === "target") {
          target = message.target;
          return;
        }
        events.push(message.event);
        size += sizeOf(message.event);
        if (size > MAX_APPEND_SIZE) call.fail(appendTooLarge(MAX_APPEND_SIZE));
      } catch (error) {
        call.fail(requestFault(error));
      }
    },
    onHalfClose() {
      if (call.isClosed) return;
      if (target === undefined) {
        call.fail(invalidArgument("The append names no stream."));
        return;
      }
      const { stream, expected } = target;
      commit.submit({ kind: "append", stream, expected, events }, (outcome) => {
        if (outcome.kind === "stream-deleted") call.fail(streamDeleted(stream));
        else call.answer(appendResponse(outcome, expected));
      });
    },
  };
}

/** `Delete` and `Tombstone`: one request, one answer. */
export function openDelete(kind: "delete" | "tombstone", commit: GroupCommit, call: Call): CallHandler {
  return {
    onMessage(bytes) {
      let target: StreamTarget;
      try {
        target = decodeDeleteRequest(bytes);
      } catch (error) {
        call.fail(requestFault(error));
        return;
      }
      const { stream, expected } = target;
      commit.submit({ kind, stream, expected }, (outcome) => answerDelete(call, stream, expected, outcome));
    },
  };
}

function answerDelete(call: Call, stream: string, expected: ExpectedRevision, outcome: WriteOutcome): void {
  switch (outcome.kind) {
    case "success":
      call.answer(deleteResponse(outcome.position as number));
      return;
    case "wrong-expected-revision":
      call.fail(wrongExpectedVersion(stream, expected, outcome.current));
      return;
    case "stream-deleted":
      call.fail(streamDeleted(stream));
  }
}

/** An append whose final part has not arrived yet. */
interface GatheringAppend {
  readonly key: BatchAppendKey;
  readonly events: ProposedEvent[];
  size: number;
  readonly timer: NodeJS.Timeout;
}

/**
 * `BatchAppend`: many appends over one call, told apart by correlation id, their parts possibly interleaved. Each is
 * answered exactly once (a second answer would crash some clients); none of them ends the call.
 */
export function openBatchAppend(commit: GroupCommit, call: Call): CallHandler {
  const gathering = new Map<string, GatheringAppend>();
  let pendingAppends = 0;
  let pendingBytes = 0;
  let isHalfClosed = false;

  const endIfDone = () => {
    if (isHalfClosed && pendingAppends === 0 && gathering.size === 0) call.end();
  };
  /** Answers an append early and forgets it: parts still to come have no options and are ignored. */
  const giveUp = (id: string, answer: Buffer) => {
    clearTimeout(gathering.get(id)?.timer);
    gathering.delete(id);
    call.send(answer);
    endIfDone();
  };
  call.onClose(() => {
    for (const { timer } of gathering.values()) clearTimeout(timer);
    gathering.clear();
  });

  const submit = ({ key, events, size }: Omit<GatheringAppend, "timer">) => {
    pendingAppends++;
    pendingBytes += size;
    if (pendingAppends >= MAX_PENDING_APPENDS || pendingBytes >= MAX_PENDING_BYTES) call.pause();
    commit.submit({ kind: "append", stream: key.stream, expected: key.expected, events }, (outcome) => {
      pendingAppends--;
      pendingBytes -= size;
      call.send(batchAppendResponse(key, outcome));
      if (pendingAppends < MAX_PENDING_APPENDS / 2 && pendingBytes < MAX_PENDING_BYTES / 2) call.resume();
      endIfDone();
    });
  };

  const take = (part: BatchAppendPart) => {
    const { correlationId: id, options } = part;
    let append: Omit<GatheringAppend, "timer"> | undefined = gathering.get(id);
    if (append === undefined) {
      if (options === undefined) return;
      const { stream, expected, deadline } = options;
      // The correlation id is a view of the request: it outlives it.
      const key = { correlationIdMessage: Buffer.from(part.correlationIdMessage), stream, expected };
      const timeout = Math.min((deadline ?? Number.POSITIVE_INFINITY) - Date.now(), WRITE_TIMEOUT_MS);
      if (timeout <= 0) {
        giveUp(id, batchAppendTimeout(key));
        return;
      }
      append = { key, events: [], size: 0 };
      if (!part.isFinal && gathering.size >= MAX_UNFINISHED_APPENDS) {
        giveUp(id, batchAppendBadRequest(key, "Too many appends are unfinished."));
        return;
      }
      if (!part.isFinal) {
        const timer = setTimeout(() => giveUp(id, batchAppendTimeout(key)), timeout);
        const gathered = { ...append, timer };
        gathering.set(id, gathered);
        append = gathered;
      }
    }
    append.events.push(...part.events);
    for (const event of part.events) append.size += sizeOf(event);
    if (part.fault !== undefined) giveUp(id, batchAppendBadRequest(append.key, part.fault));
    else if (append.size > MAX_APPEND_SIZE) giveUp(id, batchAppendTooLarge(append.key, MAX_APPEND_SIZE));
    else if (part.isFinal) {
      clearTimeout(gathering.get(id)?.timer);
      gathering.delete(id);
      submit(append);
    }
  };

  return {
    onMessage(bytes) {
      try {
        take(decodeBatchAppendPart(bytes));
      } catch (error) {
        // Without a readable correlation id there is nobody to answer: only then the call ends.
        call.fail(requestFault(error));
      }
    },
    onHalfClose() {
      isHalfClosed = true;
      endIfDone();
    },
  };
}
