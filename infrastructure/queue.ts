import { Redis, type RedisOptions } from "ioredis";

/** Queues by the names they have in Redis. Payloads are ids only: the worker loads the rest. */
export const queueNames = { reactions: "reactions" } as const;

/** The queue of one kind of duty. */
export function dutyQueueName(duty: string): string {
  return `duty-${duty}`;
}

/**
 * Id of a job: what caused it and what for, so that adding it twice adds one. Specific enough that no other job is
 * taken for it. BullMQ refuses ids with one colon and whole numbers, so parts are joined with `-`.
 *
 * @param cause id of the causing event
 * @param purpose what the job does, kebab-case
 * @throws Error for a part that could run into the other
 */
export function jobId(cause: string, purpose: string): string {
  if (!/^[A-Za-z0-9_-]+$/.test(cause) || !/^[a-z][a-z0-9-]*$/.test(purpose)) {
    throw new Error("a job id is made of an event id and a kebab-case purpose");
  }
  return `${purpose}-${cause}`;
}

/**
 * Connection for adding jobs and for rate limits: fails at once while Redis is away instead of queueing in memory,
 * so that a request never hangs on it.
 *
 * @param commandTimeout a command not answered by then has failed
 */
export function failFastConnection(url: string, onError: (error: Error) => void, commandTimeout = 250): Redis {
  return connection(url, onError, { enableOfflineQueue: false, maxRetriesPerRequest: 1, commandTimeout });
}

/** Connection for BullMQ workers: waits for Redis for ever, as BullMQ demands. */
export function workerConnection(url: string, onError: (error: Error) => void): Redis {
  return connection(url, onError, { maxRetriesPerRequest: null });
}

function connection(url: string, onError: (error: Error) => void, options: Omit<RedisOptions, "replyMapping">): Redis {
  const settings = {
    connectTimeout: 2_000,
    retryStrategy: (tries: number) => Math.min(tries * 50, 2_000),
    ...options,
  };
  const redis = new Redis(url, settings);
  // Without a listener a lost connection would be an uncaught exception.
  redis.on("error", onError);
  return redis;
}
