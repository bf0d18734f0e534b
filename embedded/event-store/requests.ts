/**
 * The requests of `event_store.client.streams.Streams`, decoded. The field numbers are the protocol's (streams.proto
 * and shared.proto of the official clients); the names beside them are its names.
 */

import type { ExpectedRevision, ProposedEvent } from "./events.js";
import { MalformedMessage, ProtoReader } from "./protobuf.js";
import type { UuidForm } from "./recorded-event.js";
import { isUuid, uuidFromHalves } from "./uuid.js";

/** The request cannot be carried out as it stands. The message is meant for the person who sent it. */
export class BadRequest extends Error {
  override readonly name = "BadRequest";
}

/** An event came without its type or content type. */
export class MissingEventMetadata extends BadRequest {
  constructor() {
    super("An event needs 'type' and 'content-type' in its metadata.");
  }
}

/** Which stream, and in which state the client expects it. */
export interface StreamTarget {
  readonly stream: string;
  readonly expected: ExpectedRevision;
}

/** One message of the client-streaming Append: the target first, then one event per message. */
export type AppendMessage =
  | { readonly kind: "target"; readonly target: StreamTarget }
  | { readonly kind: "event"; readonly event: ProposedEvent };

/** One part of an append inside the duplex BatchAppend. */
export interface BatchAppendPart {
  readonly correlationId: string;
  /** The correlation id as it was sent, to be echoed in the same form. */
  readonly correlationIdMessage: Buffer;
  /** Only on the first part. `deadline` in milliseconds since the Unix epoch. */
  readonly options: (StreamTarget & { readonly deadline: number | undefined }) | undefined;
  readonly events: readonly ProposedEvent[];
  /** Why the append cannot be carried out, if stream or an event cannot be understood. */
  readonly fault: string | undefined;
  readonly isFinal: boolean;
}

/** Where a read or subscription begins; a number is a revision or a position (Infinity: beyond any end). */
export type ReadFrom = number | "start" | "end";

export interface FilterExpression {
  readonly on: "stream" | "type";
  readonly regex: string;
  readonly prefixes: readonly string[];
  /** How many records to look at before a pause, as the protocol counts checkpoint intervals. */
  readonly window: number;
  readonly checkpointIntervalMultiplier: number;
}

export interface ReadRequest {
  /** Undefined: `$all`. */
  readonly stream: string | undefined;
  readonly from: ReadFrom;
  readonly backwards: boolean;
  readonly resolveLinks: boolean;
  /** How many events at most; undefined: a subscription. */
  readonly count: number | undefined;
  readonly filter: FilterExpression | undefined;
  readonly uuidForm: UuidForm;
  /** Clients that announce 1 or more also want to be told the first and last revision. */
  readonly compatibility: number;
}

/** `Append`. */
export function decodeAppendMessage(message: Buffer): AppendMessage {
  const reader = new ProtoReader(message);
  for (let field = reader.next(); field !== 0; field = reader.next()) {
    if (field === 1) return { kind: "target", target: decodeTarget(reader.message()) };
    if (field === 2) return { kind: "event", event: decodeProposedEvent(reader.message()) };
    reader.skip();
  }
  throw new BadRequest("The append message is empty.");
}

/** `Delete` and `Tombstone`: both carry a target as their only field. */
export function decodeDeleteRequest(message: Buffer): StreamTarget {
  const reader = new ProtoReader(message);
  for (let field = reader.next(); field !== 0; field = reader.next()) {
    if (field === 1) return decodeTarget(reader.message());
    reader.skip();
  }
  throw new BadRequest("The request names no stream.");
}

/** `BatchAppend`. */
export function decodeBatchAppendPart(message: Buffer): BatchAppendPart {
  let correlationId = "";
  let correlationIdMessage: Buffer | undefined;
  let options: BatchAppendPart["options"];
  let fault: string | undefined;
  let isFinal = false;
  const events: ProposedEvent[] = [];
  // Only this append is at fault: the call goes on, and the answer needs the other fields of this part.
  const attempt = (decode: () => void) => {
    try {
      decode();
    } catch (error) {
      if (!(error instanceof BadRequest)) throw error;
      fault ??= error.message;
    }
  };
  const reader = new ProtoReader(message);
  for (let field = reader.next(); field !== 0; field = reader.next()) {
    switch (field) {
      case 1:
        correlationIdMessage = reader.bytes();
        correlationId = decodeUuid(new ProtoReader(correlationIdMessage));
        break;
      case 2: {
        const content = reader.message();
        options = { stream: "", expected: "any", deadline: undefined };
        attempt(() => {
          options = decodeBatchOptions(content);
        });
        break;
      }
      case 3: {
        const content = reader.message();
        attempt(() => events.push(decodeProposedEvent(content)));
        break;
      }
      case 4:
        isFinal = reader.bool();
        break;
      default:
        reader.skip();
    }
  }
  if (correlationIdMessage === undefined) throw new BadRequest("The append has no correlation id.");
  return { correlationId, correlationIdMessage, options, events, fault, isFinal };
}

