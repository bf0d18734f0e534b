import type { Db } from "mongodb";
import { storedEvents } from "#domain/stored-events.js";
import { startProgress } from "#infrastructure/progress.js";
import type { CursorRow, GenerationRow } from "#infrastructure/read-models.js";
import { cursorRows, generationRows, packRow, readModelKey } from "#infrastructure/read-models.js";
import { projections } from "../registry.js";
import { Bell } from "../runner/bell.js";
import type { AnyProjection } from "../runner/projection.js";
import { type RequestRow, request, requestRows, type Wish, watchRequests } from "../runner/requests.js";
import { verifyProjections } from "../runner/verify.js";
import { allowChange, withContext } from "./context.js";
import { CommandFailed, type Outcome, table } from "./output.js";

/** What is known of one projection's live generation. */
type ProjectionState = {
  readonly projection: string;
  readonly version: number;
  readonly live: number | null;
  readonly building: number | null;
  readonly position: number | null;
  readonly events: number | null;
  /** `pack`: moves with all the others; else its own cursor. */
  readonly cursor: string | null;
  readonly state: "live" | "building" | "stopped" | "not built";
  readonly parkedOwners: number;
};

/**
 * The projections named, all of them for none.
 *
 * @throws CommandFailed (usage) for an unknown name
 */
export function namedProjections(names: readonly string[]): readonly AnyProjection[] {
  if (names.length === 0) return projections;
  return names.map((name) => {
    const projection = projections.find(({ definition }) => definition.name === name);
    if (projection) return projection;
    const known = projections.map(({ definition }) => definition.name).join(", ");
    throw new CommandFailed("usage", `"${name}" is no projection; there are: ${known}`);
  });
}

/** `projections list` */
export function list(): Promise<Outcome> {
  return withContext(async (context) => {
    const states = await readStates(await context.database());
    const wrong = states.filter(({ state, parkedOwners }) => state === "stopped" || parkedOwners > 0);
    return {
      status: wrong.length > 0 ? "found" : "ok",
      data: { projections: states },
      problems: wrong.map(({ projection, state, parkedOwners }) =>
        state === "stopped"
          ? `${projection} has stopped: see "doctor"`
          : `${projection}: ${parkedOwners} owner(s) parked`,
      ),
      text: table(
        ["projection", "version", "live", "building", "position", "cursor", "state", "parked"],
        states.map((row) => [
          row.projection,
          row.version,
          row.live,
          row.building,
          row.position,
          row.cursor,
          row.state,
          row.parkedOwners,
        ]),
      ),
    };
  });
}

/** `projections lag`: events between each projection and the end of the log, counted on the log. */
export function lag(options: { readonly max: string }): Promise<Outcome> {
  if (!/^\d{1,9}$/.test(options.max)) throw new CommandFailed("usage", "--max takes a number of events");
  const most = Number(options.max);
  return withContext(async (context) => {
    const store = await context.eventStore();
    const states = await readStates(await context.database());
    const head = Number(await store.head());
    const lags = new Map<number | null, number>();
    for (const { position } of states) {
      if (lags.has(position)) continue;
      let behind = 0;
      const after = String(position ?? 0).padStart(20, "0");
      for await (const event of store.readLog({ after })) if (Number(event.position) > (position ?? 0)) behind++;
      lags.set(position, behind);
    }
    const rows = states.map(({ projection, position }) => ({ projection, position, events: lags.get(position) ?? 0 }));
    const late = rows.filter(({ events }) => events > most);
    return {
      status: late.length > 0 ? "found" : "ok",
      data: { head, projections: rows },
      problems: late.map(({ projection, events }) => `${projection} is ${events} events behind`),
      text: table(
        ["projection", "position", "events behind"],
        rows.map(({ projection, position, events }) => [projection, position, events]),
      ),
    };
  });
}

type ChangeOptions = { readonly dryRun?: boolean; readonly yes?: boolean; readonly all?: boolean };

/** `projections rebuild`: asks the leading runner for a new generation and waits until it is live. */
export function rebuild(
  names: readonly string[],
  options: ChangeOptions & { readonly wait: string },
): Promise<Outcome> {
  if (!/^\d{1,6}$/.test(options.wait)) throw new CommandFailed("usage", "--wait takes seconds");
  if (names.length === 0 && !options.all) throw new CommandFailed("usage", "name projections, or give --all");
  const wanted = namedProjections(names);
  return withContext(async (context) => {
    const database = await context.database();
    const states = (await readStates(database)).filter(({ projection }) =>
      wanted.some(({ definition }) => definition.name === projection),
    );
    if (options.dryRun) {
      const plan = states.map(
        ({ projection, live }) => `would build ${projection} anew beside generation ${live ?? "-"}`,
      );
      return { status: "ok", data: { dryRun: true, projections: states }, text: plan.join("\n") };
    }
    allowChange(context, options, "a rebuild");
    const wishes = wanted.map(({ definition }): Wish => ({ kind: "rebuild", projection: definition.name }));
    const rows = await carryOut(database, wishes, Number(options.wait) * 1_000);
    return {
      status: "ok",
      data: { requests: rows.map(({ projection, detail }) => ({ projection, detail })) },
      text: rows.map(({ projection, detail }) => `${projection}: ${detail}`).join("\n"),
    };
  });
}

