/** Where the newest events stand, by id: how a repeated append is recognised when it expects no exact revision. */

import type { LogRecord } from "./events.js";
import { idOf } from "./recorded-event.js";

/** At least so many events are remembered, at most twice as many: about 8 MB. Repeats come within seconds. */
export const RECENT_EVENTS = 25_000;

interface Place {
  readonly stream: number;
  readonly revision: number;
}

/**
 * Two generations: when the young one is full it becomes the old one, and what was old is forgotten at once. (One map
 * that drops its oldest entry each time is slow: the search for that entry passes over all that were dropped before.)
 */
export class RecentEvents {
  private young = new Map<string, Place>();
  private old = new Map<string, Place>();

  add(record: LogRecord): void {
    this.young.set(idOf(record.record), { stream: record.stream, revision: record.revision });
    if (this.young.size < RECENT_EVENTS) return;
    this.old = this.young;
    this.young = new Map();
  }

  /** Revision of the event in this stream; undefined if it is not among the newest, or was last seen elsewhere. */
  find(stream: number, id: string): number | undefined {
    const place = this.young.get(id) ?? this.old.get(id);
    return place?.stream === stream ? place.revision : undefined;
  }
}
