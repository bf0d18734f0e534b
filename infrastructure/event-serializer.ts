import { randomUUID } from "node:crypto";
import type { z } from "zod";
import type { DomainEvent } from "#domain/core/decider.js";
import type { EventDefinition } from "#domain/core/event-definition.js";
import { type OwnerKey, ownerOfStream } from "#domain/core/identifiers.js";
import type { EventMetadata, RecordedEvent } from "#domain/core/recorded-event.js";
import type { EventToStore, LogPosition, StoredEvent } from "./event-store.js";
import type { OwnerKeys, PersonalDataKeys } from "./personal-data-keys.js";
import { open, seal } from "./sealing.js";

/** An event that went with its customer. It is not folded; it only moves the place in the log. */
export type ErasedEvent = {
  readonly id: string;
  readonly type: string;
  readonly stream: string;
  readonly revision: number;
  readonly position: LogPosition;
  readonly owner: OwnerKey;
};

/** A stored event as it comes out of the store. `unknown`: of a newer release, or not ours. */
export type Deserialized =
  | { readonly kind: "event"; readonly event: RecordedEvent }
  | { readonly kind: "erased"; readonly event: ErasedEvent }
  | { readonly kind: "unknown"; readonly event: StoredEvent };

export type EventSerializer = {
  /**
   * Checks an event against its schema and seals its personal fields.
   *
   * @returns what to store, under a fresh random event id; of an erased customer's, for an event that outlives an
   *   erasure, without what would be personal
   * @throws PersonalDataErased when the customer's key is destroyed and there is something to seal with it
   * @throws Error when the event is not defined or breaks its schema: a fault of the program
   */
  serialize(event: DomainEvent, metadata: EventMetadata, stream: string): EventToStore | Promise<EventToStore>;
  /**
   * Opens, checks and lifts a stored event to its newest shape; synchronously where no key must be looked up.
   *
   * @throws EventNotReadable when it breaks its schema or its seal
   */
  deserialize(stored: StoredEvent): Deserialized | Promise<Deserialized>;
  /** Deserializes in order, looking up all keys it needs in one query. */
  deserializeAll(stored: readonly StoredEvent[]): Promise<Deserialized[]>;
};

/** The customer is erased: nothing personal can be recorded any more. */
export class PersonalDataErased extends Error {
  constructor() {
    super("the customer's data key is destroyed");
    this.name = "PersonalDataErased";
  }
}

/** A stored event breaks its own schema, or its seal; names the event, never its content. */
export class EventNotReadable extends Error {
  constructor(
    readonly event: Pick<StoredEvent, "id" | "type" | "position">,
    why: string,
    options?: ErrorOptions,
  ) {
    super(`event ${event.id} (${event.type}) cannot be read: ${why}`, options);
    this.name = "EventNotReadable";
  }
}

/** How one stored type is read: its own shape, and the way up to the newest one. */
type ReadingPlan = {
  readonly type: string;
  readonly schema: z.ZodType;
  readonly personal: readonly string[];
  readonly kept: readonly string[];
  readonly outlivesErasure: boolean;
  readonly newestType: string;
  readonly newestSchema: z.ZodType;
  readonly lifts: readonly ((data: unknown) => unknown)[];
};

/**
 * Where the sealed fields of an event lie in its stored data, base64 of nonce, ciphertext and tag: personal ones under
 * the customer's own key, and what the law makes us keep under its second.
 */
const sealedField = "$sealed";
const keptField = "$kept";

/**
 * @param definitions newest version of every event; older ones hang on `previous`
 * @throws Error when a name is defined twice
 */
