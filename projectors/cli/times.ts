import { DateTime } from "luxon";
import type { LogPosition } from "#infrastructure/event-store.js";
import { CommandFailed } from "./output.js";

/** A moment an operator named: by the clock (the store's commit time counts) or by a place in the log. */
export type Moment = { readonly until: Date } | { readonly position: LogPosition; readonly epoch: string };

/**
 * Reads a time: RFC 3339 with a zone, a date (its end, UTC), `-24h` / `-90m` / `-7d` before now, or
 * `<epoch>.<position>` as answers carry it in `X-Log-Position`.
 *
 * @throws CommandFailed (usage) for anything else
 */
export function parseMoment(text: string, now: Date): Moment {
  const place = /^([0-9a-z]{4,32})\.(\d{1,20})$/.exec(text);
  if (place) return { epoch: place[1] ?? "", position: (place[2] ?? "").padStart(20, "0") };
  const ago = /^-(\d{1,6})(s|m|h|d)$/.exec(text);
  if (ago) {
    const unit = ({ s: 1_000, m: 60_000, h: 3_600_000, d: 86_400_000 } as const)[ago[2] as "s" | "m" | "h" | "d"];
    return { until: new Date(now.getTime() - Number(ago[1]) * unit) };
  }
  if (/^\d{4}-\d{2}-\d{2}$/.test(text)) {
    const day = DateTime.fromISO(text, { zone: "utc" });
    if (day.isValid) return { until: day.endOf("day").toJSDate() };
  } else if (/^\d{4}-\d{2}-\d{2}T.*(Z|[+-]\d{2}:\d{2})$/.test(text)) {
    const instant = DateTime.fromISO(text, { setZone: true });
    if (instant.isValid) return { until: instant.toJSDate() };
  }
  throw new CommandFailed(
    "usage",
    `"${text}" is no time: give RFC 3339 with a zone, a date, -24h, or <epoch>.<position>`,
  );
}
