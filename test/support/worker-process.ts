/**
 * The worker in a process of its own whose clock is CLOCK_AHEAD_MS ahead, for tests that kill it while it does what
 * would fall due only later.
 */
const ahead = Number(process.env.CLOCK_AHEAD_MS ?? 0);
const Clock = Date;

class ClockAhead extends Clock {
  constructor(...given: [] | [string | number | Date]) {
    if (given.length === 0) super(Clock.now() + ahead);
    else super(...given);
  }

  static override now(): number {
    return Clock.now() + ahead;
  }
}

globalThis.Date = ClockAhead as DateConstructor;
await import("../../projectors/worker.js");
