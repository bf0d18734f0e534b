/**
 * Reading over the driver's own channel. The driver's `readAll` cannot filter, its reads and subscriptions ignore
 * deadlines, and its protobuf classes cost more than the rest of a read; here a `Read` call is decoded by hand.
 * Only the `eventstoredb*.ts` files know the driver.
 */
import type { EventStoreDBClient } from "@eventstore/db-client";
import sharedPb from "@eventstore/db-client/generated/shared_pb.js";
import streamsPb from "@eventstore/db-client/generated/streams_pb.js";
import {
  type CallOptions,
  type Client,
  type ClientReadableStream,
  type Metadata,
  makeGenericClientConstructor,
} from "@grpc/grpc-js";
import type { LogPosition, StoredEvent, SubscriptionItem } from "./event-store.js";
import { openCall } from "./eventstoredb-channel.js";

const { ReadReq } = streamsPb;
const { Options } = ReadReq;
const { Empty, StreamIdentifier } = sharedPb;

/** One message of a `Read` call. `other`: confirmations and hints that nobody here needs. */
export type ReadMessage = SubscriptionItem | { readonly kind: "stream-not-found" } | { readonly kind: "other" };

/** Where a read starts and what it gives. Positions are inclusive forwards, exclusive for subscriptions. */
export type ReadRequest = {
  readonly stream?: { readonly name: string; readonly from: number };
  readonly log?: { readonly from: LogPosition | "start" | "end"; readonly backwards?: boolean };
  /** Log only: names of streams begin with one of these; absent means every stream but system streams. */
  readonly streamPrefixes?: readonly string[] | undefined;
  /** Events at most; absent means a subscription, which does not end. */
  readonly limit?: number;
};

const ReadClient = makeGenericClientConstructor(
  {
    read: {
      path: "/event_store.client.streams.Streams/Read",
      requestStream: false,
      responseStream: true,
      requestSerialize: (request: Buffer) => request,
      requestDeserialize: (bytes: Buffer) => bytes,
      responseSerialize: (bytes: Buffer) => bytes,
      responseDeserialize: decodeReadResponse,
    },
  },
  "event_store.client.streams.Streams",
);

type RawRead = Client & {
  read(request: Buffer, metadata: Metadata, options: CallOptions): ClientReadableStream<ReadMessage>;
};

/**
 * Opens a `Read` call.
 *
 * @param deadline when the whole call must be over; absent for a subscription
 * @returns the call, an object stream of {@link ReadMessage}; a consumer that leaves early must `cancel()` it
 * @throws a gRPC error, also from the stream
 */
export function openRead(
  client: EventStoreDBClient,
  request: ReadRequest,
  deadline?: Date,
): Promise<ClientReadableStream<ReadMessage>> {
  const bytes = encodeReadRequest(request);
  const read = (raw: Client, metadata: Metadata, options: CallOptions) =>
    (raw as RawRead).read(bytes, metadata, options);
  return openCall(client, ReadClient, "read", read, deadline);
}

function encodeReadRequest(request: ReadRequest): Buffer {
  const options = new Options();
  const uuid = new Options.UUIDOption();
  uuid.setString(new Empty());
  options.setUuidOption(uuid);
  options.setReadDirection(request.log?.backwards ? 1 : 0);
  if (request.limit === undefined) options.setSubscription(new Options.SubscriptionOptions());
  else options.setCount(String(request.limit));

  if (request.stream) {
    const identifier = new StreamIdentifier();
    identifier.setStreamName(Buffer.from(request.stream.name, "utf8"));
    const stream = new Options.StreamOptions();
    stream.setStreamIdentifier(identifier);
    stream.setRevision(String(request.stream.from));
    options.setStream(stream);
    options.setNoFilter(new Empty());
  } else {
    const from = request.log?.from ?? "start";
    const all = new Options.AllOptions();
    if (from === "start") all.setStart(new Empty());
    else if (from === "end") all.setEnd(new Empty());
    else {
      const position = new Options.Position();
      position.setCommitPosition(BigInt(from).toString());
      position.setPreparePosition(BigInt(from).toString());
      all.setPosition(position);
    }
    options.setAll(all);
    options.setFilter(streamFilter(request.streamPrefixes));
  }
  const message = new ReadReq();
  message.setOptions(options);
  return Buffer.from(message.serializeBinary());
}

/** Records looked at per page by the server, and pages per checkpoint: about one checkpoint per 1 024 foreign records. */
const searchWindow = 256;
const checkpointInterval = 4;

function streamFilter(prefixes: readonly string[] | undefined) {
  const expression = new Options.FilterOptions.Expression();
  if (prefixes) expression.setPrefixList([...prefixes]);
  else expression.setRegex("^[^$].*");
  const filter = new Options.FilterOptions();
  filter.setStreamIdentifier(expression);
  filter.setMax(searchWindow);
  filter.setCheckpointintervalmultiplier(checkpointInterval);
  return filter;
}

/** Reads the wire form of protobuf: tags, varints, length-delimited fields. */
class WireReader {
  private at: number;

  constructor(
    private readonly bytes: Buffer,
    start: number,
    private readonly end: number,
  ) {
    this.at = start;
  }

  /** Next field number and wire type; 0 at the end. */
  tag(): number {
    return this.at < this.end ? this.number() : 0;
  }

  /** Varint as a number; exact up to 2^53, which revisions and lengths never pass. */
  number(): number {
    let value = 0;
    let scale = 1;
    for (;;) {
      // Past the end there is no byte below 0x80, and the loop would never end.
      if (this.at >= this.end) throw new RangeError("a protobuf message ends too early");
      const byte = this.bytes[this.at++] as number;
      value += (byte & 0x7f) * scale;
      if (byte < 0x80) return value;
      scale *= 128;
    }
  }

