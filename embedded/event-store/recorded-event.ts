/**
 * The stored form of an event is the protocol's own `RecordedEvent` message: encoded once when it is written, copied
 * to the wire as it is whenever it is read. Only the event id stands in front in a fixed place, because each client
 * chooses per call whether it wants ids as text or as two 64-bit halves.
 */

import type { ProposedEvent } from "./events.js";
import { TOMBSTONE_REVISION } from "./events.js";
import { ProtoReader, varintSize, writeVarint } from "./protobuf.js";
import { uuidToBytes } from "./uuid.js";

// RecordedEvent: id = 1, stream_identifier = 2, stream_revision = 3, prepare_position = 4, commit_position = 5,
// metadata = 6 (map), custom_metadata = 7, data = 8. Tags are (field << 3) | wire type.
const TAG_ID = 0x0a;
const TAG_STREAM = 0x12;
const TAG_REVISION = 0x18;
const TAG_PREPARE = 0x20;
const TAG_COMMIT = 0x28;
const TAG_SYSTEM_METADATA = 0x32;
const TAG_CUSTOM_METADATA = 0x3a;
const TAG_DATA = 0x42;

/** `id: { string: <36 characters> }`: tag, length 38, inner tag, length 36. */
const TEXT_ID_HEADER = Buffer.from([TAG_ID, 38, 0x12, 36]);
const TEXT_ID_SIZE = TEXT_ID_HEADER.length + 36;

const CONTENT_TYPE_JSON = mapEntry("content-type", "application/json");
const CONTENT_TYPE_BINARY = mapEntry("content-type", "application/octet-stream");

/** What the wire calls the revision of a tombstone: 2^63-1 as a varint. */
const TOMBSTONE_REVISION_ON_THE_WIRE = Buffer.from([0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x7f]);

/** How event ids are sent to a client: as text, or as the two halves of a 128-bit number. */
export type UuidForm = "text" | "structured";

/**
 * Encodes an event at its place in stream and log.
 *
 * @param stream UTF-8 bytes of the stream's name
 * @param created commit time in milliseconds since the Unix epoch
 */
export function encodeRecord(
  event: ProposedEvent,
  stream: Buffer,
  revision: number,
  position: number,
  created: number,
): Buffer {
  const type = typeEntry(event.type);
  const contentType = event.isJson ? CONTENT_TYPE_JSON : CONTENT_TYPE_BINARY;
  // The protocol counts in ticks of 100 ns, as decimal text; they pass 2^53, the milliseconds do not.
  const createdEntry = mapEntry("created", `${created}0000`);
  const identifierSize = 1 + varintSize(stream.length) + stream.length;
  const size =
    TEXT_ID_SIZE +
    1 +
    varintSize(identifierSize) +
    identifierSize +
    3 * (1 + 10) +
    type.length +
    contentType.length +
    createdEntry.length +
    (1 + varintSize(event.metadata.length) + event.metadata.length) +
    (1 + varintSize(event.data.length) + event.data.length);

  const record = Buffer.allocUnsafe(size);
  let offset = TEXT_ID_HEADER.copy(record);
  offset += record.write(event.id, offset, 36, "latin1");
  record[offset++] = TAG_STREAM;
  offset = writeVarint(record, offset, identifierSize);
  record[offset++] = 0x1a; // stream_name = 3
  offset = writeVarint(record, offset, stream.length);
  offset += stream.copy(record, offset);
  record[offset++] = TAG_REVISION;
  if (revision === TOMBSTONE_REVISION) offset += TOMBSTONE_REVISION_ON_THE_WIRE.copy(record, offset);
  else offset = writeVarint(record, offset, revision);
  record[offset++] = TAG_PREPARE;
  offset = writeVarint(record, offset, position);
  record[offset++] = TAG_COMMIT;
  offset = writeVarint(record, offset, position);
  offset += type.copy(record, offset);
  offset += contentType.copy(record, offset);
  offset += createdEntry.copy(record, offset);
  if (event.metadata.length > 0) {
    record[offset++] = TAG_CUSTOM_METADATA;
    offset = writeVarint(record, offset, event.metadata.length);
    offset += event.metadata.copy(record, offset);
  }
  if (event.data.length > 0) {
    record[offset++] = TAG_DATA;
    offset = writeVarint(record, offset, event.data.length);
    offset += event.data.copy(record, offset);
  }
  return record.subarray(0, offset);
}

/** The event's id, in its text form. */
export function idOf(record: Buffer): string {
  return record.toString("latin1", TEXT_ID_HEADER.length, TEXT_ID_SIZE);
}

/** The event's data: the payload the client stored. */
export function dataOf(record: Buffer): Buffer {
  const reader = new ProtoReader(record, TEXT_ID_SIZE);
  for (let field = reader.next(); field !== 0; field = reader.next()) {
    if (field === 8) return reader.bytes();
    reader.skip();
  }
  return Buffer.alloc(0);
}

/** The record as a client asked to have it: the same bytes, the id in the other form if need be. */
export function recordInForm(record: Buffer, form: UuidForm): Buffer {
  if (form === "text") return record;
  const id = uuidToBytes(idOf(record));
  const inner = Buffer.allocUnsafe(22);
  let offset = 0;
  inner[offset++] = 0x08; // most_significant_bits = 1
  offset = writeBits64(inner, offset, id.readBigUInt64BE(0));
  inner[offset++] = 0x10; // least_significant_bits = 2
  offset = writeBits64(inner, offset, id.readBigUInt64BE(8));
  const header = Buffer.from([TAG_ID, offset + 2, 0x0a, offset]); // UUID: structured = 1
  return Buffer.concat([header, inner.subarray(0, offset), record.subarray(TEXT_ID_SIZE)]);
}

function writeBits64(buffer: Buffer, start: number, value: bigint): number {
  let offset = start;
  let rest = value;
  while (rest > 0x7fn) {
    buffer[offset++] = Number(rest & 0x7fn) | 0x80;
    rest >>= 7n;
  }
  buffer[offset++] = Number(rest);
  return offset;
}

/** One entry of the system metadata map: key = 1, value = 2. */
function mapEntry(key: string, value: string): Buffer {
  const keySize = Buffer.byteLength(key);
  const valueSize = Buffer.byteLength(value);
  const size = 1 + varintSize(keySize) + keySize + 1 + varintSize(valueSize) + valueSize;
  const entry = Buffer.allocUnsafe(1 + varintSize(size) + size);
  entry[0] = TAG_SYSTEM_METADATA;
  let offset = writeVarint(entry, 1, size);
  entry[offset++] = 0x0a;
  offset = writeVarint(entry, offset, keySize);
  offset += entry.write(key, offset, keySize, "utf8");
  entry[offset++] = 0x12;
  offset = writeVarint(entry, offset, valueSize);
  entry.write(value, offset, valueSize, "utf8");
  return entry;
}

/** Applications have few event types: their map entries are kept, encoded. */
const typeEntries = new Map<string, Buffer>();
const MAX_TYPE_ENTRIES = 1000;

function typeEntry(type: string): Buffer {
  let entry = typeEntries.get(type);
  if (entry === undefined) {
    entry = mapEntry("type", type);
    if (typeEntries.size >= MAX_TYPE_ENTRIES) typeEntries.clear();
    typeEntries.set(type, entry);
  }
  return entry;
}
