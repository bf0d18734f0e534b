import { randomBytes } from "node:crypto";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { createServer, type Server } from "node:http";
import type { AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import { exportJWK, generateKeyPair, type JWK, SignJWT } from "jose";
import { MongoClient } from "mongodb";
import { parseStreamName } from "#domain/core/identifiers.js";
import type { RecordedEvent } from "#domain/core/recorded-event.js";
import { storedEvents } from "#domain/stored-events.js";
import { readEnvironment } from "#infrastructure/environment.js";
import type { EventStore, LogPosition } from "#infrastructure/event-store.js";
import { createAuthenticator } from "#infrastructure/http/principal.js";
import type { RouteDefinition } from "#infrastructure/http/routes.js";
import { listen } from "#infrastructure/http/server.js";
import { createLogger } from "#infrastructure/log.js";
import { createRegistry, runnerMetrics, workerMetrics } from "#infrastructure/metrics.js";
import type { OrgSettingsFile } from "#infrastructure/org-settings.js";
import { defaultRateLimits } from "#infrastructure/rate-limits.js";
import { createDutyPerformers, createReactors, projections } from "#projectors/registry.js";
import { createEffects } from "#projectors/runner/effects.js";
import { Runner } from "#projectors/runner/runner.js";
import { openWorkerDependencies, workerEnvironment } from "#projectors/worker-dependencies.js";
import { createCommandApi } from "../../command-api/application.js";
import { commandEnvironment, openCommandDependencies } from "../../command-api/dependencies.js";
import { createQueryApi, queryDocuments } from "../../query-api/application.js";
import { openQueryDependencies, queryEnvironment } from "../../query-api/dependencies.js";
import { localProviders } from "../../embedded/local-org.js";
import { startStandIns } from "../../embedded/providers/stand-ins.js";
import { backingServices, startBackingServices } from "./stack.js";

/** An answer as a test looks at it; `body` is parsed when it is JSON, of whatever shape, else text. */
export type Answer = {
  readonly status: number;
  readonly headers: Headers;
  readonly body: any;
};

export type RequestOptions = {
  /** Sent as JSON, unless it is a string or bytes: those go as they are. */
  readonly body?: unknown;
  /** Undefined leaves a header out that would be sent by itself. */
  readonly headers?: Readonly<Record<string, string | undefined>>;
};

/** Somebody who calls: the headers of a request, and one function per method. */
export type Caller = {
  readonly headers: Readonly<Record<string, string>>;
  get(path: string, options?: RequestOptions): Promise<Answer>;
  head(path: string, options?: RequestOptions): Promise<Answer>;
  post(path: string, options?: RequestOptions): Promise<Answer>;
  put(path: string, options?: RequestOptions): Promise<Answer>;
  delete(path: string, options?: RequestOptions): Promise<Answer>;
};

export type TokenClaims = Readonly<Record<string, unknown>>;

/** A token issuer with its key set served over HTTP. */
export type TestIssuer = {
  readonly url: string;
  /** Signs a token; `claims` overrides what an ordinary customer's has. */
  token(claims?: TokenClaims, options?: { algorithm?: "ES256" | "HS256"; kid?: string }): Promise<string>;
  /** Makes a new key the only one. */
  rotate(): Promise<void>;
  /** While down, the key set cannot be fetched. */
  setDown(down: boolean): void;
  /** How often the key set was fetched. */
  readonly fetches: () => number;
  stop(): Promise<void>;
};

export type TestApi = {
  /** An org of this test's own; a second one is in `otherOrg`. */
  readonly org: string;
  readonly otherOrg: string;
  readonly commandApi: string;
  readonly queryApi: string;
  readonly commandRoutes: readonly RouteDefinition[];
  readonly queryRoutes: readonly RouteDefinition[];
  readonly issuer: TestIssuer;
  readonly eventStore: EventStore;
  readonly database: ReturnType<MongoClient["db"]>;
  /** What another process of this system needs in its environment. */
  readonly environment: Readonly<Record<string, string>>;
  /** Lines both APIs have logged, oldest first. */
  readonly logLines: readonly string[];
  /** Somebody with a valid token: a customer by its id, or with further claims. */
  as(customer: string, claims?: TokenClaims): Promise<Caller>;
  /** The platform. */
  asService(claims?: TokenClaims): Promise<Caller>;
  /** Somebody with exactly these headers. */
  with(headers: Readonly<Record<string, string>>): Caller;
  /** Where the log ends now; hand it to {@link TestApi.newEvents}. */
  mark(): Promise<LogPosition>;
  /** Events of this test's orgs since a mark, personal fields opened; of one stream, or of all. */
  newEvents(since: LogPosition, stream?: string): Promise<readonly RecordedEvent[]>;
  /** Waits until every registered read model has applied all that is in the log now; `projections` must be on. */
  caughtUp(): Promise<void>;
  /** Waits until effects have settled as well: every reaction done, nothing due, all of it read; `worker` must be on. */
  settled(): Promise<void>;
  /** Base URL of the providers' stand-ins and their control endpoint; `standIns` must be on. */
  readonly providers: string;
  /** Closes everything and drops the databases. */
  stop(): Promise<void>;
};

export type TestApiOptions = {
  /** Runs the projections in this process, too; `startApi` then returns when every read model can be read. */
  readonly projections?: boolean;
  /** Runs reactors and duties in this process, too, by the same clock; needs `projections`. */
  readonly worker?: boolean;
  /** Plays the providers; the test's own org has credentials for all of them. */
  readonly standIns?: boolean;
  /** Settings of the test's own org that differ from the usual. */
  readonly settings?: Partial<OrgSettingsFile["orgs"][string]>;
  /** Further environment. */
  readonly env?: Readonly<Record<string, string>>;
  /** Least time between two fetches of keys; default 0, so that a test need not wait. */
  readonly keysCooldownMs?: number;
  readonly clock?: () => Date;
};

const audience = "client-data";

const streamPrefixes = [...new Set(storedEvents.map(({ category }) => `${category}-`))];

/** Both APIs in this process, over real HTTP, on real servers; with a database and orgs of their own. */
export async function startApi(options: TestApiOptions = {}): Promise<TestApi> {
  const cleanUp: (() => unknown)[] = [];
  const stop = async () => {
    for (const step of cleanUp.splice(0).reverse()) await step();
  };
  try {
    const services = await backingServices();
    cleanUp.push(() => services.stop());
    // Projections read the whole log, and other tests' personal data is sealed under keys this one does not have.
    const ownStore = options.projections ? await startBackingServices({ services: ["eventStore"] }) : undefined;
    if (ownStore) cleanUp.push(() => ownStore.stop());
    const name = randomBytes(5).toString("hex");
    const org = `org-${name}`;
    const otherOrg = `other-${name}`;
    const issuer = await startTestIssuer(org);
    cleanUp.push(() => issuer.stop());
    const standIns = options.standIns ? await startStandIns() : undefined;
    if (standIns) cleanUp.push(() => standIns.stop());
    // Org settings name secrets by the environment's variables; the stand-ins' are the same in every test.
    Object.assign(process.env, standIns?.env);
    const folder = await mkdtemp(join(tmpdir(), "client-data-api-"));
    cleanUp.push(() => rm(folder, { recursive: true, force: true }));
    const orgSettingsFile = join(folder, "orgs.json");
    const usual = { issuer: issuer.url, jwksUri: `${issuer.url}/jwks`, audience };
    const wide = { points: 1_000_000, windowSeconds: 60 };
    const settings: OrgSettingsFile = {
      orgs: {
        [org]: {
          ...usual,
          rateLimits: Object.fromEntries(Object.keys(defaultRateLimits).map((limit) => [limit, wide])),
          ...(standIns ? { providers: localProviders } : {}),
          ...options.settings,
        },
        [otherOrg]: usual,
      },
    };
    await writeFile(orgSettingsFile, JSON.stringify(settings));

    const source = {
      NODE_ENV: "test",
      ...services.env,
      ...ownStore?.env,
      MONGODB_DATABASE: `test-${name}`,
      KEYS_DATABASE: `test-keys-${name}`,
      MASTER_KEYS: `test:${randomBytes(32).toString("base64")}`,
      SERVER_KEY: randomBytes(32).toString("base64"),
      SMTP_URL: "smtp://127.0.0.1:1", // nobody listens, unless stand-ins do
      CLAMAV_URL: "tcp://127.0.0.1:1",
      ...standIns?.env,
      ORG_SETTINGS_FILE: orgSettingsFile,
      ...options.env,
    };
    const logLines: string[] = [];
    const destination = { write: (line: string) => void logLines.push(line) };
    const onStop = (_: string, close: () => unknown) => void cleanUp.push(close);
    const clock = options.clock ?? (() => new Date());
    const keysCooldownMs = options.keysCooldownMs ?? 0;

    const commandEnv = readEnvironment(commandEnvironment, source);
    const commandLog = createLogger({ service: "command-api", level: "debug", destination });
    const commandRegistry = createRegistry("command-api", "test");
    const command = await openCommandDependencies(commandEnv, { log: commandLog, registry: commandRegistry, onStop });
    const { app: commandApp, routes: commandRoutes } = createCommandApi({
      ...command,
      clock,
      authenticator: createAuthenticator({ ...command, keysCooldownMs }),
      log: commandLog,
      registry: commandRegistry,
    });
    const commandServer = await listen(commandApp, { host: "127.0.0.1", port: 0, requestTimeoutMs: 300_000 });
    cleanUp.push(() => commandServer.close(0));

    const queryLog = createLogger({ service: "query-api", level: "debug", destination });
    const queryRegistry = createRegistry("query-api", "test");
    const query = await openQueryDependencies(readEnvironment(queryEnvironment, source), queryDocuments, {
      log: queryLog,
      registry: queryRegistry,
      onStop,
    });
    const { app: queryApp, routes: queryRoutes } = createQueryApi({
      ...query,
      clock,
      authenticator: createAuthenticator({ ...query, keysCooldownMs }),
      log: queryLog,
      registry: queryRegistry,
    });
    const queryServer = await listen(queryApp, { host: "127.0.0.1", port: 0 });
    cleanUp.push(() => queryServer.close(0));

    const definitions = projections.map(({ definition }) => definition);
    const caughtUp = async () => {
      const head = await command.eventStore.head({ streamPrefixes });
      if (await query.readModels.waitFor(definitions, head, 60_000)) return;
      throw new Error(`the read models did not catch up: ${logLines.slice(-5).join("")}`);
    };

    const mongo = new MongoClient(commandEnv.MONGODB_URL);
    cleanUp.push(async () => {
      await mongo.db(commandEnv.MONGODB_DATABASE).dropDatabase();
      await mongo.db(commandEnv.KEYS_DATABASE).dropDatabase();
      await mongo.close();
    });

    if (options.projections) {
      const stopping = new AbortController();
      const runner = new Runner({
        database: mongo.db(commandEnv.MONGODB_DATABASE),
        eventStore: command.eventStore,
        opener: command.serializer,
        isErased: async (owner) => (await command.keys.find(owner))?.customer === null,
        projections,
        storedEvents,
        log: createLogger({ service: "projectors", level: "info", destination }),
        metrics: runnerMetrics(createRegistry("projectors", "test")),
      });
      const running = runner.run(stopping.signal);
      cleanUp.push(async () => {
        stopping.abort();
        await running;
      });
      await caughtUp();
    }

    let settled = async (): Promise<void> => {
      throw new Error("effects settle only where a worker runs");
    };
    if (options.worker) {
      const log = createLogger({ service: "worker", level: "info", destination });
      const registry = createRegistry("worker", "test");
      const deps = await openWorkerDependencies(readEnvironment(workerEnvironment, source), {
        ...{ log, registry, onStop, clock },
      });
      const effects = createEffects({
        deps,
        reactors: createReactors(deps),
        performers: createDutyPerformers(deps),
        redisUrl: readEnvironment(["REDIS_URL"], source).REDIS_URL,
        queuePrefix: `test-${name}`,
        onStop,
        times: { pollMs: 50, addAgainMs: 1_000 },
        metrics: workerMetrics(registry),
      });
      const stopping = new AbortController();
      const running = effects.run(stopping.signal);
      cleanUp.push(async () => {
        stopping.abort();
        await running;
      });
      await until(() => effects.leads(), "the worker does not lead");
      settled = () =>
        until(
          async () => {
            const before = await command.eventStore.head({ streamPrefixes });
            await caughtUp();
            return (await effects.isIdle()) && before === (await command.eventStore.head({ streamPrefixes }));
          },
          () =>
            `effects do not settle: ${logLines
              .filter((line) => line.includes('"level":"warn"') || line.includes('"level":40'))
              .slice(-5)
              .join("")}`,
        );
    }

    const caller = (headers: Readonly<Record<string, string>>): Caller => {
      const send = (method: string) => (path: string, request?: RequestOptions) =>
        sendRequest(method === "GET" || method === "HEAD" ? queryServer.url : commandServer.url, method, path, {
          ...request,
          headers: { ...headers, ...request?.headers },
        });
      return {
        headers,
        get: send("GET"),
        head: send("HEAD"),
        post: send("POST"),
        put: send("PUT"),
        delete: send("DELETE"),
      };
    };
    const bearing = (token: string) => caller({ orgid: org, authorization: `Bearer ${token}` });

    return {
      org,
      otherOrg,
      commandApi: commandServer.url,
      queryApi: queryServer.url,
      commandRoutes,
      queryRoutes,
      issuer,
      eventStore: command.eventStore,
      database: mongo.db(commandEnv.MONGODB_DATABASE),
      environment: source,
      logLines,
      as: async (customer, claims) => bearing(await issuer.token({ sub: customer, ...claims })),
      asService: async (claims) =>
        bearing(await issuer.token({ sub: "platform", typ: "service", scope: "ingest", ...claims })),
      with: caller,
      mark: () => command.eventStore.head(),
      async newEvents(since, stream) {
        const events: RecordedEvent[] = [];
        for await (const stored of command.eventStore.readLog({ after: since })) {
          const identity = parseStreamName(stored.stream);
          if (!identity || (identity.org !== org && identity.org !== otherOrg)) continue;
          if (stream !== undefined && stored.stream !== stream) continue;
          const read = await command.serializer.deserialize(stored);
          if (read.kind === "event") events.push(read.event);
        }
        return events;
      },
      caughtUp,
      settled: () => settled(),
      providers: standIns?.url ?? "",
      stop,
    };
  } catch (error) {
    await stop();
    throw error;
  }
}

/** Waits, looking often, until it holds. */
async function until(
  holds: () => boolean | Promise<boolean>,
  failure: string | (() => string),
  withinMs = 60_000,
): Promise<void> {
  const deadline = performance.now() + withinMs;
  while (!(await holds())) {
    if (performance.now() > deadline) throw new Error(typeof failure === "string" ? failure : failure());
    await delay(20);
  }
}

/** Sends one request and reads the whole answer. */
export async function sendRequest(
  base: string,
  method: string,
  path: string,
  options: RequestOptions = {},
): Promise<Answer> {
  const headers = new Headers();
  for (const [name, value] of Object.entries(options.headers ?? {})) if (value !== undefined) headers.set(name, value);
  const { body } = options;
  const raw = body === undefined || typeof body === "string" || body instanceof Uint8Array;
  if (!raw && !headers.has("content-type")) headers.set("content-type", "application/json");
  const response = await fetch(`${base}${path}`, {
    method,
    headers,
    redirect: "manual",
    ...(body === undefined ? {} : { body: raw ? (body as string | Uint8Array<ArrayBuffer>) : JSON.stringify(body) }),
    signal: AbortSignal.timeout(30_000),
  });
  const text = await response.text();
  const isJson = /[/+]json\b/.test(response.headers.get("content-type") ?? "");
  return { status: response.status, headers: response.headers, body: isJson && text !== "" ? JSON.parse(text) : text };
}

/** A token issuer of a test's own: ES256, key set over HTTP. */
export async function startTestIssuer(org: string): Promise<TestIssuer> {
  let keys = await makeKeys("key-1");
  let rotations = 1;
  let down = false;
  let fetches = 0;
  const server: Server = createServer((_request, response) => {
    fetches++;
    if (down) response.writeHead(500).end();
    else response.writeHead(200, { "content-type": "application/json" }).end(JSON.stringify({ keys: [keys.jwk] }));
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
  return {
    url,
    async token(claims = {}, { algorithm = "ES256", kid = keys.jwk.kid } = {}) {
      const now = Math.floor(Date.now() / 1_000);
      const payload = { iss: url, aud: audience, sub: "customer-1", typ: "customer", org, iat: now, exp: now + 3_600 };
      return new SignJWT({ ...payload, ...claims })
        .setProtectedHeader({ alg: algorithm, kid })
        .sign(algorithm === "HS256" ? new TextEncoder().encode(JSON.stringify(keys.jwk)) : keys.privateKey);
    },
    async rotate() {
      keys = await makeKeys(`key-${++rotations}`);
    },
    setDown(isDown) {
      down = isDown;
    },
    fetches: () => fetches,
    stop: () =>
      new Promise((resolve) => {
        server.close(() => resolve());
        server.closeAllConnections();
      }),
  };
}

type SigningKey = Awaited<ReturnType<typeof generateKeyPair>>["privateKey"];

async function makeKeys(kid: string): Promise<{ privateKey: SigningKey; jwk: JWK & { kid: string } }> {
  const { privateKey, publicKey } = await generateKeyPair("ES256", { extractable: true });
  return { privateKey, jwk: { ...(await exportJWK(publicKey)), kid, alg: "ES256", use: "sig" } };
}
