import { expect } from "chai";
import { type CommandHandler, CommandRejected } from "#infrastructure/command-handler.js";
import { readEnvironment } from "#infrastructure/environment.js";
import { logStart } from "#infrastructure/event-store.js";
import { addDays } from "#domain/reservations/opening-hours.js";
import { createLogger } from "#infrastructure/log.js";
import { createRegistry } from "#infrastructure/metrics.js";
import { offerReactor } from "#projectors/reservations/waitlist.reactor.js";
import { openWorkerDependencies, workerEnvironment } from "#projectors/worker-dependencies.js";
import { type Caller, sendRequest, startApi, type TestApi } from "../support/api.js";
import { startCommandApi } from "../support/command-api.js";
import { ReservationsAudit } from "../support/reservations-audit.js";

const start = Date.parse("2026-06-01T06:00:00Z");

/** Where a process dies: after so many appends on reservations' streams, 0 before the first. */
type Death = number;

/** The long version tries each death with and without the client's repeat: `npm run test:crash`. */
const everything = process.env.CRASH_EVERYTHING === "1";

/** Commands of a process that dies: nothing it does afterwards comes about, and no answer leaves. */
function dying(commands: CommandHandler, death: Death): CommandHandler {
  let appends = 0;
  let dead = false;
  const die = (): never => {
    dead = true;
    throw new Error("the process has died");
  };
  return {
    ...commands,
    load: (request) => (dead ? die() : commands.load(request)),
    async handle(request) {
      if (dead) die();
      if (!/^(reservations|slotbook)-/.test(request.stream)) return commands.handle(request);
      if (death === 0) die();
      const count = (events: number) => {
        if (events > 0 && ++appends === death) die();
      };
      try {
        const handled = await commands.handle(request);
        count(handled.events.length);
        return handled;
      } catch (error) {
        // A refusal that was recorded is an append, too.
        if (error instanceof CommandRejected && error.rejection.code === "SLOT_TAKEN") count(1);
        throw error;
      }
    },
  };
}

