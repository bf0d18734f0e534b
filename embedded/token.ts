/**
 * `npm run token -- --customer ID [--org ORG] [--typ user|service] [--expires 1h]`: prints a token of the local issuer,
 * alone on the last line. The stack is found by DATA_DIR; it has to run, since its issuer's address is in the token.
 */
import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { parseArgs } from "node:util";
import { dataFolderPath } from "./data-folder.js";
import { type IssuerKey, type PrincipalType, signToken, type TokenSubject } from "./identity.js";
import { people } from "./people.js";
import { issuerKeyFileName, type StackFile, serviceSubject, stackFileName } from "./stack.js";

const usage = "usage: npm run token -- --customer ID [--org ORG] [--typ user|service] [--expires 1h]";

/** The command line cannot be understood, or there is no stack; the message is one plain sentence. */
class Refused extends Error {}

/** Seconds of `90s`, `30m`, `12h` or `7d`. */
function secondsOf(duration: string): number {
  const [, amount, unit] = /^([1-9]\d{0,6})(s|m|h|d)$/.exec(duration) ?? [];
  if (!amount || !unit) throw new Refused("--expires must be a time like 90s, 30m, 12h or 7d.");
  return Number(amount) * { s: 1, m: 60, h: 3_600, d: 86_400 }[unit as "s" | "m" | "h" | "d"];
}

function readOptions() {
  const text = { type: "string" } as const;
  try {
    return parseArgs({ options: { customer: text, org: text, typ: text, expires: text } }).values;
  } catch (error) {
    throw new Refused(`${(error as Error).message}\n${usage}`);
  }
}

async function readJson<T>(path: string): Promise<T> {
  try {
    return JSON.parse(await readFile(path, "utf8"));
  } catch {
    throw new Refused(`No running stack was found (there is no ${path}): start it with npm start, or set DATA_DIR.`);
  }
}

async function main(): Promise<void> {
  const { customer, org, typ = "customer", expires = "1h" } = readOptions();
  if (!["customer", "user", "service"].includes(typ)) throw new Refused(`--typ must be user or service.\n${usage}`);
  if (!customer && typ !== "service") throw new Refused(`--customer is missing.\n${usage}`);
  const lifetime = secondsOf(expires);
  const folder = dataFolderPath();
  const stack = await readJson<StackFile>(join(folder, stackFileName));
  const key = await readJson<IssuerKey>(join(folder, issuerKeyFileName));

  const person = people.find(({ id }) => id === customer);
  const subject: TokenSubject = {
    ...(typ === "service" ? serviceSubject : {}),
    ...(person && typ !== "service" ? { name: person.name, email: person.email } : {}),
    org: org ?? stack.org,
    typ: typ as PrincipalType,
    id: customer ?? serviceSubject.id,
  };
  process.stdout.write(`${await signToken(key, stack.issuer, subject, lifetime)}\n`);
}

try {
  await main();
} catch (error) {
  process.stderr.write(`${error instanceof Refused ? error.message : (error as Error).stack}\n`);
  process.exitCode = 1;
}
