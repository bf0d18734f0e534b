import { connect } from "node:http2";

/** How a gRPC call ended, as it came over the wire. */
export type RawAnswer = {
  /** Bytes of the answers, length prefixes included. */
  readonly body: Buffer;
  /** Headers and trailers together: `grpc-status`, `grpc-message` and the rest. */
  readonly trailers: Readonly<Record<string, string>>;
};

/**
 * One gRPC call without a client library, for what the official client hides: texts of failures, trailers, time-outs.
 *
 * @param server `http://host:port`
 * @param path `/service/Method`
 */
export async function rawCall(
  server: string,
  path: string,
  message: Buffer,
  headers: Readonly<Record<string, string>> = {},
): Promise<RawAnswer> {
  const session = connect(server);
  const call = session.request({ ":method": "POST", ":path": path, "content-type": "application/grpc", ...headers });
  const trailers: Record<string, string> = {};
  const chunks: Buffer[] = [];
  call.on("response", (received) => Object.assign(trailers, received));
  call.on("trailers", (received) => Object.assign(trailers, received));
  call.on("data", (chunk) => chunks.push(chunk));
  const prefix = Buffer.alloc(5);
  prefix.writeUInt32BE(message.length, 1);
  call.end(Buffer.concat([prefix, message]));
  await new Promise((resolve, reject) => call.once("close", resolve).once("error", reject));
  session.close();
  return { body: Buffer.concat(chunks), trailers };
}

/** A length-delimited field of a protocol-buffer message. */
export function field(number: number, content: Buffer): Buffer {
  const { length } = content;
  const size = length < 0x80 ? [length] : [(length & 0x7f) | 0x80, length >> 7];
  if (length >= 0x4000) throw new RangeError("contents of 16 KiB and more are not needed here");
  return Buffer.concat([Buffer.from([number * 8 + 2, ...size]), content]);
}
