import { reactorCursors } from "../runner/reactor-runner.js";
import { allowChange, withContext } from "./context.js";
import { type Outcome, table } from "./output.js";

/** `reactors list`: how far the log has had its effects. */
export function list(): Promise<Outcome> {
  return withContext(async (context) => {
    const [rows, head] = await Promise.all([
      reactorCursors(await context.database())
        .find()
        .toArray(),
      (await context.eventStore()).head(),
    ]);
    return {
      status: "ok",
      data: { head: Number(head), cursors: rows },
      text: table(
        ["cursor", "position", "end of the log", "store epoch"],
        rows.map(({ _id, position, storeEpoch }) => [_id, Number(position), Number(head), storeEpoch]),
      ),
    };
  });
}

/**
 * `reactors restart`: forgets the cursor, so that the reactors begin at the end of the log, as on their first run. For
 * a restored or replaced event store: effects of what lies before are not repeated, and those still open are dropped.
 */
export function restart(options: { readonly dryRun?: boolean; readonly yes?: boolean }): Promise<Outcome> {
  return withContext(async (context) => {
    const rows = reactorCursors(await context.database());
    const known = await rows.find().toArray();
    const places = known.map(({ position, storeEpoch }) => `${Number(position)} of epoch ${storeEpoch}`).join(", ");
    if (options.dryRun) {
      return { status: "ok", data: { dryRun: true, cursors: known }, text: `would forget ${places || "nothing"}` };
    }
    allowChange(context, options, "restarting the reactors at the end of the log");
    const { deletedCount } = await rows.deleteMany({});
    return {
      status: "ok",
      data: { forgotten: deletedCount },
      text: `forgot ${places || "nothing"}; the worker goes on at the end of the log`,
    };
  });
}
