/** Works off a queue in a process of its own; with DIE set it kills itself in the middle of the first job. */
import { createLogger } from "#infrastructure/log.js";
import { failFastConnection, workerConnection } from "#infrastructure/queue.js";
import { openWorkedQueue } from "#projectors/runner/job-queue.js";

const url = process.env.REDIS_URL ?? "";
const onRedisError = () => {};
openWorkedQueue<{ name: string }>({
  name: process.env.QUEUE ?? "",
  adding: failFastConnection(url, onRedisError),
  working: workerConnection(url, onRedisError),
  times: { stalledMs: 300 },
  log: createLogger({ service: "jobs", level: "silent" }),
  onFailure: () => {},
  onRedisError,
  async work(_, { name }) {
    if (process.env.DIE) process.kill(process.pid, "SIGKILL");
    process.send?.({ done: name });
  },
});
process.on("disconnect", () => process.exit(0));
