/** How a call ends when it fails: gRPC status codes, and the trailers that clients recognise a failure by. */

/** The gRPC codes the store uses (https://grpc.github.io/grpc/core/md_doc_statuscodes.html). */
export const Code = {
  CANCELLED: 1,
  UNKNOWN: 2,
  INVALID_ARGUMENT: 3,
  DEADLINE_EXCEEDED: 4,
  PERMISSION_DENIED: 7,
  FAILED_PRECONDITION: 9,
  ABORTED: 10,
  RESOURCE_EXHAUSTED: 8,
  UNIMPLEMENTED: 12,
  INTERNAL: 13,
  UNAVAILABLE: 14,
  UNAUTHENTICATED: 16,
} as const;

/** A failed call. Trailers are ASCII. */
export interface FailureStatus {
  readonly code: number;
  readonly details: string;
  readonly trailers?: Readonly<Record<string, string>>;
}

export function streamDeleted(stream: string): FailureStatus {
  const name = abbreviated(stream);
  return {
    code: Code.FAILED_PRECONDITION,
    details: `Event stream '${name}' is deleted.`,
    trailers: { exception: "stream-deleted", "stream-name": name },
  };
}

/**
 * How much of a stream's name a failure repeats, in bytes. Some clients refuse trailers of more than 8 KiB, and the name
 * stands in them twice, with up to three bytes for each of its own.
 */
const MAX_NAME_BYTES = 1000;

function abbreviated(stream: string): string {
  const bytes = Buffer.from(stream);
  if (bytes.length <= MAX_NAME_BYTES) return stream;
  // The cut may go through a character: what is left of it does not belong to the name.
  return `${bytes.toString("utf8", 0, MAX_NAME_BYTES).replace(/\ufffd$/, "")}...`;
}

/**
 * Only for Delete and Tombstone: the appends answer a wrong revision with an ordinary message. The wording is the
 * original server's, because some clients (Python's) read the revisions from it and not from the trailers.
 */
export function wrongExpectedVersion(stream: string, expected: number | string, current: number): FailureStatus {
  const expectation = typeof expected === "number" ? expected : SIGNED_EXPECTATIONS[expected];
  const name = abbreviated(stream);
  return {
    code: Code.FAILED_PRECONDITION,
    details: `Delete failed due to WrongExpectedVersion. Stream: ${name}, Expected version: ${expectation}, Actual version: ${current}`,
    trailers: {
      exception: "wrong-expected-version",
      "stream-name": name,
      "expected-version": `${expectation}`,
      "actual-version": `${current}`,
    },
  };
}

const SIGNED_EXPECTATIONS: Readonly<Record<string, number>> = { no_stream: -1, any: -2, stream_exists: -4 };

export function appendTooLarge(maxSize: number): FailureStatus {
  return {
    code: Code.INVALID_ARGUMENT,
    details: `The append is larger than ${maxSize} bytes.`,
    trailers: { exception: "maximum-append-size-exceeded", "maximum-append-size": `${maxSize}` },
  };
}

export function missingEventMetadata(details: string): FailureStatus {
  return {
    code: Code.INVALID_ARGUMENT,
    details,
    trailers: {
      exception: "missing-required-metadata-property",
      "required-metadata-properties": "type,content-type",
    },
  };
}

export function invalidArgument(details: string): FailureStatus {
  return { code: Code.INVALID_ARGUMENT, details };
}

export const DEADLINE_EXCEEDED: FailureStatus = { code: Code.DEADLINE_EXCEEDED, details: "Deadline exceeded" };
export const CANCELLED_BY_SHUTDOWN: FailureStatus = { code: Code.CANCELLED, details: "The server is shutting down" };
export const INTERNAL_ERROR: FailureStatus = { code: Code.INTERNAL, details: "The server failed on this call" };

/** No or wrong credentials. */
export const UNAUTHENTICATED: FailureStatus = { code: Code.UNAUTHENTICATED, details: "Unauthenticated" };

export const COMPRESSION_NOT_SUPPORTED: FailureStatus = {
  code: Code.UNIMPLEMENTED,
  details: "Compressed messages are not supported",
};
export const MESSAGE_TOO_LARGE: FailureStatus = {
  code: Code.RESOURCE_EXHAUSTED,
  details: "The message is larger than the server accepts",
};
