import { setTimeout as sleep } from "node:timers/promises";
import { CustomerErased } from "#domain/core/customer-erased.js";
import type { Decider, DomainEvent, Placed } from "#domain/core/decider.js";
import { type OrgId, type Owner, type OwnerKey, ownerOfStream, parseStreamName } from "#domain/core/identifiers.js";
import type { Actor, EventMetadata, RecordedEvent } from "#domain/core/recorded-event.js";
import { type Rejection, rejection } from "#domain/core/rejection.js";
import { type EventSerializer, PersonalDataErased } from "./event-serializer.js";
import { type EventStore, type LogPosition, type StoredEvent, WrongExpectedRevision } from "./event-store.js";
import type { PersonalDataKeys } from "./personal-data-keys.js";
import { CommandIds, type FoldedStream, StateCache } from "./state-cache.js";

/** Who asks for a command, and how a repeat of it is recognised. */
export type CommandContext = {
  /** UUID; derived from the `Idempotency-Key`, or from the causing event. */
  readonly commandId: string;
  /** Whether `commandId` may have been handled before: then the stream is searched for it. */
  readonly idempotent: boolean;
  /** SHA-256 of the canonical request body; stored only as an HMAC. Absent where the body carries a code. */
  readonly bodyDigest?: string;
  /** Null for an org's own streams (catalogue entries). */
  readonly owner: Owner | null;
  readonly org: OrgId;
  readonly actor: Actor;
  readonly via?: string;
  readonly requestId?: string;
  readonly traceparent?: string;
  readonly correlationId: string;
  readonly causationId: string;
  /** Step of a multi-step command on this stream, default 0. */
  readonly step?: number;
  /** The injected clock's time of the request. */
  readonly now: Date;
  /**
   * When whoever asked stops waiting, by `performance.now()`: what is not written by then is not tried any more, so
   * that a store that hung is not met by a queue of commands nobody waits for.
   */
  readonly answerBy?: number;
  /** `x-client-info` and the like; sealed under the customer's key. */
  readonly client?: string;
};

export type Handled<State> = {
  /** Folded state after the command; for a replay, as of that command's last event. */
  readonly state: State;
  /** Revision of the stream in that state, -1 for a stream that does not exist. */
  readonly revision: number;
  /** Position of the last event the command wrote; absent when it wrote none. */
  readonly position?: LogPosition;
  /** Events the command wrote; fresh ones all bear the position of the last. */
  readonly events: readonly RecordedEvent[];
  /** An earlier handling of the same command wrote these events. */
  readonly replayed: boolean;
};

type Folding<State, Event extends DomainEvent> = Pick<Decider<State, never, Event>, "initial" | "evolve">;

export type CommandRequest<State, Command, Event extends DomainEvent> = {
  readonly decider: Decider<State, Command, Event>;
  readonly stream: string;
  readonly command: Command;
  readonly context: CommandContext;
  /** Checks of a version the client named, run on the very state decided on. */
  readonly guard?: (state: State) => Rejection | undefined;
  /**
   * Decide unread as if the stream did not exist, unless its state is known: spares a round trip where that is mostly
   * so. Where it is not, the append loses and the command is decided again.
   */
  readonly presumeNew?: boolean;
};

export type CommandHandler = {
  /**
   * Handles one command on one stream.
   *
   * @throws CommandRejected when the guard or the decision refuses; events decided beside a refusal are stored first
   * @throws IdempotencyKeyReused when the same command id came with another body
   * @throws StreamBusy when the race for the stream was lost for two seconds, too many wait for it, or whoever asked
   *   waits no more
   * @throws StoreUnavailable when the store gave no answer in time; a repeat with the same command id is safe
   */
  handle<State, Command, Event extends DomainEvent>(
    request: CommandRequest<State, Command, Event>,
  ): Promise<Handled<State>>;

  /**
   * Folds a stream without deciding anything.
   *
   * @param maxAgeMs how old a state in this process may be to be taken unread, default 0
   * @throws StoreUnavailable
   */
  load<State, Event extends DomainEvent>(request: {
    decider: Folding<State, Event>;
    stream: string;
    maxAgeMs?: number;
  }): Promise<{ state: State; revision: number }>;

  /** Forgets every folded state of an owner, after an erasure. */
  forget(owner: OwnerKey): void;
};

