import type { Db } from "mongodb";
import type { Logger } from "pino";
import type { OwnerKey } from "#domain/core/identifiers.js";
import { type EventStore, type LogPosition, logStart, type StoredEvent } from "#infrastructure/event-store.js";
import { type CursorRow, packRow, type StopRow } from "#infrastructure/read-models.js";
import { type Cursors, Fenced, memberName, type Progress } from "./cursors.js";
import type { EventOpener, LogEvent } from "./fold.js";
import { pause } from "./lease.js";
import { DocumentRefused } from "./document-writer.js";
import { type FoldedBatch, type Member, ProjectionStopped } from "./member.js";
import { openEvents } from "./opening.js";
import { describeError, parkedRows, saveParked } from "./parked.js";
import type { RunnerMetrics } from "#infrastructure/metrics.js";
import { ForeignStore, LogFeed } from "./subscription.js";
import { WriteBehind } from "./write-behind.js";

/** What every group of a runner works with. */
export type GroupDependencies = {
  readonly database: Db;
  readonly eventStore: EventStore;
  readonly opener: EventOpener;
  readonly cursors: Cursors;
  /** Newest name of each stored type. */
  readonly newest: ReadonlyMap<string, string>;
  readonly streamPrefixes: readonly string[];
  readonly log: Logger;
  readonly metrics: RunnerMetrics;
  /** A member stopped and has left; it has a row of its own now. */
  readonly onStopped: (member: Member, row: CursorRow) => void;
  /** The end of the log is reached; the group may join the pack now. Called between batches, with nothing on its way. */
  readonly onCaughtUp: (group: Group) => Promise<void>;
};

/** Events folded at once at most: bounds memory, and what a crash repeats. */
const batchSize = 4_000;
/** Batches whose writes may be on their way together, while there is much to catch up with. */
const mostInFlight = 2;
/** A batch smaller than this is stored before the next is taken: what arrives meanwhile shares one round of writes. */
const smallBatch = 256;
/**
 * While several events come at a time, the next small batch is let grow for so long: a batch costs about six calls to
 * MongoDB, however few events are in it. An event that comes alone is never held up.
 */
const gatherMs = 20;
const backOffMs = { first: 100, most: 5_000 };

/**
 * Projections at one position, fed by one reading of the log. Batches are folded one after the other; their writes
 * overlap; the cursor follows what is stored, in order. Any trouble has one answer: forget everything, read the
 * cursor again and go on from there.
 */
export class Group {
  readonly id: string;
  members: Member[];
  position: LogPosition;
  caughtUp = false;
  readonly #dependencies: GroupDependencies;
  #event: CursorRow["event"];
  #events: number;
  readonly #storeEpoch: string;
  #stopped: StopRow | undefined;
  #needed: ReadonlySet<string> = new Set();
  #feed: LogFeed | undefined;
  readonly #tasks: { run: () => Promise<void>; reject: (error: Error) => void }[] = [];
  #writes: WriteBehind;
  #ended = false;

  constructor(row: CursorRow, members: readonly Member[], dependencies: GroupDependencies) {
    this.id = row._id;
    this.members = [...members];
    this.position = row.position;
    this.#event = row.event;
    this.#events = row.events;
    this.#storeEpoch = row.storeEpoch;
    this.#stopped = row.stopped;
    this.#dependencies = dependencies;
    this.#writes = this.#writesFrom(row.position);
  }

