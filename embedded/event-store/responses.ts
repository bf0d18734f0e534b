/**
 * The answers of the Streams, ServerFeatures and Gossip services, encoded. Field numbers are the protocol's
 * (streams.proto, shared.proto, serverfeatures.proto, gossip.proto, google.rpc.Status).
 */

import type { ExpectedRevision, WriteOutcome } from "./events.js";
import { NO_REVISION } from "./events.js";
import { ProtoWriter } from "./protobuf.js";
import type { UuidForm } from "./recorded-event.js";
import { recordInForm } from "./recorded-event.js";

const writer = new ProtoWriter();

/** `position { commit, prepare }`: the two are always equal here. */
function position(field: number, value: number): void {
  writer.message(field, (inner) => inner.uint64(1, value).uint64(2, value));
}

function streamIdentifier(field: number, stream: string): void {
  writer.message(field, (inner) => inner.string(3, stream));
}

/** `Success` of Append and BatchAppend: revision = 1 | no_stream = 2, position = 3 | no_position = 4. */
function success(outcome: Extract<WriteOutcome, { kind: "success" }>): void {
  if (outcome.revision === NO_REVISION) writer.message(2);
  else writer.uint64(1, outcome.revision);
  if (outcome.position === undefined) writer.message(4);
  else position(3, outcome.position);
}

/** The answer to Append. A wrong expected revision is an ordinary answer there, in two generations of fields. */
export function appendResponse(
  outcome: Exclude<WriteOutcome, { kind: "stream-deleted" }>,
  expected: ExpectedRevision,
): Buffer {
  if (outcome.kind === "success") {
    writer.message(1, () => success(outcome));
    return writer.finish();
  }
  const { current } = outcome;
  writer.message(2, () => {
    if (current === NO_REVISION) writer.message(2);
    else writer.uint64(1, current);
    // The 20.6 fields know no "no stream" among the expectations.
    if (expected === "any") writer.message(4);
    else if (expected === "stream_exists") writer.message(5);
    else if (expected !== "no_stream") writer.uint64(3, expected);
    if (current === NO_REVISION) writer.message(7);
    else writer.uint64(6, current);
    if (expected === "any") writer.message(9);
    else if (expected === "stream_exists") writer.message(10);
    else if (expected === "no_stream") writer.message(11);
    else writer.uint64(8, expected);
  });
  return writer.finish();
}

/** Delete and Tombstone: the position of the written event. */
export function deleteResponse(at: number): Buffer {
  position(1, at);
  return writer.finish();
}

/** Why a batched append failed: google.rpc code, text, and the protocol's message type with its content. */
interface BatchFailure {
  readonly code: number;
  readonly message: string;
  readonly detail: string;
  readonly content?: Buffer;
}

/** Which append of the call this answers. */
export interface BatchAppendKey {
  readonly correlationIdMessage: Buffer;
  readonly stream: string;
  readonly expected: ExpectedRevision;
}

function batchAppendEnvelope(key: BatchAppendKey, result: () => void): Buffer {
  writer.bytes(1, key.correlationIdMessage);
  result();
  streamIdentifier(4, key.stream);
  if (key.expected === "no_stream") writer.message(6);
  else if (key.expected === "any") writer.message(7);
  else if (key.expected === "stream_exists") writer.message(8);
  else writer.uint64(5, key.expected);
  return writer.finish();
}

function batchAppendFailure(key: BatchAppendKey, failure: BatchFailure): Buffer {
  const content = failure.content ?? EMPTY;
  return batchAppendEnvelope(key, () =>
    writer.message(2, () => {
      writer.uint64(1, failure.code).string(2, failure.message);
      // Clients decide by the type of the details alone: they must always be there.
      writer.message(3, () => {
        writer.string(1, `type.googleapis.com/event_store.client.${failure.detail}`).bytes(2, content);
      });
    }),
  );
}

const EMPTY = Buffer.alloc(0);

// google.rpc.Code values, as the original server pairs them with its messages.
const CODE_INVALID_ARGUMENT = 3;
const CODE_DEADLINE_EXCEEDED = 4;
const CODE_NOT_FOUND = 5;
const CODE_ALREADY_EXISTS = 6;

