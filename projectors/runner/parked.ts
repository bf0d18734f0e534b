import type { Collection, Db } from "mongodb";
import type { OwnerKey } from "#domain/core/identifiers.js";
import type { LogPosition } from "#infrastructure/event-store.js";
import type { LogEvent } from "./fold.js";

/**
 * Row of `parked`: an event that one projection has not applied for one owner: the one that could not be, and every
 * later one of that owner, in order. Holds no data of the event.
 */
export type ParkedRow = {
  /** `<generation>|<owner>|<position>`. */
  readonly _id: string;
  /** `wishlist.v1.g2`. */
  readonly generation: string;
  readonly owner: OwnerKey;
  readonly position: LogPosition;
  readonly eventId: string;
  readonly eventType: string;
  readonly stream: string;
  /** Why it could not be applied; absent on the events that wait behind it. */
  readonly error?: string;
  readonly at: Date;
};

/** More parked owners than this, and the projection itself is at fault: it stops. */
export const mostParkedOwners = 20;

export function parkedRows(database: Db): Collection<ParkedRow> {
  return database.collection<ParkedRow>("parked");
}

/** Makes the row of an event; the same event gives the same row again. */
export function parkedRow(generation: string, owner: OwnerKey, event: LogEvent, error?: unknown): ParkedRow {
  return {
    _id: `${generation}|${owner}|${event.stored.position}`,
    generation,
    owner,
    position: event.stored.position,
    eventId: event.stored.id,
    eventType: event.stored.type,
    stream: event.stored.stream,
    ...(error === undefined ? {} : { error: describeError(error) }),
    at: new Date(),
  };
}

/** Writes rows; those that are there already stay. */
export async function saveParked(database: Db, rows: readonly ParkedRow[]): Promise<void> {
  if (rows.length === 0) return;
  await parkedRows(database).bulkWrite(
    rows.map((row) => ({ replaceOne: { filter: { _id: row._id }, replacement: row, upsert: true } })),
    { ordered: false },
  );
}

/** Name and message, bounded; a validation error may quote what a person wrote, so only its first line is kept. */
export function describeError(error: unknown): string {
  const text = error instanceof Error ? `${error.name}: ${error.message}` : String(error);
  return text.split("\n", 1)[0]?.slice(0, 300) ?? "";
}
