/** UUIDs between the three forms the protocol knows: text, 16 bytes, two 64-bit halves. */

const UUID_PATTERN = /^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$/i;

/** True for the 36-character text form; version and variant bits are not looked at. */
export function isUuid(text: string): boolean {
  return UUID_PATTERN.test(text);
}

export function uuidToBytes(text: string): Buffer {
  return Buffer.from(text.replaceAll("-", ""), "hex");
}

export function uuidFromBytes(bytes: Buffer): string {
  const hex = bytes.toString("hex");
  return `${hex.slice(0, 8)}-${hex.slice(8, 12)}-${hex.slice(12, 16)}-${hex.slice(16, 20)}-${hex.slice(20, 32)}`;
}

/** From the protocol's structured form: the halves are 64-bit numbers, most significant first. */
export function uuidFromHalves(mostSignificant: bigint, leastSignificant: bigint): string {
  const bytes = Buffer.allocUnsafe(16);
  bytes.writeBigUInt64BE(BigInt.asUintN(64, mostSignificant), 0);
  bytes.writeBigUInt64BE(BigInt.asUintN(64, leastSignificant), 8);
  return uuidFromBytes(bytes);
}
