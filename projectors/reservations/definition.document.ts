import type { Definition } from "#domain/reservations/definition.events.js";
import { defineDocument } from "#projectors/runner/projection.js";

/** A bookable definition as the platform last told of it; owned by the org, its id is the definition's. */
export type DefinitionDocument = Definition & { readonly definitionId: string };

export const definitionDocument = defineDocument<DefinitionDocument>({
  name: "definitions",
  version: 1,
  indexes: [{ key: { resourceIds: 1 } }],
});