/** `Read`: reads and subscriptions, of one stream or of `$all`. */
export function decodeReadRequest(message: Buffer): ReadRequest {
  const request = {
    stream: undefined as string | undefined,
    from: undefined as ReadFrom | undefined,
    backwards: false,
    resolveLinks: false,
    count: undefined as number | undefined,
    filter: undefined as FilterExpression | undefined,
    uuidForm: "text" as UuidForm,
    compatibility: 0,
  };
  let isSubscription = false;
  const envelope = new ProtoReader(message);
  for (let outer = envelope.next(); outer !== 0; outer = envelope.next()) {
    if (outer !== 1) {
      envelope.skip();
      continue;
    }
    const options = envelope.message();
    for (let field = options.next(); field !== 0; field = options.next()) {
      switch (field) {
        case 1:
          [request.stream, request.from] = decodeStreamOptions(options.message());
          break;
        case 2:
          request.from = decodeAllOptions(options.message());
          break;
        case 3:
          request.backwards = options.uint64() === 1;
          break;
        case 4:
          request.resolveLinks = options.bool();
          break;
        case 5:
          request.count = options.uint64();
          break;
        case 6:
          options.skip();
          isSubscription = true;
          break;
        case 7:
          request.filter = decodeFilter(options.message());
          break;
        case 9:
          request.uuidForm = decodeUuidOption(options.message());
          break;
        case 10:
          request.compatibility = decodeControlOption(options.message());
          break;
        default:
          options.skip();
      }
    }
  }
  const { from } = request;
  if (from === undefined) throw new BadRequest("The read names neither a stream nor $all.");
  if (isSubscription) request.count = undefined;
  else if (request.count === undefined) throw new BadRequest("The read is neither limited nor a subscription.");
  return { ...request, from };
}

function decodeTarget(reader: ProtoReader): StreamTarget {
  const { stream, expected } = decodeBatchOptions(reader);
  return { stream, expected };
}

/** The options of all writes share their first five fields; only BatchAppend adds a deadline, in two forms. */
function decodeBatchOptions(reader: ProtoReader): StreamTarget & { deadline: number | undefined } {
  let stream = "";
  let expected: ExpectedRevision = "any";
  let deadline: number | undefined;
  for (let field = reader.next(); field !== 0; field = reader.next()) {
    switch (field) {
      case 1:
        stream = decodeStreamIdentifier(reader.message());
        break;
      case 2:
        expected = reader.uint64();
        break;
      case 3:
        reader.skip();
        expected = "no_stream";
        break;
      case 4:
        reader.skip();
        expected = "any";
        break;
      case 5:
        reader.skip();
        expected = "stream_exists";
        break;
      case 6: // deadline_21_10_0: a moment
        deadline = decodeSecondsAndNanos(reader.message());
        break;
      case 7: // deadline: a duration
        deadline = Date.now() + decodeSecondsAndNanos(reader.message());
        break;
      default:
        reader.skip();
    }
  }
  checkName(stream, "stream name");
  return { stream, expected, deadline };
}

function decodeProposedEvent(reader: ProtoReader): ProposedEvent {
  let id = "";
  let type = "";
  let contentType = "";
  let metadata = EMPTY;
  let data = EMPTY;
  for (let field = reader.next(); field !== 0; field = reader.next()) {
    switch (field) {
      case 1:
        id = decodeUuid(reader.message());
        break;
      case 2: {
        const [key, value] = decodeMapEntry(reader.message());
        if (key === "type") type = value;
        else if (key === "content-type") contentType = value;
        break;
      }
      case 3:
        metadata = reader.bytes();
        break;
      case 4:
        data = reader.bytes();
        break;
      default:
        reader.skip();
    }
  }
  if (type === "" || contentType === "") throw new MissingEventMetadata();
  checkName(type, "event type");
  if (id === "" || id === EMPTY_UUID) throw new BadRequest("An event has no id.");
  return { id, type, isJson: contentType === "application/json", data, metadata };
}

/** Names are repeated in every event: a limit keeps a mistake from filling the disk. */
const MAX_NAME_LENGTH = 4096;

function checkName(name: string, what: string): void {
  if (name === "") throw new BadRequest(`The ${what} is empty.`);
  if (name.length > MAX_NAME_LENGTH) throw new BadRequest(`The ${what} is longer than ${MAX_NAME_LENGTH} characters.`);
}

const EMPTY: Buffer = Buffer.alloc(0);
const EMPTY_UUID = "00000000-0000-0000-0000-000000000000";

function decodeMapEntry(reader: ProtoReader): [key: string, value: string] {
  let key = "";
  let value = "";
  for (let field = reader.next(); field !== 0; field = reader.next()) {
    if (field === 1) key = reader.string();
    else if (field === 2) value = reader.string();
    else reader.skip();
  }
  return [key, value];
}

