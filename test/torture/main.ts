/**
 * Kills everything in turn while customers write, for as long as one likes:
 *
 *     npm run torture -- [--minutes N] [--seed S]
 *
 * Prints the seed first and a JSON report last; exits 1 when anything was lost, doubled, wrong or hung.
 */
import { parseArgs } from "node:util";
import { startTortureStack } from "./torture-stack.js";
import { torture } from "./torture.js";

const { values } = parseArgs({ options: { minutes: { type: "string", default: "5" }, seed: { type: "string" } } });
const minutes = Number(values.minutes);
const seed = values.seed === undefined ? Date.now() % 1_000_000 : Number(values.seed);
if (!(minutes > 0) || !Number.isInteger(seed)) {
  process.stderr.write("Usage: npm run torture -- [--minutes N] [--seed WHOLE_NUMBER]\n");
  process.exit(2);
}
const say = (line: string) => process.stderr.write(`${line}\n`);
say(`seed ${seed}, ${minutes} minutes`);
const stack = await startTortureStack(say);
const stopEarly = () => void stack.stop().finally(() => process.exit(130));
process.once("SIGINT", stopEarly).once("SIGTERM", stopEarly);
try {
  const report = await torture(stack, { seed, until: Date.now() + minutes * 60_000, say });
  process.stdout.write(`${JSON.stringify(report, null, 2)}\n`);
  if (report.faults.length > 0) {
    say(`logs: ${await stack.keepLogs(seed)}`);
    process.exitCode = 1;
  }
} finally {
  await stack.stop();
}
