import { expect } from "chai";
import { logStart } from "#infrastructure/event-store.js";
import { type Answer, type Caller, sendRequest, startApi, type TestApi } from "../support/api.js";
import { type AnotherCommandApi, startCommandApi } from "../support/command-api.js";
import { seededRandom } from "../support/random.js";
import { ReservationsAudit } from "../support/reservations-audit.js";

/** The long version: `RACE_CUSTOMERS=200 node test/run.mjs int reservations-race` (`npm run test:race`). */
const customers = Number(process.env.RACE_CUSTOMERS ?? 40);
const connections = 8;
const start = Date.parse("2026-06-01T06:00:00Z");

describe("reservations: a race for places", function () {
  this.timeout(280_000);
  let api: TestApi;
  let platform: Caller;
  let apis: AnotherCommandApi[] = [];

  before(async () => {
    api = await startApi({ projections: true, worker: true, clock: () => new Date(start) });
    platform = await api.asService();
    apis = await Promise.all(Array.from({ length: connections }, () => startCommandApi(api, () => new Date(start))));
  });
  after(async () => {
    await Promise.all(apis.map(({ stop }) => stop()));
    await api?.stop();
  });

  async function offer(name: string, capacity: number) {
    const hours = [{ start: "09:00", end: "12:00" }];
    const body = { sourceRevision: 1, name, timezone: "Europe/Berlin", weeklyHours: { tue: hours }, capacity };
    expect((await platform.put(`/internal/ingest/resources/${name}`, { body })).status).to.equal(200);
    const definition = {
      sourceRevision: 1,
      title: name,
      durationMinutes: 60,
      slotStepMinutes: 60,
      resourceIds: [name],
    };
    expect((await platform.put(`/internal/ingest/definitions/${name}`, { body: definition })).status).to.equal(200);
  }

  /** Sends to one of the APIs; what is told to come again later comes again, under the same key. */
  async function send(who: number, headers: Record<string, string>, method: string, path: string, body?: object) {
    const key = { "idempotency-key": crypto.randomUUID() };
    for (;;) {
      const { url } = apis[who % connections] as { url: string };
      const answer = await sendRequest(url, method, path, { headers: { ...headers, ...key }, body });
      if (answer.status !== 503) return answer;
    }
  }

  const callers = (prefix: string) =>
    Promise.all(Array.from({ length: customers }, async (_, who) => (await api.as(`${prefix}-${who}`)).headers));

  async function audit(capacities: Map<string, number>): Promise<ReservationsAudit> {
    const found = new ReservationsAudit(capacities);
    for (const { stream, type, data, at } of await api.newEvents(logStart))
      found.add({ stream, at, event: { type, data } });
    return found;
  }

  const slot = (hour: string) => ({ start: `2026-06-02T${hour}:00:00+02:00` });
  const capacities = new Map<string, number>();

  for (const places of [1, 10]) {
    it(`sells ${places} place(s) to exactly so many of ${customers}, and tells the others what else there is`, async () => {
      const name = `race-${places}`;
      capacities.set(name, places);
      await offer(name, places);
      const headers = await callers(name);
      const began = performance.now();
      const answers = await Promise.all(
        headers.map((own, who) =>
          send(who, own as Record<string, string>, "POST", "/client-data/reservations", {
            definitionId: name,
            slot: slot("10"),
          }),
        ),
      );
      const took = performance.now() - began;
      const won = answers.filter(({ status }) => status === 201);
      const lost = answers.filter(({ status }) => status !== 201);
      expect(won.map(({ body }) => body.state)).to.deep.equal(won.map(() => "confirmed"));
      expect(won).to.have.length(places);
      for (const { status, body } of lost) {
        expect([status, body.code]).to.deep.equal([409, "SLOT_TAKEN"]);
        const others = body.alternatives.map((other: { start: string }) => other.start);
        expect(others.slice(0, 2)).to.deep.equal(["2026-06-02T07:00:00.000Z", "2026-06-02T09:00:00.000Z"]);
      }
      await api.settled();
      const found = await audit(capacities);
      expect(found.settled()).to.deep.equal([]);
      console.log(`      ${customers} for ${places} over ${connections} APIs in ${Math.round(took)} ms`);
    });
  }

  it("holds with holds, moves, cancels and blocks mixed in, at every moment of the log", async () => {
    const places = 10;
    capacities.set("mixed", places);
    await offer("mixed", places);
    const headers = await callers("mixed");
    const random = seededRandom(7);
    const answers: Answer[] = [];
    const blocking = (async () => {
      const service = platform.headers as Record<string, string>;
      for (let revision = 1; revision <= 8; revision++) {
        const body = {
          ...{ sourceRevision: revision, resourceId: "mixed" },
          ...{ start: "2026-06-02T11:00:00+02:00", end: "2026-06-02T12:00:00+02:00" },
        };
        if (revision % 2) await send(revision, service, "PUT", "/internal/slot-blocks/race", body);
        else await send(revision, service, "DELETE", `/internal/slot-blocks/race?sourceRevision=${revision}`);
      }
    })();
    await Promise.all(
      headers.map(async (caller, who) => {
        const own = caller as Record<string, string>;
        const roll = random.below(4);
        const body: Record<string, unknown> = { definitionId: "mixed", slot: slot(roll < 3 ? "10" : "11") };
        if (roll === 0) {
          const held = await send(who, own, "POST", "/client-data/reservations/holds", body);
          if (held.status === 201) body.holdId = held.body.data.holdId;
        }
        const booked = await send(who, own, "POST", "/client-data/reservations", body);
        answers.push(booked);
        if (booked.status !== 201) return;
        const { pk } = booked.body;
        if (roll === 1) await send(who + 1, own, "DELETE", `/client-data/reservations/${pk}`);
        if (roll === 2) {
          const move = { reservationId: pk, slot: slot("09") };
          answers.push(await send(who + 1, own, "PUT", "/client-data/reservations", move));
        }
      }),
    );
    await blocking;
    await api.settled();
    const found = await audit(capacities);
    expect(found.settled()).to.deep.equal([]);
    const codes = new Set(answers.map(({ status, body }) => body.code ?? status));
    for (const code of codes) expect([201, 200, "SLOT_TAKEN", "HOLD_EXPIRED"]).to.include(code);
    console.log(`      ${JSON.stringify(found.counts)}`);
  });

  it("lets losers wait, and serves them in the order in which they began", async () => {
    capacities.set("queue", 1);
    await offer("queue", 1);
    const first = await api.as("queue-owner");
    const taken: Answer[] = [];
    for (const hour of ["09", "10", "11"]) {
      taken.push(await first.post("/client-data/reservations", { body: { definitionId: "queue", slot: slot(hour) } }));
    }
    const waiting = await Promise.all(Array.from({ length: 3 }, (_, who) => api.as(`queue-${who}`)));
    const body = { definitionId: "queue", from: "2026-06-02", to: "2026-06-02", partySize: 1 };
    for (const who of waiting) await who.post("/client-data/reservations/waitlist", { body });
    await Promise.all(taken.slice(0, 2).map(({ body: { pk } }) => first.delete(`/client-data/reservations/${pk}`)));
    await api.settled();
    const statuses = await Promise.all(
      waiting.map(async (who) => (await who.get("/client-data/reservations/waitlist")).body.data[0].status),
    );
    expect(statuses).to.deep.equal(["offered", "offered", "waiting"]);
    expect((await audit(capacities)).settled()).to.deep.equal([]);
  });
});
