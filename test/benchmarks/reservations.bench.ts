import { randomUUID } from "node:crypto";
import { MongoClient } from "mongodb";
import { addDays } from "#domain/reservations/opening-hours.js";
import { createEventStore } from "#infrastructure/eventstoredb.js";
import { generationName, generationRows, readModelKey } from "#infrastructure/read-models.js";
import { slotbookDocument } from "#projectors/reservations/slotbook.document.js";
import { Agent, request } from "undici";
import { type Benchmark, type BenchResult, benchResult, median, percentile } from "./bench-result.js";
import { type Benches, type BenchStack, database, untilVisible } from "./bench-stack.js";
import { inTurns } from "./rounds.js";

const callers = 16;
const zone = "Europe/Berlin";

/**
 * One hot day: bookings and cancellations of many customers on one slotbook, against bare appends to one stream at its
 * exact revision; and a month of five-minute slots, well booked and nearly empty, against a bare find of the same
 * documents.
 */
export const reservations: Benchmark<Benches> = {
  name: "reservations",
  run: async (context) => {
    const stack = await context.small();
    return [
      await hotDay(context, stack),
      await monthOfSlots(context, stack, { name: "month", perDay: 40, customers: stack.sample }),
      await monthOfSlots(context, stack, { name: "empty-month", perDay: 12, customers: stack.sample.toReversed() }),
    ];
  },
};

type Send = (method: "GET" | "POST" | "PUT" | "DELETE", path: string, body?: object) => Promise<any>;

function sender(base: string, org: string, token: string, agent: Agent): Send {
  return async (method, path, body) => {
    for (;;) {
      const answer = await request(`${base}${path}`, {
        method,
        dispatcher: agent,
        headers: { orgid: org, authorization: `Bearer ${token}`, "content-type": "application/json" },
        ...(body === undefined ? {} : { body: JSON.stringify(body) }),
      });
      const text = await answer.body.text();
      if (answer.statusCode === 503) continue;
      if (answer.statusCode >= 300) throw new Error(`${method} ${path}: ${answer.statusCode} ${text.slice(0, 300)}`);
      return { ...(JSON.parse(text) as object), position: answer.headers["x-log-position"] };
    }
  };
}

async function define(send: Send, name: string, resource: object, definition: object): Promise<void> {
  const hours = [{ start: "09:00", end: "17:00" }];
  const weeklyHours = Object.fromEntries(["mon", "tue", "wed", "thu", "fri", "sat", "sun"].map((day) => [day, hours]));
  const shared = { sourceRevision: Date.now() };
  const body = { ...shared, name, timezone: zone, weeklyHours, ...resource };
  await send("PUT", `/internal/ingest/resources/${name}`, body);
  await send("PUT", `/internal/ingest/definitions/${name}`, {
    ...shared,
    title: name,
    resourceIds: [name],
    ...definition,
  });
}

async function hotDay(
  context: Benches,
  { stack, issuer, sample, serviceToken, tokenOf }: BenchStack,
): Promise<BenchResult> {
  const agent = new Agent({ connections: callers });
  const platform = sender(stack.file.commandApi, issuer.org, serviceToken, agent);
  await define(platform, "hot", { capacity: 10_000 }, { durationMinutes: 60, slotStepMinutes: 60 });
  const tomorrow = addDays(new Date().toISOString().slice(0, 10), 1);
  const customers = await Promise.all(
    sample.slice(0, callers).map(async (id) => sender(stack.file.commandApi, issuer.org, await tokenOf(id), agent)),
  );
  const latencies: number[] = [];
  /** Steps on the hot stream: a claim for each booking, a release for each cancellation. */
  const steps = async (turn: number) => {
    const until = performance.now() + (turn === 0 ? 1_000 : context.rounds.milliseconds);
    const began = performance.now();
    let done = 0;
    await Promise.all(
      customers.map(async (send) => {
        while (performance.now() < until) {
          const started = performance.now();
          const slot = { start: `${tomorrow}T10:00:00Z` };
          const { pk } = await send("POST", "/client-data/reservations", { definitionId: "hot", slot });
          if (turn > 0) latencies.push(performance.now() - started);
          await send("DELETE", `/client-data/reservations/${pk}`);
          done += 2;
        }
      }),
    );
    return (done * 1_000) / (performance.now() - began);
  };
  const store = createEventStore(stack.file.eventStore);
  let revision = -1;
  const stream = `benchmark-${randomUUID()}.hot`;
  const appends = async (turn: number) => {
    const until = performance.now() + (turn === 0 ? 1_000 : context.rounds.milliseconds);
    const began = performance.now();
    let done = 0;
    while (performance.now() < until) {
      const event = {
        id: randomUUID(),
        type: "benchmark.Appended.v1",
        data: { filler: "x".repeat(300) },
        metadata: {},
      };
      ({ revision } = await store.append(stream, revision < 0 ? "no-stream" : revision, [event]));
      done++;
    }
    return (done * 1_000) / (performance.now() - began);
  };
  const figures = await inTurns(context.rounds.count, { product: steps, floor: appends });
  await store.close();
  await agent.close();
  return benchResult({
    name: "reservations-hot-day",
    unit: "steps/s on one stream",
    product: median(figures.product),
    floor: median(figures.floor),
    aim: 0.2,
    better: "higher",
    details: {
      product: `${callers} customers book and cancel on one slotbook; each booking is 3 durable appends, each cancellation 2`,
      floor: "one append after the other to one stream at its exact revision",
      bookingMs: { p50: percentile(latencies, 0.5), p99: percentile(latencies, 0.99) },
      bookings: latencies.length,
    },
  });
}

