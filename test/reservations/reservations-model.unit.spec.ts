import { randomUUID } from "node:crypto";
import { expect } from "chai";
import fc from "fast-check";
import { streams } from "#domain/core/identifiers.js";
import { DefinitionUpdated } from "#domain/reservations/definition.events.js";
import { addDays, type Hours, weekdays } from "#domain/reservations/opening-hours.js";
import { reservationsDecider } from "#domain/reservations/reservations.decider.js";
import { ResourceUpdated } from "#domain/reservations/resource.events.js";
import { slotbookDecider } from "#domain/reservations/slotbook.decider.js";
import { type CommandContext, CommandRejected } from "#infrastructure/command-handler.js";
import { leftBehind, releaseLeft, releasePlace, settleWish } from "#sagas/reservations/booking.saga.js";
import { placeHold } from "../../command-api/reservations/hold.routes.js";
import { book, change } from "../../command-api/reservations/reservations.routes.js";
import { commandIdOf } from "../../command-api/idempotency.js";
import { independently } from "../support/independent-slots.js";
import { Crash, MemoryCommands } from "../support/memory-commands.js";
import { ReservationsAudit } from "../support/reservations-audit.js";

const org = "acme";
const minute = 60_000;
const length = 45;
const buffer = 20;
const step = 30;
const horizonDays = 14;
const hours: Hours[] = [
  { start: "00:00", end: "05:00" },
  { start: "09:00", end: "12:00" },
];

/** Zones with a day on which their clock changes, and the day before the weeks of the model begin. */
const zones = [
  ["Europe/Berlin", "2026-03-27"],
  ["Europe/Berlin", "2026-10-23"],
  ["America/New_York", "2026-03-06"],
  ["Australia/Lord_Howe", "2026-04-03"],
  ["Asia/Kolkata", "2026-06-05"],
  ["Pacific/Apia", "2011-12-28"],
  ["America/Sao_Paulo", "2018-11-02"],
  ["Africa/Casablanca", "2026-03-20"],
] as const;

type Step = {
  readonly kind: "book" | "move" | "cancel" | "hold" | "block" | "unblock" | "wait";
  readonly who: number;
  readonly slot: number;
  readonly size: number;
  readonly off: boolean;
  readonly crash: number;
};

const kinds: readonly Step["kind"][] = [
  ...(["book", "book", "book", "book", "move", "move", "move", "move", "cancel", "hold", "hold", "wait"] as const),
  ...(["block", "unblock", "unblock"] as const),
];

const steps = fc.array(
  fc.record<Step>({
    kind: fc.constantFrom(...kinds),
    who: fc.nat(5),
    // Few different slots, so that wishes meet.
    slot: fc.nat(15),
    size: fc.constantFrom(1, 1, 1, 1, 2, 2, 3),
    off: fc.nat(14).map((roll) => roll === 0),
    /** Appends after which the process dies in this step; most often never. */
    crash: fc.integer({ min: -12, max: 7 }),
  }),
  { minLength: 40, maxLength: 120 },
);

type Booked = { id: string; who: number; start: number; size: number; moves: number };
type Held = { who: number; start: number; size: number; until: number };

/** What should come of each wish, minute by minute and without any of the product's rules. */
class Reference {
  readonly booked: Booked[] = [];
  readonly holds: Held[] = [];
  readonly blocks = new Map<number, [number, number]>();
  /** The old place of a move that died before it was given back. */
  leaving: { start: number; size: number; booked: Booked } | null = null;

  constructor(
    readonly offered: ReadonlySet<number>,
    readonly capacity: number,
  ) {}

  /** Why a slot cannot be had; undefined when it can. */
  judge(start: number, size: number, now: number, except: { booked?: Booked; hold?: Held | undefined } = {}) {
    if (size > Math.min(2, this.capacity)) return "PARTY_TOO_LARGE";
    if (start <= now) return "TOO_SOON";
    if (start > now + horizonDays * 24 * 60 * minute) return "TOO_FAR";
    if (!this.offered.has(start)) return "SLOT_NOT_OFFERED";
    for (const [from, to] of this.blocks.values())
      if (from < start + length * minute && start < to) return "SLOT_TAKEN";
    for (let at = start; at < start + (length + buffer) * minute; at += minute) {
      let taken = 0;
      const covers = (other: { start: number }) => other.start <= at && at < other.start + (length + buffer) * minute;
      for (const other of this.booked) if (other !== except.booked && covers(other)) taken += other.size;
      const { leaving } = this;
      if (leaving && leaving.booked !== except.booked && covers(leaving)) taken += leaving.size;
      for (const other of this.holds) {
        if (other !== except.hold && other.until > now && covers(other)) taken += other.size;
      }
      if (taken + size > this.capacity) return "SLOT_TAKEN";
    }
    return undefined;
  }