describe("reservations: death between any two steps", function () {
  this.timeout(280_000);
  let api: TestApi;
  let now = start;
  let customers = 0;
  const capacities = new Map<string, number>();

  before(async () => {
    api = await startApi({ projections: true, worker: true, clock: () => new Date(now) });
    await furnish(await api.asService());
  });
  after(() => api?.stop());

  async function furnish(platform: Caller): Promise<void> {
    const hours = [{ start: "09:00", end: "12:00" }];
    const days = Object.fromEntries(["mon", "tue", "wed", "thu", "fri", "sat", "sun"].map((day) => [day, hours]));
    capacities.set("room", 1);
    const resource = { sourceRevision: 1, name: "room", timezone: "Europe/Berlin", weeklyHours: days };
    expect((await platform.put("/internal/ingest/resources/room", { body: resource })).status).to.equal(200);
    const definition = {
      sourceRevision: 1,
      title: "talk",
      durationMinutes: 60,
      slotStepMinutes: 60,
      resourceIds: ["room"],
    };
    expect((await platform.put("/internal/ingest/definitions/talk", { body: definition })).status).to.equal(200);
  }

  /** A command API that dies at a step; all its requests fail from then on. */
  const mortal = (death: Death) =>
    startCommandApi(
      api,
      () => new Date(now),
      (commands) => dying(commands, death),
    );

  async function auditFaults(): Promise<readonly string[]> {
    const audit = new ReservationsAudit(capacities);
    for (const { stream, type, data, at } of await api.newEvents(logStart))
      audit.add({ stream, at, event: { type, data } });
    return audit.settled();
  }

  const someone = () => api.as(`customer-${++customers}`);
  /** A day of its own for every case, so that they do not meet. */
  let day = 1;
  const slot = (hour: string) => ({ start: `${addDays("2026-06-01", day)}T${hour}:00:00+02:00` });
  const book = (who: Caller, hour: string) =>
    who.post("/client-data/reservations", { body: { definitionId: "talk", slot: slot(hour) } });

  const operations: readonly {
    readonly name: string;
    readonly appends: number;
    readonly status: number;
    readonly prepare: (who: Caller) => Promise<string>;
    readonly request: (pk: string) => { method: string; path: string; body?: object };
  }[] = [
    {
      name: "book",
      appends: 3,
      status: 201,
      prepare: async () => "",
      request: () => ({
        method: "POST",
        path: "/client-data/reservations",
        body: { definitionId: "talk", slot: slot("10") },
      }),
    },
    {
      name: "move",
      appends: 4,
      status: 200,
      prepare: async (who) => (await book(who, "09")).body.pk,
      request: (pk) => ({
        method: "PUT",
        path: "/client-data/reservations",
        body: { reservationId: pk, slot: slot("11") },
      }),
    },
    {
      name: "cancel",
      appends: 2,
      status: 200,
      prepare: async (who) => (await book(who, "09")).body.pk,
      request: (pk) => ({ method: "DELETE", path: `/client-data/reservations/${pk}` }),
    },
  ];

  for (const { name, appends, status, prepare, request } of operations) {
    for (let death = 0; death <= appends; death++) {
      for (const repeats of everything ? [true, false] : [death % 2 === 0]) {
        const end = repeats ? "by the client's repeat" : "by itself";
        it(`${name}, died after ${death} of ${appends} steps, comes to its end ${end}`, async () => {
          day++;
          const who = await someone();
          const pk = await prepare(who);
          const { method, path, body } = request(pk);
          const headers = { ...who.headers, "idempotency-key": `${name}-${day}` };
          const mortalApi = await mortal(death);
          const died = await sendRequest(mortalApi.url, method, path, { headers, body });
          await mortalApi.stop();
          expect(died.status).to.equal(500);
          if (repeats) {
            const again = await sendRequest(api.commandApi, method, path, { headers, body });
            expect(again.status).to.equal(status);
            const third = await sendRequest(api.commandApi, method, path, { headers, body });
            expect(third.body).to.deep.equal(again.body);
          }
          now += 20_000;
          await api.settled();
          expect(await auditFaults()).to.deep.equal([]);
          const list = await who.get("/client-data/reservations");
          expect(list.body.total).to.equal(name === "book" && death === 0 && !repeats ? 0 : 1);
        });
      }
    }
  }

  it("hold: the place is held once, and the repeat gets it, wherever the command API died", async () => {
    for (let death = 0; death <= 2; death++) {
      day++;
      const where = `died after ${death} of 2 steps`;
      const who = await someone();
      const mark = await api.mark();
      const headers = { ...who.headers, "idempotency-key": `hold-${day}` };
      const body = { definitionId: "talk", slot: slot("10") };
      const path = "/client-data/reservations/holds";
      const mortalApi = await mortal(death);
      const died = await sendRequest(mortalApi.url, "POST", path, { headers, body });
      await mortalApi.stop();
      expect(died.status, where).to.equal(500);
      const again = await sendRequest(api.commandApi, "POST", path, { headers, body });
      expect(again.status, `${where}: ${JSON.stringify(again.body)}`).to.equal(201);
      now += 20_000;
      const third = await sendRequest(api.commandApi, "POST", path, { headers, body });
      expect(third.body, where).to.deep.equal(again.body);
      const held = (await api.newEvents(mark)).filter(({ type }) => type === "reservations.PlaceHeld.v1");
      expect(
        held.map(({ data }) => (data as { expiresAt: string }).expiresAt),
        where,
      ).to.deep.equal([again.body.data.expiresAt]);
    }
    expect(await auditFaults()).to.deep.equal([]);
  });

  for (const rival of ["and another worker tries at the same time", "and nobody else tries"]) {
    it(`offer: the place is held once and offered once, wherever the worker died ${rival}`, async () => {
      const alone = rival === "and nobody else tries";
      const here = alone ? await startApi({ projections: true, clock: () => new Date(now) }) : api;
      try {
        if (alone) await furnish(await here.asService());
        for (let death = 0; death <= 2; death++) await offerUnderDeath(here, death);
      } finally {
        if (alone) await here.stop();
      }
      expect(await auditFaults()).to.deep.equal([]);
    });
  }

  async function offerUnderDeath(here: TestApi, death: number): Promise<void> {
    day++;
    const where = `died after ${death} of 2 steps`;
    const cleanUp: (() => unknown)[] = [];
    try {
      const environment = readEnvironment(workerEnvironment, here.environment);
      const deps = await openWorkerDependencies(environment, {
        log: createLogger({ service: "worker", level: "silent" }),
        registry: createRegistry("worker", "test"),
        onStop: (_, close) => void cleanUp.push(close),
        clock: () => new Date(now),
      });
      const who = await here.as(`customer-${++customers}`);
      const mark = await here.mark();
      const from = slot("10").start;
      const to = slot("11").start;
      // A waitlist entry for a free slot is an offer to be made.
      const joined = await who.post("/client-data/reservations/waitlist", {
        body: { definitionId: "talk", from, to, partySize: 1 },
      });
      expect(joined.status).to.equal(201);
      const [cause] = (await here.newEvents(mark)).filter(({ type }) => type === "reservations.WaitlistJoined.v1");
      if (!cause) return expect.fail("joining was not recorded");
      const reaction = { eventId: cause.id, stream: cause.stream, revision: cause.revision };
      const reactor = offerReactor({ ...deps, commands: dying(deps.commands, death) });
      await reactor.react(reaction).catch(() => {});
      await offerReactor(deps).react(reaction);
      await (here === api ? api.settled() : here.caughtUp());
      const events = (await here.newEvents(mark)).map(({ type }) => type);
      const count = (type: string) => events.filter((one) => one === `reservations.${type}.v1`).length;
      expect([count("PlaceHeld"), count("WaitlistOffered")], where).to.deep.equal([1, 1]);
      const [entry] = (await who.get("/client-data/reservations/waitlist")).body.data;
      expect(entry.status, where).to.equal("offered");
    } finally {
      for (const close of cleanUp.reverse()) await close();
    }
  }
});