export function createEventSerializer(
  definitions: readonly EventDefinition[],
  keys: PersonalDataKeys,
): EventSerializer {
  const plans = new Map<string, ReadingPlan>();
  for (const plan of definitions.flatMap(readingPlans)) {
    if (plans.has(plan.type)) throw new Error(`stored event ${plan.type} is defined twice`);
    plans.set(plan.type, plan);
  }
  const writable = new Set(definitions.map(({ type }) => type));

  function serialize(
    event: DomainEvent,
    metadata: EventMetadata,
    stream: string,
  ): EventToStore | Promise<EventToStore> {
    const plan = plans.get(event.type);
    if (!plan || !writable.has(event.type)) throw new Error(`${event.type} is not a stored event's newest version`);
    const checked = plan.schema.safeParse(event.data);
    if (!checked.success) throw new Error(`${event.type} breaks its schema: ${describeIssues(checked.error)}`);
    const data = checked.data as Record<string, unknown>;
    const { kept, rest } = takeKept(data, plan.kept);
    const secret = pick(rest, plan.personal);
    if (!secret && !kept && metadata.client === undefined) {
      return { id: randomUUID(), type: event.type, data, metadata };
    }
    const owner = ownerOf(stream);
    const sealUnder = (ownerKeys: OwnerKeys): EventToStore => {
      const context = sealingContext(stream, event.type);
      const { customer, legal } = ownerKeys;
      const withoutPerson = customer === null && plan.outlivesErasure;
      const stored = secret ? omit(rest, plan.personal) : { ...rest };
      if (secret && !withoutPerson) {
        if (!customer) throw new PersonalDataErased();
        stored[sealedField] = sealJson(customer, secret, context);
      }
      if (kept) stored[keptField] = sealJson(legal, kept, keptContext(context));
      if (!withoutPerson) {
        return { id: randomUUID(), type: event.type, data: stored, metadata: sealClient(metadata, ownerKeys, context) };
      }
      const { client: _, ...anonymous } = metadata;
      return { id: randomUUID(), type: event.type, data: stored, metadata: anonymous };
    };
    const cached = keys.cached(owner);
    return cached ? sealUnder(cached) : keys.findOrCreate(owner).then(sealUnder);
  }

  function deserialize(stored: StoredEvent): Deserialized | Promise<Deserialized> {
    const plan = plans.get(stored.type);
    if (!plan) return { kind: "unknown", event: stored };
    if (!needsKeys(stored)) return read(stored, plan, null);
    const owner = ownerOf(stored.stream);
    const cached = keys.cached(owner);
    return cached ? read(stored, plan, cached) : keys.find(owner).then((found) => read(stored, plan, found));
  }

  return {
    serialize,
    deserialize,
    async deserializeAll(events) {
      const results = new Array<Deserialized>(events.length);
      const pending: Promise<void>[] = [];
      for (const [index, stored] of events.entries()) {
        const result = deserialize(stored);
        if (result instanceof Promise) {
          pending.push(
            result.then((value) => {
              results[index] = value;
            }),
          );
        } else results[index] = result;
      }
      if (pending.length > 0) await Promise.all(pending);
      return results;
    },
  };
}

/** The plan of a definition and of all versions before it. */
function readingPlans(newest: EventDefinition): ReadingPlan[] {
  const plans: ReadingPlan[] = [];
  let lifts: ReadingPlan["lifts"] = [];
  for (let definition = newest; ; ) {
    const { type, schema, personal, kept, outlivesErasure, previous } = definition;
    plans.push({
      type,
      schema,
      personal,
      kept,
      outlivesErasure,
      newestType: newest.type,
      newestSchema: newest.schema,
      lifts,
    });
    if (!previous) return plans;
    lifts = [previous.lift as (data: unknown) => unknown, ...lifts];
    definition = previous.definition;
  }
}

function needsKeys(stored: StoredEvent): boolean {
  const { data, metadata } = stored as { data: Record<string, unknown> | null; metadata: EventMetadata | undefined };
  return data?.[sealedField] !== undefined || data?.[keptField] !== undefined || metadata?.client !== undefined;
}

function read(stored: StoredEvent, plan: ReadingPlan, keys: OwnerKeys | null): Deserialized {
  const { id, stream, revision, position } = stored;
  const owner = ownerOf(stream);
  const metadata = stored.metadata as EventMetadata | undefined;
  if (typeof metadata?.orgId !== "string" || typeof metadata.commandId !== "string") {
    throw new EventNotReadable(stored, "its metadata is not ours");
  }
  const context = sealingContext(stream, stored.type);
  let data = stored.data as Record<string, unknown>;
  const sealed = data?.[sealedField];
  const sealedKept = data?.[keptField];
  if (sealed !== undefined || sealedKept !== undefined) {
    if (!keys) throw new EventNotReadable(stored, "its owner has no data key");
    const { [sealedField]: _sealed, [keptField]: _kept, ...plain } = data;
    data = plain;
    if (sealed !== undefined && keys.customer) data = { ...data, ...openJson(stored, keys.customer, sealed, context) };
    else if (sealed !== undefined && !plan.outlivesErasure) {
      return { kind: "erased", event: { id, type: plan.newestType, stream, revision, position, owner } };
    }
    if (sealedKept !== undefined) data = putBack(data, openJson(stored, keys.legal, sealedKept, keptContext(context)));
  }
  let lifted = check(stored, plan.schema, data);
  if (plan.lifts.length > 0) {
    for (const lift of plan.lifts) lifted = lift(lifted);
    lifted = check(stored, plan.newestSchema, lifted);
  }
  return {
    kind: "event",
    event: {
      type: plan.newestType,
      data: lifted,
      revision,
      at: metadata.occurredAt ?? stored.created.toISOString(),
      id,
      stream,
      position,
      owner,
      metadata: metadata.client === undefined ? metadata : openClient(stored, metadata, keys, context),
    },
  };
}

