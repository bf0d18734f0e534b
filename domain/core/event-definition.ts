import type { z } from "zod";
import type { DomainEvent } from "./decider.js";
import type { Category } from "./identifiers.js";

/** A field of an event's data, or one member of a field that is an object: `billingAddress.name`. */
export type FieldPath<Data> = (keyof Data & string) | `${keyof Data & string}.${string}`;

/** One shipped version of a stored event. The type name and the schema are the storage format: never edit, add a version. */
export type EventDefinition<Type extends string = string, Data = unknown> = {
  /** Stored name: `<area>.<Fact>.v<n>`. */
  readonly type: Type;
  /** Stream category the event lives in; the subscription's server-side filter is derived from it. */
  readonly category: Category;
  readonly schema: z.ZodType<Data>;
  /** Top-level fields sealed under the customer's own key before they are stored; an erasure destroys it. */
  readonly personal: readonly (keyof Data & string)[];
  /**
   * What of a person the law makes us keep: sealed under the customer's second key, which outlives an erasure. A
   * member named here is taken out of its field first; what is left of a personal field goes with the person.
   */
  readonly kept: readonly string[];
  /** Read after an erasure too, without its personal fields; they must be optional. Else it is gone as a whole. */
  readonly outlivesErasure: boolean;
  /** The shape before this one, lifted once on read; absent for a first version. */
  readonly previous?: PreviousVersion<Data>;
  /** Builds the event; the compiler checks the shape, the serializer checks it again before storing. */
  readonly create: (data: Data) => DomainEvent<Type, Data>;
};

/** The step from the version before: its definition, and a pure function to the next shape. */
export type PreviousVersion<Data> = {
  // The data type of an older version is private to the pair (definition, lift); `lifts` ties them together.
  readonly definition: EventDefinition;
  readonly lift: (data: never) => Data;
};

/** The event type that a definition describes. */
export type EventOf<Definition> =
  Definition extends EventDefinition<infer Type, infer Data> ? DomainEvent<Type, Data> : never;

type DefinitionInput<Data> = {
  category: Category;
  schema: z.ZodType<Data>;
  personal?: readonly (keyof Data & string)[];
  kept?: readonly FieldPath<Data>[];
  outlivesErasure?: boolean;
  previous?: PreviousVersion<Data>;
};

/**
 * Defines a stored event.
 *
 * @param type stored name, `<area>.<Fact>.v<n>`
 * @param input category, zod schema of the data, personal fields (default none), what of them is kept for the law
 *   (default nothing), whether it outlives an erasure (default not), and for n > 1 the previous version with its lift
 * @throws Error when the name is not of that form
 */
export function defineEvent<const Type extends string, Data>(
  type: Type,
  input: DefinitionInput<Data>,
): EventDefinition<Type, Data> {
  if (!/^[a-z][a-z-]*\.[A-Z][A-Za-z]*\.v[1-9]\d*$/.test(type)) throw new Error(`not a stored event name: ${type}`);
  return {
    type,
    category: input.category,
    schema: input.schema,
    personal: input.personal ?? [],
    kept: input.kept ?? [],
    outlivesErasure: input.outlivesErasure ?? false,
    ...(input.previous ? { previous: input.previous } : {}),
    create: (data) => ({ type, data }),
  };
}

/** Ties an older definition to the function that lifts its data one version up. */
export function lifts<Old, Data>(
  definition: EventDefinition<string, Old>,
  lift: (data: Old) => Data,
): PreviousVersion<Data> {
  return { definition: definition as unknown as EventDefinition, lift: lift as (data: never) => Data };
}