/** The command was refused; its effects, if the decision recorded any, are stored. */
export class CommandRejected extends Error {
  constructor(
    readonly rejection: Rejection,
    /** An earlier handling of the same command was refused so. */
    readonly replayed = false,
  ) {
    super(`refused: ${rejection.code}`);
    this.name = "CommandRejected";
  }
}

/** The same idempotency key came with another body: 422. */
export class IdempotencyKeyReused extends Error {
  constructor() {
    super("the idempotency key belongs to another request");
    this.name = "IdempotencyKeyReused";
  }
}

/** Others keep winning the race for this stream: 503 with Retry-After. */
export class StreamBusy extends Error {
  constructor() {
    super("the stream is busy");
    this.name = "StreamBusy";
  }
}

export type CommandHandlerDependencies = {
  readonly eventStore: EventStore;
  readonly serializer: EventSerializer;
  readonly keys: PersonalDataKeys;
  /** Bytes of folded states to keep, default 64 MiB. */
  readonly cacheBytes?: number;
  /** Told of every lost race. */
  readonly onConflict?: (category: string) => void;
};

/** A lost race is decided again for so long. */
const raceMs = 2_000;
/** A command waits for its turn so long, behind so many others on the same stream. */
const turnMs = 5_000;
const maxWaiting = 256;

/**
 * Read, fold, decide, append. A state folded before is decided on unread: if the append at its revision succeeds, the
 * state was right. Whatever writes nothing (a refusal, an already-true wish) and whatever may have happened before
 * (a replay) is only believed after reading forward.
 */
