/** Links: an event of type `$>` whose data, `<revision>@<stream>`, points at another event. */

import type { EventLog } from "./event-log.js";
import type { LogRecord } from "./events.js";
import { LINK_EVENT_TYPE } from "./events.js";
import { dataOf } from "./recorded-event.js";

/** What a reader gets for one record: the event, and the link that led to it. */
export interface ResolvedRecord {
  /** Undefined when a link's target is missing, truncated, expired or deleted. */
  readonly event: LogRecord | undefined;
  readonly link: LogRecord | undefined;
}

/** Follows a link; any other record, and a link that cannot be parsed, is the event itself. */
export function resolveLink(log: EventLog, record: LogRecord): ResolvedRecord {
  const target = record.type === LINK_EVENT_TYPE ? parseLink(dataOf(record.record)) : undefined;
  if (target === undefined) return { event: record, link: undefined };
  return { event: log.readEvent(target.stream, target.revision), link: record };
}

function parseLink(data: Buffer): { revision: number; stream: string } | undefined {
  const parts = /^(\d{1,15})@(.+)$/s.exec(data.toString("utf8"));
  return parts === null ? undefined : { revision: Number(parts[1]), stream: parts[2] as string };
}