function decodeUuid(reader: ProtoReader): string {
  for (let field = reader.next(); field !== 0; field = reader.next()) {
    if (field === 1) return decodeStructuredUuid(reader.message());
    if (field === 2) {
      const text = reader.string().toLowerCase();
      if (!isUuid(text)) throw new BadRequest("An id is not a UUID.");
      return text;
    }
    reader.skip();
  }
  return "";
}

function decodeStructuredUuid(reader: ProtoReader): string {
  let mostSignificant = 0n;
  let leastSignificant = 0n;
  for (let field = reader.next(); field !== 0; field = reader.next()) {
    if (field === 1) mostSignificant = reader.uint64AsBigInt();
    else if (field === 2) leastSignificant = reader.uint64AsBigInt();
    else reader.skip();
  }
  return uuidFromHalves(mostSignificant, leastSignificant);
}

function decodeStreamIdentifier(reader: ProtoReader): string {
  let name = "";
  for (let field = reader.next(); field !== 0; field = reader.next()) {
    if (field === 3) name = reader.string();
    else reader.skip();
  }
  return name;
}

/** google.protobuf.Timestamp and Duration have the same two fields. Gives milliseconds. */
function decodeSecondsAndNanos(reader: ProtoReader): number {
  let seconds = 0n;
  let nanos = 0n;
  for (let field = reader.next(); field !== 0; field = reader.next()) {
    if (field === 1) seconds = BigInt.asIntN(64, reader.uint64AsBigInt());
    else if (field === 2) nanos = BigInt.asIntN(32, reader.uint64AsBigInt());
    else reader.skip();
  }
  return Number(seconds) * 1000 + Number(nanos) / 1e6;
}

function decodeStreamOptions(reader: ProtoReader): [stream: string, from: ReadFrom] {
  let stream = "";
  let from: ReadFrom = "start";
  for (let field = reader.next(); field !== 0; field = reader.next()) {
    if (field === 1) stream = decodeStreamIdentifier(reader.message());
    else if (field === 2) from = fromNumber(reader.uint64());
    else {
      if (field === 3) from = "start";
      else if (field === 4) from = "end";
      reader.skip();
    }
  }
  checkName(stream, "stream name");
  return [stream, from];
}

function decodeAllOptions(reader: ProtoReader): ReadFrom {
  let from: ReadFrom = "start";
  for (let field = reader.next(); field !== 0; field = reader.next()) {
    if (field === 1) from = decodePosition(reader.message());
    else {
      if (field === 2) from = "start";
      else if (field === 3) from = "end";
      reader.skip();
    }
  }
  return from;
}

function decodePosition(reader: ProtoReader): ReadFrom {
  let commit = 0;
  for (let field = reader.next(); field !== 0; field = reader.next()) {
    if (field === 1) commit = reader.uint64();
    else reader.skip();
  }
  return fromNumber(commit);
}

/** 2^64-1 is the protocol's other way of saying "the end"; nothing beyond 2^53 can exist here. */
function fromNumber(value: number): ReadFrom {
  return value > Number.MAX_SAFE_INTEGER ? "end" : value;
}

/** The protocol's default for a filter that gives no window. */
const DEFAULT_WINDOW = 32;

function decodeFilter(reader: ProtoReader): FilterExpression {
  let on: FilterExpression["on"] | undefined;
  let regex = "";
  const prefixes: string[] = [];
  let window = DEFAULT_WINDOW;
  let checkpointIntervalMultiplier = 0;
  for (let field = reader.next(); field !== 0; field = reader.next()) {
    switch (field) {
      case 1:
      case 2: {
        on = field === 1 ? "stream" : "type";
        const expression = reader.message();
        for (let part = expression.next(); part !== 0; part = expression.next()) {
          if (part === 1) regex = expression.string();
          else if (part === 2) prefixes.push(expression.string());
          else expression.skip();
        }
        break;
      }
      case 3:
        window = reader.uint64();
        break;
      case 5:
        checkpointIntervalMultiplier = reader.uint64();
        break;
      default:
        reader.skip();
    }
  }
  if (on === undefined) throw new BadRequest("The filter says neither stream name nor event type.");
  return { on, regex, prefixes, window, checkpointIntervalMultiplier };
}

function decodeUuidOption(reader: ProtoReader): UuidForm {
  let form: UuidForm = "structured";
  for (let field = reader.next(); field !== 0; field = reader.next()) {
    if (field === 2) form = "text";
    reader.skip();
  }
  return form;
}

function decodeControlOption(reader: ProtoReader): number {
  let compatibility = 0;
  for (let field = reader.next(); field !== 0; field = reader.next()) {
    if (field === 1) compatibility = reader.uint64();
    else reader.skip();
  }
  return compatibility;
}

/** A message that is not protocol buffers at all, or one the store cannot act on. */
export function isRequestFault(error: unknown): error is BadRequest | MalformedMessage {
  return error instanceof BadRequest || error instanceof MalformedMessage;
}