export function createCommandHandler(dependencies: CommandHandlerDependencies): CommandHandler {
  const { eventStore, serializer, keys, onConflict } = dependencies;
  const cache = new StateCache(dependencies.cacheBytes ?? 64 * 1024 * 1024);
  const turns = new Turns();
  const deciderNumbers = new WeakMap<object, number>();
  let deciders = 0;
  /** Which deciders have folded streams of a category. */
  const folders = new Map<string, Set<number>>();

  /** Two deciders may fold the same stream, so a state is kept per decider and stream. */
  function cacheKey(decider: object, stream: string): string {
    let number = deciderNumbers.get(decider);
    if (number === undefined) {
      number = deciders++;
      deciderNumbers.set(decider, number);
    }
    const category = categoryOf(stream);
    const known = folders.get(category);
    if (known === undefined) folders.set(category, new Set([number]));
    else known.add(number);
    return `${number}:${stream}`;
  }

  /** What the other deciders of a stream folded is old now; the account guard, say, takes its state unread. */
  function dropOthers(own: string, stream: string): void {
    for (const number of folders.get(categoryOf(stream)) ?? []) {
      const key = `${number}:${stream}`;
      if (key !== own) cache.drop(key);
    }
  }

  function forget(owner: OwnerKey): void {
    keys.forget(owner);
    cache.dropWhere((key) => ownerOfStream(key.slice(key.indexOf(":") + 1)) === owner);
  }

  /** Folds what was appended since `before`, or the whole stream, and keeps the result. */
  async function readForward<State, Event extends DomainEvent>(
    decider: Folding<State, Event>,
    stream: string,
    before: FoldedStream | undefined,
  ): Promise<FoldedStream> {
    const key = cacheKey(decider, stream);
    const stored = await eventStore.readStream(stream, { from: (before?.revision ?? -1) + 1 });
    const state = await foldStored(decider, (before?.state ?? decider.initial) as State, stored);
    const commandIds = before?.commandIds ?? new CommandIds();
    for (const { metadata } of stored) commandIds.add(commandIdOf(metadata));
    const revision = stored.at(-1)?.revision ?? before?.revision ?? -1;
    const folded = cache.keep(key, { state, revision, commandIds }, before, stored.length * 400);
    if (stored.some(({ type }) => type === CustomerErased.type)) forget(ownerOfStream(stream) as OwnerKey);
    return folded;
  }

  async function foldStored<State, Event extends DomainEvent>(
    decider: Folding<State, Event>,
    initial: State,
    stored: readonly StoredEvent[],
  ): Promise<State> {
    let state = initial;
    if (stored.length === 0) return state;
    for (const opened of await serializer.deserializeAll(stored)) {
      // Erased and unknown events are not folded: nobody can know them any more, or yet.
      if (opened.kind === "event") state = decider.evolve(state, opened.event as unknown as Placed<Event>);
    }
    return state;
  }

  /** Rebuilds the answer of an earlier handling from the log; undefined when there was none. */
  async function replay<State, Event extends DomainEvent>(
    decider: Folding<State, Event>,
    stream: string,
    context: CommandContext,
  ): Promise<Handled<State> | undefined> {
    const stored = await eventStore.readStream(stream);
    const isOwn = ({ metadata }: StoredEvent) =>
      commandIdOf(metadata) === context.commandId && (metadata as EventMetadata).step === (context.step ?? 0);
    const last = stored.findLast(isOwn);
    if (!last) return undefined;
    const { commandHash, refused } = last.metadata as EventMetadata;
    if (commandHash !== undefined && context.bodyDigest !== undefined) {
      const hash = await keys.hmac(ownerOfStream(stream) as OwnerKey, context.bodyDigest);
      if (hash !== undefined && hash !== commandHash) throw new IdempotencyKeyReused();
    }
    if (refused) throw new CommandRejected(refused, true);
    const until = stored.slice(0, last.revision - (stored[0]?.revision ?? 0) + 1);
    const opened = await serializer.deserializeAll(until.filter(isOwn));
    return {
      state: await foldStored(decider, decider.initial, until),
      revision: last.revision,
      position: last.position,
      events: opened.flatMap((result) => (result.kind === "event" ? [result.event] : [])),
      replayed: true,
    };
  }

  async function metadataOf(stream: string, context: CommandContext, refused?: Rejection): Promise<EventMetadata> {
    const identity = parseStreamName(stream);
    if (!identity) throw new Error("a command on a stream that has no owner");
    const hash =
      context.idempotent && context.bodyDigest !== undefined
        ? await keys.hmac(ownerOfStream(stream) as OwnerKey, context.bodyDigest)
        : undefined;
    return {
      orgId: identity.org,
      ...(identity.customer === undefined ? {} : { customerId: identity.customer }),
      actor: context.actor,
      ...(context.via === undefined ? {} : { via: context.via }),
      commandId: context.commandId,
      ...(hash === undefined ? {} : { commandHash: hash }),
      step: context.step ?? 0,
      $correlationId: context.correlationId,
      $causationId: context.causationId,
      ...(context.requestId === undefined ? {} : { requestId: context.requestId }),
      ...(context.traceparent === undefined ? {} : { traceparent: context.traceparent }),
      ...(refused === undefined ? {} : { refused }),
      occurredAt: context.now.toISOString(),
      ...(context.client === undefined ? {} : { client: context.client }),
    };
  }

  /** Appends a decision at the revision it was made on, and folds it. */
  async function record<State, Event extends DomainEvent>(
    decider: Folding<State, Event>,
    stream: string,
    context: CommandContext,
    before: FoldedStream,
    decided: readonly Event[],
    refused: Rejection | undefined,
  ): Promise<Handled<State>> {
    const metadata = await metadataOf(stream, context, refused);
    let bytes = 0;
    // The state must become what a reader of the log would fold, so it is given what JSON keeps.
    const events = decided.map(({ type, data }) => {
      const json = JSON.stringify(data);
      bytes += json.length;
      return { type, data: JSON.parse(json) as unknown };
    });
    const toStore = await Promise.all(events.map((event) => serializer.serialize(event, metadata, stream)));
    const expected = before.revision < 0 ? "no-stream" : before.revision;
    const { revision, position } = await eventStore.append(stream, expected, toStore);

    const owner = ownerOfStream(stream) as OwnerKey;
    const recorded = events.map((event, index): RecordedEvent => {
      const id = (toStore[index] as { id: string }).id;
      const own = revision - events.length + 1 + index;
      return { ...event, revision: own, at: metadata.occurredAt, id, stream, position, owner, metadata };
    });
    let state = before.state as State;
    for (const event of recorded) state = decider.evolve(state, event as unknown as Placed<Event>);
    before.commandIds.add(context.commandId);
    const key = cacheKey(decider, stream);
    cache.keep(key, { state, revision, commandIds: before.commandIds }, before, bytes);
    dropOthers(key, stream);
    if (events.some(({ type }) => type === CustomerErased.type)) forget(owner);
    return { state, revision, position, events: recorded, replayed: false };
  }

  async function handleInTurn<State, Command, Event extends DomainEvent>(
    request: CommandRequest<State, Command, Event>,
  ): Promise<Handled<State>> {
    const { decider, stream, command, context, guard } = request;
    const key = cacheKey(decider, stream);
    const deadline = performance.now() + raceMs;
    let folded = cache.get(key);
    let presumed = folded === undefined && request.presumeNew === true;
    let fresh = folded === undefined && !presumed;
    if (presumed) folded = newStream(decider.initial);
    folded ??= await readForward(decider, stream, undefined);

    for (let pauseMs = 4; ; pauseMs = Math.min(pauseMs * 2, 200)) {
      if (isTooLate(context)) throw new StreamBusy();
      if (context.idempotent && folded.commandIds.mayHave(context.commandId)) {
        const earlier = await replay(decider, stream, context);
        if (earlier) return earlier;
      }
      const state = folded.state as State;
      const stale = guard?.(state);
      const { events, rejection: refused } = stale ? { events: [], rejection: stale } : decider.decide(command, state);

      if (events.length === 0) {
        if (fresh) {
          if (refused) throw new CommandRejected(refused);
          return { state, revision: folded.revision, events: [], replayed: false };
        }
        folded = await readForward(decider, stream, folded);
        fresh = true;
        continue;
      }

      try {
        const handled = await record(decider, stream, context, folded, events, refused);
        if (refused) throw new CommandRejected(refused);
        return handled;
      } catch (error) {
        if (error instanceof PersonalDataErased) throw new CommandRejected(rejection("forbidden", "ACCOUNT_LOCKED"));
        if (!(error instanceof WrongExpectedRevision)) throw error;
      }
      if (!presumed) onConflict?.(categoryOf(stream));
      presumed = false;
      if (performance.now() > deadline) throw new StreamBusy();
      const lost: FoldedStream = folded;
      folded = await readForward(decider, stream, lost);
      if (folded.revision === lost.revision) {
        // The stream is shorter than we thought: the store was restored. Nothing kept of it is worth anything.
        cache.drop(key);
        folded = await readForward(decider, stream, undefined);
      }
      fresh = true;
      // The first loss is decided again at once; who loses again steps back for a moment.
      if (pauseMs > 4) await sleep(Math.random() * pauseMs);
    }
  }

  return {
    handle: (request) =>
      turns.take(request.stream, () => {
        if (isTooLate(request.context)) throw new StreamBusy();
        return handleInTurn(request);
      }),

    async load({ decider, stream, maxAgeMs = 0 }) {
      const known = cache.get(cacheKey(decider, stream));
      const recent = known !== undefined && performance.now() - known.confirmedAt <= maxAgeMs;
      const { state, revision } = recent ? known : await readForward(decider, stream, known);
      return { state: state as never, revision };
    },

    forget,
  };
}

