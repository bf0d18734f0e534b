import { Queue, Worker } from "bullmq";
import type { Redis } from "ioredis";
import type { Logger } from "pino";

export type JobQueueOptions<Job> = {
  readonly name: string;
  /** Does one job of a kind; throws to be called again later. */
  readonly work: (kind: string, job: Job) => Promise<void>;
  /** Connection for adding: fails fast. */
  readonly adding: Redis;
  /** Connection for working: waits for ever. */
  readonly working: Redis;
  readonly prefix?: string | undefined;
  readonly times?: JobTimes | undefined;
  readonly log: Logger;
  readonly onFailure: (kind: string) => void;
  readonly onRedisError: (error: Error) => void;
};

/** Shorter times for tests that kill. */
export type JobTimes = {
  /** A job whose process was killed is taken over by another after this time and a half; default 10 s. */
  readonly stalledMs?: number;
  /** A job that has not ended by then gives its place to another and is done again; default 15 min. */
  readonly mostMs?: number;
};

export type JobQueue<Job> = {
  /** Adding a job whose id is there already changes nothing. */
  add(id: string, kind: string, job: Job): Promise<void>;
  close(): Promise<void>;
};

/** Failed jobs are tried again for as long as it takes, at most this far apart. */
const longestPauseMs = 60_000;
const concurrency = 8;

/** The sending end of a queue. */
export function openQueue<Job>(
  options: Pick<JobQueueOptions<Job>, "name" | "adding" | "prefix" | "onRedisError">,
): JobQueue<Job> {
  const { name, adding, prefix, onRedisError } = options;
  const queue = new Queue<Job, void, string>(name, {
    ...(prefix === undefined ? {} : { prefix }),
    connection: adding,
    // BullMQ's own check of the server's version waits for a connection; `add` must not.
    skipVersionCheck: true,
    defaultJobOptions: {
      attempts: Number.MAX_SAFE_INTEGER,
      backoff: { type: "bounded" },
      removeOnComplete: true,
      // Whatever BullMQ gives up is not kept: under its id nothing could ever be added again.
      removeOnFail: true,
    },
  });
  queue.on("error", onRedisError);
  return {
    add: async (id, kind, job) => void (await queue.add(kind as never, job as never, { jobId: id })),
    close: () => queue.close(),
  };
}

/** A queue with a worker of this process; what fails is tried again for ever. */
export function openWorkedQueue<Job>(options: JobQueueOptions<Job>): JobQueue<Job> {
  const { name, work, working, prefix, times = {}, log, onFailure, onRedisError } = options;
  const { stalledMs = 10_000, mostMs = 15 * 60_000 } = times;
  const queue = openQueue<Job>(options);
  const worker = new Worker<Job, void, string>(name, (job) => within(mostMs, work(job.name, job.data)), {
    ...(prefix === undefined ? {} : { prefix }),
    connection: working,
    concurrency,
    // However often its process is killed: by BullMQ's default a job would have failed for good at the second time.
    ...{ maxStalledCount: Number.MAX_SAFE_INTEGER, lockDuration: stalledMs, stalledInterval: stalledMs / 2 },
    settings: { backoffStrategy: (attempts = 1) => Math.min(250 * 2 ** Math.min(attempts, 10), longestPauseMs) },
  });
  worker.on("error", (err) =>
    log.warn({ err, queue: name }, "the queue lost a job's track; what is open is added again"),
  );
  worker.on("failed", (job, err) => {
    onFailure(job?.name ?? name);
    log.warn({ err, jobId: job?.id, attempt: job?.attemptsMade }, "effect failed");
  });
  return {
    add: queue.add,
    close: async () => void (await Promise.all([worker.close(), queue.close()])),
  };
}

async function within(ms: number, work: Promise<void>): Promise<void> {
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<never>((_, reject) => {
    timer = setTimeout(() => reject(new Error(`not done after ${ms} ms`)), ms);
  });
  try {
    await Promise.race([work, late]);
  } finally {
    clearTimeout(timer);
  }
}
