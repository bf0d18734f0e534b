/**
 * The protocol-buffer wire format (https://protobuf.dev/programming-guides/encoding), as much as the EventStoreDB
 * protocol uses: varints, length-delimited fields, nested messages. Written by hand because the store sits on it with
 * every append and every read; it costs about a tenth of the generated code.
 */

const TWO_POW_32 = 2 ** 32;

/** Every unsigned 64-bit value from 2^53 upwards is only approximate as a number; the largest reads as 2^64. */
const MAX_UINT64 = 2 ** 64;

/** The bytes are not a message of the expected shape: the sender broke the protocol. */
export class MalformedMessage extends Error {
  override readonly name = "MalformedMessage";
}

/** Reads the fields of one message, in the order in which they were sent. */
export class ProtoReader {
  private readonly buffer: Buffer;
  private readonly end: number;
  private offset: number;
  private wireType = 0;

  constructor(buffer: Buffer, offset = 0, end = buffer.length) {
    this.buffer = buffer;
    this.offset = offset;
    this.end = end;
  }

  /** Moves to the next field. Gives its number, or 0 at the end of the message. */
  next(): number {
    if (this.offset >= this.end) return 0;
    const tag = this.uint64();
    this.wireType = tag & 7;
    const field = Math.floor(tag / 8);
    if (field === 0) throw new MalformedMessage("a field has number 0");
    return field;
  }

  /** An unsigned varint; exact below 2^53, the nearest double above it (sentinels stay recognisably huge). */
  uint64(): number {
    const { buffer } = this;
    let byte = this.byte();
    if (byte < 0x80) return byte;
    let value = byte & 0x7f;
    let scale = 0x80;
    for (let length = 1; length < 10; length++) {
      if (this.offset >= this.end) break;
      byte = buffer[this.offset++] as number;
      value += (byte & 0x7f) * scale;
      if (byte < 0x80) return value;
      scale *= 0x80;
    }
    throw new MalformedMessage("a varint does not end");
  }

  /** An unsigned varint with all its 64 bits. */
  uint64AsBigInt(): bigint {
    let value = 0n;
    for (let shift = 0n; shift < 70n; shift += 7n) {
      const byte = this.byte();
      value |= BigInt(byte & 0x7f) << shift;
      if (byte < 0x80) return BigInt.asUintN(64, value);
    }
    throw new MalformedMessage("a varint does not end");
  }

  bool(): boolean {
    return this.uint64() !== 0;
  }

  /** A view of the field's bytes inside the request: copy it before keeping it. */
  bytes(): Buffer {
    const start = this.delimited();
    return this.buffer.subarray(start, this.offset);
  }

  string(): string {
    const start = this.delimited();
    return this.buffer.toString("utf8", start, this.offset);
  }

  /** The field as a nested message. */
  message(): ProtoReader {
    const start = this.delimited();
    return new ProtoReader(this.buffer, start, this.offset);
  }

  /** Passes over the field's value: unknown fields are allowed and ignored. */
  skip(): void {
    switch (this.wireType) {
      case 0:
        this.uint64();
        return;
      case 1:
        this.advance(8);
        return;
      case 2:
        this.delimited();
        return;
      case 5:
        this.advance(4);
        return;
      default:
        throw new MalformedMessage(`wire type ${this.wireType} is not known`);
    }
  }

  private byte(): number {
    if (this.offset >= this.end) throw new MalformedMessage("the message is cut short");
    return this.buffer[this.offset++] as number;
  }

  /** Steps over a length-delimited value; gives where it starts. */
  private delimited(): number {
    if (this.wireType !== 2) throw new MalformedMessage("a length-delimited field was expected");
    const length = this.uint64();
    const start = this.offset;
    this.advance(length);
    return start;
  }

  private advance(length: number): void {
    if (length > this.end - this.offset) throw new MalformedMessage("the message is cut short");
    this.offset += length;
  }
}

