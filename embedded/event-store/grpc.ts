/**
 * gRPC over HTTP/2 (https://github.com/grpc/grpc/blob/master/doc/PROTOCOL-HTTP2.md), the server's side, on `node:http2`:
 * calls that take and send messages as bytes, whatever their shape (on the wire a unary call is a stream of one message).
 *
 * By hand and not with @grpc/grpc-js because of one thing it cannot do: put many messages into one write. A page of
 * events, and the answers to a group of appends, leave here in one piece.
 */

import type { IncomingHttpHeaders, OutgoingHttpHeaders, ServerHttp2Stream } from "node:http2";
import { constants } from "node:http2";
import type { FailureStatus } from "./status.js";
import { Code, COMPRESSION_NOT_SUPPORTED, DEADLINE_EXCEEDED, INTERNAL_ERROR, MESSAGE_TOO_LARGE } from "./status.js";

/** What a service does with one call. */
export interface CallHandler {
  onMessage(message: Buffer): void;
  /** The client has sent its last message. */
  onHalfClose?(): void;
}

/** Opens a handler for a new call. */
export type OpenCall = (call: Call) => CallHandler;

/** Decides on a call before it is handled; a refused call is failed there. */
export type Guard = (call: Call) => boolean;

/** A service: its full name, and what each of its methods does. */
export interface Service {
  readonly name: string;
  readonly methods: Readonly<Record<string, OpenCall>>;
}

/** Every message is preceded by a byte that says whether it is compressed, and its length in four bytes. */
const PREFIX_SIZE = 5;

/** Larger than any part that clients send (3 MiB of events), with room for a single large event. */
const MAX_MESSAGE_BYTES = 32 * 1024 * 1024;

/** Messages sent in one turn of the event loop are gathered up to this size into one write. */
const MAX_GATHERED_BYTES = 64 * 1024;

const RESPONSE_HEADERS: OutgoingHttpHeaders = {
  ":status": 200,
  "content-type": "application/grpc+proto",
  "grpc-accept-encoding": "identity",
};

/** One call of one client. */
export class Call {
  private readonly stream: ServerHttp2Stream;
  private readonly headers: IncomingHttpHeaders;
  private readonly deadline: number;
  private readonly closeListeners = new Set<() => void>();
  private readonly incoming = new MessageReader();
  private gathered: Buffer[] = [];
  private gatheredBytes = 0;
  private hasEnded = false;

  constructor(stream: ServerHttp2Stream, headers: IncomingHttpHeaders) {
    this.stream = stream;
    this.headers = headers;
    this.deadline = Date.now() + parseTimeout(headers["grpc-timeout"]);
    stream.on("close", () => this.close());
    // A broken connection; "close" follows.
    stream.on("error", () => undefined);
  }

  /** A header of the request. */
  header(name: string): string | undefined {
    const value = this.headers[name];
    return Array.isArray(value) ? value[0] : value;
  }

  /** True when nothing can be sent any more: answered, failed, cancelled or disconnected. */
  get isClosed(): boolean {
    return this.hasEnded;
  }

  /** Runs the function once the call is over, for whatever reason. */
  onClose(listener: () => void): void {
    if (this.hasEnded) listener();
    else this.closeListeners.add(listener);
  }

  /** Hands the messages of the client to the handler. A handler that throws ends this call, and only this. */
  receive(handler: CallHandler, onFault: (error: unknown) => void): void {
    const { stream } = this;
    const guarded = (action: () => void) => {
      try {
        action();
      } catch (error) {
        onFault(error);
        this.fail(INTERNAL_ERROR);
      }
    };
    const take = (message: Buffer) => {
      if (this.hasEnded) return;
      // A timer cannot tell while a burst of messages is being handled: the deadline is looked at before each.
      if (this.deadline <= Date.now()) this.fail(DEADLINE_EXCEEDED);
      else guarded(() => handler.onMessage(message));
    };
    stream.on("data", (chunk: Buffer) => {
      // What still arrives after the end is read and thrown away: unread, it would hold up the whole connection.
      if (this.hasEnded) return;
      const fault = this.incoming.push(chunk, take);
      if (fault !== undefined) this.fail(fault);
    });
    stream.on("end", () => {
      if (!this.hasEnded) guarded(() => handler.onHalfClose?.());
    });
  }

