import { IANAZone } from "luxon";

/**
 * Wall-clock rules to instants. An instant is open when the clock on the wall shows an open time then: so what a
 * spring gap skips is never offered, and what an autumn fold repeats is offered both times, told apart by offset.
 */

/** Days of the week as platforms name them, Monday first. */
export const weekdays = ["mon", "tue", "wed", "thu", "fri", "sat", "sun"] as const;
export type Weekday = (typeof weekdays)[number];

/** From `start` until `end` on the wall clock, `HH:MM`; `24:00` and, as an end, the start of the day mean its end. */
export type Hours = { readonly start: string; readonly end: string };

export type Schedule = {
  readonly timezone: string;
  /** When a business day begins; times before it belong to the day that began on the date before. */
  readonly dayStartsAt: string;
  readonly weeklyHours: { readonly [day in Weekday]?: readonly Hours[] | undefined };
  /** Hours of single business days, in place of the week's. */
  readonly exceptions: readonly { readonly date: string; readonly hours: readonly Hours[] }[];
};

/** Half-open range of instants, epoch milliseconds. */
export type Range = { readonly start: number; readonly end: number };

/** An open range with the wall clock's minute at which its grid of slots begins. */
export type OpenRange = Range & {
  /** Wall-clock time of the hours' own start, as if it were UTC: slots stand at whole steps from it. */
  readonly gridStart: number;
  /** What the wall clock is ahead of UTC in this range, milliseconds; a range over a change of offset has several. */
  readonly offsets: readonly (Range & { readonly offset: number })[];
};

const minuteMs = 60_000;
const hourMs = 60 * minuteMs;
const dayMs = 24 * hourMs;
/** Wall clocks lie within these of UTC, with room. */
const furthestMs = 16 * hourMs;

const zones = new Map<string, IANAZone>();

/** What the zone's wall clock is ahead of UTC at an instant, milliseconds. */
export function offsetAt(timezone: string, instant: number): number {
  return segmentAt(timezone, instant).offset;
}

/** The range around an instant in which the zone's wall clock keeps its distance from UTC, as far as it is known. */
export function segmentAt(timezone: string, instant: number): Range & { readonly offset: number } {
  for (const segment of chunkOf(timezone, Math.floor(instant / chunkMs))) if (instant < segment.end) return segment;
  throw new RangeError(`not an instant: ${instant}`);
}

function askOffset(timezone: string, instant: number): number {
  let zone = zones.get(timezone);
  if (!zone) {
    zone = IANAZone.create(timezone);
    if (!zone.isValid) throw new RangeError(`unknown time zone ${timezone}`);
    zones.set(timezone, zone);
  }
  return zone.offset(instant) * minuteMs;
}

/** Minutes since midnight of `HH:MM`. */
export function minutesOf(time: string): number {
  return Number(time.slice(0, 2)) * 60 + Number(time.slice(3, 5));
}

/** Business day of an instant, `YYYY-MM-DD`. */
export function businessDay(schedule: Pick<Schedule, "timezone" | "dayStartsAt">, instant: number): string {
  return dateOf(instant + offsetAt(schedule.timezone, instant) - minutesOf(schedule.dayStartsAt) * minuteMs);
}

/** Date of a wall-clock time, `YYYY-MM-DD`. */
export function dateOf(wall: number): string {
  return new Date(wall).toISOString().slice(0, 10);
}

/** The date so many days later. */
export function addDays(date: string, days: number): string {
  return dateOf(Date.parse(`${date}T00:00Z`) + days * dayMs);
}

/** The instants of a business day; more than one range where the clock goes back over its start. */
export function rangesOfDay(schedule: Pick<Schedule, "timezone" | "dayStartsAt">, date: string): readonly Range[] {
  const start = Date.parse(`${date}T00:00Z`) + minutesOf(schedule.dayStartsAt) * minuteMs;
  return joined(instantsOf(schedule.timezone, start, start + dayMs));
}

/**
 * An end of a range as clients name it, epoch milliseconds.
 *
 * @param moment RFC 3339, taken as it is; or a date: the first instant at which the wall clock shows it
 * @param days for a date: that many days later
 */