/** The answer to one append of BatchAppend. */
export function batchAppendResponse(key: BatchAppendKey, outcome: WriteOutcome): Buffer {
  switch (outcome.kind) {
    case "success":
      return batchAppendEnvelope(key, () => writer.message(3, () => success(outcome)));
    case "stream-deleted":
      streamIdentifier(1, key.stream);
      return batchAppendFailure(key, {
        code: CODE_NOT_FOUND,
        message: "The stream is deleted.",
        detail: "StreamDeleted",
        content: writer.finish(),
      });
    case "wrong-expected-revision":
      return batchAppendFailure(key, {
        code: CODE_ALREADY_EXISTS,
        message: "The stream is not at the expected revision.",
        detail: "WrongExpectedVersion",
        content: wrongExpectedVersion(outcome.current, key.expected),
      });
  }
}

/** shared.proto's WrongExpectedVersion, with the current revision and the expectation. */
function wrongExpectedVersion(current: number, expected: ExpectedRevision): Buffer {
  if (current === NO_REVISION) writer.message(2);
  else writer.uint64(1, current);
  if (expected === "any") writer.message(4);
  else if (expected === "stream_exists") writer.message(5);
  else if (expected === "no_stream") writer.message(6);
  else writer.uint64(3, expected);
  return writer.finish();
}

/** The append did not arrive whole before its deadline. */
export function batchAppendTimeout(key: BatchAppendKey): Buffer {
  return batchAppendFailure(key, { code: CODE_DEADLINE_EXCEEDED, message: "Timeout", detail: "Timeout" });
}

/** The events of one append are too large together. `maxSize` in bytes. */
export function batchAppendTooLarge(key: BatchAppendKey, maxSize: number): Buffer {
  return batchAppendFailure(key, {
    code: CODE_INVALID_ARGUMENT,
    message: `The append is larger than ${maxSize} bytes.`,
    detail: "MaximumAppendSizeExceeded",
    content: writer.uint64(1, maxSize).finish(),
  });
}

/** The append cannot be understood. */
export function batchAppendBadRequest(key: BatchAppendKey, message: string): Buffer {
  return batchAppendFailure(key, {
    code: CODE_INVALID_ARGUMENT,
    message,
    detail: "BadRequest",
    content: writer.string(1, message).finish(),
  });
}

/**
 * One event of a read or subscription. With a link, `record` is its target: absent when the target is gone.
 *
 * @param at the position of the record that was read, i.e. of the link if there is one
 */
export function readEventResponse(
  record: Buffer | undefined,
  link: Buffer | undefined,
  at: number,
  form: UuidForm,
): Buffer {
  writer.message(1, (event) => {
    if (record !== undefined) event.bytes(1, recordInForm(record, form));
    if (link !== undefined) event.bytes(2, recordInForm(link, form));
    event.uint64(3, at);
  });
  return writer.finish();
}

export function confirmationResponse(subscriptionId: string): Buffer {
  writer.message(2, (inner) => inner.string(1, subscriptionId));
  return writer.finish();
}

export function checkpointResponse(at: number): Buffer {
  position(3, at);
  return writer.finish();
}

export function streamNotFoundResponse(stream: string): Buffer {
  writer.message(4, () => streamIdentifier(1, stream));
  return writer.finish();
}

export function firstStreamPositionResponse(revision: number): Buffer {
  return writer.uint64(5, revision).finish();
}

export function lastStreamPositionResponse(revision: number): Buffer {
  return writer.uint64(6, revision).finish();
}

export function caughtUpResponse(): Buffer {
  return writer.message(8).finish();
}

/** One method of one service, with the capabilities that clients ask for by name. */
export interface SupportedMethod {
  readonly service: string;
  readonly method: string;
  readonly features: readonly string[];
}

export function supportedMethodsResponse(version: string, methods: readonly SupportedMethod[]): Buffer {
  for (const { service, method, features } of methods) {
    writer.message(1, (inner) => {
      inner.string(1, method).string(2, service);
      for (const feature of features) inner.string(3, feature);
    });
  }
  return writer.string(2, version).finish();
}

/** The only member of the cluster: this server, its leader. */
export function gossipResponse(instanceId: string, host: string, port: number, now: Date): Buffer {
  const ticksSinceYearOne = BigInt(now.getTime()) * 10_000n + 621_355_968_000_000_000n;
  writer.message(1, (member) => {
    member.message(1, (id) => id.string(2, instanceId));
    member.int64(2, ticksSinceYearOne);
    member.uint64(3, 8); // LEADER
    member.bool(4, true);
    member.message(5, (endPoint) => endPoint.string(1, host).uint64(2, port));
  });
  return writer.finish();
}
