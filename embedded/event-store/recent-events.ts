/** Where the newest events stand, by id: how a repeated append is recognised when it expects no exact revision. */

import type { LogRecord } from "./events.js";
import { idOf } from "./recorded-event.js";

/** About 8 MB. Repeats come within seconds; this reaches back minutes even under load. */
export const RECENT_EVENTS = 50_000;

interface Place {
  readonly stream: number;
  readonly revision: number;
}

export class RecentEvents {
  private readonly places = new Map<string, Place>();

  add(record: LogRecord): void {
    const id = idOf(record.record);
    // An id seen again (in another stream) moves to the end, with its newest place.
    this.places.delete(id);
    this.places.set(id, { stream: record.stream, revision: record.revision });
    if (this.places.size <= RECENT_EVENTS) return;
    const [oldest] = this.places.keys();
    this.places.delete(oldest as string);
  }

  /** Revision of the event in this stream; undefined if it is not among the newest, or stands in another stream. */
  find(stream: number, id: string): number | undefined {
    const place = this.places.get(id);
    return place?.stream === stream ? place.revision : undefined;
  }
}
