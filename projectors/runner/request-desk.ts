import type { Db } from "mongodb";
import type { Logger } from "pino";
import type { OwnerKey } from "#domain/core/identifiers.js";
import { type CursorMember, type GenerationRow, type ReadModelKey, readModelKey } from "#infrastructure/read-models.js";
import type { AnyProjection } from "./projection.js";
import { finish, markRunning, type RequestRow } from "./requests.js";

/** What whoever leads can be asked for. */
export type Led = {
  generationsOf(key: ReadModelKey): GenerationRow | undefined;
  rebuild(projection: AnyProjection): Promise<number>;
  revive(member: Omit<CursorMember, "parked">): Promise<boolean>;
  drop(member: Omit<CursorMember, "parked">): Promise<boolean>;
  retry(key: ReadModelKey, ofOwner: OwnerKey | undefined): Promise<string>;
};

/** Carries an operator's request out, or looks how far it is. */
export async function serveRequest(
  row: RequestRow,
  led: Led,
  surroundings: { readonly database: Db; readonly projections: readonly AnyProjection[]; readonly log: Logger },
): Promise<void> {
  const { database, projections, log } = surroundings;
  const projection = projections.find(({ definition }) => definition.name === row.projection);
  const end = (state: "done" | "failed", detail: string) => {
    log.info({ projection: row.projection, kind: row.kind, outcome: state, detail }, "request finished");
    return finish(database, row._id, state, detail);
  };
  if (!projection) return end("failed", `there is no projection ${row.projection}`);
  const key = readModelKey(projection.definition);
  const named = { projection: row.projection, version: projection.definition.version };
  if (row.state === "running") {
    const generations = led.generationsOf(key);
    if (generations?.live === row.building) return end("done", `generation ${row.building} is live`);
    if (generations?.building !== row.building) return end("failed", `generation ${row.building} was given up`);
    return;
  }
  switch (row.kind) {
    case "rebuild":
      return markRunning(database, row._id, await led.rebuild(projection));
    case "retry":
      return led.retry(key, row.owner).then(
        (detail) => end("done", detail),
        (error) => end("failed", String(error)),
      );
    case "flip":
      if (await led.revive({ ...named, generation: row.generation })) {
        return markRunning(database, row._id, row.generation);
      }
      return end("failed", "no such retired generation");
    case "drop":
      if (await led.drop({ ...named, generation: row.generation })) {
        return end("done", `generation ${row.generation} is gone`);
      }
      return end("failed", "only a retired generation can be dropped");
  }
}
