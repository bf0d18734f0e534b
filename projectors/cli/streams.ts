import { ownerKey, parseStreamName } from "#domain/core/identifiers.js";
import type { RecordedEvent } from "#domain/core/recorded-event.js";
import { type LogPosition, logStart, type StoredEvent } from "#infrastructure/event-store.js";
import { type CliContext, withContext } from "./context.js";
import { boundOf, customerPrefixes, orgOfStream } from "./log-reading.js";
import { CommandFailed, type Outcome, table, writeLine } from "./output.js";
import { type RevealOptions, viewOf } from "./personal-data.js";
import { parseMoment } from "./times.js";

type StreamSummary = { stream: string; events: number; first: string; last: string };

type ListOptions = {
  readonly org?: string;
  readonly customer?: string;
  readonly category?: string;
  readonly since?: string;
  readonly sort: string;
  readonly limit: string;
};

/** `streams list`: counted from the log itself, so it is right also while every read model is down. */
export async function list(options: ListOptions): Promise<Outcome> {
  const limit = wholeNumber(options.limit, "--limit");
  const orders: Record<string, (a: StreamSummary, b: StreamSummary) => number> = {
    stream: (a, b) => (a.stream < b.stream ? -1 : 1),
    events: (a, b) => b.events - a.events,
    last: (a, b) => (a.last < b.last ? 1 : -1),
  };
  const order = orders[options.sort];
  if (!order) throw new CommandFailed("usage", `--sort takes ${Object.keys(orders).join(", ")}`);
  const since = options.since === undefined ? undefined : parseMoment(options.since, new Date());
  if (since && !("until" in since)) throw new CommandFailed("usage", "--since takes a time here, not a position");
  return withContext(async (context) => {
    const store = await context.eventStore();
    const found = new Map<string, StreamSummary>();
    for await (const event of store.readLog({ after: logStart, ...prefixFilter(options) })) {
      if (!matches(event.stream, options)) continue;
      const at = event.created.toISOString();
      const known = found.get(event.stream);
      if (known) {
        known.events++;
        known.last = at;
      } else found.set(event.stream, { stream: event.stream, events: 1, first: at, last: at });
    }
    const all = [...found.values()].filter(({ last }) => !since || last >= since.until.toISOString()).sort(order);
    const shown = all.slice(0, limit);
    const rows = shown.map(({ stream, events, first, last }) => [stream, events, first, last]);
    const more = all.length > shown.length ? `\n… and ${all.length - shown.length} more (--limit)` : "";
    return {
      status: "ok",
      data: { streams: shown, total: all.length },
      text: `${table(["stream", "events", "first", "last"], rows)}${more}`,
    };
  });
}

/** The narrowest server-side filter; {@link matches} has the last word, since a prefix may match longer ids. */
function prefixFilter({ org, customer, category }: ListOptions): { streamPrefixes?: readonly string[] } {
  if (customer !== undefined && org === undefined) throw new CommandFailed("usage", "--customer needs --org");
  if (category !== undefined) {
    const owner = customer === undefined ? "" : ownerKey({ org: org ?? "", customer });
    return { streamPrefixes: [`${category}-${owner}`] };
  }
  return customer === undefined ? {} : { streamPrefixes: customerPrefixes(org ?? "", customer) };
}

function matches(stream: string, { org, customer, category }: ListOptions): boolean {
  const identity = parseStreamName(stream);
  if (!identity) return org === undefined && (category === undefined || stream.startsWith(`${category}-`));
  if (org !== undefined && identity.org !== org) return false;
  if (customer !== undefined && identity.customer !== customer) return false;
  return category === undefined || identity.category === category;
}

/** `streams show`: the events of one stream, personal fields masked unless revealed. */
export async function show(
  stream: string,
  options: RevealOptions & { readonly at?: string; readonly from: string; readonly limit: string },
): Promise<Outcome> {
  const from = wholeNumber(options.from, "--from");
  const limit = wholeNumber(options.limit, "--limit");
  const org = orgOfStream(stream);
  return withContext(async (context) => {
    const bound = await boundOf(context, options.at);
    const store = await context.eventStore();
    const stored = (await store.readStream(stream, { from, limit })).filter((event) => bound.includes(event));
    if (stored.length === 0) throw new CommandFailed("usage", `no event there: ${stream}`);
    const view = await viewOf(context, options, org, stream);
    const events = await describe(context, stored, view);
    const text = events
      .map(
        (event) => `${event.revision}  ${event.created}  ${event.type}\n${indent(JSON.stringify(event.data, null, 2))}`,
      )
      .join("\n");
    return { status: "ok", data: { stream, events }, text };
  });
}

/** `streams tail`: new events as NDJSON, reconnecting for ever, until interrupted or `--count` is reached. */
export async function tail(
  prefix: string | undefined,
  options: RevealOptions & { readonly since?: string; readonly count?: string },
): Promise<Outcome> {
  const most = options.count === undefined ? Number.POSITIVE_INFINITY : wholeNumber(options.count, "--count");
  return withContext(async (context) => {
    const store = await context.eventStore();
    const start = await startOf(context, options.since);
    const org = parseStreamName(`${prefix ?? ""}.x`)?.org ?? "all";
    const view = await viewOf(context, options, org, `tail of ${prefix ?? "every stream"}`);
    const stop = new AbortController();
    const interrupt = () => stop.abort();
    process.once("SIGINT", interrupt).once("SIGTERM", interrupt);
    let position = start.position;
    let shown = 0;
    while (!stop.signal.aborted && shown < most) {
      try {
        const follow = store.subscribe({
          after: position,
          streamPrefixes: prefix ? [prefix] : [""],
          signal: stop.signal,
        });
        for await (const item of follow) {
          if (item.kind !== "event") continue;
          position = item.event.position;
          if (start.since && item.event.created < start.since) continue;
          for (const event of await describe(context, [item.event], view)) await writeLine(event);
          if (++shown >= most) break;
        }
      } catch (error) {
        if (stop.signal.aborted) break;
        process.stderr.write(`connection lost (${(error as Error).message}), following on from ${position}\n`);
        await new Promise((resolve) => setTimeout(resolve, 1_000));
      }
    }
    return { status: "ok", data: { events: shown }, text: "" };
  });
}

async function startOf(
  context: CliContext,
  since: string | undefined,
): Promise<{ position: LogPosition; since?: Date }> {
  const store = await context.eventStore();
  if (since === undefined) return { position: await store.head() };
  const moment = parseMoment(since, new Date());
  return "until" in moment ? { position: logStart, since: moment.until } : { position: moment.position };
}

/** What is shown of an event: its place, its data, and of the metadata who, when and by which command. */
async function describe(
  context: CliContext,
  stored: readonly StoredEvent[],
  view: (event: RecordedEvent) => RecordedEvent,
) {
  const read = await (await context.serializer()).deserializeAll(stored);
  return read.map((result, index) => {
    const { stream, revision, position, type, id, created, data, metadata } = stored[index] as StoredEvent;
    const place = { stream, revision, position, type, id, created: created.toISOString() };
    if (result.kind === "erased") return { ...place, data: null, erased: true };
    if (result.kind === "unknown") return { ...place, data, metadata };
    const seen = view(result.event);
    return { ...place, type: seen.type, data: seen.data, metadata: seen.metadata };
  });
}

function indent(text: string): string {
  return text.replace(/^/gm, "    ");
}

function wholeNumber(text: string, option: string): number {
  if (!/^\d{1,9}$/.test(text)) throw new CommandFailed("usage", `${option} takes a whole number, not "${text}"`);
  return Number(text);
}
