import { readFile } from "node:fs/promises";
import { setTimeout as delay } from "node:timers/promises";
import { expect } from "chai";
import { logStart } from "#infrastructure/event-store.js";
import { createEventStore } from "#infrastructure/eventstoredb.js";
import { addDays } from "#domain/reservations/opening-hours.js";
import { type Answer, sendRequest } from "../support/api.js";
import { startOwnStack } from "../support/own-stack.js";
import { seededRandom } from "../support/random.js";
import { ReservationsAudit } from "../support/reservations-audit.js";

/** The long version: `KILL_SECONDS=600 node test/run.mjs e2e reservations-kill`. */
const seconds = Number(process.env.KILL_SECONDS ?? 15);
const victims = ["commandApi", "eventStore", "worker"] as const;
const places = 2;

describe("reservations, while command API, event store and worker are killed", () => {
  it("loses no place, sells none twice, and the client's repeat gets the first answer", async function () {
    this.timeout(seconds * 1_000 + 200_000);
    const seed = Date.now() % 1_000_000;
    const random = seededRandom(seed);
    const { stack, issuer, stackFile, stop } = await startOwnStack(() => {});
    try {
      const { commandApi, eventStore } = stack.file;
      const service = { orgid: issuer.org, authorization: `Bearer ${await issuer.serviceToken()}` };
      const tomorrow = addDays(new Date().toISOString().slice(0, 10), 1);
      const hours = [{ start: "09:00", end: "15:00" }];
      const days = Object.fromEntries(["mon", "tue", "wed", "thu", "fri", "sat", "sun"].map((day) => [day, hours]));
      const resource = {
        sourceRevision: 1,
        name: "room",
        timezone: "Europe/Berlin",
        weeklyHours: days,
        capacity: places,
      };
      const definition = {
        sourceRevision: 1,
        title: "talk",
        durationMinutes: 60,
        slotStepMinutes: 60,
        resourceIds: ["room"],
      };
      for (const [path, body] of [
        ["resources/room", resource],
        ["definitions/talk", definition],
      ] as const) {
        const made = await sendRequest(commandApi, "PUT", `/internal/ingest/${path}`, { headers: service, body });
        expect(made.status).to.equal(200);
      }
      const customers = Array.from({ length: 10 }, (_, index) => `kill-${index}`);
      const tokens = await issuer.tokensOf(customers);
      const until = Date.now() + seconds * 1_000;
      const counts: Record<string, number> = {};
      const broken: string[] = [];
      const slot = () => ({ start: `${tomorrow}T${String(8 + random.below(5)).padStart(2, "0")}:00:00Z` });

      /** Sends until there is an answer, under one key; whatever comes twice must be the same. */
      const ask = async (token: string, method: string, path: string, body?: object): Promise<Answer> => {
        const headers = { orgid: issuer.org, authorization: `Bearer ${token}`, "idempotency-key": crypto.randomUUID() };
        for (;;) {
          const answer = await sendRequest(commandApi, method, path, { headers, body }).catch(() => undefined);
          if (answer && answer.status < 500) return answer;
          await delay(100);
        }
      };
      const customer = async (token: string) => {
        while (Date.now() < until) {
          const booked = await ask(token, "POST", "/client-data/reservations", { definitionId: "talk", slot: slot() });
          counts[`book ${booked.body.code ?? booked.status}`] =
            (counts[`book ${booked.body.code ?? booked.status}`] ?? 0) + 1;
          if (booked.status === 201) {
            const { pk } = booked.body;
            const moved = await ask(token, "PUT", "/client-data/reservations", { reservationId: pk, slot: slot() });
            counts[`move ${moved.body.code ?? moved.status}`] =
              (counts[`move ${moved.body.code ?? moved.status}`] ?? 0) + 1;
            if (![200, 409, 422].includes(moved.status)) broken.push(`move: ${JSON.stringify(moved.body)}`);
            const gone = await ask(token, "DELETE", `/client-data/reservations/${pk}`);
            if (gone.status !== 200) broken.push(`cancel: ${JSON.stringify(gone.body)}`);
          } else if (booked.body.code !== "SLOT_TAKEN") broken.push(`book: ${JSON.stringify(booked.body)}`);
        }
      };
      let kills = 0;
      const killer = async () => {
        while (Date.now() < until) {
          await delay(400 + random.below(800));
          const { pids } = JSON.parse(await readFile(stackFile, "utf8")) as { pids: Record<string, number> };
          const pid = pids[victims[random.below(victims.length)] as string];
          if (pid === undefined) continue;
          try {
            process.kill(pid, "SIGKILL");
            kills++;
          } catch {
            // between two lives
          }
        }
      };
      await Promise.all([...tokens.map(customer), killer()]);
      expect(broken, `seed ${seed}`).to.deep.equal([]);

      // What a crash left open is finished by the worker within its time.
      const store = createEventStore(eventStore, { deadlineMs: 10_000 });
      const deadline = Date.now() + 90_000;
      let faults: readonly string[] = ["not looked yet"];
      while (faults.length > 0 && Date.now() < deadline) {
        await delay(1_000);
        const audit = new ReservationsAudit(new Map([["room", places]]));
        try {
          for await (const { stream, type, data, metadata } of store.readLog({ after: logStart })) {
            const { occurredAt: at } = (metadata ?? {}) as { occurredAt?: string };
            if (at !== undefined) audit.add({ stream, at, event: { type, data } });
          }
          faults = audit.settled();
        } catch (error) {
          faults = [String(error)]; // the store is on its way back
        }
      }
      await store.close();
      expect(faults, `seed ${seed}`).to.deep.equal([]);
      console.log(`      seed ${seed}: ${kills} kills, ${JSON.stringify(counts)}`);
      expect(kills).to.be.greaterThan(3);
    } finally {
      await stop();
    }
  });
});
