import { Counter, Gauge, Histogram, type Registry } from "prom-client";

/** Gauges of what all runners share are set by the lease holder alone. Labels name projections, never a customer. */
export type RunnerMetrics = {
  readonly lagEvents: Gauge<"projection">;
  readonly lagSeconds: Gauge<"projection">;
  readonly batchDuration: Histogram<"projection">;
  readonly parkedOwners: Gauge<"projection">;
  readonly stopped: Gauge<"projection">;
  readonly heartbeat: Gauge;
  readonly leader: Gauge;
  readonly reconnects: Counter;
};

/** Registers the runner's metrics. */
export function createRunnerMetrics(registry: Registry): RunnerMetrics {
  const registers = [registry];
  const perProjection = { labelNames: ["projection"] as const, registers };
  return {
    lagEvents: new Gauge({
      name: "client_data_projection_lag_events",
      help: "Events of the log that the projection has not applied",
      ...perProjection,
    }),
    lagSeconds: new Gauge({
      name: "client_data_projection_lag_seconds",
      help: "Age of the oldest event that the projection has not applied",
      ...perProjection,
    }),
    batchDuration: new Histogram({
      name: "client_data_projection_batch_duration_seconds",
      help: "From taking a batch to its documents being stored",
      buckets: [0.002, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5],
      ...perProjection,
    }),
    parkedOwners: new Gauge({
      name: "client_data_projection_parked_owners",
      help: "Owners whose events wait because one of them could not be applied",
      ...perProjection,
    }),
    stopped: new Gauge({
      name: "client_data_projection_stopped",
      help: "1 while the projection is stopped by a fault of its own",
      ...perProjection,
    }),
    heartbeat: new Gauge({
      name: "client_data_runner_heartbeat_timestamp_seconds",
      help: "When the runner last turned, also when idle",
      registers,
    }),
    leader: new Gauge({ name: "client_data_runner_leader", help: "1 while this process holds the lease", registers }),
    reconnects: new Counter({
      name: "client_data_subscription_reconnects_total",
      help: "Times a subscription was opened again",
      registers,
    }),
  };
}
