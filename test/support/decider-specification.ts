import { expect } from "chai";
import type { Decider, Decision, DomainEvent, Placed } from "#domain/core/decider.js";
import { fold } from "#domain/core/decider.js";
import type { RejectionCode } from "#domain/core/rejection.js";
import { storedEvents } from "#domain/stored-events.js";

/** When the events of a specification happened, unless it says otherwise: one minute after the other from here. */
export const specificationStart = Date.parse("2026-03-01T09:00:00.000Z");

/** Places facts in a stream, revision by revision, a minute apart. */
export function placed<Event extends DomainEvent>(events: readonly Event[]): Placed<Event>[] {
  return events.map((event, revision) => ({
    ...event,
    revision,
    at: new Date(specificationStart + revision * 60_000).toISOString(),
  }));
}

/**
 * The language in which deciders are specified:
 *
 * `specify(decider).given(fact, fact).when(command).then(fact)`, or `.thenNothing()`, or `.thenRefused("CODE")`.
 *
 * Each decided event is also checked against its stored schema, so a fact that could not be stored fails here.
 */
export function specify<State, Command, Event extends DomainEvent>(decider: Decider<State, Command, Event>) {
  return {
    given: (...history: Event[]) => {
      const state = fold(decider, decider.initial, placed(history));
      return {
        /** The folded state, for what only state shows. */
        state,
        when: (command: Command) => outcome(decider, history, state, command),
      };
    },
  };
}

function outcome<State, Command, Event extends DomainEvent>(
  decider: Decider<State, Command, Event>,
  history: readonly Event[],
  state: State,
  command: Command,
) {
  const decision = decider.decide(command, state);
  const events = decision.events.map(asStored);
  return {
    then(...expected: DomainEvent[]) {
      expect({ events, rejection: decision.rejection }).to.deep.equal({
        events: expected.map(asStored),
        rejection: undefined,
      });
      thenSilentWhenRepeated(decider, [...history, ...decision.events], command);
    },
    /** Nothing to do, because the wish is already true. */
    thenNothing() {
      expect({ events, rejection: decision.rejection }).to.deep.equal({ events: [], rejection: undefined });
    },
    /** Refused with this code, and these parameters where given; nothing is recorded. */
    thenRefused(code: RejectionCode, params?: Record<string, unknown>) {
      expect(events).to.deep.equal([]);
      expect(decision.rejection?.code).to.equal(code);
      if (params) expect(decision.rejection?.params).to.deep.equal(params);
    },
  };
}

/** The same command twice writes nothing the second time. */
function thenSilentWhenRepeated<State, Command, Event extends DomainEvent>(
  decider: Decider<State, Command, Event>,
  history: readonly Event[],
  command: Command,
) {
  const again: Decision<Event> = decider.decide(command, fold(decider, decider.initial, placed(history)));
  expect(again.events.map(asStored), "the same command a second time").to.deep.equal([]);
}

/** An event as it comes back from the store; throws when its schema would refuse it. */
function asStored(event: DomainEvent): DomainEvent {
  const definition = storedEvents.find(({ type }) => type === event.type);
  if (!definition) throw new Error(`${event.type} is not among the stored events`);
  return { type: event.type, data: definition.schema.parse(JSON.parse(JSON.stringify(event.data))) };
}
