import { execFileSync } from "node:child_process";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { projectFolder } from "../../embedded/data-folder.js";
import type { Issuer } from "../support/token-issuer.js";
import { type BenchProcess, startProcess } from "./child-process.js";

const folder = join(projectFolder, "test", "benchmarks", "peers", "emmett");

/** What the peer says of its rebuild. */
export type Rebuilt = { readonly streams: number; readonly events: number; readonly seconds: number };

export type EmmettPeer = {
  readonly url: string;
  readonly versions: Readonly<Record<string, string>>;
  rebuild(): Promise<Rebuilt>;
  stop: BenchProcess["stop"];
};

/**
 * Installs the peer's packages into its own folder (nothing else of this project needs them) unless they are there.
 */
function install(): void {
  const versions = (file: string) => {
    const { packages } = JSON.parse(readFileSync(join(folder, file), "utf8"));
    return JSON.stringify(
      Object.entries(packages)
        .flatMap(([path, entry]) => [path, (entry as { version?: string }).version])
        .slice(2),
    );
  };
  try {
    if (versions("node_modules/.package-lock.json") === versions("package-lock.json")) return;
  } catch {
    // not installed yet
  }
  process.stderr.write("Installing the peer's packages ...\n");
  execFileSync("npm", ["ci", "--ignore-scripts", "--no-audit", "--no-fund"], { cwd: folder, stdio: ["ignore", 2, 2] });
}

/**
 * Starts the peer's server on a database of its own.
 *
 * @param mongodbUrl of the server that the product uses too
 */
export async function startEmmett(mongodbUrl: string, database: string, issuer: Issuer): Promise<EmmettPeer> {
  install();
  const url = new URL(mongodbUrl);
  url.pathname = `/${database}`;
  const server = await startProcess<{ port: number }>(join(folder, "server.js"), {
    MONGODB_URL: url.href,
    JWKS: JSON.stringify(issuer.check.jwks),
    ISSUER: issuer.check.issuer,
    AUDIENCE: issuer.check.audience,
  });
  const { dependencies } = JSON.parse(readFileSync(join(folder, "package.json"), "utf8"));
  return {
    url: `http://127.0.0.1:${server.hello.port}`,
    versions: dependencies,
    rebuild: async () => (await server.ask<{ rebuilt: Rebuilt }>({ rebuild: true })).rebuilt,
    stop: () => server.stop(),
  };
}
