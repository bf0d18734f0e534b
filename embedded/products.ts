import { request } from "node:http";
import { entry } from "./backing-services.js";
import type { ChildSpec } from "./child.js";

/** Our own processes, as they run in any installation; names as in stack.json's `pids`. */
export type ProductProcess = "commandApi" | "queryApi" | "projectors" | "worker" | "gateway";

const processes: Record<ProductProcess, { readonly title: string; readonly entry: string }> = {
  commandApi: { title: "command API", entry: "command-api/main.js" },
  queryApi: { title: "query API", entry: "query-api/main.js" },
  projectors: { title: "projection runner", entry: "projectors/main.js" },
  worker: { title: "worker", entry: "projectors/worker.js" },
  gateway: { title: "gateway", entry: "gateway/main.js" },
};

export type ProductPlan = {
  readonly host: string;
  readonly port: number;
  /** Where it answers /readyz: its own port, but for the gateway, whose port is public. */
  readonly healthPort: number;
  readonly environment: NodeJS.ProcessEnv;
  readonly logFile: string;
};

export function productSpec(name: ProductProcess, plan: ProductPlan): ChildSpec {
  return {
    name,
    title: processes[name].title,
    command: process.execPath,
    args: ["--enable-source-maps", entry(processes[name].entry)],
    env: { ...plan.environment, HOST: plan.host, PORT: String(plan.port) },
    logFile: plan.logFile,
    isReady: async () => (await statusOf(plan.healthPort, "/readyz")) === 200,
  };
}

/** Status code of a GET to this machine; 0 when nothing answers. */
function statusOf(port: number, path: string): Promise<number> {
  return new Promise((resolve) => {
    const get = request({ host: "127.0.0.1", port, path, agent: false, timeout: 2_000 }, (response) => {
      response.resume();
      resolve(response.statusCode ?? 0);
    });
    get.on("timeout", () => get.destroy());
    get.on("error", () => resolve(0));
    get.end();
  });
}