function check(stored: StoredEvent, schema: z.ZodType, data: unknown): unknown {
  const checked = schema.safeParse(data);
  if (!checked.success) throw new EventNotReadable(stored, describeIssues(checked.error));
  return checked.data;
}

function sealJson(key: OwnerKeys["legal"], value: object, context: string): string {
  return seal(key, Buffer.from(JSON.stringify(value)), context).toString("base64");
}

function openJson(stored: StoredEvent, key: OwnerKeys["legal"], sealed: unknown, context: string): Fields {
  try {
    return JSON.parse(open(key, Buffer.from(sealed as string, "base64"), context).toString("utf8"));
  } catch (cause) {
    throw new EventNotReadable(stored, "its personal fields do not open under its owner's key", { cause });
  }
}

/** `client` is sealed by itself: under the customer's key also where the event is kept for the law. */
function sealClient(metadata: EventMetadata, keys: OwnerKeys, context: string): EventMetadata {
  if (metadata.client === undefined) return metadata;
  if (!keys.customer) throw new PersonalDataErased();
  const sealed = seal(keys.customer, Buffer.from(metadata.client), `${context}|client`).toString("base64");
  return { ...metadata, client: sealed };
}

/** Without its key `client` is left out; the event itself may still be readable. */
function openClient(stored: StoredEvent, metadata: EventMetadata, keys: OwnerKeys | null, context: string) {
  const { client: sealed, ...rest } = metadata;
  if (!keys?.customer || sealed === undefined) return rest;
  try {
    const client = open(keys.customer, Buffer.from(sealed, "base64"), `${context}|client`).toString("utf8");
    return { ...rest, client };
  } catch (cause) {
    throw new EventNotReadable(stored, "its client does not open under its owner's key", { cause });
  }
}

/** Binds a seal to its place: bytes moved to another stream or another type do not open. */
function sealingContext(stream: string, type: string): string {
  return `${stream}|${type}`;
}

function keptContext(context: string): string {
  return `${context}|kept`;
}

function ownerOf(stream: string): OwnerKey {
  const owner = ownerOfStream(stream);
  if (owner === null) throw new Error("a stored event lies in a stream that has no owner");
  return owner;
}

type Fields = Record<string, unknown>;

/**
 * Takes out of an event's data what is kept for the law.
 *
 * @param paths fields, or members of fields
 * @returns what was there of it, in its place (null when nothing was), and the rest; the data itself stays as it is
 */
function takeKept(data: Fields, paths: readonly string[]): { kept: Fields | null; rest: Fields } {
  let kept: Fields | undefined;
  let rest = data;
  for (const path of paths) {
    const [field = "", member] = path.split(".");
    const value = rest[field];
    if (value === undefined) continue;
    if (member === undefined) {
      kept = { ...kept, [field]: value };
      rest = omit(rest, [field]);
    } else if (isFields(value) && value[member] !== undefined) {
      const members = kept?.[field] as Fields | undefined;
      kept = { ...kept, [field]: { ...members, [member]: value[member] } };
      rest = { ...rest, [field]: omit(value, [member]) };
    }
  }
  return { kept: kept ?? null, rest };
}

/** Reverses {@link takeKept}. */
function putBack(data: Fields, kept: Fields): Fields {
  const whole = { ...data };
  for (const [field, value] of Object.entries(kept)) {
    const rest = whole[field];
    whole[field] = isFields(rest) && isFields(value) ? { ...rest, ...value } : value;
  }
  return whole;
}

function isFields(value: unknown): value is Fields {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

/** The personal fields that are there; null when none is. */
function pick(data: Fields, fields: readonly string[]): Fields | null {
  let picked: Fields | null = null;
  for (const field of fields) {
    if (data[field] === undefined) continue;
    picked ??= {};
    picked[field] = data[field];
  }
  return picked;
}

function omit(data: Fields, fields: readonly string[]): Fields {
  return Object.fromEntries(Object.entries(data).filter(([field]) => !fields.includes(field)));
}

/** Paths and codes only: a message may quote the value. */
function describeIssues(error: z.ZodError): string {
  return error.issues.map((issue) => `${issue.path.join(".") || "data"} (${issue.code})`).join(", ");
}
