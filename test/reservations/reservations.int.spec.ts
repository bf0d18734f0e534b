import { expect } from "chai";
import { type Answer, type Caller, startApi, type TestApi } from "../support/api.js";

/** A Monday; everything here happens by this clock. */
const start = Date.parse("2026-06-01T06:00:00Z");

describe("reservations over HTTP", function () {
  this.timeout(120_000);
  let api: TestApi;
  let platform: Caller;
  let now = start;
  let customers = 0;

  before(async () => {
    api = await startApi({ projections: true, worker: true, clock: () => new Date(now) });
    platform = await api.asService();
  });
  after(() => api?.stop());
  beforeEach(() => {
    now = start;
  });

  const someone = () => api.as(`customer-${++customers}`);
  const minutes = (count: number) => count * 60_000;

  /** A definition with resources of its own, so that tests do not meet. */
  async function offer(
    name: string,
    {
      definition = {},
      resource = {},
      resources = 1,
    }: { definition?: object; resource?: object; resources?: number } = {},
  ) {
    const resourceIds = Array.from({ length: resources }, (_, index) => `${name}-room-${index + 1}`);
    const hours = [{ start: "09:00", end: "12:00" }];
    for (const id of resourceIds) {
      const body = {
        sourceRevision: 1,
        name: `Room ${id}`,
        timezone: "Europe/Berlin",
        weeklyHours: { mon: hours, tue: hours, wed: hours, thu: hours, fri: hours },
        ...resource,
      };
      expect((await platform.put(`/internal/ingest/resources/${id}`, { body })).status).to.equal(200);
    }
    const body = {
      sourceRevision: 1,
      title: `Talk ${name}`,
      durationMinutes: 60,
      slotStepMinutes: 60,
      resourceIds,
      ...definition,
    };
    expect((await platform.put(`/internal/ingest/definitions/${name}`, { body })).status).to.equal(200);
    return { definitionId: name, resourceIds };
  }

  const slot = (time: string) => ({ start: `2026-06-${time}:00+02:00` });
  const book = (who: Caller, definitionId: string, time: string, more: object = {}) =>
    who.post("/client-data/reservations", { body: { definitionId, slot: slot(time), ...more } });

  function expectProblem(answer: Answer, status: number, code: string) {
    expect({ status: answer.status, code: answer.body.code }).to.deep.equal({ status, code });
  }

  /** The answer is a refusal, and nothing was written on the way. */
  async function refused(status: number, code: string, ask: () => Promise<Answer>): Promise<Answer> {
    const mark = await api.mark();
    const answer = await ask();
    expectProblem(answer, status, code);
    const types = (await api.newEvents(mark)).map(({ type }) => type);
    // What the worker notes by itself meanwhile is none of this request's.
    const own = types.filter((type) => type.startsWith("reservations.") && !type.includes("Lapsed"));
    expect(own).to.deep.equal([]);
    return answer;
  }

  describe("booking", () => {
    it("confirms a free slot and tells of it everywhere", async () => {
      await offer("basic", { definition: { priceMinor: 4900, currency: "EUR", cancelNoticeMinutes: 60 } });
      const ada = await someone();
      const mark = await api.mark();
      const answer = await book(ada, "basic", "02T09:00", { notes: "window, please" });
      expect(answer.status).to.equal(201);
      expect(answer.body.state).to.equal("confirmed");
      expect(answer.body.data).to.deep.include({
        definitionId: "basic",
        title: "Talk basic",
        slot: { start: "2026-06-02T07:00:00.000Z", end: "2026-06-02T08:00:00.000Z" },
        timezone: "Europe/Berlin",
        resource: { id: "basic-room-1", name: "Room basic-room-1" },
        partySize: 1,
        notes: "window, please",
        status: "confirmed",
        price: { amount: 49, amountMinor: 4900, currency: "EUR" },
        cancellableUntil: "2026-06-02T06:00:00.000Z",
        rescheduleCount: 0,
      });
      expect(answer.headers.get("location")).to.equal(`/client-data/reservations/${answer.body.pk.slice(12)}`);
      const types = (await api.newEvents(mark)).map(({ type }) => type);
      expect(types.filter((type) => type.startsWith("reservations."))).to.deep.equal([
        "reservations.Requested.v1",
        "reservations.PlaceClaimed.v1",
        "reservations.Booked.v1",
      ]);

      await api.caughtUp();
      const { data } = answer.body;
      for (const name of [answer.body.pk, answer.body.pk.slice(12), data.reservationNumber]) {
        const shown = await ada.get(`/client-data/reservations/${name}`);
        expect(shown.body).to.deep.equal(answer.body);
      }
      const list = await ada.get(
        "/client-data/reservations?when=upcoming&status=confirmed&from=2026-06-02&to=2026-06-02",
      );
      expect(list.body).to.deep.include({ total: 1, hasNext: false });
      expect((await ada.get("/client-data/reservations?when=past")).body.total).to.equal(0);
      const dashboard = await ada.get("/client-data/dashboard?include=reservations,recentActivity");
      expect(dashboard.body.data.reservations).to.deep.equal({
        upcoming: 1,
        next: { pk: answer.body.pk, start: data.slot.start, timezone: "Europe/Berlin", title: "Talk basic" },
      });
      expect(dashboard.body.data.recentActivity[0].title).to.equal("Talk basic booked for 2026-06-02 09:00");
      const stranger = await someone();
      expectProblem(await stranger.get(`/client-data/reservations/${answer.body.pk}`), 404, "RESERVATION_NOT_FOUND");
    });

    it("gives the first answer again under the same key, whatever came after", async () => {
      await offer("again");
      const ada = await someone();
      const bob = await someone();
      const headers = { "idempotency-key": "book-it" };
      const first = await book(ada, "again", "02T09:00");
      const keyed = await ada.post("/client-data/reservations", {
        headers,
        body: { definitionId: "again", slot: slot("02T10:00") },
      });
      await ada.delete(`/client-data/reservations/${keyed.body.pk}`);
      now += minutes(60 * 24 * 3);
      const mark = await api.mark();
      const repeated = await ada.post("/client-data/reservations", {
        headers,
        body: { definitionId: "again", slot: slot("02T10:00") },
      });
      expect(repeated.status).to.equal(201);
      expect(repeated.headers.get("idempotency-replayed")).to.equal("true");
      expect(repeated.body).to.deep.equal(keyed.body);
      expect(await api.newEvents(mark)).to.deep.equal([]);
      now = start;
      const other = { headers, body: { definitionId: "again", slot: slot("02T11:00") } };
      expectProblem(await ada.post("/client-data/reservations", other), 422, "IDEMPOTENCY_KEY_REUSED");
      expect(first.status).to.equal(201);

      // Refusals, too: with the alternatives there were then.
      const taken = { headers: { "idempotency-key": "mine" }, body: { definitionId: "again", slot: slot("02T09:00") } };
      const lost = await bob.post("/client-data/reservations", taken);
      expectProblem(lost, 409, "SLOT_TAKEN");
    });

    it("refuses a taken slot with true alternatives, the nearest first", async () => {
      await offer("taken");
      await book(await someone(), "taken", "02T10:00");
      const answer = await refused(409, "SLOT_TAKEN", async () => book(await someone(), "taken", "02T10:00"));
      expect(answer.body.alternatives.map(({ start: at }: { start: string }) => at)).to.deep.equal([
        "2026-06-02T07:00:00.000Z",
        "2026-06-02T09:00:00.000Z",
        "2026-06-03T07:00:00.000Z",
      ]);
      for (const { start: at } of answer.body.alternatives.slice(0, 2)) {
        const booked = await (await someone()).post("/client-data/reservations", {
          body: { definitionId: "taken", slot: { start: at } },
        });
        expect(booked.status).to.equal(201);
      }
    });

    it("chooses the less busy resource, and says which", async () => {
      await offer("choice", { resources: 2 });
      const rooms: string[] = [];
      for (const time of ["02T09:00", "02T09:00", "02T10:00", "02T10:00"]) {
        rooms.push((await book(await someone(), "choice", time)).body.data.resource.id);
      }
      expect(rooms).to.deep.equal(["choice-room-1", "choice-room-2", "choice-room-1", "choice-room-2"]);
      expectProblem(await book(await someone(), "choice", "02T10:00"), 409, "SLOT_TAKEN");
      const named = await book(await someone(), "choice", "02T11:00", { resourceId: "choice-room-2" });
      expect(named.body.data.resource.id).to.equal("choice-room-2");
    });

    it("leaves it pending where staff must confirm, and lets them", async () => {
      await offer("pending", { definition: { requiresConfirmation: true } });
      const ada = await someone();
      const booked = await book(ada, "pending", "02T09:00");
      expect(booked.body.state).to.equal("pending");
      const id = booked.body.pk.slice(12);
      const confirmed = await platform.put(`/internal/reservations/${id}/confirm`, { body: {} });
      expect([confirmed.status, confirmed.body.state]).to.deep.equal([200, "confirmed"]);
      const again = await platform.put(`/internal/reservations/${id}/confirm`, { body: {} });
      expect([again.status, again.body.version]).to.deep.equal([200, confirmed.body.version]);
      expectProblem(await platform.put(`/internal/reservations/${id}/complete`), 409, "RESERVATION_NOT_CHANGEABLE");
      now = Date.parse("2026-06-02T07:30:00Z");
      expect((await platform.put(`/internal/reservations/${id}/complete`)).body.state).to.equal("completed");
      expectProblem(await ada.delete(`/client-data/reservations/${id}`), 409, "RESERVATION_NOT_CHANGEABLE");
      expectProblem(
        await platform.put(`/internal/reservations/${crypto.randomUUID()}/no-show`),
        404,
        "RESERVATION_NOT_FOUND",
      );
    });
  });

  describe("moving and calling off", () => {
    it("moves to a free slot and gives the old place back", async () => {
      await offer("move", { definition: { rescheduleNoticeMinutes: 60 } });
      const ada = await someone();
      const bob = await someone();
      const booked = await book(ada, "move", "02T09:00");
      const { pk } = booked.body;
      const change = (who: Caller, body: object) =>
        who.put("/client-data/reservations", { body: { reservationId: pk, ...body } });
      expectProblem(await change(bob, { slot: slot("02T10:00") }), 404, "RESERVATION_NOT_FOUND");
      const moved = await change(ada, { slot: slot("02T10:00"), notes: "later" });
      expect(moved.status).to.equal(200);
      expect(moved.body.data).to.deep.include({ rescheduleCount: 1, notes: "later" });
      expect(moved.body.data.slot.start).to.equal("2026-06-02T08:00:00.000Z");
      expect(moved.body.data.history.map(({ what }: { what: string }) => what)).to.deep.equal(["booked", "moved"]);
      expect((await book(bob, "move", "02T09:00")).status).to.equal(201);

      const mark = await api.mark();
      const same = await change(ada, { slot: slot("02T10:00") });
      expect([same.status, same.body.version]).to.deep.equal([200, moved.body.version]);
      expect(await api.newEvents(mark)).to.deep.equal([]);

      const lost = await change(ada, { slot: slot("02T09:00") });
      expectProblem(lost, 409, "SLOT_TAKEN");
      await api.caughtUp();
      expect((await ada.get(`/client-data/reservations/${pk}`)).body.data.slot).to.deep.equal(moved.body.data.slot);

      expect((await change(ada, { slot: slot("02T11:00") })).status).to.equal(200);
      const third = await change(ada, { slot: slot("02T10:00") });
      expect(third.status).to.equal(200);
      await refused(422, "RESCHEDULE_LIMIT_REACHED", () => change(ada, { slot: slot("02T11:00") }));
      const stale = await ada.put("/client-data/reservations", {
        headers: { "if-match": '"0"' },
        body: { reservationId: pk, notes: "x" },
      });
      expectProblem(stale, 412, "PRECONDITION_FAILED");
      expectProblem(await change(ada, { notes: "x", version: 0 }), 409, "VERSION_CONFLICT");
      now = Date.parse("2026-06-02T07:01:00Z");
      await refused(422, "RESCHEDULE_WINDOW_PASSED", () => change(ada, { slot: slot("03T10:00") }));
    });

    it("makes room for more people where there is room, without counting it as a move", async () => {
      await offer("party", { definition: { maxPartySize: 4 }, resource: { capacity: 4 } });
      const ada = await someone();
      const { body } = await book(ada, "party", "02T09:00", { partySize: 2 });
      const change = (partySize: number) => ada.put("/client-data/reservations", { body: { id: body.pk, partySize } });
      expect((await change(3)).body.data).to.deep.include({ partySize: 3, rescheduleCount: 0 });
      expect((await book(await someone(), "party", "02T09:00", { partySize: 1 })).status).to.equal(201);
      expectProblem(await change(4), 409, "SLOT_TAKEN");
      expect((await change(1)).body.data.partySize).to.equal(1);
      expect((await book(await someone(), "party", "02T09:00", { partySize: 2 })).status).to.equal(201);
    });

    it("calls off in time, once; afterwards as the org has decided", async () => {
      await offer("cancel", { definition: { cancelNoticeMinutes: 60 } });
      const ada = await someone();
      const { body } = await book(ada, "cancel", "02T09:00");
      const gone = await ada.delete(`/client-data/reservations/${body.pk}?reason=ill`);
      expect([gone.status, gone.body.state]).to.deep.equal([200, "cancelled"]);
      expect(gone.body.data).to.deep.include({ cancelReason: "ill", lateCancel: false });
      const again = await ada.delete(`/client-data/reservations/${body.pk}`);
      expect([again.status, again.body]).to.deep.equal([200, gone.body]);
      const next = await book(await someone(), "cancel", "02T09:00");
      expect(next.status).to.equal(201);
      const late = await book(ada, "cancel", "02T10:00");
      now = Date.parse("2026-06-02T07:01:00Z");
      await refused(422, "CANCEL_WINDOW_PASSED", () => ada.delete(`/client-data/reservations/${late.body.pk}`));
    });
  });

  describe("holds", () => {
    it("keep a place for five minutes, for its customer", async () => {
      await offer("hold");
      const [ada, bob] = [await someone(), await someone()];
      const hold = (who: Caller, time: string) =>
        who.post("/client-data/reservations/holds", { body: { definitionId: "hold", slot: slot(time) } });
      const held = await hold(ada, "02T09:00");
      expect(held.status).to.equal(201);
      expect(held.body.data).to.deep.include({
        expiresAt: new Date(now + minutes(5)).toISOString(),
        slot: { start: "2026-06-02T07:00:00.000Z", end: "2026-06-02T08:00:00.000Z" },
      });
      const { holdId } = held.body.data;
      expect((await hold(ada, "02T09:00")).body.data.holdId, "asked again: the same").to.equal(holdId);
      await refused(409, "SLOT_TAKEN", () => book(bob, "hold", "02T09:00"));
      await refused(404, "HOLD_NOT_FOUND", () => book(bob, "hold", "02T09:00", { holdId }));
      expectProblem(await bob.delete(`/client-data/reservations/holds/${holdId}`), 404, "HOLD_NOT_FOUND");
      await api.caughtUp();
      const slots = await bob.get(
        "/client-data/reservations/available-slots?definitionId=hold&from=2026-06-02&to=2026-06-02",
      );
      expect(slots.body.data.days[0].slots.map(({ start: at }: { start: string }) => at)).to.deep.equal([
        "2026-06-02T10:00:00.000+02:00",
        "2026-06-02T11:00:00.000+02:00",
      ]);
      expect((await ada.get("/client-data/reservations/holds")).body.data[0].holdId).to.equal(holdId);
      const booked = await book(ada, "hold", "02T09:00", { holdId });
      expect(booked.status).to.equal(201);
      await api.caughtUp();
      expect((await ada.get("/client-data/reservations/holds")).body.total).to.equal(0);
    });

    it("end by time alone, and the newer one takes over", async () => {
      await offer("lapse");
      const [ada, bob] = [await someone(), await someone()];
      const hold = (who: Caller, time: string) =>
        who.post("/client-data/reservations/holds", { body: { definitionId: "lapse", slot: slot(time) } });
      const first = await hold(ada, "02T09:00");
      const second = await hold(ada, "02T10:00");
      expect((await book(bob, "lapse", "02T09:00")).status, "given back by the newer hold").to.equal(201);
      const { holdId } = second.body.data;
      expect((await ada.delete(`/client-data/reservations/holds/${first.body.data.holdId}`)).status).to.equal(204);
      await refused(409, "HOLD_EXPIRED", () => book(ada, "lapse", "02T09:00", { holdId: first.body.data.holdId }));
      now += minutes(5);
      await api.caughtUp();
      expect((await ada.get("/client-data/reservations/holds")).body.total).to.equal(0);
      await refused(409, "HOLD_EXPIRED", () => book(ada, "lapse", "02T10:00", { holdId }));
      expect((await book(await someone(), "lapse", "02T10:00")).status).to.equal(201);
      await api.settled();
    });
  });

  describe("waitlist", () => {
    it("offers what comes free in the order in which people began to wait", async () => {
      await offer("queue");
      const [owner, first, second] = [await someone(), await someone(), await someone()];
      const taken = await book(owner, "queue", "02T09:00");
      const other = await book(owner, "queue", "02T10:00");
      await book(await someone(), "queue", "02T11:00");
      const wait = (who: Caller) =>
        who.post("/client-data/reservations/waitlist", {
          body: { definitionId: "queue", from: "2026-06-02", to: "2026-06-02", partySize: 1 },
        });
      const entry = await wait(first);
      expect([entry.status, entry.body.data.status]).to.deep.equal([201, "waiting"]);
      expect((await wait(second)).status).to.equal(201);
      await api.settled();
      await owner.delete(`/client-data/reservations/${taken.body.pk}`);
      await api.settled();

      const mine = (await first.get("/client-data/reservations/waitlist")).body.data[0];
      expect(mine.status).to.equal("offered");
      expect(mine.offer).to.deep.include({
        slot: { start: "2026-06-02T07:00:00.000Z", end: "2026-06-02T08:00:00.000Z" },
        expiresAt: new Date(now + minutes(30)).toISOString(),
      });
      expect((await second.get("/client-data/reservations/waitlist")).body.data[0].status).to.equal("waiting");
      expectProblem(await book(second, "queue", "02T09:00"), 409, "SLOT_TAKEN");
      const booked = await book(first, "queue", "02T09:00", { holdId: mine.offer.holdId });
      expect(booked.status).to.equal(201);

      await owner.delete(`/client-data/reservations/${other.body.pk}`);
      await api.settled();
      const offered = (await second.get("/client-data/reservations/waitlist")).body.data[0];
      expect(offered.offer.slot.start).to.equal("2026-06-02T08:00:00.000Z");
      expect((await first.get("/client-data/reservations/waitlist")).body.data[0]).to.deep.include({
        status: "fulfilled",
        reservationId: booked.body.pk.slice(12),
      });
    });

    it("passes an offer on when it is let pass, and does not make it twice", async () => {
      await offer("pass", { resource: { weeklyHours: { tue: [{ start: "09:00", end: "10:00" }] } } });
      const [owner, first, second] = [await someone(), await someone(), await someone()];
      const taken = await book(owner, "pass", "02T09:00");
      for (const who of [first, second]) {
        const body = { definitionId: "pass", from: "2026-06-02", to: "2026-06-02", partySize: 1 };
        expect((await who.post("/client-data/reservations/waitlist", { body })).status).to.equal(201);
      }
      await api.settled();
      await owner.delete(`/client-data/reservations/${taken.body.pk}`);
      await api.settled();
      now += minutes(30);
      await api.settled();
      expect((await first.get("/client-data/reservations/waitlist")).body.data[0].status).to.equal("waiting");
      const offered = (await second.get("/client-data/reservations/waitlist")).body.data[0];
      expect(offered.status).to.equal("offered");
      const gone = await second.delete(`/client-data/reservations/waitlist/${offered.waitlistId}`);
      expect(gone.status).to.equal(204);
      await api.settled();
      expect((await first.get("/client-data/reservations/waitlist")).body.data[0].status).to.equal("waiting");
      expect((await second.get("/client-data/reservations/waitlist")).body.total).to.equal(0);
      expect((await book(await someone(), "pass", "02T09:00")).status).to.equal(201);
    });

    it("offers at once what is free already", async () => {
      await offer("free");
      const ada = await someone();
      const body = { definitionId: "free", from: "2026-06-02", to: "2026-06-03", partySize: 1 };
      await ada.post("/client-data/reservations/waitlist", { body });
      await api.settled();
      const [entry] = (await ada.get("/client-data/reservations/waitlist")).body.data;
      expect(entry.offer.slot.start).to.equal("2026-06-02T07:00:00.000Z");
    });
  });

  describe("staff", () => {
    it("book on the same slotbook, and block ranges of it", async () => {
      await offer("staff", { definition: { minNoticeMinutes: 60 * 24 * 7, openReservationLimit: 1 } });
      const customerId = `customer-${++customers}`;
      const ada = await api.as(customerId);
      expectProblem(await book(ada, "staff", "02T09:00"), 422, "TOO_SOON");
      const body = { customerId, definitionId: "staff", slot: slot("02T09:00") };
      const booked = await platform.post("/internal/reservations", { body });
      expect([booked.status, booked.body.state]).to.deep.equal([201, "confirmed"]);
      expect(booked.body.data.history[0].by).to.equal("staff");
      const other = { ...body, customerId: "somebody-else" };
      expectProblem(await platform.post("/internal/reservations", { body: other }), 409, "SLOT_TAKEN");

      const block = (sourceRevision: number, from: string, to: string) =>
        platform.put("/internal/slot-blocks/inventory", {
          body: {
            sourceRevision,
            resourceId: "staff-room-1",
            start: `2026-06-${from}:00+02:00`,
            end: `2026-06-${to}:00+02:00`,
          },
        });
      const blocked = await block(1, "02T09:30", "03T12:00");
      expect(blocked.body).to.deep.equal({ applied: true, booked: [booked.body.pk.slice(12)] });
      expect((await block(1, "02T09:30", "03T12:00")).body.applied).to.equal(false);
      const later = { ...other, slot: slot("03T09:00") };
      expectProblem(await platform.post("/internal/reservations", { body: later }), 409, "SLOT_TAKEN");
      expect((await block(2, "02T09:30", "02T12:00")).body.applied, "no longer on the second day").to.equal(true);
      expect((await platform.post("/internal/reservations", { body: later })).status).to.equal(201);
      expect((await platform.delete("/internal/slot-blocks/inventory?sourceRevision=3")).body.applied).to.equal(true);
      expect((await block(2, "02T09:30", "02T12:00")).body.applied).to.equal(false);
      const eleven = { ...other, slot: slot("02T11:00") };
      expect((await platform.post("/internal/reservations", { body: eleven })).status).to.equal(201);
      const off = await platform.put(`/internal/reservations/${booked.body.pk}/cancel`, { body: { reason: "closed" } });
      expect(off.body.data).to.deep.include({ status: "cancelled", lateCancel: false });
    });
  });

  describe("bad input", () => {
    before(async () => {
      await offer("bad", {
        definition: { minNoticeMinutes: 60, horizonDays: 7, maxPartySize: 2 },
        resource: { capacity: 2 },
      });
    });

    const cases: readonly [string, object, number, string, { field: string; code: string }?][] = [
      ["off the grid", { slot: slot("02T09:30") }, 422, "SLOT_NOT_OFFERED"],
      ["outside the hours", { slot: slot("02T13:00") }, 422, "SLOT_NOT_OFFERED"],
      ["on a closed day", { slot: slot("06T09:00") }, 422, "SLOT_NOT_OFFERED"],
      ["in the past", { slot: { start: "2026-05-29T09:00:00+02:00" } }, 422, "TOO_SOON"],
      ["within the notice", { slot: slot("01T08:30") }, 422, "TOO_SOON"],
      ["beyond the horizon", { slot: slot("09T09:00") }, 422, "TOO_FAR"],
      ["with the offset of another zone", { slot: { start: "2026-06-02T09:00:00+05:30" } }, 422, "SLOT_NOT_OFFERED"],
      [
        "with an offset that the named zone does not have",
        { slot: { start: "2026-06-02T09:00:00+03:00" }, timezone: "Europe/Berlin" },
        400,
        "VALIDATION_FAILED",
        { field: "slot.start", code: "OFFSET_MISMATCH" },
      ],
      [
        "at a local time that does not exist",
        { slot: { start: "2026-03-29T02:30:00+01:00" }, timezone: "Europe/Berlin" },
        400,
        "VALIDATION_FAILED",
        { field: "slot.start", code: "NOT_A_LOCAL_TIME" },
      ],
      [
        "without an offset",
        { slot: { start: "2026-06-02T09:00" } },
        400,
        "VALIDATION_FAILED",
        { field: "slot.start", code: "PATTERN" },
      ],
      [
        "with an end and no start",
        { slot: { end: "2026-06-02T10:00:00+02:00" } },
        400,
        "VALIDATION_FAILED",
        { field: "slot.start", code: "REQUIRED" },
      ],
      [
        "with another end",
        { slot: { start: "2026-06-02T09:00:00+02:00", end: "2026-06-02T09:45:00+02:00" } },
        400,
        "VALIDATION_FAILED",
        { field: "slot.end", code: "MISMATCH" },
      ],
      ["for a party of none", { partySize: 0 }, 400, "VALIDATION_FAILED", { field: "partySize", code: "TOO_SMALL" }],
      ["for a party too large", { partySize: 3 }, 422, "PARTY_TOO_LARGE"],
      ["at a resource of another definition", { resourceId: "basic-room-1" }, 404, "RESOURCE_NOT_FOUND"],
      ["of a definition that is not there", { definitionId: "none" }, 404, "DEFINITION_NOT_FOUND"],
      ["under a hold that is not there", { holdId: "bad-room-1.2026-06-02.x" }, 404, "HOLD_NOT_FOUND"],
      ["for another customer", { customer: { id: "bob" } }, 400, "UNKNOWN_FIELD"],
    ];
    for (const [what, changes, status, code, error] of cases) {
      it(`refuses a booking ${what}`, async () => {
        const body = { definitionId: "bad", slot: slot("02T09:00"), ...changes };
        const ada = await someone();
        const answer = await refused(status, code, () => ada.post("/client-data/reservations", { body }));
        if (error) expect(answer.body.errors[0]).to.deep.include(error);
      });
    }

    it("refuses a definition withdrawn since, and leaves what is booked", async () => {
      await offer("withdrawn");
      const ada = await someone();
      const booked = await book(ada, "withdrawn", "02T09:00");
      const body = {
        sourceRevision: 2,
        title: "Talk withdrawn",
        durationMinutes: 60,
        slotStepMinutes: 60,
        resourceIds: ["withdrawn-room-1"],
        bookable: false,
      };
      await platform.put("/internal/ingest/definitions/withdrawn", { body });
      await refused(404, "DEFINITION_NOT_FOUND", () => book(ada, "withdrawn", "02T10:00"));
      await api.caughtUp();
      const slots = await ada.get("/client-data/reservations/available-slots?definitionId=withdrawn");
      expectProblem(slots, 404, "DEFINITION_NOT_FOUND");
      const list = await ada.get("/client-data/reservations/definitions");
      expect(list.body.data.map(({ definitionId }: { definitionId: string }) => definitionId)).not.to.include(
        "withdrawn",
      );
      expect((await ada.get(`/client-data/reservations/${booked.body.pk}`)).body.state).to.equal("confirmed");
    });

    it("refuses a second appointment of the same customer, and one too many", async () => {
      await offer("own", { resources: 2, definition: { openReservationLimit: 2 } });
      const ada = await someone();
      await book(ada, "own", "02T09:00");
      await refused(409, "OVERLAPS_OWN_RESERVATION", () => book(ada, "own", "02T09:00"));
      await book(ada, "own", "02T10:00");
      await refused(422, "OPEN_RESERVATION_LIMIT", () => book(ada, "own", "02T11:00"));
    });

    it("refuses faulty catalogue entries, and another zone for a resource", async () => {
      const hours = (list: object[]) => ({ mon: list });
      const put = (body: object) =>
        platform.put("/internal/ingest/resources/faulty", {
          body: { sourceRevision: 1, name: "x", timezone: "Europe/Berlin", weeklyHours: {}, ...body },
        });
      for (const list of [
        [{ start: "12:00", end: "09:00" }],
        [
          { start: "09:00", end: "12:00" },
          { start: "11:00", end: "13:00" },
        ],
      ]) {
        const answer = await put({ weeklyHours: hours(list) });
        expectProblem(answer, 400, "VALIDATION_FAILED");
        expect(answer.body.errors[0]).to.deep.include({ field: "weeklyHours.mon", code: "HOURS_INVALID" });
      }
      expectProblem(await put({ timezone: "Mars/Olympus" }), 400, "VALIDATION_FAILED");
      expect((await put({})).status).to.equal(200);
      expectProblem(await put({ sourceRevision: 2, timezone: "Europe/Paris" }), 409, "RESOURCE_FIELD_FROZEN");
    });
  });

  describe("slots and calendar", () => {
    it("lists days of the asked zone, with each date's own offset", async () => {
      await offer("slots", {
        resource: {
          timezone: "Europe/Berlin",
          weeklyHours: { sat: [{ start: "22:00", end: "24:00" }], sun: [{ start: "00:00", end: "04:00" }] },
        },
        definition: { horizonDays: 365 },
      });
      await api.caughtUp();
      const ada = await someone();
      const get = (search: string) => ada.get(`/client-data/reservations/available-slots?definitionId=slots&${search}`);
      const fold = await get("from=2026-10-24&to=2026-10-25&timezone=Europe/Berlin");
      expect(fold.headers.get("cache-control")).to.equal("no-store");
      const { days, timezone, tzdata } = fold.body.data;
      expect({ timezone, tzdata }).to.deep.equal({ timezone: "Europe/Berlin", tzdata: process.versions.tz });
      expect(days.map(({ date, slots }: any) => [date, ...slots.map((one: any) => one.start.slice(11))])).to.deep.equal(
        [
          ["2026-10-24", "22:00:00.000+02:00", "23:00:00.000+02:00"],
          [
            "2026-10-25",
            "00:00:00.000+02:00",
            "01:00:00.000+02:00",
            "02:00:00.000+02:00",
            "02:00:00.000+01:00",
            "03:00:00.000+01:00",
          ],
        ],
      );
      expect(days[0].slots[0]).to.deep.equal({
        start: "2026-10-24T22:00:00.000+02:00",
        end: "2026-10-24T23:00:00.000+02:00",
        remaining: 1,
        resourceIds: ["slots-room-1"],
      });
      const abroad = await get("from=2026-10-24&to=2026-10-24&timezone=America/New_York");
      expect(abroad.body.data.days[0].slots.map((one: any) => one.start)).to.include("2026-10-24T16:00:00.000-04:00");
      expectProblem(await get("from=2026-06-01&to=2026-07-02"), 400, "RANGE_TOO_LONG");
      expectProblem(await get("from=2026-06-02&to=2026-06-01"), 400, "INVALID_QUERY");
      expectProblem(await get("partySize=0"), 400, "INVALID_QUERY");
      await ada.put("/client-data/profile", { body: { timezone: "Asia/Kolkata" } });
      await api.caughtUp();
      const own = await get("from=2026-06-06&to=2026-06-07");
      expect(own.body.data.timezone).to.equal("Asia/Kolkata");
      expect(own.body.data.days[0].slots[0].start).to.equal("2026-06-07T01:30:00.000+05:30");
    });

    it("does not count the reservation that is to be moved", async () => {
      await offer("exclude", { definition: { slotStepMinutes: 30 } });
      const ada = await someone();
      const { body } = await book(ada, "exclude", "02T09:00");
      await api.caughtUp();
      const starts = async (who: Caller, more = "") => {
        const path = `/client-data/reservations/available-slots?definitionId=exclude&from=2026-06-02&to=2026-06-02${more}`;
        const answer = await who.get(path);
        return answer.status === 200 ? answer.body.data.days[0].slots.length : answer.body.code;
      };
      expect(await starts(ada)).to.equal(3);
      expect(await starts(ada, `&excludeReservationId=${body.pk}`)).to.equal(5);
      expect(await starts(await someone(), `&excludeReservationId=${body.pk}`)).to.equal("RESERVATION_NOT_FOUND");
    });

    it("serves a calendar file to whoever has the link, and only to them", async () => {
      await offer("ics");
      const ada = await someone();
      const { body } = await book(ada, "ics", "02T09:00");
      await api.caughtUp();
      const url = new URL(body.data.icsUrl);
      const nobody = api.with({});
      const file = await nobody.get(url.pathname + url.search);
      expect(file.status).to.equal(200);
      expect(file.headers.get("content-type")).to.equal("text/calendar; charset=utf-8");
      const lines = file.body.split("\r\n");
      const uid = lines.find((line: string) => line.startsWith("UID:"));
      const sequence = (text: string) => Number(/SEQUENCE:(\d+)/.exec(text)?.[1]);
      expect(lines).to.include.members([
        "BEGIN:VCALENDAR",
        "DTSTART:20260602T070000Z",
        "DTEND:20260602T080000Z",
        "STATUS:CONFIRMED",
      ]);
      const moved = await ada.put("/client-data/reservations", { body: { id: body.pk, slot: slot("02T10:00") } });
      expect(moved.body.data.icsUrl).to.equal(body.data.icsUrl);
      await ada.delete(`/client-data/reservations/${body.pk}`);
      await api.caughtUp();
      const later = (await nobody.get(url.pathname + url.search)).body;
      expect(later.split("\r\n")).to.include.members([uid, "DTSTART:20260602T080000Z", "STATUS:CANCELLED"]);
      expect(sequence(later)).to.be.greaterThan(sequence(file.body));
      const forged = url.search.replace(/.$/, (last) => (last === "A" ? "B" : "A"));
      expectProblem(await nobody.get(url.pathname + forged), 403, "LINK_INVALID");
      const other = url.pathname.replace(/.{36}(?=\/calendar)/, crypto.randomUUID());
      expectProblem(await nobody.get(other + url.search), 403, "LINK_INVALID");
    });
  });

  it("frees the places of somebody who is erased", async () => {
    await offer("erased", { definition: { horizonDays: 60 } });
    const ada = await api.as(`customer-${++customers}`, { auth_time: start / 1_000 });
    expect((await book(ada, "erased", "30T09:00")).status).to.equal(201);
    expect((await ada.post("/client-data/privacy/erasure")).status).to.equal(202);
    now += minutes(60 * 24 * 15);
    await api.settled();
    expect((await book(await someone(), "erased", "30T09:00")).status).to.equal(201);
  });
});
