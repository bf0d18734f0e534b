import { isDeepStrictEqual } from "node:util";
import { accept, type Decider, type Decision, type Placed, unreachable } from "../core/decider.js";
import { isNewer, type SourceRevision } from "../core/source-revision.js";
import {
  type Definition,
  type DefinitionEvent,
  DefinitionReconfirmed,
  DefinitionUpdated,
} from "./definition.events.js";

export type DefinitionState =
  | { readonly status: "unknown" }
  | { readonly status: "known"; readonly definition: Definition; readonly sourceRevision: SourceRevision };

export type DefinitionCommand = {
  readonly type: "IngestDefinition";
  readonly definitionId: string;
  readonly sourceRevision: SourceRevision;
  readonly definition: Definition;
};

/** One bookable definition of an org as the platform feeds it: stream `definition-<org>.<id>`. */
export const definitionDecider: Decider<DefinitionState, DefinitionCommand, DefinitionEvent> = {
  initial: { status: "unknown" },
  evolve,
  decide,
};

function evolve(state: DefinitionState, event: Placed<DefinitionEvent>): DefinitionState {
  const { sourceRevision } = event.data;
  switch (event.type) {
    case "reservations.DefinitionUpdated.v1":
      return { status: "known", definition: event.data.definition, sourceRevision };
    case "reservations.DefinitionReconfirmed.v1":
      return state.status === "known" ? { ...state, sourceRevision } : state;
    default:
      return unreachable(event);
  }
}

function decide(command: DefinitionCommand, state: DefinitionState): Decision<DefinitionEvent> {
  const { definitionId, sourceRevision, definition } = command;
  if (state.status === "known" && !isNewer(sourceRevision, state.sourceRevision)) return accept();
  if (state.status === "known" && isDeepStrictEqual(definition, state.definition)) {
    return accept(DefinitionReconfirmed.create({ definitionId, sourceRevision }));
  }
  return accept(DefinitionUpdated.create({ definitionId, sourceRevision, definition }));
}