  /** Sends a message. False: the client is not reading fast enough, wait for `drained` before sending more. */
  send(message: Buffer): boolean {
    if (this.hasEnded) return true;
    if (this.gathered.length === 0) queueMicrotask(() => this.flush());
    const prefix = Buffer.allocUnsafe(PREFIX_SIZE);
    prefix[0] = 0;
    prefix.writeUInt32BE(message.length, 1);
    this.gathered.push(prefix, message);
    this.gatheredBytes += PREFIX_SIZE + message.length;
    if (this.gatheredBytes >= MAX_GATHERED_BYTES) this.flush();
    return !this.stream.writableNeedDrain;
  }

  /** Resolves when more can be sent, or the call is over. */
  async drained(): Promise<void> {
    this.flush();
    if (this.hasEnded || !this.stream.writableNeedDrain) return;
    await new Promise<void>((resolve) => {
      const done = () => {
        this.stream.off("drain", done);
        this.closeListeners.delete(done);
        resolve();
      };
      this.stream.once("drain", done);
      this.closeListeners.add(done);
    });
  }

  /** Stops taking messages: the client's sending window closes soon after. */
  pause(): void {
    this.stream.pause();
  }

  resume(): void {
    if (this.stream.isPaused()) this.stream.resume();
  }

  /** Sends the only answer and ends the call. */
  answer(message: Buffer): void {
    this.send(message);
    this.end();
  }

  /** Ends the call well. */
  end(): void {
    this.finish({ "grpc-status": "0" });
  }

  /** Ends the call with an error. */
  fail({ code, details, trailers }: FailureStatus): void {
    this.finish({
      "grpc-status": `${code}`,
      "grpc-message": encodeURI(details),
      ...Object.fromEntries(Object.entries(trailers ?? {}).map(([name, value]) => [name, toAscii(value)])),
    });
  }

  private finish(trailers: OutgoingHttpHeaders): void {
    if (this.hasEnded) return;
    this.flush();
    this.close();
    const { stream } = this;
    if (stream.destroyed) return;
    this.resume();
    if (stream.headersSent) {
      stream.on("wantTrailers", () => stream.sendTrailers(trailers));
      stream.end();
    } else {
      // Nothing was sent: status and headers go together.
      stream.respond({ ...RESPONSE_HEADERS, ...trailers }, { endStream: true });
    }
  }

  /** Writes what was gathered, in one piece. */
  private flush(): void {
    if (this.gathered.length === 0) return;
    const bytes = Buffer.concat(this.gathered, this.gatheredBytes);
    this.gathered = [];
    this.gatheredBytes = 0;
    if (this.stream.destroyed) return;
    if (!this.stream.headersSent) this.stream.respond(RESPONSE_HEADERS, { waitForTrailers: true });
    this.stream.write(bytes);
  }

  private close(): void {
    if (this.hasEnded) return;
    this.hasEnded = true;
    for (const listener of [...this.closeListeners]) listener();
    this.closeListeners.clear();
  }
}

/** Cuts the bytes of a call into messages. */
class MessageReader {
  private pending: Buffer[] = [];
  private pendingBytes = 0;

