import type { Request, Response } from "express";
import type { Registry } from "prom-client";
import { scrub } from "../log.js";

/** Something a process needs in order to serve. */
export type ReadinessCheck = {
  readonly name: string;
  /** A failing check that is not required is shown, and the process stays ready. Default true. */
  readonly required?: boolean;
  /** Throws, or takes too long, when it is not well; may return what an operator should know. */
  readonly probe: () => Promise<string | undefined | void> | string | undefined | void;
};

type CheckState = {
  readonly name: string;
  readonly status: "ok" | "failed";
  /** When it took this status. */
  readonly since: string;
  readonly detail?: string;
};

export type Health = {
  /** `GET /healthz`: the event loop turns. */
  readonly healthz: (req: Request, res: Response) => void;
  /** `GET /readyz`: every check, probed at most once in five seconds while all is well; 503 when a required one fails. */
  readonly readyz: (req: Request, res: Response) => Promise<void>;
  /** `GET /metrics` in Prometheus' text form. */
  readonly metrics: (req: Request, res: Response) => Promise<void>;
};

const cachedForMs = 5_000;
/** A failure is looked at again sooner: whoever waits for readiness should see it when it comes. */
const failureCachedForMs = 250;
const probeWithinMs = 2_000;

/** The three routes every process has on its own port; they need no token and never go through the gateway. */
export function createHealth(checks: readonly ReadinessCheck[], registry: Registry): Health {
  const states = new Map<string, CheckState>();
  let probedAt = Number.NEGATIVE_INFINITY;
  let probing: Promise<void> | undefined;

  async function probe(check: ReadinessCheck): Promise<void> {
    let status: CheckState["status"] = "ok";
    let detail: string | undefined;
    let timer: NodeJS.Timeout | undefined;
    try {
      const late = new Promise<never>((_, reject) => {
        timer = setTimeout(() => reject(new Error(`no answer within ${probeWithinMs} ms`)), probeWithinMs);
      });
      detail = (await Promise.race([check.probe(), late])) ?? undefined;
    } catch (error) {
      status = "failed";
      detail = error instanceof Error ? error.message : String(error);
    } finally {
      clearTimeout(timer);
    }
    const before = states.get(check.name);
    const since = before?.status === status ? before.since : new Date().toISOString();
    states.set(check.name, {
      name: check.name,
      status,
      since,
      ...(detail === undefined ? {} : { detail: scrub(detail).slice(0, 300) }),
    });
  }

  async function refresh(): Promise<void> {
    const failed = [...states.values()].some(({ status }) => status === "failed");
    if (performance.now() - probedAt < (failed ? failureCachedForMs : cachedForMs)) return;
    probing ??= Promise.all(checks.map(probe)).then(() => {
      probedAt = performance.now();
      probing = undefined;
    });
    await probing;
  }

  return {
    healthz(_req, res) {
      sendPlainJson(res, 200, { status: "ok" });
    },
    async readyz(_req, res) {
      await refresh();
      const listed = checks.flatMap((check) => states.get(check.name) ?? []);
      const failed = checks.some((check) => check.required !== false && states.get(check.name)?.status === "failed");
      if (failed) res.setHeader("Retry-After", "5");
      sendPlainJson(res, failed ? 503 : 200, { status: failed ? "unavailable" : "ready", checks: listed });
    },
    async metrics(_req, res) {
      const text = await registry.metrics();
      res.setHeader("Content-Type", registry.contentType);
      res.setHeader("Cache-Control", "no-store");
      res.end(text);
    },
  };
}

function sendPlainJson(res: Response, status: number, body: unknown): void {
  res.statusCode = status;
  res.setHeader("Content-Type", "application/json; charset=utf-8");
  res.setHeader("Cache-Control", "no-store");
  res.end(JSON.stringify(body));
}
