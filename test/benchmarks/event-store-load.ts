/**
 * Appends to the event store, keeping a number of appends in flight, each to the stream's exact revision. A child
 * process: answers `{client, inFlight, milliseconds}` with an `AppendReport`. Environment: EVENTSTORE_URL.
 *
 * Two clients: `official` is the one the product uses; `lean` speaks the same BatchAppend over grpc-js with a small
 * encoder, because the official client is used up before the server is.
 */
import { randomUUID } from "node:crypto";
import { Client, credentials } from "@grpc/grpc-js";
import { EventStoreDBClient, jsonEvent, NO_STREAM } from "@eventstore/db-client";
import { ProtoReader, ProtoWriter } from "../../embedded/event-store/protobuf.js";
import { percentile } from "./bench-result.js";
import { eventData, eventMetadata, eventType, streamCount } from "./event-store-shape.js";

export type AppendPlan = {
  readonly client: "official" | "lean";
  readonly inFlight: number;
  readonly milliseconds: number;
};
export type AppendReport = {
  readonly perSecond: number;
  /** Milliseconds from call to answer. */
  readonly p50: number;
  readonly p99: number;
  readonly worst: number;
};

/** Appends one event to the stream, whose last revision is `last` (-1: none). */
type Append = (stream: string, last: number) => Promise<unknown>;

const url = process.env.EVENTSTORE_URL ?? "";

function officialClient(): Append {
  const client = EventStoreDBClient.connectionString(url);
  return (stream, last) =>
    client.appendToStream(stream, jsonEvent({ type: eventType, data: eventData, metadata: eventMetadata }), {
      expectedRevision: last < 0 ? NO_STREAM : BigInt(last),
    });
}

function leanClient(): Append {
  const identity = (bytes: Buffer) => bytes;
  const client = new Client(new URL(url).host, credentials.createInsecure());
  const path = "/event_store.client.streams.Streams/BatchAppend";
  const call = client.makeBidiStreamRequest(path, identity, identity);
  const waiting = new Map<string, { resolve: () => void; reject: (error: Error) => void }>();
  const failAll = (error: Error) => {
    for (const { reject } of waiting.values()) reject(error);
  };
  call.on("error", failAll);
  call.on("data", (message: Buffer) => {
    let id = "";
    let isSuccess = false;
    const reader = new ProtoReader(message);
    for (let field = reader.next(); field !== 0; field = reader.next()) {
      if (field === 1) {
        const uuid = reader.message();
        uuid.next();
        id = uuid.string();
      } else {
        if (field === 3) isSuccess = true;
        reader.skip();
      }
    }
    const waiter = waiting.get(id);
    waiting.delete(id);
    if (isSuccess) waiter?.resolve();
    else waiter?.reject(new Error("the append was refused"));
  });

  const data = Buffer.from(JSON.stringify(eventData));
  const metadata = Buffer.from(JSON.stringify(eventMetadata));
  const writer = new ProtoWriter();
  return (stream, last) =>
    new Promise<void>((resolve, reject) => {
      const id = randomUUID();
      waiting.set(id, { resolve, reject });
      writer.message(1, (uuid) => uuid.string(2, id));
      writer.message(2, (options) => {
        options.message(1, (identifier) => identifier.string(3, stream));
        if (last < 0) options.message(3);
        else options.uint64(2, last);
      });
      writer.message(3, (event) => {
        event.message(1, (uuid) => uuid.string(2, randomUUID()));
        event.message(2, (entry) => entry.string(1, "type").string(2, eventType));
        event.message(2, (entry) => entry.string(1, "content-type").string(2, "application/json"));
        event.bytes(3, metadata).bytes(4, data);
      });
      call.write(writer.bool(4, true).finish());
    });
}

const clients = { official: officialClient(), lean: leanClient() };
const run = randomUUID().slice(0, 8);
const last = { official: new Array<number>(streamCount).fill(-1), lean: new Array<number>(streamCount).fill(-1) };

async function load({ client, inFlight, milliseconds }: AppendPlan): Promise<AppendReport> {
  const append = clients[client];
  const revisions = last[client];
  const latencies: number[] = [];
  const started = performance.now();
  // Each worker has streams of its own: nobody ever loses a race.
  const worker = async (first: number) => {
    for (let stream = first; performance.now() - started < milliseconds; stream = (stream + inFlight) % streamCount) {
      if (stream % inFlight !== first) stream += (first - (stream % inFlight) + inFlight) % inFlight;
      if (stream >= streamCount) stream = first;
      const sent = performance.now();
      await append(`bench-${run}-${client}-${stream}`, revisions[stream] as number);
      (revisions[stream] as number)++;
      latencies.push(performance.now() - sent);
    }
  };
  await Promise.all(Array.from({ length: inFlight }, (_, first) => worker(first)));
  const seconds = (performance.now() - started) / 1000;
  return {
    perSecond: latencies.length / seconds,
    p50: percentile(latencies, 0.5),
    p99: percentile(latencies, 0.99),
    worst: percentile(latencies, 1),
  };
}

process.on("message", (plan: AppendPlan) => {
  load(plan).then(
    (report) => process.send?.(report),
    (error) => process.send?.({ failed: String(error) }),
  );
});
process.on("disconnect", () => process.exit(0));
