import type { RecordedEvent } from "#domain/core/recorded-event.js";
import type { Projection } from "#projectors/runner/projection.js";
import { type ActivityDocument, activityDocument } from "./activity.document.js";
import { type ActivityEvent, activityEntry, onEveryActivity } from "./activity.entries.js";

/** Who acted is told by kind alone: names of staff and services are not the customer's business. */
function line(_: ActivityDocument | null, event: RecordedEvent<ActivityEvent>): ActivityDocument {
  const { what, area, ref, changes } = activityEntry(event);
  const { actor, via } = event.metadata;
  return {
    id: event.id,
    at: event.at,
    what,
    area,
    ref,
    actor: { type: actor.type },
    ...(changes === undefined ? {} : { changes }),
    ...(via === undefined ? {} : { via }),
  };
}

export const activityProjection: Projection<ActivityDocument, ActivityEvent> = {
  definition: activityDocument,
  idOf: (event) => event.id,
  on: onEveryActivity(line),
};