export function boundary(moment: string, timezone: string, days: 0 | 1): number {
  return moment.length > 10 ? Date.parse(moment) : startOfDate(timezone, addDays(moment, days));
}

/** The first instant of a date; where a zone has skipped it, that of the next. */
function startOfDate(timezone: string, date: string): number {
  const [day] = rangesOfDay({ timezone, dayStartsAt: "00:00" }, date);
  return day ? day.start : startOfDate(timezone, addDays(date, 1));
}

/**
 * Open ranges of a business day, in order.
 *
 * @param date the business day, `YYYY-MM-DD`
 */
export function openRanges(schedule: Schedule, date: string): OpenRange[] {
  const dayStart = minutesOf(schedule.dayStartsAt);
  const midnight = Date.parse(`${date}T00:00Z`);
  return hoursOn(schedule, date).flatMap((hours) => {
    const { from, to } = minutesInDay(hours, dayStart);
    const gridStart = midnight + (dayStart + from) * minuteMs;
    const pieces = instantsOf(schedule.timezone, gridStart, midnight + (dayStart + to) * minuteMs);
    return joined(pieces).map((range) => ({
      ...range,
      gridStart,
      offsets: pieces.filter(({ start, end }) => start >= range.start && end <= range.end),
    }));
  });
}

/** Hours of a business day: its exception's, else its weekday's. */
export function hoursOn(schedule: Schedule, date: string): readonly Hours[] {
  const exception = schedule.exceptions.find((candidate) => candidate.date === date);
  if (exception) return exception.hours;
  const weekday = weekdays[(new Date(`${date}T00:00Z`).getUTCDay() + 6) % 7] as Weekday;
  return schedule.weeklyHours[weekday] ?? [];
}

/**
 * Minutes of hours counted from the start of the business day, 0 to 1440.
 *
 * @param dayStart minutes since midnight at which the business day begins
 */
export function minutesInDay({ start, end }: Hours, dayStart: number): { from: number; to: number } {
  const from = (minutesOf(start) - dayStart + 1440) % 1440;
  const to = (minutesOf(end) - dayStart + 1440) % 1440 || 1440;
  return { from, to };
}

export type SlotShape = {
  readonly durationMinutes: number;
  readonly stepMinutes: number;
  /** Kept free after each slot; like the slot it stays within the business day. */
  readonly bufferMinutes: number;
};

/** Starts of the slots offered on a business day, epoch milliseconds, in order. */
export function slotStarts(schedule: Schedule, date: string, shape: SlotShape): number[] {
  const days = rangesOfDay(schedule, date);
  const starts: number[] = [];
  for (const open of openRanges(schedule, date)) starts.push(...startsWithin(open, days, shape));
  return starts.sort((one, other) => one - other).filter((start, index) => start !== starts[index - 1]);
}

/** Whether a slot that starts at this instant is offered. */
export function isOffered(schedule: Schedule, shape: SlotShape, start: number): boolean {
  return slotStarts(schedule, businessDay(schedule, start), shape).includes(start);
}

/** In order: slots lie on the grid of the wall clock, whatever it skipped or repeated before, and within one day. */
function startsWithin(open: OpenRange, days: readonly Range[], shape: SlotShape): number[] {
  const step = shape.stepMinutes * minuteMs;
  const length = shape.durationMinutes * minuteMs;
  const buffer = shape.bufferMinutes * minuteMs;
  const starts: number[] = [];
  for (const { start, end, offset } of open.offsets) {
    for (const day of days) {
      const last = Math.min(end - 1, open.end - length, day.end - length - buffer);
      const skipped = Math.ceil((Math.max(start, day.start) + offset - open.gridStart) / step);
      for (let slot = open.gridStart + skipped * step - offset; slot <= last; slot += step) starts.push(slot);
    }
  }
  return starts;
}

/** Instants at which the wall clock shows a time in a range of wall-clock times, parted where the offset changes. */
function instantsOf(timezone: string, wallStart: number, wallEnd: number): (Range & { offset: number })[] {
  if (wallEnd <= wallStart) return [];
  const pieces: (Range & { offset: number })[] = [];
  for (const segment of segmentsOf(timezone, wallStart - furthestMs, wallEnd + furthestMs)) {
    const start = Math.max(segment.start, wallStart - segment.offset);
    const end = Math.min(segment.end, wallEnd - segment.offset);
    if (start < end) pieces.push({ start, end, offset: segment.offset });
  }
  return pieces;
}

