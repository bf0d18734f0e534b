import { expect } from "chai";
import fc from "fast-check";
import { Temporal } from "temporal-polyfill";
import {
  addDays,
  businessDay,
  type Hours,
  isOffered,
  kept,
  openRanges,
  promise,
  rangesOfDay,
  type Schedule,
  type SlotShape,
  slotStarts,
  weekdays,
} from "#domain/reservations/opening-hours.js";
import { independently } from "../support/independent-slots.js";

const everyDay = (...hours: Hours[]) => Object.fromEntries(weekdays.map((day) => [day, hours]));
const wholeDay: Hours = { start: "00:00", end: "24:00" };
const shape: SlotShape = { durationMinutes: 30, stepMinutes: 30, bufferMinutes: 0 };

function schedule(timezone: string, changes: Partial<Schedule> = {}): Schedule {
  return { timezone, dayStartsAt: "00:00", weeklyHours: everyDay(wholeDay), exceptions: [], ...changes };
}

/** Slots of a day as people there read them, with the offset. */
function local(timezone: string, starts: readonly number[]): string[] {
  return starts.map((start) =>
    Temporal.Instant.fromEpochMilliseconds(start)
      .toZonedDateTimeISO(timezone)
      .toString({ timeZoneName: "never", smallestUnit: "minute" }),
  );
}

describe("opening hours: days on which the clock changes", () => {
  it("offers nothing in the spring gap", () => {
    const morning = schedule("Europe/Berlin", { weeklyHours: everyDay({ start: "01:00", end: "04:00" }) });
    expect(local("Europe/Berlin", slotStarts(morning, "2026-03-29", shape))).to.deep.equal([
      "2026-03-29T01:00+01:00",
      "2026-03-29T01:30+01:00",
      "2026-03-29T03:00+02:00",
      "2026-03-29T03:30+02:00",
    ]);
  });

  it("offers the autumn fold twice, told apart by offset", () => {
    const morning = schedule("Europe/Berlin", { weeklyHours: everyDay({ start: "02:00", end: "03:00" }) });
    expect(local("Europe/Berlin", slotStarts(morning, "2026-10-25", shape))).to.deep.equal([
      "2026-10-25T02:00+02:00",
      "2026-10-25T02:30+02:00",
      "2026-10-25T02:00+01:00",
      "2026-10-25T02:30+01:00",
    ]);
  });

  it("knows shifts of half an hour", () => {
    const night = schedule("Australia/Lord_Howe", { weeklyHours: everyDay({ start: "01:00", end: "03:00" }) });
    expect(local("Australia/Lord_Howe", slotStarts(night, "2026-10-04", shape))).to.deep.equal([
      "2026-10-04T01:00+10:30",
      "2026-10-04T01:30+10:30",
      "2026-10-04T02:30+11:00",
    ]);
    expect(local("Australia/Lord_Howe", slotStarts(night, "2026-04-05", shape))).to.deep.equal([
      "2026-04-05T01:00+11:00",
      "2026-04-05T01:30+11:00",
      "2026-04-05T01:30+10:30",
      "2026-04-05T02:00+10:30",
      "2026-04-05T02:30+10:30",
    ]);
  });

  it("counts minutes that pass, not what the wall says: a slot over the gap is as long as any", () => {
    const long = { durationMinutes: 60, stepMinutes: 30, bufferMinutes: 0 };
    const [, second] = slotStarts(
      schedule("Europe/Berlin", { weeklyHours: everyDay({ start: "01:00", end: "04:00" }) }),
      "2026-03-29",
      long,
    );
    expect(local("Europe/Berlin", [second as number, (second as number) + 3_600_000])).to.deep.equal([
      "2026-03-29T01:30+01:00",
      "2026-03-29T03:30+02:00",
    ]);
  });

  it("has no slots on a day that a zone left out", () => {
    expect(rangesOfDay(schedule("Pacific/Apia"), "2011-12-30")).to.deep.equal([]);
    expect(slotStarts(schedule("Pacific/Apia"), "2011-12-30", shape)).to.deep.equal([]);
    expect(slotStarts(schedule("Pacific/Apia"), "2011-12-31", shape)).to.have.length(48);
  });
});

describe("opening hours: the business day", () => {
  const bar = schedule("Europe/Berlin", {
    dayStartsAt: "06:00",
    weeklyHours: { sat: [{ start: "18:00", end: "03:00" }] },
  });

  it("goes on past midnight until the next one begins", () => {
    const starts = local("Europe/Berlin", slotStarts(bar, "2026-06-06", { ...shape, durationMinutes: 90 }));
    expect(starts[0]).to.equal("2026-06-06T18:00+02:00");
    expect(starts.at(-1)).to.equal("2026-06-07T01:30+02:00");
    expect(businessDay(bar, Date.parse("2026-06-07T01:30+02:00"))).to.equal("2026-06-06");
    expect(businessDay(bar, Date.parse("2026-06-07T06:00+02:00"))).to.equal("2026-06-07");
  });

  it("is not crossed by a slot, nor by the buffer after it", () => {
    const always = schedule("Europe/Berlin", {
      dayStartsAt: "06:00",
      weeklyHours: everyDay({ start: "06:00", end: "06:00" }),
    });
    const buffered = { durationMinutes: 60, stepMinutes: 60, bufferMinutes: 15 };
    const last = local("Europe/Berlin", slotStarts(always, "2026-06-06", buffered)).at(-1);
    expect(last).to.equal("2026-06-07T04:00+02:00");
  });

  it("takes an exception's hours in place of the week's", () => {
    const closed = { ...bar, exceptions: [{ date: "2026-06-06", hours: [] }] };
    expect(openRanges(closed, "2026-06-06")).to.deep.equal([]);
    const longer = { ...bar, exceptions: [{ date: "2026-06-05", hours: [{ start: "20:00", end: "06:00" }] }] };
    expect(slotStarts(longer, "2026-06-05", shape)).to.have.length(20);
  });
});