  overlapsOwn(who: number, start: number, except?: Booked): boolean {
    return this.booked.some(
      (other) => other !== except && other.who === who && Math.abs(other.start - start) < length * minute,
    );
  }

  holdOf(who: number, now: number): Held | undefined {
    return this.holds.find((hold) => hold.who === who && hold.until > now);
  }
}

/** One run: the product's commands beside the reference. */
class Run {
  readonly commands = new MemoryCommands();
  readonly deps = { commands: this.commands };
  readonly reference: Reference;
  readonly slots: readonly number[];
  readonly outcomes = new Map<string, number>();
  reacted = 0;
  now: number;

  constructor(timezone: string, from: string, capacity: number) {
    this.now = Date.parse(`${from}T12:00Z`);
    const days = Array.from({ length: 17 }, (_, index) => addDays(from, index));
    const shape = { durationMinutes: length, stepMinutes: step, bufferMinutes: buffer };
    this.slots = slotsOf(timezone, days, shape);
    this.reference = new Reference(new Set(this.slots), capacity);
    const weeklyHours = Object.fromEntries(weekdays.map((day) => [day, hours]));
    const at = new Date(this.now);
    const resource = { name: "Room", timezone, dayStartsAt: "00:00", weeklyHours, exceptions: [], capacity };
    this.commands.append(
      streams.resource(org, "room"),
      [ResourceUpdated.create({ resourceId: "room", sourceRevision: 1, resource })],
      at,
    );
    const definition = {
      ...{ title: "Talk", durationMinutes: length, slotStepMinutes: step, bufferMinutes: buffer, horizonDays },
      ...{ minNoticeMinutes: 0, cancelNoticeMinutes: 0, rescheduleNoticeMinutes: 0, requiresConfirmation: false },
      ...{ resourceIds: ["room"], maxPartySize: 2, openReservationLimit: 200, priceMinor: null, currency: null },
      bookable: true,
    };
    this.commands.append(
      streams.definition(org, "talk"),
      [DefinitionUpdated.create({ definitionId: "talk", sourceRevision: 1, definition })],
      at,
    );
  }

  owner(who: number) {
    return { org, customer: `customer-${who}` };
  }

  context(who: number): CommandContext {
    const commandId = randomUUID();
    const owner = this.owner(who);
    return {
      ...{ commandId, idempotent: false, owner, org, now: new Date(this.now) },
      actor: { type: "customer", id: owner.customer },
      ...{ correlationId: commandId, causationId: commandId },
    };
  }

  /** The instant a step is about: a slot, or a little beside it. */
  start({ slot, off }: Step): number {
    const ahead = this.slots.filter((start) => start > this.now - 60 * minute);
    const start = ahead[slot % Math.max(1, ahead.length)] ?? this.now;
    return off ? start + 10 * minute : start;
  }

  /**
   * Runs a command; its refusal's code, or `crashed`. While what died waits to be finished, a rival wants the same
   * slot; then it is finished as the worker would.
   *
   * @param onCrash told, before the rival comes, whether the dead command had its place already, and whether the place
   *   it left was given back
   */
  async attempt(
    step: { readonly crash: number; readonly size: number },
    start: number,
    work: () => Promise<unknown>,
    onCrash: (claimed: boolean, released: boolean) => void = () => {},
  ): Promise<string | undefined> {
    const { crash, size } = step;
    const before = this.commands.log.length;
    this.commands.crash = crash < 0 ? null : { appends: crash >> 1, after: crash % 2 === 1 };
    let outcome: string | undefined;
    try {
      await work();
    } catch (error) {
      if (error instanceof CommandRejected) outcome = error.rejection.code;
      else if (error instanceof Crash) outcome = "crashed";
      else throw error;
    }
    this.commands.crash = null;
    const written = this.commands.log.slice(before).map(({ type }) => type);
    if (outcome === "crashed" && written.length > 0) {
      onCrash(written.includes("reservations.PlaceClaimed.v1"), written.includes("reservations.PlaceReleased.v1"));
      await this.take({ kind: "book", who: 6, slot: this.indexOf(start), size, off: false, crash: -1 });
    }
    await this.finish();
    this.outcomes.set(outcome ?? "done", (this.outcomes.get(outcome ?? "done") ?? 0) + 1);
    return outcome;
  }

