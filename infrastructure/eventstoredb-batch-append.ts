/**
 * Appending over the driver's own channel, with the messages its `appendToStream` sends. The driver keeps the appends
 * of all its clients in one table, has no deadline for them, leaves a rejected promise behind when the connection
 * breaks under queued writes, and throws out of its stream handler at an answer it no longer expects: each of these
 * can end the process. Here a call owns its appends, and they live and fail with it.
 */
import { randomUUID } from "node:crypto";
import type { EventStoreDBClient } from "@eventstore/db-client";
import sharedPb from "@eventstore/db-client/generated/shared_pb.js";
import streamsPb from "@eventstore/db-client/generated/streams_pb.js";
import {
  type CallOptions,
  type Client,
  type ClientDuplexStream,
  type Metadata,
  makeGenericClientConstructor,
} from "@grpc/grpc-js";
import timestampPb from "google-protobuf/google/protobuf/timestamp_pb.js";
import {
  type Appended,
  type EventToStore,
  type ExpectedRevision,
  StoreUnavailable,
  WrongExpectedRevision,
} from "./event-store.js";
import { openCall } from "./eventstoredb-channel.js";

const { BatchAppendReq, BatchAppendResp } = streamsPb;
const { Empty, StreamIdentifier, UUID } = sharedPb;
type Request = InstanceType<typeof BatchAppendReq>;
type Response = InstanceType<typeof BatchAppendResp>;

const BatchAppendClient = makeGenericClientConstructor(
  {
    batchAppend: {
      path: "/event_store.client.streams.Streams/BatchAppend",
      requestStream: true,
      responseStream: true,
      requestSerialize: (request: Request) => Buffer.from(request.serializeBinary()),
      requestDeserialize: BatchAppendReq.deserializeBinary,
      responseSerialize: (response: Response) => Buffer.from(response.serializeBinary()),
      responseDeserialize: (bytes: Buffer) => BatchAppendResp.deserializeBinary(bytes),
    },
  },
  "event_store.client.streams.Streams",
);

type RawBatchAppend = Client & {
  batchAppend(metadata: Metadata, options: CallOptions): ClientDuplexStream<Request, Response>;
};

type Pending = { readonly resolve: (response: Response) => void; readonly reject: (error: unknown) => void };

/** One long-lived `BatchAppend` call, and the appends that wait for its answers. */
type Lane = { readonly call: ClientDuplexStream<Request, Response>; readonly pending: Map<string, Pending> };

/** The server holds the connection and says nothing. */
export class Unanswered extends StoreUnavailable {}

/** Appends through one call at a time, opened when it is needed. */
export class BatchAppender {
  private lane: Promise<Lane> | undefined;

  /** @param client asked anew for each call, so that a connection can be replaced between two */
  constructor(private readonly client: () => EventStoreDBClient) {}

  /**
   * Sends one append and waits for its answer.
   *
   * @param limitMs after that the call is given up, for all on it: a server that leaves one unanswered answers none
   * @throws WrongExpectedRevision when another writer was first
   * @throws Unanswered, StoreUnavailable or a gRPC error when the outcome is unknown
   * @throws Error when the store refuses the append as such
   */
  async append(
    stream: string,
    expected: ExpectedRevision,
    events: readonly EventToStore[],
    limitMs: number,
  ): Promise<Appended> {
    const correlationId = randomUUID();
    const request = encodeAppend(correlationId, stream, expected, events, limitMs);
    this.lane ??= this.open();
    const lane = this.lane;
    let timer: NodeJS.Timeout | undefined;
    const answer = new Promise<Response>((resolve, reject) => {
      timer = setTimeout(() => {
        if (this.lane === lane) this.lane = undefined;
        const late = new Unanswered(new Error(`no answer to an append within ${limitMs} ms`));
        reject(late);
        lane.then(({ call }) => call.destroy(late)).catch(() => {});
      }, limitMs);
      lane.then(({ call, pending }) => {
        if (call.destroyed) return reject(new StoreUnavailable(new Error("the call has ended")));
        pending.set(correlationId, { resolve, reject });
        // Not waiting for `drain`: the appends on their way are bounded in bytes before they come here.
        call.write(request);
      }, reject);
    });
    try {
      return readAnswer(await answer, stream);
    } finally {
      clearTimeout(timer);
    }
  }

  private open(): Promise<Lane> {
    const lane = openCall(this.client(), BatchAppendClient, "batchAppend", (raw, metadata, options) =>
      (raw as RawBatchAppend).batchAppend(metadata, options),
    ).then((call): Lane => {
      const pending: Lane["pending"] = new Map();
      const end = (error: unknown) => {
        if (this.lane === lane) this.lane = undefined;
        for (const { reject } of pending.values()) reject(error);
        pending.clear();
        call.cancel();
      };
      call.on("data", (response: Response) => {
        const id = response.getCorrelationId()?.getString() ?? "";
        pending.get(id)?.resolve(response);
        pending.delete(id);
      });
      call.on("error", end);
      for (const event of ["end", "close"]) {
        call.on(event, () => end(new StoreUnavailable(new Error("the call has ended"))));
      }
      return { call, pending };
    });
    lane.catch(() => {
      if (this.lane === lane) this.lane = undefined;
    });
    return lane;
  }
}

function encodeAppend(
  correlationId: string,
  stream: string,
  expected: ExpectedRevision,
  events: readonly EventToStore[],
  limitMs: number,
): Request {
  const identifier = new StreamIdentifier();
  identifier.setStreamName(Buffer.from(stream, "utf8"));
  const options = new BatchAppendReq.Options();
  options.setStreamIdentifier(identifier);
  // The form that every server version since 21.10 understands.
  options.setDeadline(timestampPb.Timestamp.fromDate(new Date(Date.now() + limitMs)));
  if (expected === "no-stream") options.setNoStream(new Empty());
  else options.setStreamPosition(String(expected));

  const request = new BatchAppendReq();
  request.setCorrelationId(uuid(correlationId));
  request.setOptions(options);
  request.setIsFinal(true);
  for (const { id, type, data, metadata } of events) {
    const message = new BatchAppendReq.ProposedMessage();
    message.setId(uuid(id));
    message.getMetadataMap().set("type", type).set("content-type", "application/json");
    message.setData(Buffer.from(JSON.stringify(data), "utf8"));
    message.setCustomMetadata(Buffer.from(JSON.stringify(metadata), "utf8"));
    request.addProposedMessages(message);
  }
  return request;
}

function uuid(text: string): InstanceType<typeof UUID> {
  const message = new UUID();
  message.setString(text);
  return message;
}

function readAnswer(response: Response, stream: string): Appended {
  const success = response.getSuccess();
  const position = success?.getPosition();
  if (success && position) {
    return {
      revision: Number(success.getCurrentRevision()),
      position: position.getCommitPosition().padStart(20, "0"),
    };
  }
  if (success) throw new Error("the store confirmed an append without its position");
  const reason = response.getError()?.getDetails()?.getTypeName().replace("event_store.client.", "");
  if (reason === "WrongExpectedVersion") throw new WrongExpectedRevision(stream);
  // The server gave up waiting for itself, or does not know: the write may have happened.
  if (reason === "Timeout" || reason === "Unknown") throw new StoreUnavailable(new Error(`append: ${reason}`));
  throw new Error(`the store refused an append: ${reason} ${response.getError()?.getMessage() ?? ""}`);
}
