import type { EventDefinition } from "#domain/core/event-definition.js";

/** A fact that calls for an effect: ids only, whoever acts loads the rest. */
export type Reaction = {
  readonly eventId: string;
  readonly stream: string;
  readonly revision: number;
};

/**
 * Where a fact has an effect outside the log. Forward only: it starts at the end of the log on its first run, and
 * nothing can rebuild it. Effects happen at least once, so `react` looks before it acts and a repeat changes nothing.
 */
export type Reactor = {
  /** Kebab-case; part of job ids, so that two effects of one event are two jobs. */
  readonly purpose: string;
  /** Events it reacts to; older versions of them too. */
  readonly on: readonly Pick<EventDefinition, "type" | "category" | "previous">[];
  /** Does the effect; throws to be tried again later. */
  readonly react: (reaction: Reaction) => Promise<void>;
};