function isTooLate({ answerBy }: CommandContext): boolean {
  return answerBy !== undefined && performance.now() > answerBy;
}

/** A stream that nobody has looked at yet. */
function newStream(state: unknown): FoldedStream {
  return { state, revision: -1, commandIds: new CommandIds(), confirmedAt: 0, measured: 0, sinceMeasured: 0 };
}

function categoryOf(stream: string): string {
  return stream.slice(0, stream.indexOf("-"));
}

function commandIdOf(metadata: unknown): string {
  return (metadata as EventMetadata | undefined)?.commandId ?? "";
}

/** Commands on one stream, one after the other, in the order they came. */
class Turns {
  private readonly queues = new Map<string, { tail: Promise<unknown>; length: number }>();

  async take<T>(stream: string, task: () => Promise<T>): Promise<T> {
    const queue = this.queues.get(stream) ?? { tail: Promise.resolve(), length: 0 };
    if (queue.length >= maxWaiting) throw new StreamBusy();
    const came = performance.now();
    const run = queue.tail.then(() => {
      if (performance.now() - came > turnMs) throw new StreamBusy();
      return task();
    });
    queue.tail = run.catch(() => {});
    queue.length += 1;
    this.queues.set(stream, queue);
    try {
      return await run;
    } finally {
      queue.length -= 1;
      if (queue.length === 0) this.queues.delete(stream);
    }
  }
}
