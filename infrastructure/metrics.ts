import { Counter, collectDefaultMetrics, Gauge, Histogram, Registry } from "prom-client";

/**
 * What each process counts. No label names an org, a customer, a stream or an id: a metric has few series, whatever
 * the number of customers. Every process gets only its own metrics, so that none shows a gauge nobody sets.
 */

/** Seconds; from below a cached read to beyond the longest wait for a position. */
const requestBuckets = [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10];

/** The registry of a process: node's own metrics and who it is. */
export function createRegistry(service: string, version: string): Registry {
  const registry = new Registry();
  collectDefaultMetrics({ register: registry });
  const buildInfo = new Gauge({
    name: "client_data_build_info",
    help: "Which build is running; always 1",
    labelNames: ["service", "version", "node"],
    registers: [registry],
  });
  buildInfo.set({ service, version, node: process.version }, 1);
  return registry;
}

/** Metrics of a process that answers HTTP. */
export function httpMetrics(registry: Registry) {
  return {
    requestDuration: new Histogram({
      name: "client_data_http_request_duration_seconds",
      help: "Time from the request's head to the end of its answer, by route pattern and status",
      labelNames: ["route", "status"],
      buckets: requestBuckets,
      registers: [registry],
    }),
  };
}

export type HttpMetrics = ReturnType<typeof httpMetrics>;

/** Metrics of the write side. */
export function commandMetrics(registry: Registry) {
  return {
    appendDuration: new Histogram({
      name: "client_data_append_duration_seconds",
      help: "Time of an append to the event store, re-sends included",
      labelNames: ["outcome"],
      buckets: requestBuckets,
      registers: [registry],
    }),
    appendConflicts: new Counter({
      name: "client_data_append_conflicts_total",
      help: "Appends that lost against another writer and were decided again, by stream category",
      labelNames: ["category"],
      registers: [registry],
    }),
    commands: new Counter({
      name: "client_data_commands_total",
      help: "Commands answered, by area and outcome: accepted, replayed, rejected (4xx), failed (5xx)",
      labelNames: ["area", "outcome"],
      registers: [registry],
    }),
  };
}

export type CommandMetrics = ReturnType<typeof commandMetrics>;

/** Metrics of the query side. */
export function queryMetrics(registry: Registry) {
  return {
    staleReads: new Counter({
      name: "client_data_stale_reads_total",
      help: "Reads answered with X-Stale",
      registers: [registry],
    }),
  };
}

export type QueryMetrics = ReturnType<typeof queryMetrics>;

/**
 * Counts calls to outside parties, retries included: by which and how they ended.
 *
 * @returns what a provider's adapter takes as `onCall`
 */
export function providerMetrics(registry: Registry) {
  const duration = new Histogram({
    name: "client_data_provider_request_duration_seconds",
    help: "Time of a call to an outside party, retries included, by provider and outcome: ok, refused, unavailable",
    labelNames: ["provider", "outcome"],
    buckets: requestBuckets,
    registers: [registry],
  });
  return (provider: string, outcome: string, seconds: number): void => duration.observe({ provider, outcome }, seconds);
}

/** Metrics of the projection runner. Shared gauges are set by the lease holder only. */
export function runnerMetrics(registry: Registry) {
  const gauge = (name: string, help: string, labelNames: string[] = []) =>
    new Gauge({ name: `client_data_${name}`, help, labelNames, registers: [registry] });
  return {
    lagEvents: gauge("projection_lag_events", "Events not yet applied", ["projection"]),
    lagSeconds: gauge("projection_lag_seconds", "Age of the oldest event not yet applied", ["projection"]),
    batchDuration: new Histogram({
      name: "client_data_projection_batch_duration_seconds",
      help: "Time to fold and write one batch of one projection",
      labelNames: ["projection"],
      buckets: requestBuckets,
      registers: [registry],
    }),
    parkedOwners: gauge("projection_parked_owners", "Owners whose events wait because one failed", ["projection"]),
    stopped: gauge("projection_stopped", "1 while the projection is stopped by a fault", ["projection"]),
    heartbeat: gauge("runner_heartbeat_timestamp_seconds", "When the runner last proved itself against the log's end"),
    leader: gauge("runner_leader", "1 in the process that holds the lease"),
    reconnects: new Counter({
      name: "client_data_subscription_reconnects_total",
      help: "Times the subscription ended and was resumed",
      registers: [registry],
    }),
  };
}

export type RunnerMetrics = ReturnType<typeof runnerMetrics>;

/** Metrics of the worker. What only the leader knows is 0 elsewhere. */
export function workerMetrics(registry: Registry) {
  return {
    dueWorkOldest: new Gauge({
      name: "client_data_due_work_oldest_age_seconds",
      help: "How long the oldest duty has been due",
      registers: [registry],
    }),
    reactionsOpen: new Gauge({
      name: "client_data_reactions_open",
      help: "Facts whose effects are not done yet",
      registers: [registry],
    }),
    failures: new Counter({
      name: "client_data_effect_failures_total",
      help: "Attempts at an effect that failed and will be repeated, by purpose of the reaction or kind of duty",
      labelNames: ["kind"],
      registers: [registry],
    }),
  };
}

export type WorkerMetrics = ReturnType<typeof workerMetrics>;
