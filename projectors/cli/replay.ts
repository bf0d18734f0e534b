import { mkdir, open, rename } from "node:fs/promises";
import { join } from "node:path";
import type { Decider, DomainEvent, Placed } from "#domain/core/decider.js";
import { ownerKey, parseStreamName } from "#domain/core/identifiers.js";
import type { RecordedEvent } from "#domain/core/recorded-event.js";
import { orderDecider } from "#domain/orders/orders.decider.js";
import { profileDecider } from "#domain/profile/profile.decider.js";
import { transactionDecider } from "#domain/transactions/transactions.decider.js";
import { productDecider } from "#domain/wishlist/product.decider.js";
import { wishlistDecider } from "#domain/wishlist/wishlist.decider.js";
import { projections } from "../registry.js";
import type { LogEvent } from "../runner/fold.js";
import { MemoryReadModel } from "../runner/memory.js";
import { type CliContext, withContext } from "./context.js";
import { type Bound, belongsTo, boundOf, customerPrefixes, orgOfStream, readEvents } from "./log-reading.js";
import { CommandFailed, type Outcome, writeLine } from "./output.js";
import { type RevealOptions, viewOf } from "./personal-data.js";
import { namedProjections } from "./projections.js";

type ReplayOptions = RevealOptions & { readonly at?: string };
type View = (event: RecordedEvent) => RecordedEvent;

/** Who decides on the streams of a category. */
const deciders: Readonly<Record<string, Pick<Decider<unknown, never, DomainEvent>, "initial" | "evolve">>> = {
  profile: profileDecider,
  wishlist: wishlistDecider,
  product: productDecider,
  order: orderDecider,
  transaction: transactionDecider,
} as never;

/** `replay customer`: every read model of one customer, as it was. */
export function customer(id: string, options: ReplayOptions & { readonly org: string }): Promise<Outcome> {
  return withContext(async (context) => {
    const bound = await boundOf(context, options.at);
    const view = await viewOf(context, options, options.org, `customer ${id}`);
    const models = projections.map((projection) => new MemoryReadModel(projection));
    const events = await foldInto(context, models, bound, view, {
      streamPrefixes: customerPrefixes(options.org, id),
      accepts: belongsTo(options.org, id),
    });
    if (events === 0) throw new CommandFailed("usage", `no event of customer ${id} in ${options.org} by then`);
    const prefix = `${ownerKey({ org: options.org, customer: id })}.`;
    const readModels = Object.fromEntries(
      models.map((model) => [
        model.fold.projection.definition.name,
        [...model.documents()].map((entry) => ({ id: entry.id.slice(prefix.length), document: entry.document })),
      ]),
    );
    return { status: "ok", data: { org: options.org, customer: id, events, readModels } };
  });
}

/** `replay stream`: the state a decision would see. */
export function stream(name: string, options: ReplayOptions): Promise<Outcome> {
  const org = orgOfStream(name);
  const category = parseStreamName(name)?.category ?? "";
  const decider = deciders[category];
  if (!decider) throw new CommandFailed("usage", `no decider folds the streams of "${category}"`);
  return withContext(async (context) => {
    const bound = await boundOf(context, options.at);
    const stored = (await (await context.eventStore()).readStream(name)).filter((event) => bound.includes(event));
    if (stored.length === 0) throw new CommandFailed("usage", `no event there by then: ${name}`);
    const view = await viewOf(context, options, org, name);
    let state = decider.initial;
    for (const result of await (await context.serializer()).deserializeAll(stored)) {
      if (result.kind === "event") state = decider.evolve(state, view(result.event) as Placed<DomainEvent>);
    }
    const last = stored.at(-1);
    return {
      status: "ok",
      data: {
        stream: name,
        revision: last?.revision,
        at: last?.created.toISOString(),
        state: JSON.parse(toJson(state)),
      },
    };
  });
}

/** `replay projection`: all its documents as they were, one JSON line each, to a folder or to stdout. */
export function projection(name: string, options: ReplayOptions & { readonly to: string }): Promise<Outcome> {
  const [named] = namedProjections([name]);
  return withContext(async (context) => {
    const bound = await boundOf(context, options.at);
    const view = await viewOf(context, options, "all", `projection ${name}`);
    const model = new MemoryReadModel(named as (typeof projections)[number]);
    const events = await foldInto(context, [model], bound, view);
    const lines = function* () {
      for (const { id, document } of model.documents()) yield `${JSON.stringify({ _id: id, ...document })}\n`;
    };
    if (options.to === "-") {
      for (const line of lines()) await writeLine(line.trimEnd());
      return { status: "ok", data: { projection: name, events, documents: model.size }, text: "" };
    }
    await mkdir(options.to, { recursive: true });
    const target = join(options.to, `${name}.ndjson`);
    const file = await open(`${target}.part`, "w");
    try {
      for (const line of lines()) await file.write(line);
      await file.sync();
    } finally {
      await file.close();
    }
    // Whoever finds the file finds all of it.
    await rename(`${target}.part`, target);
    return {
      status: "ok",
      data: { projection: name, events, documents: model.size, file: target },
      text: `${model.size} document(s) of ${events} event(s) in ${target}`,
    };
  });
}

/** Folds events up to the bound; an event that cannot be read is a fault of its owner, which is told. */
async function foldInto(
  context: CliContext,
  models: readonly MemoryReadModel[],
  bound: Bound,
  view: View,
  filter: { readonly streamPrefixes?: readonly string[]; readonly accepts?: (stream: string) => boolean } = {},
): Promise<number> {
  let events = 0;
  for await (const { stored, event } of readEvents(context, bound, filter)) {
    if (event === null) continue;
    events++;
    const place: LogEvent = { stored, type: event.type, opened: { kind: "event", event: view(event) } };
    for (const model of models) model.apply(place);
  }
  for (const model of models) {
    for (const [owner, error] of model.faults) {
      process.stderr.write(
        `${model.fold.projection.definition.name}: ${owner} left out, ${(error as Error).message}\n`,
      );
    }
  }
  return events;
}

/** State may hold maps, plain or persistent. */
function toJson(state: unknown): string {
  return JSON.stringify(state, (_, value) => {
    if (value instanceof Map) return Object.fromEntries(value);
    if (value instanceof Set) return [...value];
    if (typeof value?.entries === "function" && !Array.isArray(value)) return Object.fromEntries(value.entries());
    return value;
  });
}
