import { randomUUID } from "node:crypto";
import { setTimeout as sleep } from "node:timers/promises";
import { EventStoreDBClient } from "@eventstore/db-client";
import { AppendWindow } from "./append-window.js";
import {
  type Appended,
  type EventStore,
  type EventToStore,
  type ExpectedRevision,
  type LogPosition,
  logStart,
  type StoredEvent,
  StoreUnavailable,
  WrongExpectedRevision,
} from "./event-store.js";
import { BatchAppender, Unanswered } from "./eventstoredb-batch-append.js";
import { openRead, type ReadMessage, type ReadRequest } from "./eventstoredb-bulk-reader.js";
import { disconnect } from "./eventstoredb-channel.js";

export type EventStoreOptions = {
  /** How long an append or a read is tried before `StoreUnavailable`. Default 5 s. */
  readonly deadlineMs?: number;
  /** How long one try may take before it counts as lost. Default 2 s. */
  readonly attemptMs?: number;
  /** How long a subscription may be silent before the head of the log is compared with it. Default 30 s. */
  readonly silenceMs?: number;
  /** Told about what was survived, such as a connection that had to be given up. */
  readonly onProblem?: (problem: string, error: unknown) => void;
  /** Told the fate of each append and how long it took, re-sends included. */
  readonly onAppend?: (outcome: "appended" | "conflict" | "unavailable" | "failed", seconds: number) => void;
};

/**
 * Where the store keeps its own identity. Not a name that `domain/core/identifiers.ts` makes, so no owner can have it.
 */
const epochStream = "store-epoch";

/**
 * Connects to EventStoreDB, KurrentDB or the embedded store; lazily, so a process starts while the store is away.
 *
 * @param url connection string, `esdb://host:2113?tls=false` or `esdb+discover://…`
 * @throws ParseError for a malformed connection string
 */
