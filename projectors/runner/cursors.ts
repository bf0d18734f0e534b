import type { Collection, Db } from "mongodb";
import type { LogPosition } from "#infrastructure/event-store.js";
import { type CursorMember, type CursorRow, cursorRows, packRow, type StopRow } from "#infrastructure/read-models.js";

/** Somebody else leads: whatever this process knows may be old, so it steps down and forgets it. */
export class Fenced extends Error {
  constructor(row: string) {
    super(`the cursor ${row} was moved by another leader`);
    this.name = "Fenced";
  }
}

/** How far a row got; all of it moves at once. */
export type Progress = Pick<CursorRow, "position" | "event" | "events">;

/** What may change with a move: members come, go, or park owners; null clears a stop that was passed. */
export type Advance = Progress & { readonly members?: readonly CursorMember[]; readonly stopped?: StopRow | null };

/** The cursors, as the holder of one lease epoch may write them. */
export class Cursors {
  readonly #rows: Collection<CursorRow>;
  readonly #leaseEpoch: number;

  constructor(database: Db, leaseEpoch: number) {
    this.#rows = cursorRows(database);
    this.#leaseEpoch = leaseEpoch;
  }

  /** Puts our epoch on every row, so that a former leader's next write misses; gives the rows as they then are. */
  async takeOver(): Promise<CursorRow[]> {
    await this.#rows.updateMany({ leaseEpoch: { $lt: this.#leaseEpoch } }, { $set: { leaseEpoch: this.#leaseEpoch } });
    const rows = await this.#rows.find({}, { readConcern: "majority" }).toArray();
    const newer = rows.find((row) => row.leaseEpoch > this.#leaseEpoch);
    if (newer) throw new Fenced(newer._id);
    return rows;
  }

  /** A row as a majority has it. */
  read(id: string): Promise<CursorRow | null> {
    return this.#rows.findOne({ _id: id, leaseEpoch: this.#leaseEpoch }, { readConcern: "majority" });
  }

  /**
   * Moves a row on, if it still is where we left it.
   *
   * @throws Fenced when it is not
   */
  async advance(id: string, from: LogPosition, to: Advance): Promise<void> {
    const { stopped, ...set } = to;
    const { matchedCount } = await this.#rows.updateOne(
      { _id: id, leaseEpoch: this.#leaseEpoch, position: from },
      {
        $set: { ...set, ...(stopped ? { stopped } : {}) },
        ...(stopped === null ? { $unset: { stopped: "" } } : {}),
      },
    );
    // A repeat of our own write, whose answer was lost, finds the row at `to` already.
    if (matchedCount === 0 && !(await this.#isAt(id, to))) throw new Fenced(id);
  }

  async #isAt(id: string, to: Progress): Promise<boolean> {
    const row = await this.#rows.findOne({ _id: id, leaseEpoch: this.#leaseEpoch });
    return row?.position === to.position;
  }

  /** Adds a row, or writes it again as it is. */
  async put(row: Omit<CursorRow, "leaseEpoch">): Promise<void> {
    await this.#rows.replaceOne(
      { _id: row._id, leaseEpoch: { $lte: this.#leaseEpoch } },
      { ...row, leaseEpoch: this.#leaseEpoch },
      { upsert: true },
    );
  }

  async remove(id: string): Promise<void> {
    await this.#rows.deleteOne({ _id: id, leaseEpoch: this.#leaseEpoch });
  }
}

/**
 * The row that counts for each member: a member that joined the pack just before a crash may still stand in its own
 * row, and one that left it may stand in both.
 *
 * @returns rows without the members that the pack's row has too, and without rows left empty
 */
export function settleRows(rows: readonly CursorRow[]): CursorRow[] {
  const inPack = new Set(rows.filter((row) => row._id === packRow).flatMap((row) => row.members.map(memberName)));
  return rows
    .map((row) =>
      row._id === packRow ? row : { ...row, members: row.members.filter((member) => !inPack.has(memberName(member))) },
    )
    .filter((row) => row._id === packRow || row.members.length > 0);
}

/** `wishlist.v1.g2`: also the name of the collection. */
export function memberName(member: Pick<CursorMember, "projection" | "version" | "generation">): string {
  return `${member.projection}.v${member.version}.g${member.generation}`;
}
