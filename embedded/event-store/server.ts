/** The server: database, log, group commit and services put together, and taken down in order. */

import { randomUUID } from "node:crypto";
import { allowEverybody, requireAdministrator } from "./authentication.js";
import { Checkpoints } from "./checkpoints.js";
import { Database, explain } from "./database.js";
import { EventLog } from "./event-log.js";
import type { ProposedEvent } from "./events.js";
import { GroupCommit } from "./group-commit.js";
import { OpenCalls, Router } from "./grpc.js";
import { Listener, type Tls } from "./listener.js";
import { gossipService, serverFeaturesService, streamsService } from "./services.js";
import { StartupError } from "./startup-error.js";
import { CANCELLED_BY_SHUTDOWN } from "./status.js";

export interface ServerOptions {
  /** Address to listen at. */
  readonly host: string;
  /** 0: any free port. */
  readonly port: number;
  /** Folder of the database; undefined: in memory, gone with the process. */
  readonly databaseFolder: string | undefined;
  /** PEM texts; undefined: no TLS, and nobody is asked who they are. */
  readonly tls: (Tls & { readonly adminPassword: string }) | undefined;
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
  const calls = new OpenCalls();
  const router = new Router(calls, events.onFault);
  const guard = options.tls === undefined ? allowEverybody : requireAdministrator(options.tls.adminPassword);
  router.add(streamsService(log, commit, events.onFault), guard);
  // Clients ask these two before they have anybody to be.
  router.add(serverFeaturesService(), allowEverybody);
  router.add(gossipService(), allowEverybody);

  let listener: Listener;
  let port: number;
  try {
    listener = new Listener(router, options.tls);
    if (log.lastPosition === 0) await writeFirstRecords(commit);
    port = await listener.listen(options.host, options.port);
  } catch (error) {
    database.close();
    throw error;
  }
  return {
    port,
    async stop() {
      calls.failAll(CANCELLED_BY_SHUTDOWN);
      await listener.close();
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
