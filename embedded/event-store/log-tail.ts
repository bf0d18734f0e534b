/** The newest records in memory, so that live subscribers need not go to the database. */

import type { LogRecord } from "./events.js";

const MAX_RECORDS = 4096;
const MAX_BYTES = 8 * 1024 * 1024;

export class LogTail {
  private records: LogRecord[] = [];
  private bytes = 0;
  /** Everything after this position is in memory. */
  private after: number;

  constructor(position: number) {
    this.after = position;
  }

  add(record: LogRecord): void {
    this.records.push(record);
    this.bytes += record.record.length;
    // Twice the limit before cutting to the limit: the array is moved once per many records.
    if (this.records.length > 2 * MAX_RECORDS || this.bytes > 2 * MAX_BYTES) this.trim();
  }

  /** Up to `limit` records after the position, in order; undefined if it lies before what is kept. */
  read(position: number, limit: number): LogRecord[] | undefined {
    if (position < this.after) return undefined;
    const first = this.firstAfter(position);
    return this.records.slice(first, first + limit);
  }

  private trim(): void {
    let kept = 0;
    let bytes = 0;
    for (let index = this.records.length - 1; index >= 0; index--) {
      bytes += (this.records[index] as LogRecord).record.length;
      if (kept === MAX_RECORDS || bytes > MAX_BYTES) break;
      kept++;
      this.bytes = bytes;
    }
    const dropped = this.records.length - kept;
    this.after = (this.records[dropped - 1] as LogRecord).position;
    this.records = this.records.slice(dropped);
    if (kept === 0) this.bytes = 0;
  }

  /** Index of the first record after the position, by bisection. */
  private firstAfter(position: number): number {
    let low = 0;
    let high = this.records.length;
    while (low < high) {
      const middle = (low + high) >>> 1;
      if ((this.records[middle] as LogRecord).position <= position) low = middle + 1;
      else high = middle;
    }
    return low;
  }
}