/** Ranges of one offset each that cover a range of instants. */
function segmentsOf(timezone: string, from: number, to: number): (Range & { offset: number })[] {
  const segments: (Range & { offset: number })[] = [];
  for (let chunk = Math.floor(from / chunkMs); chunk * chunkMs < to; chunk++) {
    for (const { start, end, offset } of chunkOf(timezone, chunk)) {
      if (end > from && start < to) segments.push({ start: Math.max(start, from), end: Math.min(end, to), offset });
    }
  }
  return segments;
}

const chunkMs = 64 * dayMs;
/** Asking for an offset takes microseconds, and a month of slots asks a thousand times. */
const chunks = new Map<string, readonly (Range & { offset: number })[]>();
const mostChunks = 5_000;

/** The segments of 64 days. No zone changes its offset twice within three hours. */
function chunkOf(timezone: string, chunk: number): readonly (Range & { offset: number })[] {
  const key = `${timezone} ${chunk}`;
  const known = chunks.get(key);
  if (known) return known;
  const to = (chunk + 1) * chunkMs;
  const segments: (Range & { offset: number })[] = [];
  let start = chunk * chunkMs;
  let offset = askOffset(timezone, start);
  for (let probe = start; probe < to; ) {
    const next = Math.min(probe + 3 * hourMs, to);
    if (askOffset(timezone, next) === offset) {
      probe = next;
      continue;
    }
    let before = probe;
    let after = next;
    while (after - before > 1_000) {
      const middle = before + Math.floor((after - before) / 2_000) * 1_000;
      if (askOffset(timezone, middle) === offset) before = middle;
      else after = middle;
    }
    segments.push({ start, end: after, offset });
    start = after;
    offset = askOffset(timezone, after);
    probe = after;
  }
  if (start < to) segments.push({ start, end: to, offset });
  if (chunks.size >= mostChunks) chunks.clear();
  chunks.set(key, segments);
  return segments;
}

/** Ranges that touch become one. */
function joined(ranges: readonly Range[]): Range[] {
  const all: Range[] = [];
  for (const { start, end } of ranges) {
    const last = all.at(-1);
    if (last && last.end === start) all[all.length - 1] = { start: last.start, end };
    else all.push({ start, end });
  }
  return all;
}

/** What was promised: instants, and the wall clock they stood for. */
export type PromisedSlot = {
  /** RFC 3339 UTC with milliseconds. */
  readonly start: string;
  readonly end: string;
  readonly timezone: string;
  /** What the wall clock was ahead of UTC at the start, minutes, under the rules known when it was promised. */
  readonly offsetMinutes: number;
};

/** A promise for a start: remembers the wall clock. */
export function promise(timezone: string, start: number, durationMinutes: number): PromisedSlot {
  return {
    start: new Date(start).toISOString(),
    end: new Date(start + durationMinutes * minuteMs).toISOString(),
    timezone,
    offsetMinutes: offsetAt(timezone, start) / minuteMs,
  };
}

/**
 * The instants that keep a promise under the zone's rules as they are now. Whoever booked nine o'clock comes at nine
 * o'clock: where the rules have changed since, the instant moves and the wall clock stays.
 */
export function kept(promised: PromisedSlot): Range & { readonly changed: boolean } {
  const start = Date.parse(promised.start);
  const length = Date.parse(promised.end) - start;
  const offset = promised.offsetMinutes * minuteMs;
  if (offsetAt(promised.timezone, start) === offset) return { start, end: start + length, changed: false };
  const wall = start + offset;
  const [instant] = instantsOf(promised.timezone, wall, wall + minuteMs);
  // A wall-clock time that the new rules skip: as long after the change as it was meant to be.
  const moved = instant?.start ?? wall - offsetAt(promised.timezone, wall - furthestMs);
  return { start: moved, end: moved + length, changed: true };
}
