import {
  MongoClient,
  MongoError,
  MongoNetworkError,
  MongoNotConnectedError,
  MongoOperationTimeoutError,
  MongoServerSelectionError,
} from "mongodb";
import { guardWrites } from "./mongo-write-guard.js";

export type MongoOptions = {
  /** Connections at most; a request waits at most `waitMs` for one. Default 32. */
  readonly poolSize?: number;
  /** Longest wait for a reachable primary, for a connection, and for a free place in the pool. Default 2 s. */
  readonly waitMs?: number;
  /** Longest silence on a connection in use: bounds every operation on a server that hangs. Default 10 s. */
  readonly silenceMs?: number;
  /** Shown in the server's log and `currentOp`. */
  readonly appName?: string;
};

/**
 * How long a process that answers requests bears the silence of a MongoDB that hangs. The driver tries a read twice, and
 * a command makes two calls at most, so a client has its 503 well within the time it is likely to wait.
 */
export const requestSilenceMs = 3_000;

/**
 * Makes a client; nothing is connected before the first operation, so a process starts while MongoDB is away.
 * With MongoDB away an operation fails within twice `waitMs` (the driver retries once), and the client recovers by
 * itself. Writes are acknowledged by a majority and its journals; weaken that per write where a later majority write
 * covers it.
 *
 * @param url `mongodb://` or `mongodb+srv://`, naming a replica set or a sharded cluster
 * @throws MongoParseError for a malformed address
 */
export function createMongoClient(url: string, options: MongoOptions = {}): MongoClient {
  guardWrites();
  const waitMs = options.waitMs ?? 2_000;
  return new MongoClient(url, {
    maxPoolSize: options.poolSize ?? 32,
    waitQueueTimeoutMS: waitMs,
    serverSelectionTimeoutMS: waitMs,
    connectTimeoutMS: waitMs,
    socketTimeoutMS: options.silenceMs ?? 10_000,
    heartbeatFrequencyMS: 5_000,
    writeConcern: { w: "majority", journal: true },
    ignoreUndefined: true,
    ...(options.appName ? { appName: options.appName } : {}),
  });
}

/** Whether an error says that MongoDB is away or too slow, rather than that the operation was wrong: answer 503. */
export function isMongoUnavailable(error: unknown): boolean {
  return (
    error instanceof MongoServerSelectionError ||
    error instanceof MongoNetworkError ||
    error instanceof MongoNotConnectedError ||
    error instanceof MongoOperationTimeoutError ||
    // Classes the driver does not export: no free connection in time, and a pool emptied after a failure.
    (error instanceof MongoError &&
      (/^Mongo(WaitQueueTimeout|PoolClear|PoolClosed|TopologyClosed)/.test(error.name) ||
        error.hasErrorLabel("RetryableWriteError"))) ||
    isBrokenConnection(error)
  );
}

/** A write to a socket whose other end has just died: the driver lets node's own error through, unwrapped. */
function isBrokenConnection(error: unknown): boolean {
  const { code } = error instanceof Error ? (error as NodeJS.ErrnoException) : {};
  return code === "ECONNRESET" || code === "EPIPE" || code === "ECONNREFUSED" || code === "ETIMEDOUT";
}

/**
 * One round trip to the primary.
 *
 * @throws the driver's error when there is none within the client's own time limits
 */
export async function pingMongo(client: MongoClient): Promise<void> {
  await client.db("admin").command({ ping: 1 });
}
