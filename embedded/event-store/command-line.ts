/** The command line of the event store: `npm run eventstore -- <options>`. */

import { readFileSync } from "node:fs";
import { parseArgs } from "node:util";
import type { ServerOptions } from "./server.js";
import { StartupError } from "./startup-error.js";

export const USAGE = `Usage: npm run eventstore -- (--db DIR | --mem-db) [options]

  --db DIR                              keep the events in this folder
  --mem-db                              keep them in memory only
  --host HOST                           address to listen at (default 127.0.0.1)
  --http-port PORT                      port to listen at, 0 for any free one (default 2113)
  --insecure                            no TLS and no credentials (the default without a certificate)
  --certificate-file FILE               TLS certificate, PEM
  --certificate-private-key-file FILE   its private key, PEM
  --default-admin-password PASSWORD     password of admin over TLS (default changeit)
  --i-accept-single-node                run with NODE_ENV=production, although there is only this one node
  --help`;

const DEFAULT_PASSWORD = "changeit";

/**
 * Reads the command line.
 *
 * @param args what follows the program's name
 * @returns undefined if only help was asked for
 * @throws StartupError an option is unknown, missing, contradictory or not usable
 */
export function readCommandLine(args: readonly string[], environment: NodeJS.ProcessEnv): ServerOptions | undefined {
  const options = parse(args);
  if (options.help) return undefined;
  if (environment.NODE_ENV === "production" && !options["i-accept-single-node"]) {
    throw new StartupError(
      "This event store is a single node without replication: with NODE_ENV=production it starts only with --i-accept-single-node.",
    );
  }
  if ((options.db === undefined) === !options["mem-db"]) {
    throw new StartupError("Give either --db DIR or --mem-db.");
  }
  return {
    host: options.host,
    port: readPort(options["http-port"]),
    databaseFolder: options.db,
    tls: readTls(options),
  };
}

function parse(args: readonly string[]) {
  try {
    return parseArgs({
      args: [...args],
      options: {
        db: { type: "string" },
        "mem-db": { type: "boolean", default: false },
        host: { type: "string", default: "127.0.0.1" },
        "http-port": { type: "string", default: "2113" },
        insecure: { type: "boolean", default: false },
        "certificate-file": { type: "string" },
        "certificate-private-key-file": { type: "string" },
        "default-admin-password": { type: "string", default: DEFAULT_PASSWORD },
        "i-accept-single-node": { type: "boolean", default: false },
        help: { type: "boolean", default: false },
      },
    }).values;
  } catch (error) {
    throw new StartupError(`${(error as Error).message}\n\n${USAGE}`);
  }
}

function readPort(text: string): number {
  const port = Number(text);
  if (!/^\d{1,5}$/.test(text) || port > 65_535) throw new StartupError(`--http-port ${text} is not a port number.`);
  return port;
}

function readTls(options: ReturnType<typeof parse>): ServerOptions["tls"] {
  const certificateFile = options["certificate-file"];
  const privateKeyFile = options["certificate-private-key-file"];
  if ((certificateFile === undefined) !== (privateKeyFile === undefined)) {
    throw new StartupError("--certificate-file and --certificate-private-key-file belong together.");
  }
  if (certificateFile === undefined || privateKeyFile === undefined) return undefined;
  if (options.insecure) throw new StartupError("--insecure and --certificate-file contradict each other.");
  const adminPassword = options["default-admin-password"];
  if (adminPassword === "") throw new StartupError("--default-admin-password is empty.");
  return { certificate: readPem(certificateFile), privateKey: readPem(privateKeyFile), adminPassword };
}

function readPem(file: string): Buffer {
  try {
    return readFileSync(file);
  } catch (error) {
    throw new StartupError(`${file} cannot be read: ${(error as NodeJS.ErrnoException).code}.`);
  }
}
