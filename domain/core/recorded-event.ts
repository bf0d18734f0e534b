import type { DomainEvent, Placed } from "./decider.js";
import type { OwnerKey } from "./identifiers.js";
import type { Rejection } from "./rejection.js";

/** Who caused an event. */
export type Actor = { readonly type: "customer" | "staff" | "system" | "provider"; readonly id: string };

/** Metadata of every stored event; `$`-names are the field's own for correlation. */
export type EventMetadata = {
  readonly orgId: string;
  /** Absent on an org's own streams (catalogue entries). */
  readonly customerId?: string;
  readonly actor: Actor;
  /** The trusted proxy that acted for the customer. */
  readonly via?: string;
  readonly commandId: string;
  /** HMAC-SHA-256 of the request under the customer's data key; absent where the body carries a code. */
  readonly commandHash?: string;
  /** Step of a multi-step command, 0 for the first. */
  readonly step: number;
  readonly $correlationId: string;
  readonly $causationId: string;
  readonly requestId?: string;
  readonly traceparent?: string;
  /** The command recorded its events and was then refused (a wrong code): a repeat is refused with the same words. */
  readonly refused?: Rejection;
  /** RFC 3339 UTC with milliseconds. */
  readonly occurredAt: string;
  /** `x-client-info`, `x-client-host` and address, sealed under the customer's key. */
  readonly client?: string;
};

/** A stored event in its newest shape, personal fields opened, as deciders and projections see it. */
export type RecordedEvent<Event extends DomainEvent = DomainEvent> = Placed<Event> & {
  readonly id: string;
  readonly stream: string;
  /** Place in the log; string order is log order. */
  readonly position: string;
  /** `<org>.<customer>`, or `<org>` for an org's own streams. */
  readonly owner: OwnerKey;
  readonly metadata: EventMetadata;
};
