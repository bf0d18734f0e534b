import { parkedRows } from "../runner/parked.js";
import type { Wish } from "../runner/requests.js";
import { allowChange, withContext } from "./context.js";
import { CommandFailed, type Outcome, table } from "./output.js";
import { carryOut, namedProjections } from "./projections.js";

/** What waits for one owner in one projection. */
type ParkedOwner = {
  readonly projection: string;
  readonly owner: string;
  readonly events: number;
  readonly since: string;
  readonly firstEvent: string;
  readonly error: string;
};

/** `projections parked list` */
export function list(): Promise<Outcome> {
  return withContext(async (context) => {
    const rows = await parkedRows(await context.database())
      .find()
      .sort({ generation: 1, owner: 1, position: 1 })
      .toArray();
    const owners = new Map<string, ParkedOwner>();
    for (const { generation, owner, at, eventType, error } of rows) {
      const key = `${generation}|${owner}`;
      const known = owners.get(key);
      owners.set(
        key,
        known
          ? { ...known, events: known.events + 1 }
          : {
              projection: generation,
              owner,
              events: 1,
              since: at.toISOString(),
              firstEvent: eventType,
              error: error ?? "",
            },
      );
    }
    const all = [...owners.values()];
    return {
      status: all.length > 0 ? "found" : "ok",
      data: { parked: all },
      text:
        all.length === 0
          ? "No owner is parked."
          : table(
              ["projection", "owner", "events", "since", "first event", "error"],
              all.map((row) => [row.projection, row.owner, row.events, row.since, row.firstEvent, row.error]),
            ),
    };
  });
}

/** `projections parked show`: the events that wait, by place; their data is shown by `streams show`. */
export function show(projection: string, owner: string): Promise<Outcome> {
  const [named] = namedProjections([projection]);
  return withContext(async (context) => {
    const rows = await parkedRows(await context.database())
      .find({ owner, generation: { $regex: `^${named?.definition.name}\\.v` } })
      .sort({ position: 1 })
      .toArray();
    if (rows.length === 0) throw new CommandFailed("usage", `${owner} is not parked in ${projection}`);
    const events = rows.map(({ position, stream, eventType, eventId, error, at }) => ({
      position: Number(position),
      stream,
      type: eventType,
      id: eventId,
      error: error ?? null,
      at: at.toISOString(),
    }));
    return {
      status: "found",
      data: { projection, owner, events },
      text: table(
        ["position", "stream", "type", "error"],
        events.map((event) => [event.position, event.stream, event.type, event.error]),
      ),
    };
  });
}

/** `projections parked retry`: one owner, or all of a projection, in the order of the log. */
export function retry(
  projection: string,
  owner: string | undefined,
  options: { readonly dryRun?: boolean; readonly yes?: boolean },
): Promise<Outcome> {
  namedProjections([projection]);
  return withContext(async (context) => {
    const database = await context.database();
    const count = await parkedRows(database).countDocuments({
      generation: { $regex: `^${projection}\\.v` },
      ...(owner === undefined ? {} : { owner }),
    });
    if (options.dryRun) {
      return {
        status: "ok",
        data: { dryRun: true, events: count },
        text: `would apply ${count} parked event(s) again`,
      };
    }
    allowChange(context, options, "a retry");
    const wish: Wish = { kind: "retry", projection, ...(owner === undefined ? {} : { owner }) };
    const [row] = await carryOut(database, [wish], 60_000);
    const left = await parkedRows(database).countDocuments({ generation: { $regex: `^${projection}\\.v` } });
    return {
      status: left > 0 ? "found" : "ok",
      data: { applied: Math.max(0, count - left), left },
      problems: left > 0 ? [`${left} event(s) still cannot be applied: see "projections parked show"`] : [],
      text: row?.detail ?? "done",
    };
  });
}
