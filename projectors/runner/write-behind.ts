import type { LogPosition } from "#infrastructure/event-store.js";
import type { Advance, Cursors } from "./cursors.js";

/**
 * The writes of a group that are on their way, and its cursor behind them: it passes a batch when that batch and every
 * one before it are stored. Cursor updates go one at a time, and then straight to the latest place.
 */
export class WriteBehind {
  readonly #cursors: Cursors;
  readonly #row: string;
  readonly #onFailure: () => void;
  /** Resolves when all batches so far are stored. */
  #settled: Promise<void> = Promise.resolve();
  #inFlight = 0;
  #onRoom: (() => void) | undefined;
  #failure: unknown;
  #unsaved: Advance | undefined;
  #saving: Promise<void> | undefined;
  #saved: LogPosition;

  /**
   * @param row id of the cursor's row
   * @param saved where it stands
   * @param onFailure told once something failed; every call throws that from then on
   */
  constructor(cursors: Cursors, row: string, saved: LogPosition, onFailure: () => void) {
    this.#cursors = cursors;
    this.#row = row;
    this.#saved = saved;
    this.#onFailure = onFailure;
  }

  /** Where the cursor's row stands in MongoDB. */
  get saved(): LogPosition {
    return this.#saved;
  }

  /** Follows a batch on its way with the cursor. */
  follow(stored: Promise<void>, moved: Advance): void {
    const earlier = this.#settled;
    this.#inFlight++;
    this.#settled = (async () => {
      // Both, whatever becomes of either: when this rejects, nothing of ours may still be on its way.
      const outcomes = await Promise.allSettled([earlier, stored]);
      this.#inFlight--;
      const failed = outcomes.find((outcome) => outcome.status === "rejected");
      if (failed) this.#fail(failed.reason);
      else this.save(moved);
      this.#onRoom?.();
      if (failed) throw failed.reason;
    })();
    this.#settled.catch(() => {}); // told by #fail
  }

  /** Waits until fewer than so many batches are on their way. */
  async room(most: number): Promise<void> {
    while (this.#inFlight >= most && !this.#failure) {
      await new Promise<void>((resolve) => {
        this.#onRoom = resolve;
      });
    }
    this.check();
  }

  /** Moves the cursor, soon; what is asked for meanwhile goes with it. */
  save(moved: Advance): void {
    this.#unsaved = { ...this.#unsaved, ...moved };
    this.#saving ??= this.#save().finally(() => {
      this.#saving = undefined;
    });
    this.#saving.catch((error) => this.#fail(error));
  }

  /** Waits until everything is stored and the cursor has passed it. */
  async settle(): Promise<void> {
    await this.#settled.catch(() => {});
    await this.#saving?.catch(() => {});
    this.check();
  }

  /** Throws what failed, if something did. */
  check(): void {
    if (this.#failure) throw this.#failure;
  }

  async #save(): Promise<void> {
    while (this.#unsaved) {
      const moved = this.#unsaved;
      this.#unsaved = undefined;
      if (moved.position === this.#saved && !moved.members && moved.stopped === undefined) continue;
      await this.#cursors.advance(this.#row, this.#saved, moved);
      this.#saved = moved.position;
    }
  }

  #fail(error: unknown): void {
    this.#failure ??= error;
    this.#onRoom?.();
    this.#onFailure();
  }
}
