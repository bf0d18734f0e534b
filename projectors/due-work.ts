import type { DomainEvent } from "#domain/core/decider.js";
import type { RecordedEvent } from "#domain/core/recorded-event.js";
import { type DutyDocument, dueWorkDocument } from "./due-work.document.js";
import type { AreaDuties } from "./runner/duties.js";
import type { Evolve, Projection } from "./runner/projection.js";

/**
 * Every deadline and unfinished intent of all areas, as rows of one read model.
 *
 * @throws Error when two areas want the same event: an event has one row
 */
export function dueWorkProjection(areas: readonly AreaDuties<any>[]): Projection<DutyDocument, any> {
  const on: Record<string, Evolve<DutyDocument, any>> = {};
  const areaOf = new Map<string, AreaDuties>();
  for (const area of areas) {
    for (const [type, evolve] of Object.entries(area.on as Record<string, Evolve<DutyDocument, any>>)) {
      if (areaOf.has(type)) throw new Error(`two areas have duties on ${type}`);
      areaOf.set(type, area);
      on[type] = evolve;
    }
  }
  return {
    definition: dueWorkDocument,
    idOf: (event: RecordedEvent<DomainEvent>) => {
      const area = areaOf.get(event.type);
      const id = area?.idOf(event);
      return area === undefined || id === null || id === undefined ? null : `${area.area}.${id}`;
    },
    on,
  };
}
