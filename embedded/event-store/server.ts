/** The server: database, log, group commit and services put together, and taken down in order. */

import { randomUUID } from "node:crypto";
import { Server, ServerCredentials } from "@grpc/grpc-js";
import { allowEverybody, requireAdministrator } from "./authentication.js";
import { Checkpoints } from "./checkpoints.js";
import { Database, explain } from "./database.js";
import { EventLog } from "./event-log.js";
import type { ProposedEvent } from "./events.js";
import { GroupCommit } from "./group-commit.js";
import { gossipService, serverFeaturesService, streamsService } from "./services.js";
import { StartupError } from "./startup-error.js";
import { OpenCalls, toGrpcService } from "./transport.js";

export interface ServerOptions {
  /** Address to listen at, and to be known by in gossip. */
  readonly host: string;
  /** 0: any free port. */
  readonly port: number;
  /** Folder of the database; undefined: in memory, gone with the process. */
  readonly databaseFolder: string | undefined;
  /** PEM texts; undefined: no TLS, and nobody is asked who they are. */
  readonly tls:
    | { readonly certificate: Buffer; readonly privateKey: Buffer; readonly adminPassword: string }
    | undefined;
}

export interface ServerEvents {
  /** The store cannot go on: what was not acknowledged may or may not be on disk. Stop the process. */
  onFailure(error: unknown): void;
  /** One call failed by a fault of the store; the others are not affected. */
  onFault(error: unknown): void;
}

export interface RunningServer {
  readonly port: number;
  /** Ends open calls with CANCELLED, finishes queued writes, closes the database. */
  stop(): Promise<void>;
}

/** Larger than any part that clients send (3 MiB of events), with room for a single large event. */
const MAX_MESSAGE_BYTES = 32 * 1024 * 1024;

/** Clients ping every 10 s by default; so do we, and drop the connection of one that has vanished. */
const KEEPALIVE_MS = 10_000;

/**
 * Starts serving.
 *
 * @throws StartupError the port is taken, the address or the certificate is not usable, the database cannot be used
 */
export async function startServer(options: ServerOptions, events: ServerEvents): Promise<RunningServer> {
  const database = options.databaseFolder === undefined ? Database.inMemory() : Database.open(options.databaseFolder);
  const log = openLog(database);
  const checkpoints = database.file === undefined ? undefined : new Checkpoints(database.file, events.onFailure);
  const commit = new GroupCommit(log, checkpoints, events.onFailure);
  const openCalls = new OpenCalls();
  const address = { host: options.host, port: options.port };

  const server = new Server({
    "grpc.max_receive_message_length": MAX_MESSAGE_BYTES,
    "grpc.max_send_message_length": -1,
    "grpc.keepalive_time_ms": KEEPALIVE_MS,
    "grpc.keepalive_timeout_ms": KEEPALIVE_MS,
  });
  const guard = options.tls === undefined ? allowEverybody : requireAdministrator(options.tls.adminPassword);
  const add = (service: Parameters<typeof toGrpcService>[0], who = guard) =>
    server.addService(...toGrpcService(service, openCalls, who, events.onFault));
  add(streamsService(log, commit, events.onFault));
  // Clients ask these two before they have anybody to be.
  add(serverFeaturesService(), allowEverybody);
  add(
    gossipService(() => address),
    allowEverybody,
  );

  try {
    if (log.lastPosition === 0) await writeFirstRecords(commit);
    address.port = await listen(server, options);
  } catch (error) {
    database.close();
    throw error;
  }
  return {
    port: address.port,
    async stop() {
      openCalls.cancelAll();
      await Promise.race([shutDown(server), commit.drain().then(() => server.forceShutdown())]);
      await commit.drain();
      await checkpoints?.stop();
      database.close();
    },
  };
}

function openLog(database: Database): EventLog {
  try {
    return new EventLog(database);
  } catch (error) {
    database.close();
    throw new StartupError(explain(error, database.file ?? "The database in memory"));
  }
}

function shutDown(server: Server): Promise<void> {
  return new Promise((resolve) => server.tryShutdown(() => resolve()));
}

function listen(server: Server, { host, port, tls }: ServerOptions): Promise<number> {
  let credentials: ServerCredentials;
  try {
    credentials =
      tls === undefined
        ? ServerCredentials.createInsecure()
        : ServerCredentials.createSsl(null, [{ cert_chain: tls.certificate, private_key: tls.privateKey }]);
  } catch (error) {
    throw new StartupError(`The certificate or its private key cannot be used: ${(error as Error).message}.`);
  }
  const hostInAddress = host.includes(":") ? `[${host}]` : host;
  return new Promise((resolve, reject) => {
    server.bindAsync(`${hostInAddress}:${port}`, credentials, (error, boundPort) => {
      if (error === null) resolve(boundPort);
      else reject(new StartupError(explainListenError(error.message, host, port)));
    });
  });
}

function explainListenError(message: string, host: string, port: number): string {
  if (message.includes("EADDRINUSE")) return `Port ${port} on ${host} is already in use.`;
  if (message.includes("EACCES")) return `Port ${port} on ${host} may not be used by this user.`;
  return `Cannot listen at ${host}:${port}: ${message}.`;
}

/** A fresh store of the original kind is not empty either: it holds its first user. */
async function writeFirstRecords(commit: GroupCommit): Promise<void> {
  const event = (type: string, data: string): ProposedEvent => ({
    id: randomUUID(),
    type,
    isJson: true,
    data: Buffer.from(data),
    metadata: Buffer.alloc(0),
  });
  const user = event("$UserCreated", '{"loginName":"admin","fullName":"Administrator","groups":["$admins"]}');
  const append = (stream: string, first: ProposedEvent) =>
    new Promise<void>((resolve) => {
      commit.submit({ kind: "append", stream, expected: "no_stream", events: [first] }, () => resolve());
    });
  await Promise.all([append("$user-admin", user), append("$users", event("$User", '"admin"'))]);
}
