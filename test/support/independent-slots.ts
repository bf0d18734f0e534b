import { Temporal } from "temporal-polyfill";
import type { Hours, SlotShape } from "#domain/reservations/opening-hours.js";

/**
 * The same rules by the other zone library: every wall-clock minute of the grid is asked which instants it stands for,
 * and every minute of a slot which time the wall shows then.
 */
export function independently(
  hours: readonly Hours[],
  timezone: string,
  dayStartsAt: string,
  date: string,
  of: SlotShape,
) {
  const minutes = (time: string) => Number(time.slice(0, 2)) * 60 + Number(time.slice(3));
  const dayStart = minutes(dayStartsAt);
  const midnight = Temporal.PlainDate.from(date).toPlainDateTime();
  const intervals = hours.map(({ start, end }) => {
    const from = (minutes(start) - dayStart + 1440) % 1440;
    return { from, to: (minutes(end) - dayStart + 1440) % 1440 || 1440 };
  });
  /** Minutes of the business day that the wall shows at an instant; null on another day. */
  const shown = (instant: Temporal.Instant): number | null => {
    const wall = instant.toZonedDateTimeISO(timezone).toPlainDateTime().subtract({ minutes: dayStart });
    return wall.toPlainDate().toString() === date ? wall.hour * 60 + wall.minute : null;
  };
  const found = new Set<number>();
  for (const { from, to } of intervals) {
    for (let minute = from; minute < to; minute += of.stepMinutes) {
      const wall = midnight.add({ minutes: dayStart + minute });
      for (const disambiguation of ["earlier", "later"] as const) {
        const instant = wall.toZonedDateTime(timezone, { disambiguation }).toInstant();
        if (!instant.toZonedDateTimeISO(timezone).toPlainDateTime().equals(wall)) continue; // in a gap
        const holds = (length: number, allowed: (minute: number) => boolean) => {
          for (let passed = 0; passed < length; passed += 5) {
            const at = shown(instant.add({ minutes: passed }));
            if (at === null || !allowed(at)) return false;
          }
          return true;
        };
        const inHours = holds(of.durationMinutes, (at) => at >= from && at < to);
        if (inHours && holds(of.durationMinutes + of.bufferMinutes, () => true)) found.add(instant.epochMilliseconds);
      }
    }
  }
  return [...found].sort((one, other) => one - other);
}
