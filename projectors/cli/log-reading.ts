import { orgCategories, ownerKey, parseStreamName } from "#domain/core/identifiers.js";
import type { RecordedEvent } from "#domain/core/recorded-event.js";
import { storedEvents } from "#domain/stored-events.js";
import { type LogPosition, logStart, type StoredEvent } from "#infrastructure/event-store.js";
import type { CliContext } from "./context.js";
import { CommandFailed } from "./output.js";
import { type Moment, parseMoment } from "./times.js";

/** Where a reading ends: after a place in the log, or after a commit time. */
export type Bound = { includes(event: StoredEvent): boolean; readonly until?: LogPosition };

const everything: Bound = { includes: () => true };

/**
 * Turns `--at T` into the bound of a reading.
 *
 * @throws CommandFailed (refused) when T names a place in another incarnation of the store
 */
export async function boundOf(context: CliContext, at: string | undefined): Promise<Bound> {
  if (at === undefined) return everything;
  const moment = parseMoment(at, new Date());
  if ("until" in moment) return { includes: (event) => event.created <= moment.until };
  const position = await placeIn(context, moment);
  return { includes: (event) => event.position <= position, until: position };
}

async function placeIn(context: CliContext, moment: Exclude<Moment, { until: Date }>): Promise<LogPosition> {
  const epoch = await (await context.eventStore()).epoch();
  if (epoch !== moment.epoch) {
    throw new CommandFailed("refused", `that position is of epoch ${moment.epoch}, this store's is ${epoch}`);
  }
  return moment.position;
}

/** Stream prefixes of one customer, one per category; a prefix may match longer ids, so owners are compared too. */
export function customerPrefixes(org: string, customer: string): string[] {
  const key = ownerKey({ org, customer });
  const categories = new Set<string>(storedEvents.map(({ category }) => category));
  for (const category of orgCategories) categories.delete(category);
  return [...categories].map((category) => `${category}-${key}`);
}

/**
 * Reads the log in order, bounded, and hands out readable events in batches; an unreadable one ends the run, since a
 * fold over a gap would be a lie.
 */
export async function* readEvents(
  context: CliContext,
  bound: Bound,
  options: { readonly streamPrefixes?: readonly string[]; readonly accepts?: (stream: string) => boolean } = {},
): AsyncGenerator<{ readonly stored: StoredEvent; readonly event: RecordedEvent | null }> {
  const store = await context.eventStore();
  const serializer = await context.serializer();
  const log = store.readLog({
    after: logStart,
    ...(bound.until === undefined ? {} : { until: bound.until }),
    ...(options.streamPrefixes ? { streamPrefixes: options.streamPrefixes } : {}),
  });
  let batch: StoredEvent[] = [];
  const flush = async function* () {
    const read = await serializer.deserializeAll(batch);
    for (const [index, result] of read.entries()) {
      yield { stored: batch[index] as StoredEvent, event: result.kind === "event" ? result.event : null };
    }
    batch = [];
  };
  for await (const stored of log) {
    if (!bound.includes(stored)) continue;
    if (options.accepts && !options.accepts(stored.stream)) continue;
    batch.push(stored);
    if (batch.length >= 1_000) yield* flush();
  }
  yield* flush();
}

/** Whether a stream belongs to this customer, exactly. */
export function belongsTo(org: string, customer: string): (stream: string) => boolean {
  return (stream) => {
    const identity = parseStreamName(stream);
    return identity?.org === org && identity.customer === customer;
  };
}

/**
 * Org of a stream, for the record of a reveal.
 *
 * @throws CommandFailed (usage) for a name this system does not make
 */
export function orgOfStream(stream: string): string {
  const identity = parseStreamName(stream);
  if (!identity) throw new CommandFailed("usage", `"${stream}" is no stream of this system`);
  return identity.org;
}