describe("opening hours: a promise outlives a change of the zone's rules", () => {
  it("keeps the instants while the rules stay as they were", () => {
    const promised = promise("Europe/Berlin", Date.parse("2027-07-01T09:00+02:00"), 60);
    expect(kept(promised)).to.deep.equal({
      start: Date.parse(promised.start),
      end: Date.parse(promised.end),
      changed: false,
    });
  });

  it("keeps the wall clock when they have changed, and says so", () => {
    // Promised when the zone was to stay an hour further ahead.
    const promised = {
      start: "2027-07-01T06:00:00.000Z",
      end: "2027-07-01T07:00:00.000Z",
      timezone: "Europe/Berlin",
      offsetMinutes: 180,
    };
    expect(kept(promised)).to.deep.equal({
      start: Date.parse("2027-07-01T09:00+02:00"),
      end: Date.parse("2027-07-01T10:00+02:00"),
      changed: true,
    });
  });

  it("moves a wall-clock time that the new rules skip to after the gap", () => {
    // 02:30 on a day on which, by the rules of today, there is none.
    const promised = {
      start: "2027-03-28T02:30:00.000Z",
      end: "2027-03-28T03:00:00.000Z",
      timezone: "Europe/Berlin",
      offsetMinutes: 0,
    };
    expect(kept(promised).start).to.equal(Date.parse("2027-03-28T03:30+02:00"));
  });
});

describe("opening hours: slots of a year, computed by another zone library", () => {
  const everySingleDay = process.env.ZONES_EVERY_DAY === "1";
  /** Past years for what these zones do no longer: summer time, and a day left out. */
  const zones: readonly [string, readonly number[]][] = [
    ["Europe/Berlin", [2026]],
    ["America/New_York", [2026]],
    ["Australia/Lord_Howe", [2026]],
    ["Asia/Kolkata", [2026]],
    ["Pacific/Apia", [2026, 2011]],
    ["America/Sao_Paulo", [2026, 2018]],
    ["Africa/Casablanca", [2026]],
  ];
  /** Days on which the clock changes, their neighbours, and the first of each month; `npm run test:zones` takes all. */
  const daysOf = (timezone: string, year: number): string[] => {
    const days: string[] = [];
    for (let day = `${year}-01-01`; day.startsWith(String(year)); day = addDays(day, 1)) {
      const near = [-1, 0, 1].some((apart) => {
        const [range] = rangesOfDay(schedule(timezone), addDays(day, apart));
        return range === undefined || range.end - range.start !== 86_400_000;
      });
      if (everySingleDay || near || day.endsWith("-01")) days.push(day);
    }
    return days;
  };

  for (const [timezone, years] of zones) {
    it(`agrees for ${timezone}`, () => {
      const hours: Hours[] = [
        { start: "22:30", end: "02:40" },
        { start: "04:15", end: "12:00" },
      ];
      const of = { durationMinutes: 40, stepMinutes: 20, bufferMinutes: 5 };
      const night = schedule(timezone, { dayStartsAt: "04:00", weeklyHours: everyDay(...hours) });
      for (const year of years) {
        for (const date of daysOf(timezone, year)) {
          const expected = independently(hours, timezone, "04:00", date, of);
          expect(slotStarts(night, date, of), `${timezone} ${date}`).to.deep.equal(expected);
          for (const start of expected) expect(businessDay(night, start)).to.equal(date);
        }
      }
    });
  }

  it("agrees for any hours, step and length on the days on which clocks change", () => {
    const time = fc.integer({ min: 0, max: 95 }).map((quarter) => {
      return `${String(Math.floor(quarter / 4)).padStart(2, "0")}:${String((quarter % 4) * 15).padStart(2, "0")}`;
    });
    const day = fc.constantFrom(
      ["Europe/Berlin", "2026-03-29"],
      ["Europe/Berlin", "2026-10-25"],
      ["America/New_York", "2026-03-08"],
      ["America/New_York", "2026-11-01"],
      ["Australia/Lord_Howe", "2026-10-04"],
      ["Australia/Lord_Howe", "2026-04-05"],
      ["America/Sao_Paulo", "2018-11-04"],
      ["America/Sao_Paulo", "2018-02-17"],
      ["Africa/Casablanca", "2026-02-15"],
      ["Africa/Casablanca", "2026-03-22"],
      ["Pacific/Apia", "2011-12-31"],
      ["America/St_Johns", "2010-11-07"],
    );
    fc.assert(
      fc.property(
        fc.tuple(day, fc.integer({ min: -1, max: 1 })),
        time,
        fc.array(fc.record({ start: time, end: time }), { minLength: 1, maxLength: 3 }),
        fc.record({
          durationMinutes: fc.constantFrom(5, 15, 45, 60, 90),
          stepMinutes: fc.constantFrom(5, 15, 20, 60),
          bufferMinutes: fc.constantFrom(0, 5, 30),
        }),
        ([[timezone = "", date = ""], apart], dayStartsAt, hours, of) => {
          const rules = schedule(timezone, { dayStartsAt, weeklyHours: everyDay(...hours) });
          const on = addDays(date, apart);
          const starts = slotStarts(rules, on, of);
          expect(starts).to.deep.equal(independently(hours, timezone, dayStartsAt, on, of));
          for (const start of starts) expect(isOffered(rules, of, start)).to.equal(true);
        },
      ),
      { numRuns: everySingleDay ? 500 : 40 },
    );
  });
});