  indexOf(start: number): number {
    return this.slots.filter((one) => one > this.now - 60 * minute).indexOf(start);
  }

  /** What the worker does: open wishes are settled, places left behind are given back. */
  async finish(): Promise<void> {
    for (let who = 0; who < 7; who++) {
      const stream = streams.reservations(this.owner(who));
      const { state } = await this.commands.load({ decider: reservationsDecider, stream });
      for (const found of state.reservations.values()) {
        if (!found.wish) continue;
        const wished = { ...found, wish: found.wish };
        await settleWish(this.commands, this.owner(who), wished, this.context(who), "customer").catch(ignoreRefusal);
      }
    }
    while (this.reacted < this.commands.log.length) {
      const { type, data } = this.commands.log[this.reacted++] ?? { type: "", data: {} };
      const left = leftBehind(type, data);
      if (left) await releasePlace(this.commands, org, left, this.context(0));
    }
  }

  async take(step: Step): Promise<void> {
    const { reference, now } = this;
    const start = this.start(step);
    const slot = { start: new Date(start).toISOString() };
    switch (step.kind) {
      case "wait":
        this.now += (step.slot + 1) * 20 * minute;
        return;
      case "book": {
        const context = this.context(step.who);
        const own = reference.holdOf(step.who, now);
        const hold = own && own.start === start && own.size === step.size ? own : undefined;
        const before = this.commands.log.length;
        const input = { definitionId: "talk", slot, partySize: step.size, notes: undefined };
        const id = commandIdOf([context.commandId, "reservation"]);
        const booked = { id, who: step.who, start, size: step.size, moves: 0 };
        let placed = false;
        const got = await this.attempt(
          step,
          start,
          () => book(this.deps, this.owner(step.who), input, context, "customer"),
          (claimed) => {
            if (!claimed) return;
            placed = true;
            reference.booked.push(booked);
            if (hold) reference.holds.splice(reference.holds.indexOf(hold), 1);
          },
        );
        if (placed || (got === "crashed" && this.commands.log.length === before)) return;
        const refused = reference.judge(start, step.size, now, { hold });
        const expected = refused ?? (reference.overlapsOwn(step.who, start) ? "OVERLAPS_OWN_RESERVATION" : undefined);
        if (got !== "crashed") expect(got, `book ${slot.start}`).to.equal(expected);
        if (expected !== undefined) return;
        reference.booked.push(booked);
        if (hold) reference.holds.splice(reference.holds.indexOf(hold), 1);
        return;
      }
      case "move": {
        const mine = reference.booked.filter(({ who }) => who === step.who);
        const booked = mine[step.size % Math.max(1, mine.length)];
        if (!booked) return;
        const owner = this.owner(step.who);
        const { state } = await this.commands.load({
          decider: reservationsDecider,
          stream: streams.reservations(owner),
        });
        const found = state.reservations.get(booked.id);
        if (!found) return expect.fail("a reservation of the model is not there");
        const before = this.commands.log.length;
        let placed = false;
        const place = () => {
          if (booked.start !== start) booked.moves++;
          booked.start = start;
        };
        const old = booked.start;
        const got = await this.attempt(
          step,
          start,
          () => change(this.deps, owner, found, { slot, notes: undefined }, this.context(step.who)),
          (claimed, released) => {
            if (!claimed) return;
            placed = true;
            place();
            // Both places are the reservation's until the old one is given back.
            reference.leaving = released ? null : { start: old, size: booked.size, booked };
          },
        );
        reference.leaving = null;
        if (placed || (got === "crashed" && this.commands.log.length === before)) return;
        const expected = this.expectedMove(booked, start);
        if (got !== "crashed") expect(got, `move to ${slot.start}`).to.equal(expected);
        if (expected === undefined) place();
        return;
      }
      case "cancel": {
        const booked = reference.booked.find(({ who }) => who === step.who);
        if (!booked) return;
        const context = this.context(step.who);
        const got = await this.attempt({ ...step, crash: -1 }, start, async () => {
          const handled = await this.commands.handle({
            decider: reservationsDecider,
            stream: streams.reservations(this.owner(step.who)),
            command: {
              type: "CancelReservation",
              ...{ reservationId: booked.id, reason: null, whenLate: "refuse", by: "customer", now },
            },
            context,
          });
          await releaseLeft(this.commands, org, handled, context);
        });
        const expected = now > booked.start ? "CANCEL_WINDOW_PASSED" : undefined;
        expect(got, "cancel").to.equal(expected);
        if (expected === undefined) reference.booked.splice(reference.booked.indexOf(booked), 1);
        return;
      }
      case "hold": {
        const own = reference.holdOf(step.who, now);
        const same = own && own.start === start && own.size === step.size;
        const input = { definitionId: "talk", slot, partySize: step.size };
        const got = await this.attempt({ ...step, crash: -1 }, start, () =>
          placeHold(this.deps, this.owner(step.who), input, this.context(step.who)),
        );
        const expected = same ? undefined : reference.judge(start, step.size, now, { hold: own });
        expect(got, `hold ${slot.start}`).to.equal(expected);
        if (expected !== undefined || same) return;
        if (own) reference.holds.splice(reference.holds.indexOf(own), 1);
        reference.holds.push({ who: step.who, start, size: step.size, until: now + 5 * minute });
        return;
      }
      case "block":
      case "unblock":
        return this.setBlock(step.who, step.kind === "block" ? start : null);
    }
  }

