import type { Rejection } from "./rejection.js";

/** A fact in the words of the domain: the stored name with its version, and its data in the newest shape. */
export type DomainEvent<Type extends string = string, Data = unknown> = {
  readonly type: Type;
  readonly data: Data;
};

/** An event with the two things a fold may know of its place: its revision in the stream and when it happened. */
export type Placed<Event extends DomainEvent> = Event & {
  /** Revision in its stream, 0 for the first event. */
  readonly revision: number;
  /** When it happened (`occurredAt`), RFC 3339 UTC with milliseconds. */
  readonly at: string;
};

/**
 * What a decision gives: events to append, a refusal, or both (a wrong code is recorded, then refused).
 * No events and no refusal means the wish is already true, which is success.
 */
export type Decision<Event> = {
  readonly events: readonly Event[];
  readonly rejection?: Rejection;
};

/**
 * One stream's rules as pure functions. `decide` never awaits and reads no clock: a lost race runs it again.
 * State must be immutable: folded states are cached and shared.
 */
export type Decider<State, Command, Event extends DomainEvent> = {
  readonly initial: State;
  readonly evolve: (state: State, event: Placed<Event>) => State;
  readonly decide: (command: Command, state: State) => Decision<Event>;
};

/** A decision to record these events; none when the wish is already true. */
export function accept<Event>(...events: Event[]): Decision<Event> {
  return { events };
}

/** A decision to refuse, recording nothing. */
export function refuse(rejection: Rejection): Decision<never> {
  return { events: [], rejection };
}

/** Folds placed events over a state, oldest first. */
export function fold<State, Event extends DomainEvent>(
  decider: Pick<Decider<State, never, Event>, "evolve">,
  state: State,
  events: Iterable<Placed<Event>>,
): State {
  let folded = state;
  for (const event of events) folded = decider.evolve(folded, event);
  return folded;
}

/** Marks a branch that the compiler proves unreachable; throws when stored data proves it wrong. */
export function unreachable(value: never): never {
  throw new Error(`unexpected case: ${JSON.stringify((value as DomainEvent)?.type ?? value)}`);
}