export function createEventStore(url: string, options: EventStoreOptions = {}): EventStore {
  const deadlineMs = options.deadlineMs ?? 5_000;
  const attemptMs = options.attemptMs ?? 2_000;
  const silenceMs = options.silenceMs ?? 30_000;
  const report = options.onProblem ?? (() => {});
  const window = new AppendWindow();
  let client = EventStoreDBClient.connectionString(url);
  const appender = new BatchAppender(() => client);
  let closed = false;
  let epoch: Promise<string> | undefined;

  async function appendOnce(
    stream: string,
    expected: ExpectedRevision,
    events: readonly EventToStore[],
    limitMs: number,
  ): Promise<Appended> {
    const used = client;
    try {
      return await appender.append(stream, expected, events, limitMs);
    } catch (error) {
      if (error instanceof Unanswered) replaceConnection(used, error);
      throw error;
    }
  }

  /**
   * Gives up a connection whose server does not answer; keep-alive would take twenty seconds to notice. Calls on it
   * fail and are made again by whoever made them.
   */
  function replaceConnection(stuck: EventStoreDBClient, error: unknown): void {
    if (client !== stuck || closed) return;
    report("the event store does not answer: connecting anew", error);
    client = EventStoreDBClient.connectionString(url);
    disconnect(stuck).catch((failure) => report("a connection could not be closed", failure));
  }

  async function append(
    stream: string,
    expected: ExpectedRevision,
    events: readonly EventToStore[],
  ): Promise<Appended> {
    if (events.length === 0) throw new Error("nothing to append");
    const started = performance.now();
    const bytes = approximateBytes(events);
    if (!(await window.enter(bytes, deadlineMs))) throw new StoreUnavailable(new Error("too many appends are waiting"));
    let outcome: "appended" | "conflict" | "unavailable" | "failed" = "failed";
    try {
      // Same ids, same expected revision: only then does the store recognise a write whose answer was lost.
      const appended = await retrying((limitMs) => appendOnce(stream, expected, events, limitMs));
      outcome = "appended";
      return appended;
    } catch (error) {
      if (error instanceof WrongExpectedRevision) outcome = "conflict";
      if (error instanceof StoreUnavailable) outcome = "unavailable";
      throw error;
    } finally {
      window.leave(bytes);
      options.onAppend?.(outcome, (performance.now() - started) / 1_000);
    }
  }

  /** Runs an operation until it is answered; what may pass is tried again with jittered back-off until the deadline. */
  async function retrying<T>(operation: (limitMs: number) => Promise<T>): Promise<T> {
    const deadline = performance.now() + deadlineMs;
    for (let pauseMs = 20; ; pauseMs = Math.min(pauseMs * 2, 200)) {
      const leftMs = Math.max(deadline - performance.now(), 1);
      try {
        return await operation(Math.min(attemptMs, leftMs));
      } catch (error) {
        if (!isPassing(error)) throw error;
        const waitMs = pauseMs * (0.5 + Math.random());
        if (closed || performance.now() + waitMs >= deadline) {
          throw error instanceof StoreUnavailable ? error : new StoreUnavailable(error);
        }
        await sleep(waitMs);
      }
    }
  }

  /** Reads a bounded number of events, all of them before returning. */
  function readAll(request: ReadRequest & { limit: number }): Promise<StoredEvent[]> {
    return retrying(async (limitMs) => {
      const events: StoredEvent[] = [];
      const call = await openRead(client, request, new Date(Date.now() + limitMs));
      for await (const message of call) {
        if (message.kind === "event") events.push(message.event);
      }
      return events;
    });
  }

  async function head({ streamPrefixes }: { streamPrefixes?: readonly string[] } = {}): Promise<LogPosition> {
    const [last] = await readAll({ log: { from: "end", backwards: true }, streamPrefixes, limit: 1 });
    return last?.position ?? logStart;
  }

  /**
   * The messages of a call, one after the other; a consumer that leaves early ends the call.
   *
   * @param onSilence called when the store has sent nothing for `silenceMs` although it was asked to; throws to give up
   */
  async function* messages(
    request: ReadRequest,
    signal: AbortSignal | undefined,
    onSilence: () => void | Promise<void>,
  ): AsyncGenerator<ReadMessage> {
    const call = await openRead(client, request).catch((error) => {
      throw new StoreUnavailable(error);
    });
    // Not with the signal's own reason: a DOMException has a numeric code, so the driver takes it for a gRPC error and
    // throws inside its handler.
    const abort = () => call.destroy(new Error("aborted"));
    signal?.addEventListener("abort", abort, { once: true });
    let waitingSince = performance.now();
    const watch = setInterval(async () => {
      if (performance.now() - waitingSince < silenceMs) return;
      waitingSince = performance.now();
      try {
        await onSilence();
      } catch (error) {
        call.destroy(error as Error);
      }
    }, silenceMs / 4);
    watch.unref();
    try {
      if (signal?.aborted) throw signal.reason;
      for await (const message of call) {
        waitingSince = Number.POSITIVE_INFINITY;
        yield message as ReadMessage;
        waitingSince = performance.now();
      }
    } catch (error) {
      if (signal?.aborted) throw signal.reason;
      throw isPassing(error) && !(error instanceof StoreUnavailable) ? new StoreUnavailable(error) : error;
    } finally {
      clearInterval(watch);
      signal?.removeEventListener("abort", abort);
      call.cancel();
    }
  }

  const silent = () => {
    throw new StoreUnavailable(new Error("the event store fell silent"));
  };

  return {
    readStream: (stream, { from = 0, limit = Number.MAX_SAFE_INTEGER } = {}) =>
      readAll({ stream: { name: stream, from }, limit }),

    append,

    async *readLog({ after, until, streamPrefixes, limit = Number.MAX_SAFE_INTEGER, signal }) {
      let left = limit;
      // A read includes the position it starts from: one more, and that one is skipped.
      const request = { log: { from: readFrom(after) }, streamPrefixes, limit: Math.min(limit, 2 ** 52) + 1 };
      for await (const message of messages(request, signal, silent)) {
        if (message.kind !== "event" || message.event.position <= after) continue;
        if (left-- <= 0 || (until !== undefined && message.event.position > until)) return;
        yield message.event;
      }
    },

    async *subscribe({ after, streamPrefixes, signal }) {
      let seen = after;
      const compareWithHead = async () => {
        const before = seen;
        const position = await head({ streamPrefixes });
        if (position > before && seen === before) silent();
      };
      for await (const message of messages(
        { log: { from: readFrom(after) }, streamPrefixes },
        signal,
        compareWithHead,
      )) {
        if (message.kind === "event") seen = message.event.position;
        else if (message.kind === "checkpoint") seen = message.position;
        else if (message.kind !== "caught-up") continue;
        yield message;
      }
      // A server that ends the call politely leaves us as blind as one that dies.
      throw new StoreUnavailable(new Error("the subscription ended"));
    },

    head,

    async eventAt(position) {
      if (position === logStart) return null;
      const [event] = await readAll({ log: { from: position }, limit: 1 });
      return event?.position === position ? event : null;
    },

    epoch() {
      epoch ??= readOrBeginEpoch().catch((error) => {
        epoch = undefined;
        throw error;
      });
      return epoch;
    },

    async close() {
      closed = true;
      await disconnect(client);
    },
  };

  /** The newest event counts: a restore begins a new epoch by appending another. */
  async function readOrBeginEpoch(): Promise<string> {
    for (;;) {
      const [last] = (await readAll({ stream: { name: epochStream, from: 0 }, limit: 1_000 })).slice(-1);
      if (last) return (last.data as { epoch: string }).epoch;
      const begun = { epoch: randomUUID().replaceAll("-", "").slice(0, 12) };
      try {
        await append(epochStream, "no-stream", [
          { id: randomUUID(), type: "store.EpochBegun.v1", data: begun, metadata: {} },
        ]);
      } catch (error) {
        if (!(error instanceof WrongExpectedRevision)) throw error;
      }
    }
  }
}

function readFrom(after: LogPosition): LogPosition | "start" {
  return after === logStart ? "start" : after;
}

/** gRPC: cancelled, unknown, deadline exceeded, aborted, internal (a reset stream), unavailable. */
const passingCodes: readonly (number | undefined)[] = [1, 2, 4, 10, 13, 14];

/** Whether trying again may help: the connection or the server failed, not the request. */
function isPassing(error: unknown): boolean {
  return error instanceof StoreUnavailable || passingCodes.includes((error as { code?: number } | null)?.code);
}

/** Size as the window counts it; metadata is about 600 bytes. */
function approximateBytes(events: readonly EventToStore[]): number {
  return events.reduce((sum, { data }) => sum + 600 + (JSON.stringify(data)?.length ?? 0), 0);
}
