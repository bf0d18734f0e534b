/**
 * gRPC, reduced to what the services need: a call that takes and sends messages as bytes, whatever its shape (on the
 * wire a unary call is a stream of one message). Encoding stays out of it, so that stored events pass through untouched.
 */

import type { ServerDuplexStream, ServiceDefinition } from "@grpc/grpc-js";
import { Metadata } from "@grpc/grpc-js";
import type { FailureStatus } from "./status.js";
import { CANCELLED_BY_SHUTDOWN, DEADLINE_EXCEEDED, INTERNAL_ERROR } from "./status.js";

/** What a service does with one call. Both run inside the call's error handling: throwing ends only this call. */
export interface CallHandler {
  onMessage(message: Buffer): void;
  /** The client has sent its last message. */
  onHalfClose?(): void;
}

/** One call of one client. */
export class Call {
  private readonly stream: ServerDuplexStream<Buffer, Buffer>;
  private readonly closeListeners = new Set<() => void>();
  private hasEnded = false;

  constructor(stream: ServerDuplexStream<Buffer, Buffer>) {
    this.stream = stream;
    stream.on("cancelled", () => this.close());
    stream.on("close", () => this.close());
    stream.on("error", () => this.close());
  }

  /** A header of the request, as text. */
  header(name: string): string | undefined {
    const [value] = this.stream.metadata.get(name);
    return value === undefined ? undefined : value.toString();
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

  /** Whether the client's deadline has passed. A timer cannot tell while a burst of messages is being handled. */
  get isExpired(): boolean {
    const deadline = this.stream.getDeadline();
    return (typeof deadline === "number" ? deadline : deadline.getTime()) <= Date.now();
  }

  /** Sends a message. False: the client is not reading fast enough, wait for `drained` before sending more. */
  send(message: Buffer): boolean {
    return this.hasEnded || this.stream.write(message);
  }

  /** Resolves when more can be sent, or the call is over. */
  async drained(): Promise<void> {
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

  /** Ends the call well. */
  end(): void {
    if (this.hasEnded) return;
    this.stream.end();
    this.close();
  }

  /** Sends the only answer and ends the call. */
  answer(message: Buffer): void {
    this.send(message);
    this.end();
  }

  /** Ends the call with an error. */
  fail(status: FailureStatus): void {
    if (this.hasEnded) return;
    this.close();
    const metadata = new Metadata();
    for (const [key, value] of Object.entries(status.trailers ?? {})) metadata.set(key, toAscii(value));
    // grpc-js sends an error of a streaming call only this way; destroying the stream would leave the client waiting.
    this.stream.emit("error", { code: status.code, details: status.details, metadata });
  }

  private close(): void {
    if (this.hasEnded) return;
    this.hasEnded = true;
    for (const listener of [...this.closeListeners]) listener();
    this.closeListeners.clear();
  }
}

/** Header values are printable ASCII; anything else is percent-encoded. */
function toAscii(text: string): string {
  return /^[\x20-\x7e]*$/.test(text) ? text : encodeURIComponent(text);
}

/** Opens a handler for a new call; undefined when the call was already failed. */
export type OpenCall = (call: Call) => CallHandler | undefined;

/** A service: its full name, and what each of its methods does. */
export interface Service {
  readonly name: string;
  readonly methods: Readonly<Record<string, OpenCall>>;
}

/** Open calls, to be ended at shutdown. */
export class OpenCalls {
  private readonly calls = new Set<Call>();

  add(call: Call): void {
    this.calls.add(call);
    call.onClose(() => this.calls.delete(call));
  }

  cancelAll(): void {
    for (const call of [...this.calls]) call.fail(CANCELLED_BY_SHUTDOWN);
  }
}

const identity = (bytes: Buffer): Buffer => bytes;

/** The service as grpc-js wants it. `guard` sees each call first and says whether it may go on. */
export function toGrpcService(
  service: Service,
  openCalls: OpenCalls,
  guard: (call: Call) => boolean,
  onFault: (error: unknown) => void,
): [ServiceDefinition, Record<string, (stream: ServerDuplexStream<Buffer, Buffer>) => void>] {
  const definition: Record<string, object> = {};
  const implementation: Record<string, (stream: ServerDuplexStream<Buffer, Buffer>) => void> = {};
  for (const [method, open] of Object.entries(service.methods)) {
    definition[method] = {
      path: `/${service.name}/${method}`,
      requestStream: true,
      responseStream: true,
      requestSerialize: identity,
      requestDeserialize: identity,
      responseSerialize: identity,
      responseDeserialize: identity,
    };
    implementation[method] = (stream) => {
      const call = new Call(stream);
      openCalls.add(call);
      // A fault of ours must cost one call, not the process.
      const guarded = (action: () => void) => {
        try {
          action();
        } catch (error) {
          onFault(error);
          call.fail(INTERNAL_ERROR);
        }
      };
      guarded(() => {
        if (!guard(call)) return;
        const handler = open(call);
        if (handler === undefined) return;
        stream.on("data", (message: Buffer) => {
          if (call.isClosed) return;
          if (call.isExpired) call.fail(DEADLINE_EXCEEDED);
          else guarded(() => handler.onMessage(message));
        });
        stream.on("end", () => guarded(() => handler.onHalfClose?.()));
      });
    };
  }
  return [definition as unknown as ServiceDefinition, implementation];
}
