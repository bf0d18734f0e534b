import type { DefinitionEvent } from "#domain/reservations/definition.events.js";
import type { Projection } from "#projectors/runner/projection.js";
import { type DefinitionDocument, definitionDocument } from "./definition.document.js";

type Consumed = Extract<DefinitionEvent, { type: "reservations.DefinitionUpdated.v1" }>;

export const definitionProjection: Projection<DefinitionDocument, Consumed> = {
  definition: definitionDocument,
  idOf: ({ data }) => data.definitionId,
  on: {
    "reservations.DefinitionUpdated.v1": (_, { data: { definitionId, definition } }) => ({
      definitionId,
      ...definition,
    }),
  },
};