  expectedMove(booked: Booked, start: number): string | undefined {
    const { reference, now } = this;
    if (now >= booked.start) return "RESERVATION_NOT_CHANGEABLE";
    if (booked.start === start) return undefined;
    const refused = reference.judge(start, booked.size, now, { booked });
    if (refused !== undefined) return refused;
    if (booked.moves >= 3) return "RESCHEDULE_LIMIT_REACHED";
    return reference.overlapsOwn(booked.who, start, booked) ? "OVERLAPS_OWN_RESERVATION" : undefined;
  }

  revision = 0;

  async setBlock(id: number, start: number | null): Promise<void> {
    const known = this.reference.blocks.get(id);
    const days = new Set<string>();
    for (const at of [start, known?.[0]]) if (at !== null && at !== undefined) days.add(this.dayOf(at));
    for (const day of days) {
      const range =
        start !== null && day === this.dayOf(start)
          ? { start: new Date(start).toISOString(), end: new Date(start + 60 * minute).toISOString() }
          : null;
      await this.commands.handle({
        decider: slotbookDecider,
        stream: streams.slotbook(org, "room", day),
        command: { type: "SetBlock", blockId: `block-${id}`, sourceRevision: ++this.revision, range },
        context: this.context(0),
      });
    }
    if (start === null) this.reference.blocks.delete(id);
    else this.reference.blocks.set(id, [start, start + 60 * minute]);
  }

  /** Business day of a slot, or of an instant ten minutes beside one. */
  dayOf(start: number): string {
    const days = dayOf.get(this.slots);
    return days?.get(start) ?? days?.get(start - 10 * minute) ?? expect.fail("an instant far from every slot");
  }
}

const dayOf = new WeakMap<readonly number[], Map<number, string>>();
const slotsByZone = new Map<string, number[]>();

function slotsOf(timezone: string, days: readonly string[], shape: Parameters<typeof independently>[4]): number[] {
  const key = `${timezone} ${days[0]}`;
  const known = slotsByZone.get(key);
  if (known) return known;
  const byStart = new Map<number, string>();
  for (const day of days)
    for (const start of independently(hours, timezone, "00:00", day, shape)) byStart.set(start, day);
  const slots = [...byStart.keys()].sort((one, other) => one - other);
  dayOf.set(slots, byStart);
  slotsByZone.set(key, slots);
  return slots;
}

function ignoreRefusal(error: unknown): void {
  if (!(error instanceof CommandRejected)) throw error;
}

describe("reservations: random weeks against a small reference model", () => {
  const runs = Number(process.env.MODEL_RUNS ?? 5);
  const outcomes = new Map<string, number>();
  let taken = 0;

  after(() => console.log(`      ${taken} commands: ${JSON.stringify(Object.fromEntries(outcomes))}`));

  for (const [timezone, from] of zones) {
    it(`comes to the same end in ${timezone} from ${from}, whatever dies on the way`, async function () {
      this.timeout(0);
      const capacity = fc.integer({ min: 1, max: 3 });
      const before = taken;
      await fc.assert(
        fc.asyncProperty(capacity, steps, async (places, all) => {
          const run = new Run(timezone, from, places);
          const audit = new ReservationsAudit(new Map([["room", places]]));
          for (const one of all) await run.take(one);
          for (const { stream, at, type, data } of run.commands.log) audit.add({ stream, at, event: { type, data } });
          expect(audit.settled()).to.deep.equal([]);
          expect(audit.standing).to.equal(run.reference.booked.length);
          taken += all.length;
          for (const [outcome, count] of run.outcomes) outcomes.set(outcome, (outcomes.get(outcome) ?? 0) + count);
        }),
        { numRuns: runs },
      );
      expect(taken - before).to.be.greaterThan(runs * 10);
    });
  }
});
