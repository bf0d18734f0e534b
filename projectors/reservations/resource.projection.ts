import type { ResourceEvent } from "#domain/reservations/resource.events.js";
import type { Projection } from "#projectors/runner/projection.js";
import { type ResourceDocument, resourceDocument } from "./resource.document.js";

type Consumed = Extract<ResourceEvent, { type: "reservations.ResourceUpdated.v1" }>;

export const resourceProjection: Projection<ResourceDocument, Consumed> = {
  definition: resourceDocument,
  idOf: ({ data }) => data.resourceId,
  on: {
    "reservations.ResourceUpdated.v1": (_, { data: { resourceId, resource } }) => ({ resourceId, ...resource }),
  },
};