  /** Takes the next bytes and passes on each message they complete. Gives what is wrong with them, if anything. */
  push(chunk: Buffer, take: (message: Buffer) => void): FailureStatus | undefined {
    let rest = chunk;
    if (this.pendingBytes > 0) {
      this.pending.push(chunk);
      this.pendingBytes += chunk.length;
      // Joining only when a message is whole keeps a large one, arriving in many pieces, from being copied each time.
      if (this.pendingBytes < PREFIX_SIZE + this.nextLength()) return undefined;
      rest = Buffer.concat(this.pending, this.pendingBytes);
    }
    while (rest.length >= PREFIX_SIZE) {
      const length = rest.readUInt32BE(1);
      if (rest[0] !== 0) return COMPRESSION_NOT_SUPPORTED;
      if (length > MAX_MESSAGE_BYTES) return MESSAGE_TOO_LARGE;
      const end = PREFIX_SIZE + length;
      if (rest.length < end) break;
      take(rest.subarray(PREFIX_SIZE, end));
      rest = rest.subarray(end);
    }
    this.pending = rest.length === 0 ? [] : [rest];
    this.pendingBytes = rest.length;
    return undefined;
  }

  /** Length of the message that has begun to arrive; 0 while even that is not known. */
  private nextLength(): number {
    if (this.pendingBytes < PREFIX_SIZE) return 0;
    let [first] = this.pending as [Buffer];
    if (first.length < PREFIX_SIZE) {
      first = Buffer.concat(this.pending, this.pendingBytes);
      this.pending = [first];
    }
    return first.readUInt32BE(1);
  }
}

/** Milliseconds per unit of the `grpc-timeout` header. */
const TIMEOUT_UNITS: Readonly<Record<string, number>> = { H: 3_600_000, M: 60_000, S: 1000, m: 1, u: 1e-3, n: 1e-6 };

/**
 * Milliseconds until the deadline. Clients round what is left up, to 1n or 1m when nothing is: the last millisecond is
 * not used, or a call whose time was over before it came would be carried out within that time.
 */
function parseTimeout(header: string | string[] | undefined): number {
  const parts = typeof header === "string" ? /^(\d{1,8})([HMSmun])$/.exec(header) : null;
  if (parts === null) return Number.POSITIVE_INFINITY;
  return Math.ceil(Number(parts[1]) * (TIMEOUT_UNITS[parts[2] as string] as number)) - 1;
}

/** Header values are printable ASCII; anything else is percent-encoded. */
function toAscii(text: string): string {
  return /^[\x20-\x7e]*$/.test(text) ? text : encodeURIComponent(text);
}

/** Open calls, to be ended at shutdown. */
export class OpenCalls {
  private readonly calls = new Set<Call>();

  add(call: Call): void {
    this.calls.add(call);
    call.onClose(() => this.calls.delete(call));
  }

  failAll(status: FailureStatus): void {
    for (const call of [...this.calls]) call.fail(status);
  }
}

/** Finds a call's method. */
export class Router {
  private readonly methods = new Map<string, { open: OpenCall; guard: Guard }>();
  private readonly calls: OpenCalls;
  private readonly onFault: (error: unknown) => void;

  constructor(calls: OpenCalls, onFault: (error: unknown) => void) {
    this.calls = calls;
    this.onFault = onFault;
  }

  /** Offers a service to those whom the guard lets through. */
  add(service: Service, guard: Guard): void {
    for (const [method, open] of Object.entries(service.methods)) {
      this.methods.set(`/${service.name}/${method}`, { open, guard });
    }
  }

  /** Begins a call. */
  route(stream: ServerHttp2Stream, headers: IncomingHttpHeaders): void {
    if (!headers["content-type"]?.startsWith("application/grpc")) {
      stream.on("error", () => undefined);
      stream.respond({ ":status": constants.HTTP_STATUS_UNSUPPORTED_MEDIA_TYPE }, { endStream: true });
      return;
    }
    const call = new Call(stream, headers);
    const path = headers[":path"] as string;
    const method = this.methods.get(path);
    if (method === undefined) {
      stream.resume();
      call.fail({ code: Code.UNIMPLEMENTED, details: `The server does not offer ${path}` });
      return;
    }
    this.calls.add(call);
    if (!method.guard(call)) {
      stream.resume();
      return;
    }
    call.receive(method.open(call), this.onFault);
  }
}