/** `projections verify`: what the log says, folded in memory, against the live documents, field by field. */
export function verify(names: readonly string[], options: { readonly limit: string }): Promise<Outcome> {
  if (!/^\d{1,6}$/.test(options.limit)) throw new CommandFailed("usage", "--limit takes a whole number");
  const wanted = namedProjections(names);
  const most = Number(options.limit);
  return withContext(async (context) => {
    const database = await context.database();
    const total = (await cursorRows(database).find().toArray()).reduce((sum, row) => Math.max(sum, row.events), 0);
    const shown = startProgress({ label: "verify", unit: "events", total });
    const results = await verifyProjections(wanted, {
      database,
      eventStore: await context.eventStore(),
      opener: await context.serializer(),
      storedEvents,
      onProgress: (events) => shown.update(events),
    }).finally(() => shown.stop());
    const differing = results.filter(({ differences, parked }) => differences.length > 0 || parked.length > 0);
    const details = results.flatMap(({ differences }) => differences).slice(0, most);
    return {
      status: differing.length > 0 ? "found" : "ok",
      data: { projections: results.map((result) => ({ ...result, differences: result.differences.slice(0, most) })) },
      problems: [
        ...details.map(({ projection, id, path }) => `${projection} ${id} ${path || "(whole document)"} differs`),
        ...differing.flatMap(({ projection, parked }) =>
          parked.length > 0 ? [`${projection}: ${parked.length} owner(s) parked`] : [],
        ),
      ],
      text: table(
        ["projection", "position", "documents", "differences"],
        results.map((row) => [row.projection, Number(row.position), row.documents, row.differences.length]),
      ),
    };
  });
}

/**
 * Puts wishes to the leading runner and waits for its answers.
 *
 * @throws CommandFailed: refused when one failed, stopped when the time is over (the runner goes on)
 */
export async function carryOut(database: Db, wishes: readonly Wish[], waitMs: number): Promise<RequestRow[]> {
  const ids: string[] = [];
  for (const wish of wishes) ids.push(await request(database, wish));
  const late = AbortSignal.timeout(waitMs);
  const bell = new Bell();
  const unwatch = watchRequests(database, () => bell.ring());
  try {
    for (;;) {
      const rows = await requestRows(database)
        .find({ _id: { $in: ids } })
        .toArray();
      const failed = rows.find(({ state }) => state === "failed");
      if (failed)
        throw new CommandFailed("refused", `${failed.projection}: ${failed.detail ?? "refused by the runner"}`);
      if (rows.length === ids.length && rows.every(({ state }) => state === "done")) return rows;
      if (late.aborted) {
        throw new CommandFailed("stopped", "not finished yet; the runner goes on, see projections list");
      }
      await bell.wait(1_000, late);
    }
  } finally {
    unwatch();
  }
}

async function readStates(database: Db): Promise<ProjectionState[]> {
  const [cursors, generations] = await Promise.all([
    cursorRows(database).find().toArray(),
    generationRows(database).find().toArray(),
  ]);
  return projections.map(({ definition }) => stateOf(definition.name, definition.version, cursors, generations));
}

function stateOf(
  name: string,
  version: number,
  cursors: readonly CursorRow[],
  generations: readonly GenerationRow[],
): ProjectionState {
  const generation = generations.find(({ _id }) => _id === readModelKey({ name, version }));
  const live = generation?.live ?? null;
  const rides = (row: CursorRow) =>
    row.members.some((member) => member.projection === name && member.generation === (live ?? generation?.building));
  // A member that just joined the pack may still stand in its old row: the pack's counts.
  const cursor = cursors.find((row) => row._id === packRow && rides(row)) ?? cursors.find(rides);
  const member = cursor?.members.find(({ projection }) => projection === name);
  let state: ProjectionState["state"] = "live";
  if (cursor?.stopped) state = "stopped";
  else if (live === null) state = generation?.building === null || !generation ? "not built" : "building";
  return {
    projection: name,
    version,
    live,
    building: generation?.building ?? null,
    position: cursor ? Number(cursor.position) : null,
    events: cursor?.events ?? null,
    cursor: cursor?._id ?? null,
    state,
    parkedOwners: member?.parked.length ?? 0,
  };
}
