import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { createServer, type Server } from "node:http";
import type { AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { OrgSettingsFile } from "#infrastructure/org-settings.js";
import { defaultRateLimits } from "#infrastructure/rate-limits.js";
import { type Stack, stackFileName, startStack } from "../../embedded/stack.js";
import { createIssuer, type Issuer } from "./token-issuer.js";

/** The whole product on servers and a data folder of its own, for programs that load or kill it. */
export type OwnStack = {
  readonly stack: Stack;
  /** Issues the tokens of its only org, whose rate limits are too wide to be met. */
  readonly issuer: Issuer;
  readonly folder: string;
  /** Path of `stack.json`. */
  readonly stackFile: string;
  stop(): Promise<void>;
};

/**
 * Starts the product as `npm start` does, on free ports and without sample data.
 *
 * @param say takes a line for people
 */
export async function startOwnStack(say: (line: string) => void): Promise<OwnStack> {
  const folder = await mkdtemp(join(tmpdir(), "client-data-own-"));
  const cleanUp: (() => Promise<unknown>)[] = [() => rm(folder, { recursive: true, force: true })];
  const stop = async () => {
    for (const step of cleanUp.splice(0).reverse()) await step();
  };
  try {
    const issuer = await createIssuer("own");
    const keys = await serveJson(issuer.check.jwks);
    cleanUp.push(async () => keys.close());
    const orgSettingsFile = join(folder, "org-settings.json");
    await writeFile(orgSettingsFile, JSON.stringify(settingsOf(issuer, keys)));
    const dataFolder = join(folder, "data");
    const given = { eventStore: undefined, mongodb: undefined, redis: undefined, s3: undefined, providers: undefined };
    const settings = { port: 0, host: "127.0.0.1", dataFolder, sampleData: false, given, orgSettingsFile };
    const stack = await startStack(
      { ...settings, masterKeys: undefined, serverKey: undefined },
      say,
      new AbortController().signal,
    );
    cleanUp.push(() => stack.stop());
    await stack.publish();
    return { stack, issuer, folder, stackFile: join(dataFolder, stackFileName), stop };
  } catch (error) {
    await stop();
    throw error;
  }
}

function settingsOf(issuer: Issuer, keys: Server): OrgSettingsFile {
  const { port } = keys.address() as AddressInfo;
  const wide = { points: 1_000_000_000, windowSeconds: 60 };
  const { issuer: name, audience } = issuer.check;
  return {
    orgs: {
      [issuer.org]: {
        issuer: name,
        jwksUri: `http://127.0.0.1:${port}/jwks`,
        audience,
        algorithms: ["ES256"],
        // The limiter does all its work and never refuses.
        rateLimits: Object.fromEntries(Object.keys(defaultRateLimits).map((limit) => [limit, wide])),
      },
    },
  };
}

async function serveJson(value: unknown): Promise<Server> {
  const server = createServer((_request, response) => {
    response.writeHead(200, { "content-type": "application/json" }).end(JSON.stringify(value));
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  server.unref();
  return server;
}
