import type { z } from "zod";
import type { DomainEvent } from "./decider.js";
import type { Category } from "./identifiers.js";

/**
 * Which key seals the personal fields of an event: the customer's own, destroyed by an erasure, or the one kept for
 * what the law makes us keep (invoices).
 */
export type SealingKey = "customer" | "legal";

/** One shipped version of a stored event. The type name and the schema are the storage format: never edit, add a version. */
export type EventDefinition<Type extends string = string, Data = unknown> = {
  /** Stored name: `<area>.<Fact>.v<n>`. */
  readonly type: Type;
  /** Stream category the event lives in; the subscription's server-side filter is derived from it. */
  readonly category: Category;
  readonly schema: z.ZodType<Data>;
  /** Top-level fields sealed under a per-customer key before they are stored. */
  readonly personal: readonly (keyof Data & string)[];
  readonly sealedWith: SealingKey;
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
  sealedWith?: SealingKey;
  previous?: PreviousVersion<Data>;
};

/**
 * Defines a stored event.
 *
 * @param type stored name, `<area>.<Fact>.v<n>`
 * @param input category, zod schema of the data, personal fields (default none), the key that seals them (default
 *   the customer's), and for n > 1 the previous version with its lift
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
    sealedWith: input.sealedWith ?? "customer",
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