/** Builds one message. Not re-entrant: finish one message before starting the next with the same writer. */
export class ProtoWriter {
  private buffer = Buffer.allocUnsafeSlow(1024);
  private length = 0;

  /** An unsigned varint field; 2^64 and above become the largest unsigned 64-bit value. */
  uint64(field: number, value: number): this {
    this.tag(field, 0);
    this.varint(value);
    return this;
  }

  /** A signed 64-bit field (int64, not zig-zag). */
  int64(field: number, value: bigint): this {
    this.tag(field, 0);
    let rest = BigInt.asUintN(64, value);
    this.reserve(10);
    while (rest > 0x7fn) {
      this.buffer[this.length++] = Number(rest & 0x7fn) | 0x80;
      rest >>= 7n;
    }
    this.buffer[this.length++] = Number(rest);
    return this;
  }

  bool(field: number, value: boolean): this {
    return this.uint64(field, value ? 1 : 0);
  }

  string(field: number, value: string): this {
    const size = Buffer.byteLength(value);
    this.tag(field, 2);
    this.varint(size);
    this.reserve(size);
    this.length += this.buffer.write(value, this.length, size, "utf8");
    return this;
  }

  bytes(field: number, value: Uint8Array): this {
    this.tag(field, 2);
    this.varint(value.length);
    this.raw(value);
    return this;
  }

  /** A nested message, written by `content`; without it, an empty one. */
  message(field: number, content?: (writer: this) => void): this {
    this.tag(field, 2);
    this.reserve(1);
    const start = ++this.length;
    content?.(this);
    const size = this.length - start;
    if (size < 0x80) {
      this.buffer[start - 1] = size;
      return this;
    }
    // One byte was kept for the length; a longer one pushes the content along.
    const extra = varintSize(size) - 1;
    this.reserve(extra);
    this.buffer.copyWithin(start + extra, start, this.length);
    this.length = start - 1;
    this.varint(size);
    this.length += size;
    return this;
  }

  /** Bytes that are already encoded. */
  raw(value: Uint8Array): this {
    this.reserve(value.length);
    this.buffer.set(value, this.length);
    this.length += value.length;
    return this;
  }

  /** The finished message, in memory of its own; the writer is empty again. */
  finish(): Buffer {
    const message = Buffer.allocUnsafe(this.length);
    this.buffer.copy(message, 0, 0, this.length);
    this.length = 0;
    return message;
  }

  private tag(field: number, wireType: number): void {
    this.varint(field * 8 + wireType);
  }

  private varint(value: number): void {
    this.reserve(10);
    this.length = writeVarint(this.buffer, this.length, value);
  }

  private reserve(size: number): void {
    if (this.length + size <= this.buffer.length) return;
    const larger = Buffer.allocUnsafeSlow(Math.max(this.buffer.length * 2, this.length + size));
    this.buffer.copy(larger, 0, 0, this.length);
    this.buffer = larger;
  }
}

/** Writes an unsigned varint at `offset` (up to 10 bytes); gives the offset behind it. */
export function writeVarint(buffer: Buffer, offset: number, value: number): number {
  if (value >= MAX_UINT64) {
    buffer.fill(0xff, offset, offset + 9);
    buffer[offset + 9] = 1;
    return offset + 10;
  }
  let rest = value;
  // Bit operations see 32 bits only: divide until the rest fits.
  while (rest >= TWO_POW_32 / 2) {
    buffer[offset++] = (rest % 0x80) | 0x80;
    rest = Math.floor(rest / 0x80);
  }
  while (rest > 0x7f) {
    buffer[offset++] = (rest & 0x7f) | 0x80;
    rest >>>= 7;
  }
  buffer[offset++] = rest;
  return offset;
}

/** How many bytes the value takes as a varint. */
export function varintSize(value: number): number {
  let size = 1;
  for (let rest = value; rest >= 0x80 && size < 10; rest /= 0x80) size++;
  return size;
}
