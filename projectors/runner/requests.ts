import type { Collection, Db } from "mongodb";
import { v4 as uuid } from "uuid";
import type { OwnerKey } from "#domain/core/identifiers.js";

/** What an operator may ask of the runner. Only projections can be named: a reactor's effects are never repeated. */
export type Wish =
  | { readonly kind: "rebuild"; readonly projection: string }
  /** Parked events of one owner, or of all; a stopped projection goes on. */
  | { readonly kind: "retry"; readonly projection: string; readonly owner?: OwnerKey }
  /** Back to a retired generation, which catches up first. */
  | { readonly kind: "flip"; readonly projection: string; readonly generation: number }
  | { readonly kind: "drop"; readonly projection: string; readonly generation: number };

/** Row of `runner-requests`: asked by any process, carried out by the one that leads. */
export type RequestRow = Wish & {
  readonly _id: string;
  readonly state: "waiting" | "running" | "done" | "failed";
  readonly requestedAt: Date;
  /** Generation being built, for a rebuild or flip that runs. */
  readonly building?: number;
  readonly detail?: string;
  readonly finishedAt?: Date;
};

const keptDays = 7;

export function requestRows(database: Db): Collection<RequestRow> {
  return database.collection<RequestRow>("runner-requests");
}

/** Asks; the answer appears in the row. */
export async function request(database: Db, wish: Wish): Promise<string> {
  const _id = uuid();
  await requestRows(database).createIndex({ finishedAt: 1 }, { expireAfterSeconds: keptDays * 86_400 });
  await requestRows(database).insertOne({ ...wish, _id, state: "waiting", requestedAt: new Date() });
  return _id;
}

/** Requests to be carried out, oldest first; those that ran when a leader was lost are taken up again. */
export function openRequests(database: Db): Promise<RequestRow[]> {
  return requestRows(database)
    .find({ state: { $in: ["waiting", "running"] } })
    .sort({ requestedAt: 1 })
    .toArray();
}

export async function markRunning(database: Db, id: string, building: number): Promise<void> {
  await requestRows(database).updateOne({ _id: id }, { $set: { state: "running", building } });
}

export async function finish(database: Db, id: string, state: "done" | "failed", detail: string): Promise<void> {
  await requestRows(database).updateOne({ _id: id }, { $set: { state, detail, finishedAt: new Date() } });
}

/**
 * Tells when a request was made or answered. A help only: after a fault of the connection it is silent, so whoever
 * waits looks by itself now and then.
 *
 * @returns ends the telling
 */
export function watchRequests(database: Db, tell: () => void): () => void {
  const changes = requestRows(database).watch();
  changes.on("change", tell);
  changes.on("error", () => {});
  return () => void changes.close().catch(() => {});
}
