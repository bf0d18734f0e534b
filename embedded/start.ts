/**
 * `npm start`: the whole system on one machine, with a stand-in for each backing service whose address the
 * environment does not give.
 */
import { relative } from "node:path";
import { StartFailed } from "./child.js";
import { DataFolderUnusable } from "./data-folder.js";
import { ServerMissing } from "./provision.js";
import { readSettings, WrongSetting } from "./settings.js";
import { PortTaken, type Stack, startStack } from "./stack.js";

const say = (line: string) => process.stdout.write(`${line}\n`);
process.stdout.on("error", () => {}); // a closed pipe (`npm start | head`) is no reason to stop

const startedAt = process.hrtime.bigint();
const stopRequest = new AbortController();
for (const signal of ["SIGINT", "SIGTERM", "SIGHUP"] as const) {
  process.on(signal, () => stopRequest.abort(new Error("stopped")));
}
const stopRequested = new Promise<void>((resolve) => {
  stopRequest.signal.addEventListener("abort", () => resolve(), { once: true });
});

/** Faults that a person can mend are told in their one sentence; any other with its stack. */
function explain(error: unknown): string {
  const plain = [DataFolderUnusable, PortTaken, ServerMissing, StartFailed, WrongSetting];
  if (plain.some((kind) => error instanceof kind)) return (error as Error).message;
  return `client-data could not be started: ${(error as Error).stack ?? error}`;
}

function welcome({ file }: Stack, dataFolder: string): string {
  const seconds = Number(process.hrtime.bigint() - startedAt) / 1e9;
  const [customer] = file.customers;
  const headers = `-H 'orgid: ${file.org}' -H 'Authorization: Bearer ${customer?.token}'`;
  const base = `${file.gateway}/client-data`;
  return `
client-data is running (ready after ${seconds.toFixed(1)} s; data in ${relative(process.cwd(), dataFolder) || "."}).

  API reference   ${file.docs}
  API             ${base}/...   (header orgid: ${file.org})
  Mails           ${file.providers}/mail/   (whatever the service sends; SMS: POST ${file.providers}/control/twilio/messages)
  Sign-in         ${file.issuer}   (OpenID Connect; more tokens: npm run token -- --customer ID)

A token of ${customer?.name} (${customer?.id}):

${customer?.token}

Three things to try:

curl -s ${base}/dashboard ${headers}

curl -s -X PUT ${base}/profile ${headers} -H 'Content-Type: application/json' -d '{"about":"Hello from curl"}'

curl -s '${base}/orders?ps=3' ${headers}

Ctrl-C stops everything.
`;
}

async function main(): Promise<void> {
  const settings = readSettings();
  const stack = await startStack(settings, say, stopRequest.signal);
  await stack.publish();
  say(welcome(stack, settings.dataFolder));
  await stopRequested;
  say("Stopping ...");
  await stack.stop();
  say("Stopped.");
}

try {
  await main();
} catch (error) {
  if (!stopRequest.signal.aborted) {
    process.stderr.write(`${explain(error)}\n`);
    process.exitCode = 1;
  }
}