  get row(): Omit<CursorRow, "leaseEpoch"> {
    return {
      _id: this.id,
      members: this.members.map((member) => member.row),
      position: this.position,
      event: this.#event,
      events: this.#events,
      storeEpoch: this.#storeEpoch,
      ...(this.#stopped ? { stopped: this.#stopped } : {}),
    };
  }

  /** Commit time of the oldest event that waits, and how many wait. */
  get behind(): { readonly since: Date | undefined; readonly events: number } {
    return { since: this.#feed?.oldestWaiting, events: this.#feed?.waiting ?? 0 };
  }

  /** Events handed out since the start of the log. */
  get events(): number {
    return this.#events;
  }

  /**
   * Runs until `signal` aborts or the last member has left.
   *
   * @throws Fenced when another leader moved our cursor
   * @throws ForeignStore when the store is no longer the one the cursor belongs to
   */
  async run(signal: AbortSignal): Promise<void> {
    let wait = backOffMs.first;
    while (!signal.aborted && !this.#ended) {
      const started = this.position;
      try {
        await this.#reset();
        await this.#follow(signal);
      } catch (error) {
        if (error instanceof Fenced || error instanceof ForeignStore) throw error;
        if (signal.aborted) return;
        if (error instanceof DocumentRefused) {
          for (const member of this.members) if (error.generation === member.name) member.refuse(error);
        }
        if (this.#writes.saved !== started) wait = backOffMs.first;
        this.#dependencies.log.warn(
          { err: error, group: this.id, retryInMs: wait },
          "a batch failed, folding it again",
        );
        await pause(wait * (0.5 + Math.random()), signal);
        wait = Math.min(wait * 2, backOffMs.most);
      }
    }
  }

  /**
   * Runs a task between two batches, when everything folded is stored and the cursor has passed it.
   *
   * @throws whatever the task throws; rejects when the group ends first
   */
  exclusive<Result>(task: () => Promise<Result>): Promise<Result> {
    return new Promise((resolve, reject) => {
      if (this.#ended) return reject(new Error(`the group ${this.id} has ended`));
      this.#tasks.push({ run: () => task().then(resolve, reject), reject });
      this.#feed?.wake();
    });
  }

  /** Goes back to what MongoDB has: cursor, parked owners, and no document in memory. */
  async #reset(): Promise<void> {
    const row = await this.#dependencies.cursors.read(this.id);
    if (!row) throw new Fenced(this.id);
    this.position = row.position;
    this.#event = row.event;
    this.#events = row.events;
    this.#writes = this.#writesFrom(row.position);
    this.caughtUp = false;
    for (const member of this.members) {
      const found = row.members.find((candidate) => memberName(candidate) === member.name);
      await member.reset(found?.parked ?? [], row.position === logStart);
    }
    this.membersChanged();
  }

  #writesFrom(position: LogPosition): WriteBehind {
    return new WriteBehind(this.#dependencies.cursors, this.id, position, () => this.#feed?.wake());
  }

  get #progress(): Progress {
    return { position: this.position, event: this.#event, events: this.#events };
  }

  membersChanged(): void {
    this.#needed = new Set(this.members.flatMap((member) => [...member.fold.types]));
    if (this.members.length === 0) this.#end();
  }

  #end(): void {
    this.#ended = true;
    for (const task of this.#tasks.splice(0)) task.reject(new Error(`the group ${this.id} has ended`));
  }

  async #follow(signal: AbortSignal): Promise<void> {
    const { eventStore, streamPrefixes, log, metrics } = this.#dependencies;
    const feed = new LogFeed({
      eventStore,
      streamPrefixes,
      log,
      from: { position: this.position, event: this.#event, storeEpoch: this.#storeEpoch },
      onReconnect: () => metrics.reconnects.inc(),
    });
    this.#feed = feed;
    const abort = () => feed.wake();
    signal.addEventListener("abort", abort);
    try {
      while (!signal.aborted && !this.#ended) {
        const batch = await feed.take(batchSize);
        if (signal.aborted) break;
        const news = batch.events.filter((event) => event.position > this.position);
        if (news.length > 0 || batch.position > this.position) await this.process(news, batch.position);
        this.caughtUp = batch.caughtUp;
        if (batch.caughtUp && this.#stopped) await this.#passStop();
        if (batch.caughtUp && this.id !== packRow) {
          await this.settle();
          await this.#dependencies.onCaughtUp(this);
        }
        while (this.#tasks.length > 0 && !this.#ended) {
          await this.settle();
          await this.#tasks.shift()?.run();
        }
        this.#writes.check();
        if (news.length > 1 && news.length < smallBatch) await pause(gatherMs, signal);
      }
      await this.settle();
    } finally {
      signal.removeEventListener("abort", abort);
      this.#feed = undefined;
      await feed.stop();
      await this.settle().catch(() => {});
    }
  }

  /**
   * Folds events and sends their effects on their way; returns before they are stored.
   *
   * @param position everything up to here is in it
   */
  async process(events: readonly StoredEvent[], position: LogPosition): Promise<void> {
    const started = performance.now();
    const folded = await this.#foldAll(await this.#open(events));
    if (this.#ended) return;
    this.position = position;
    const last = events.at(-1);
    if (last) this.#event = { id: last.id, position: last.position };
    this.#events += events.length;
    const parkingChanged = folded.some(({ batch }) => batch.parkingChanged);
    const moved = parkingChanged
      ? { ...this.#progress, members: this.members.map((member) => member.row) }
      : this.#progress;
    this.#writes.follow(everyOf(folded.map(({ member, batch }) => this.#store(member, batch, started))), moved);
    await this.#writes.room(events.length < smallBatch ? 1 : mostInFlight);
  }

  /**
   * Brings this group and another to one position; both must stand still. To be run inside the loops of both.
   */
  async meet(other: Group): Promise<void> {
    if (other.position > this.position) await this.#readUntil(other.position);
    else if (other.position < this.position) await other.#readUntil(this.position);
  }

  async #readUntil(until: LogPosition): Promise<void> {
    const { eventStore, streamPrefixes } = this.#dependencies;
    let batch: StoredEvent[] = [];
    for await (const event of eventStore.readLog({ after: this.position, until, streamPrefixes })) {
      batch.push(event);
      if (batch.length < batchSize) continue;
      await this.process(batch, event.position);
      batch = [];
    }
    await this.process(batch, until);
    await this.settle();
  }

  /** Changes who travels here, in the cursor's row first. To be run as an exclusive task. */
  async become(members: readonly Member[]): Promise<void> {
    this.members = [...members];
    this.membersChanged();
    this.#writes.save({ ...this.#progress, members: this.members.map((member) => member.row) });
    await this.settle();
  }

  /** Takes all members out, because they travel elsewhere now; the group ends. */
  take(): void {
    this.members = [];
    this.membersChanged();
  }

  /** Waits until all that was folded is stored and the cursor has passed it. */
  settle(): Promise<void> {
    return this.#writes.settle();
  }

  /** Applies the parked events of an owner in order, as far as that goes. To be run as an exclusive task. */
  async retryOwner(member: Member, owner: OwnerKey): Promise<{ applied: number; left: number }> {
    const { database, eventStore } = this.#dependencies;
    const rows = await parkedRows(database).find({ generation: member.name, owner }).sort({ position: 1 }).toArray();
    member.parked.delete(owner);
    let applied = 0;
    for (const row of rows) {
      const stored = await eventStore.eventAt(row.position);
      if (stored?.id !== row.eventId) throw new ForeignStore(`event ${row.eventId} is not at ${row.position}`);
      const batch = await member.foldBatch(await this.#open([stored]));
      await this.#store(member, batch, performance.now());
      if (member.parked.has(owner)) break;
      await parkedRows(database).deleteOne({ _id: row._id });
      applied++;
    }
    this.#writes.save({ ...this.#progress, members: this.members.map((each) => each.row) });
    await this.settle();
    return { applied, left: rows.length - applied };
  }

  async #store(member: Member, batch: FoldedBatch, started: number): Promise<void> {
    const { database, metrics } = this.#dependencies;
    await Promise.all([batch.write(), saveParked(database, batch.parked)]);
    for (const owner of batch.released) await parkedRows(database).deleteMany({ generation: member.name, owner });
    const { name } = member.fold.projection.definition;
    metrics.batchDuration.observe({ projection: name }, (performance.now() - started) / 1000);
  }

  #open(events: readonly StoredEvent[]): Promise<LogEvent[]> {
    const { newest, opener } = this.#dependencies;
    return openEvents(events, { opener, newest, needed: this.#needed });
  }

  /** Folds a batch for every member; those at fault leave, the others go on. */
  async #foldAll(events: readonly LogEvent[]): Promise<{ member: Member; batch: FoldedBatch }[]> {
    const folded: { member: Member; batch: FoldedBatch }[] = [];
    const stops: ProjectionStopped[] = [];
    await Promise.all(
      this.members.map(async (member) => {
        try {
          folded.push({ member, batch: await member.foldBatch(events) });
        } catch (error) {
          if (!(error instanceof ProjectionStopped)) throw error;
          stops.push(error);
        }
      }),
    );
    for (const stop of stops) await this.#leave(stop);
    return folded;
  }

  /** A member stops at the end of the batch before: it gets a row of its own, then goes from ours. */
  async #leave(stop: ProjectionStopped): Promise<void> {
    await this.settle();
    const { cursors, onStopped, log } = this.#dependencies;
    const { member, event } = stop;
    const row = await cursors.read(this.id);
    // As it is stored: the batch at fault has parked owners in memory only.
    const stored = row?.members.find((candidate) => memberName(candidate) === member.name);
    if (!row || !stored) throw new Fenced(this.id);
    const stopped: StopRow = {
      reason: describeError(stop),
      eventId: event.stored.id,
      eventType: event.stored.type,
      position: event.stored.position,
      at: new Date(),
    };
    log.error(
      { projection: member.name, eventId: stopped.eventId, position: stopped.position, reason: stopped.reason },
      "a projection stopped",
    );
    const own: CursorRow = {
      ...row,
      _id: this.members.length === 1 ? this.id : member.name,
      members: [stored],
      stopped,
    };
    await cursors.put(own);
    this.members = this.members.filter((other) => other !== member);
    if (this.members.length > 0) {
      this.#writes.save({ ...this.#progress, members: this.members.map((other) => other.row) });
      await this.settle();
    }
    this.membersChanged();
    onStopped(member, own);
  }

  /** The event at which the projection stopped once is applied now. */
  async #passStop(): Promise<void> {
    await this.settle();
    this.#writes.save({ ...this.#progress, stopped: null });
    await this.settle();
    this.#stopped = undefined;
  }
}

/** Waits for all of them, then throws the first failure if there was one. */
async function everyOf(promises: readonly Promise<void>[]): Promise<void> {
  for (const outcome of await Promise.allSettled(promises)) if (outcome.status === "rejected") throw outcome.reason;
}
