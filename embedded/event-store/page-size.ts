/** How many records to fetch at once: enough to be quick, not so many that large events fill the memory. */

import type { LogRecord } from "./events.js";

const FIRST_LIMIT = 32;
const MAX_LIMIT = 256;
const TARGET_BYTES = 1024 * 1024;

export class PageSize {
  private current = FIRST_LIMIT;

  /** Records in the next page. */
  get limit(): number {
    return this.current;
  }

  /** Learns from the page just read how large the events are here. */
  adapt(page: readonly LogRecord[]): void {
    if (page.length === 0) return;
    const bytes = page.reduce((sum, record) => sum + record.record.length, 0);
    const fitting = Math.floor(TARGET_BYTES / (bytes / page.length));
    this.current = Math.max(1, Math.min(MAX_LIMIT, fitting, this.current * 4));
  }
}