  /** Unsigned 64-bit varint as 20 decimal digits. */
  position(): LogPosition {
    const start = this.at;
    const value = this.number();
    if (Number.isSafeInteger(value)) return String(value).padStart(20, "0");
    let exact = 0n;
    for (let index = this.at - 1; index >= start; index--) {
      exact = (exact << 7n) | BigInt((this.bytes[index] as number) & 0x7f);
    }
    return exact.toString().padStart(20, "0");
  }

  /** The bytes of a length-delimited field as a reader of their own. */
  message(): WireReader {
    const length = this.number();
    const start = this.at;
    this.at += length;
    return new WireReader(this.bytes, start, this.at);
  }

  isEmpty(): boolean {
    return this.at === this.end;
  }

  /** All bytes as UTF-8. */
  text(): string {
    return this.bytes.toString("utf8", this.at, this.end);
  }

  /** A copy of all bytes: a view would pin the whole network buffer. */
  copy(): Uint8Array {
    return Uint8Array.from(this.bytes.subarray(this.at, this.end));
  }

  /** All bytes as JSON, or what `otherwise` makes of them where another program wrote something else. */
  json(otherwise: (text: string, bytes: WireReader) => unknown): unknown {
    const text = this.text();
    try {
      return JSON.parse(text);
    } catch {
      return otherwise(text, this);
    }
  }

  skip(tag: number): void {
    const wireType = tag & 7;
    if (wireType === 0) this.number();
    else if (wireType === 1) this.at += 8;
    else if (wireType === 2) this.message();
    else if (wireType === 5) this.at += 4;
    else throw new Error(`unknown protobuf wire type ${wireType}`);
  }
}

const lengthDelimited = (field: number) => (field << 3) | 2;
const varint = (field: number) => field << 3;

function decodeReadResponse(bytes: Buffer): ReadMessage {
  const reader = new WireReader(bytes, 0, bytes.length);
  for (let tag = reader.tag(); tag !== 0; tag = reader.tag()) {
    switch (tag) {
      case lengthDelimited(1):
        return { kind: "event", event: decodeReadEvent(reader.message()) };
      case lengthDelimited(3):
        return { kind: "checkpoint", position: decodeCheckpoint(reader.message()) };
      case lengthDelimited(4):
        return { kind: "stream-not-found" };
      case lengthDelimited(8):
        return { kind: "caught-up" };
      default:
        reader.skip(tag);
    }
  }
  return { kind: "other" };
}

function decodeCheckpoint(reader: WireReader): LogPosition {
  let position = "0".repeat(20);
  for (let tag = reader.tag(); tag !== 0; tag = reader.tag()) {
    if (tag === varint(1)) position = reader.position();
    else reader.skip(tag);
  }
  return position;
}

function decodeReadEvent(reader: WireReader): StoredEvent {
  for (let tag = reader.tag(); tag !== 0; tag = reader.tag()) {
    if (tag === lengthDelimited(1)) return decodeRecordedEvent(reader.message());
    reader.skip(tag);
  }
  throw new Error("a Read answer without an event: links are not asked for");
}

function decodeRecordedEvent(reader: WireReader): StoredEvent {
  let id = "";
  let stream = "";
  let revision = 0;
  let position: LogPosition = "0".repeat(20);
  let type = "";
  let isJson = false;
  let createdTicks = "0";
  let customMetadata: WireReader | undefined;
  let data: WireReader | undefined;
  for (let tag = reader.tag(); tag !== 0; tag = reader.tag()) {
    switch (tag) {
      case lengthDelimited(1):
        id = decodeUuid(reader.message());
        break;
      case lengthDelimited(2):
        stream = decodeStreamIdentifier(reader.message());
        break;
      case varint(3):
        revision = reader.number();
        break;
      case varint(5):
        position = reader.position();
        break;
      case lengthDelimited(6): {
        const [key, value] = decodeMapEntry(reader.message());
        if (key === "type") type = value;
        else if (key === "content-type") isJson = value === "application/json";
        else if (key === "created") createdTicks = value;
        break;
      }
      case lengthDelimited(7):
        customMetadata = reader.message();
        break;
      case lengthDelimited(8):
        data = reader.message();
        break;
      default:
        reader.skip(tag);
    }
  }
  return {
    id,
    stream,
    revision,
    position,
    type,
    data: isJson ? (data?.json((text) => text) ?? "") : (data?.copy() ?? new Uint8Array()),
    metadata: customMetadata?.isEmpty() === false ? customMetadata.json((_, bytes) => bytes.copy()) : undefined,
    // .NET ticks of 100 ns since the Unix epoch: the last four digits are below a millisecond.
    created: new Date(Number(createdTicks.slice(0, -4))),
  };
}

/** One entry of a `map<string, string>`. */
function decodeMapEntry(reader: WireReader): [key: string, value: string] {
  let key = "";
  let value = "";
  for (let tag = reader.tag(); tag !== 0; tag = reader.tag()) {
    if (tag === lengthDelimited(1)) key = reader.message().text();
    else if (tag === lengthDelimited(2)) value = reader.message().text();
    else reader.skip(tag);
  }
  return [key, value];
}

function decodeStreamIdentifier(reader: WireReader): string {
  for (let tag = reader.tag(); tag !== 0; tag = reader.tag()) {
    if (tag === lengthDelimited(3)) return reader.message().text();
    reader.skip(tag);
  }
  return "";
}

function decodeUuid(reader: WireReader): string {
  for (let tag = reader.tag(); tag !== 0; tag = reader.tag()) {
    if (tag === lengthDelimited(2)) return reader.message().text();
    reader.skip(tag);
  }
  return "";
}