async function monthOfSlots(
  context: Benches,
  { stack, issuer, sample, serviceToken, tokenOf }: BenchStack,
  {
    name,
    perDay,
    customers,
  }: { readonly name: string; readonly perDay: number; readonly customers: readonly string[] },
) {
  const agent = new Agent({ connections: 8 });
  const platform = sender(stack.file.commandApi, issuer.org, serviceToken, agent);
  await define(
    platform,
    name,
    {},
    { durationMinutes: 5, slotStepMinutes: 5, horizonDays: 60, openReservationLimit: 200 },
  );
  const first = addDays(new Date().toISOString().slice(0, 10), 1);
  const work = Array.from({ length: 31 * perDay }, (_, index) => ({
    day: addDays(first, index % 31),
    minute: Math.floor(index / 31) * 10,
    // Nobody has two appointments at one time.
    customerId: customers[index % customers.length] as string,
  }));
  const positions: string[] = [];
  const rest = work.values();
  await Promise.all(
    Array.from({ length: 8 }, async () => {
      for (const { day, minute, customerId } of rest) {
        const start = new Date(Date.parse(`${day}T08:00:00Z`) + minute * 60_000).toISOString();
        const body = { customerId, definitionId: name, slot: { start } };
        const { position } = await platform("POST", "/internal/reservations", body);
        positions[0] = !positions[0] || position > positions[0] ? position : positions[0];
      }
    }),
  );
  const token = await tokenOf(sample[0] as string);
  await untilVisible(stack.file.queryApi, issuer.org, token, positions);
  const ada = sender(stack.file.queryApi, issuer.org, token, agent);
  const path = `/client-data/reservations/available-slots?definitionId=${name}&from=${first}&to=${addDays(first, 30)}&timezone=${zone}`;
  const client = await new MongoClient(stack.file.mongodb).connect();
  const row = await generationRows(client.db(database)).findOne({ _id: readModelKey(slotbookDocument) });
  const collection = client
    .db(database)
    .collection<{ _id: string }>(generationName(readModelKey(slotbookDocument), row?.live ?? 0));
  const idOf = (day: string) => `${issuer.org}.${name}.${day}`;
  const filter = { _id: { $gte: idOf(first), $lte: idOf(addDays(first, 30)) } };
  const times = context.quick ? 60 : 300;
  const each = async (turn: number, ask: () => Promise<unknown>) => {
    const all: number[] = [];
    for (let index = 0; index < (turn === 0 ? 40 : times); index++) {
      const started = performance.now();
      await ask();
      all.push(performance.now() - started);
    }
    return median(all);
  };
  const { data } = await ada("GET", path);
  const slots = data.days.reduce((sum: number, day: { slots: unknown[] }) => sum + day.slots.length, 0);
  /** Reads the whole answer; taking it apart is the client's own affair. */
  const askForSlots = async () => {
    const headers = { orgid: issuer.org, authorization: `Bearer ${token}` };
    const answer = await request(`${stack.file.queryApi}${path}`, { dispatcher: agent, headers });
    await answer.body.arrayBuffer();
    if (answer.statusCode !== 200) throw new Error(`slots were answered with ${answer.statusCode}`);
  };
  let documents = 0;
  const figures = await inTurns(context.rounds.count, {
    product: (turn) => each(turn, askForSlots),
    floor: (turn) => each(turn, async () => (documents = (await collection.find(filter).toArray()).length)),
  });
  await client.close();
  await agent.close();
  return benchResult({
    name: `reservations-${name}`,
    unit: "ms",
    product: median(figures.product),
    floor: median(figures.floor),
    aim: 3,
    better: "lower",
    details: {
      product: "GET available-slots over HTTP, the whole answer read",
      floor: "find of the same slotbook documents with the driver, toArray",
      ...{ slots, documents, bookings: work.length },
    },
  });
}
