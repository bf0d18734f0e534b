/**
 * The providers' stand-ins as a process of the local stack.
 *
 *     node dist/embedded/providers/main.js --http-port N --smtp-port N --clamav-port N --directory DIR
 */
import { parseArgs } from "node:util";
import { startStandIns } from "./stand-ins.js";

const { values } = parseArgs({
  options: {
    "http-port": { type: "string" },
    "smtp-port": { type: "string" },
    "clamav-port": { type: "string" },
    directory: { type: "string" },
  },
});
const { "http-port": http, "smtp-port": smtp, "clamav-port": clamav, directory } = values;
if (!http || !smtp || !clamav || !directory) {
  process.stderr.write("usage: providers --http-port N --smtp-port N --clamav-port N --directory DIR\n");
  process.exit(2);
}

try {
  const ports = { http: Number(http), smtp: Number(smtp), clamav: Number(clamav) };
  const standIns = await startStandIns(ports, directory);
  process.stdout.write(`providers ready on ${standIns.url}\n`);
  for (const signal of ["SIGTERM", "SIGINT"] as const) {
    process.on(signal, () => {
      setTimeout(() => process.exit(0), 2_000).unref();
      void standIns.stop().then(() => process.exit(0));
    });
  }
} catch (error) {
  process.stderr.write(`The providers' stand-ins could not start: ${(error as Error).message}\n`);
  process.exit(1);
}
