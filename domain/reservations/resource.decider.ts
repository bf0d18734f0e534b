import { isDeepStrictEqual } from "node:util";
import { accept, type Decider, type Decision, type Placed, refuse, unreachable } from "../core/decider.js";
import { rejection } from "../core/rejection.js";
import { isNewer, type SourceRevision } from "../core/source-revision.js";
import { type Resource, type ResourceEvent, ResourceReconfirmed, ResourceUpdated } from "./resource.events.js";

export type ResourceState =
  | { readonly status: "unknown" }
  | { readonly status: "known"; readonly resource: Resource; readonly sourceRevision: SourceRevision };

export type ResourceCommand = {
  readonly type: "IngestResource";
  readonly resourceId: string;
  readonly sourceRevision: SourceRevision;
  readonly resource: Resource;
};

/** One resource of an org as the platform feeds it: stream `resource-<org>.<id>`. */
export const resourceDecider: Decider<ResourceState, ResourceCommand, ResourceEvent> = {
  initial: { status: "unknown" },
  evolve,
  decide,
};

function evolve(state: ResourceState, event: Placed<ResourceEvent>): ResourceState {
  const { sourceRevision } = event.data;
  switch (event.type) {
    case "reservations.ResourceUpdated.v1":
      return { status: "known", resource: event.data.resource, sourceRevision };
    case "reservations.ResourceReconfirmed.v1":
      return state.status === "known" ? { ...state, sourceRevision } : state;
    default:
      return unreachable(event);
  }
}

function decide(command: ResourceCommand, state: ResourceState): Decision<ResourceEvent> {
  const { resourceId, sourceRevision, resource } = command;
  if (state.status === "unknown") return accept(ResourceUpdated.create({ resourceId, sourceRevision, resource }));
  if (!isNewer(sourceRevision, state.sourceRevision)) return accept();
  const frozen = (["timezone", "dayStartsAt"] as const).filter((field) => resource[field] !== state.resource[field]);
  // They say on which day's slotbook a slot stands: with others, what is booked would be looked for elsewhere.
  if (frozen.length > 0) return refuse(rejection("conflict", "RESOURCE_FIELD_FROZEN", { fields: frozen }));
  if (isDeepStrictEqual(resource, state.resource)) {
    return accept(ResourceReconfirmed.create({ resourceId, sourceRevision }));
  }
  return accept(ResourceUpdated.create({ resourceId, sourceRevision, resource }));
}
