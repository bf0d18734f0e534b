import type { Db } from "mongodb";
import type { Logger } from "pino";
import { v4 as uuid } from "uuid";
import type { EventDefinition } from "#domain/core/event-definition.js";
import type { OwnerKey } from "#domain/core/identifiers.js";
import { type EventStore, logStart } from "#infrastructure/event-store.js";
import type { RunnerMetrics } from "#infrastructure/metrics.js";
import {
  type CursorMember,
  type CursorRow,
  type GenerationRow,
  packRow,
  type ReadModelKey,
  readModelKey,
  type StopRow,
} from "#infrastructure/read-models.js";
import { Bell } from "./bell.js";
import { Cursors, memberName, settleRows } from "./cursors.js";
import { type EventOpener, newestTypes } from "./fold.js";
import { Group, type GroupDependencies } from "./group.js";
import { Member } from "./member.js";
import { parkedRows } from "./parked.js";
import type { AnyProjection } from "./projection.js";
import { Generations } from "./rebuild.js";
import { type Led, serveRequest } from "./request-desk.js";
import { openRequests, watchRequests } from "./requests.js";
import { checkStore, ForeignStore } from "./subscription.js";

/** What a runner works with, leading or not. */
export type LeadershipOptions = {
  readonly database: Db;
  readonly eventStore: EventStore;
  readonly opener: EventOpener;
  /** Whether an owner's data key is destroyed; asked only when an event cannot be applied. */
  readonly isErased: (owner: OwnerKey) => Promise<boolean>;
  readonly projections: readonly AnyProjection[];
  /** Newest version of every stored event. */
  readonly storedEvents: readonly EventDefinition[];
  readonly log: Logger;
  readonly metrics: RunnerMetrics;
};

/** A request that nobody tells of, and the numbers on /metrics, wait so long at most. */
const pollEveryMs = 500;

/** One time of leading: what is known under one lease epoch. */
export class Leadership implements Led {
  readonly #options: LeadershipOptions;
  readonly #signal: AbortSignal;
  readonly #onTurn: () => void;
  readonly #cursors: Cursors;
  readonly #generations: Generations;
  readonly #dependencies: GroupDependencies;
  readonly #groups = new Map<string, Group>();
  readonly #running = new Set<Promise<void>>();
  readonly #stopped = new Map<string, StopRow>();
  #rows = new Map<ReadModelKey, GenerationRow>();
  /** Read models whose live generation has seen the end of the log since we lead. */
  readonly #upToDate = new Set<ReadModelKey>();
  #joining: Promise<void> = Promise.resolve();
  #failure: unknown;
  readonly #failed = new AbortController();
  /** A request was made, or what one waits for came true. */
  readonly #bell = new Bell();

  constructor(options: LeadershipOptions, leaseEpoch: number, signal: AbortSignal, onTurn: () => void) {
    this.#options = options;
    this.#signal = AbortSignal.any([signal, this.#failed.signal]);
    this.#onTurn = onTurn;
    this.#cursors = new Cursors(options.database, leaseEpoch);
    this.#generations = new Generations(options.database);
    this.#dependencies = {
      database: options.database,
      eventStore: options.eventStore,
      opener: options.opener,
      cursors: this.#cursors,
      newest: newestTypes(options.storedEvents),
      streamPrefixes: [...new Set(options.storedEvents.map(({ category }) => `${category}-`))],
      log: options.log,
      metrics: options.metrics,
      onStopped: (member, row) => {
        if (row.stopped) this.#stopped.set(member.name, row.stopped);
      },
      onCaughtUp: (group) => this.#join(group),
    };
  }

  /** What keeps the runner from being ready, in words. */
  problems(): string[] {
    this.#watch();
    const problems: string[] = [];
    for (const projection of this.#options.projections) {
      const key = readModelKey(projection.definition);
      const row = this.#rows.get(key);
      if (row?.live == null) problems.push(`${key} is being built`);
      else if (!this.#upToDate.has(key)) problems.push(`${key} has not caught up`);
    }
    for (const [name, { reason, eventId, eventType }] of this.#stopped) {
      problems.push(`${name} stopped at event ${eventId} (${eventType}): ${reason}`);
    }
    for (const member of this.#members()) {
      if (member.parked.size > 0) problems.push(`${member.name} has ${member.parked.size} owners parked`);
    }
    return problems;
  }

  async run(): Promise<void> {
    const unwatch = watchRequests(this.#options.database, () => this.#bell.ring());
    try {
      await this.#begin();
      while (!this.#signal.aborted) {
        this.#watch();
        for (const row of await openRequests(this.#options.database)) await serveRequest(row, this, this.#options);
        this.#onTurn();
        await this.#bell.wait(pollEveryMs, this.#signal);
      }
    } finally {
      this.#failed.abort();
      unwatch();
      await Promise.all(this.#running);
    }
    if (this.#failure) throw this.#failure;
  }

  #members(): Member[] {
    return [...this.#groups.values()].flatMap((group) => group.members);
  }

  /** Sorts out who stands where, checks that the store is the one we know, and starts the groups. */
  async #begin(): Promise<void> {
    const { database, eventStore, projections } = this.#options;
    const storeEpoch = await eventStore.epoch();
    const rows = settleRows(await this.#cursors.takeOver());
    this.#rows = await this.#generations.load(projections);
    const asked = (await openRequests(database)).filter(({ kind }) => kind === "rebuild");
    const toRebuild = new Set(asked.map(({ projection }) => projection));

    const placed = new Set<ReadModelKey>();
    for (const row of rows) {
      const ours = row.members.filter((member) => this.#isCurrent(member));
      if (ours.length === 0) continue;
      try {
        await checkStore(eventStore, row);
      } catch (error) {
        if (!(error instanceof ForeignStore) || !ours.every(({ projection }) => toRebuild.has(projection))) throw error;
        // All of them are to be built anew, so what they knew of another store does not matter.
        await this.#cursors.remove(row._id);
        for (const member of ours) await this.#generations.abandon(readModelKeyOf(member));
        continue;
      }
      for (const member of ours) placed.add(readModelKeyOf(member));
      await this.#startRow(row, ours);
    }

    const missing = projections.filter((projection) => !placed.has(readModelKey(projection.definition)));
    this.#rows = await this.#generations.load(projections);
    await this.#startNew(missing, storeEpoch);
  }

  /** The generation that is read, or the one that will be. */
  #isCurrent(member: CursorMember): boolean {
    const row = this.#rows.get(readModelKeyOf(member));
    return row !== undefined && (row.live === member.generation || row.building === member.generation);
  }

  /** Starts what stands in a row; members of other releases get a row of their own and rest. */
  async #startRow(row: CursorRow, ours: readonly CursorMember[]): Promise<void> {
    const others = row.members.filter((member) => !ours.includes(member));
    for (const member of others) {
      await this.#cursors.put({ ...row, _id: memberName(member), members: [member] });
    }
    if (others.length > 0) await this.#cursors.put({ ...row, members: ours });
    if (row._id === packRow) {
      // A crash fell between joining the pack and the flip.
      for (const member of ours) {
        if (this.#rows.get(readModelKeyOf(member))?.building === member.generation) await this.#flip(member);
      }
    }
    if (row.stopped) for (const member of ours) this.#stopped.set(memberName(member), row.stopped);
    this.#start({ ...row, members: ours });
  }

  /** Builds the first generation of each, or one that lost its cursor: all from the start, together. */
  async #startNew(projections: readonly AnyProjection[], storeEpoch: string): Promise<CursorMember[]> {
    const members: CursorMember[] = [];
    for (const { definition } of projections) {
      const key = readModelKey(definition);
      const generation = await this.#generations.begin(key);
      members.push({ projection: definition.name, version: definition.version, generation, parked: [] });
    }
    if (members.length > 0) {
      const row = { _id: `behind-${uuid()}`, members, position: logStart, event: null, events: 0, storeEpoch };
      await this.#cursors.put(row);
      this.#start({ ...row, leaseEpoch: 0 });
    }
    this.#rows = await this.#generations.load(this.#options.projections);
    return members;
  }

  #start(row: CursorRow): void {
    const members = row.members.map((member) => {
      const projection = this.#options.projections.find(({ definition }) => definition.name === member.projection);
      if (!projection) throw new Error(`no projection ${member.projection}`);
      return new Member(this.#options.database, projection, member, this.#options.isErased);
    });
    const group = new Group(row, members, this.#dependencies);
    this.#groups.set(group.id, group);
    const running = group
      .run(this.#signal)
      .catch((error) => {
        this.#failure ??= error;
        this.#failed.abort();
      })
      .finally(() => {
        this.#running.delete(running);
        if (this.#groups.get(group.id) === group) this.#groups.delete(group.id);
      });
    this.#running.add(running);
  }

  /** A group that has seen the end of the log becomes part of the pack; one after the other. */
  #join(group: Group): Promise<void> {
    const joined = this.#joining.then(() => this.#joinPack(group));
    this.#joining = joined.catch(() => {});
    return joined;
  }

  async #joinPack(group: Group): Promise<void> {
    const filled = group.members.filter((member) => this.#rows.get(member.key)?.building === member.generation);
    // Two at a time: the server builds three at once, and lets further ones wait while their calls time out.
    const queue = filled.values();
    const index = async () => {
      for (const { fold, generation } of queue) await this.#generations.index(fold.projection.definition, generation);
    };
    await Promise.all([index(), index()]);
    const pack = this.#groups.get(packRow);
    if (!pack) {
      const row = { ...group.row, _id: packRow };
      await this.#cursors.put(row);
      await this.#cursors.remove(group.id);
      for (const member of group.members) await this.#flip(member.row);
      group.take();
      this.#start({ ...row, leaseEpoch: 0 });
      return;
    }
    await pack.exclusive(async () => {
      await group.meet(pack);
      const keys = new Set(group.members.map(({ key }) => key));
      const leaving = pack.members.filter(({ key }) => keys.has(key));
      for (const member of leaving) await this.#cursors.put({ ...pack.row, _id: member.name, members: [member.row] });
      await pack.become([...pack.members.filter((member) => !leaving.includes(member)), ...group.members]);
      await this.#cursors.remove(group.id);
      for (const member of group.members) await this.#flip(member.row);
      group.take();
    });
  }

  async #flip(member: CursorMember): Promise<void> {
    const key = readModelKeyOf(member);
    const { log, projections } = this.#options;
    if (this.#rows.get(key)?.building === member.generation) {
      for (const generation of await this.#generations.flip(key, member.generation)) {
        await this.drop({ ...member, generation });
      }
      log.info({ projection: memberName(member) }, "a generation went live");
      this.#rows = await this.#generations.load(projections);
      this.#bell.ring();
    }
    for (const name of this.#stopped.keys()) if (name.startsWith(`${key}.`)) this.#stopped.delete(name);
  }

  /** Metrics and readiness. */
  #watch(): void {
    const { metrics, projections } = this.#options;
    const front = Math.max(0, ...[...this.#groups.values()].map((group) => group.events + group.behind.events));
    for (const { definition } of projections) {
      const key = readModelKey(definition);
      const name = { projection: definition.name };
      const live = this.#rows.get(key)?.live;
      const isLive = (member: Member) => member.key === key && (member.generation === live || live == null);
      const group = [...this.#groups.values()].find(({ members }) => members.some(isLive));
      const stopped = [...this.#stopped.keys()].some((member) => member.startsWith(`${key}.`));
      metrics.stopped.set(name, stopped ? 1 : 0);
      if (!group) continue;
      if (group.caughtUp) this.#upToDate.add(key);
      const { since } = group.behind;
      metrics.lagEvents.set(name, front - group.events);
      metrics.lagSeconds.set(name, since ? Math.max(0, (Date.now() - since.getTime()) / 1000) : 0);
      metrics.parkedOwners.set(name, group.members.find(isLive)?.parked.size ?? 0);
    }
  }

  generationsOf(key: ReadModelKey): GenerationRow | undefined {
    return this.#rows.get(key);
  }

  /** Begins a new generation, unless one is being built; gives its number. */
  async rebuild(projection: AnyProjection): Promise<number> {
    const generation = this.#rows.get(readModelKey(projection.definition))?.building;
    if (generation != null) {
      const { name, version } = projection.definition;
      const building = memberName({ projection: name, version, generation });
      if (this.#members().some((member) => member.name === building)) return generation;
      // It stopped, or a crash came before it had a cursor: it begins again.
      await this.#forget(building);
    }
    const [member] = await this.#startNew([projection], await this.#options.eventStore.epoch());
    return (member as CursorMember).generation;
  }

  /** Takes a member that does not run out of the cursors. */
  async #forget(name: string): Promise<void> {
    for (const row of await this.#cursors.takeOver()) {
      const members = row.members.filter((member) => memberName(member) !== name);
      if (members.length === row.members.length) continue;
      if (members.length === 0) await this.#cursors.remove(row._id);
      else await this.#cursors.put({ ...row, members });
    }
    this.#stopped.delete(name);
  }

  /** Lets a retired generation catch up and go live again; false when there is none. */
  async revive(member: Omit<CursorMember, "parked">): Promise<boolean> {
    const own = await this.#cursors.read(memberName(member));
    if (!own || !(await this.#generations.revive(readModelKeyOf(member), member.generation))) return false;
    this.#rows = await this.#generations.load(this.#options.projections);
    this.#start(own);
    return true;
  }

  /** Drops a retired generation with all that belongs to it; false when it is none. */
  async drop(member: Omit<CursorMember, "parked">): Promise<boolean> {
    if (!(await this.#generations.drop(readModelKeyOf(member), member.generation))) return false;
    await this.#cursors.remove(memberName(member));
    await parkedRows(this.#options.database).deleteMany({ generation: memberName(member) });
    return true;
  }

  /** Applies parked events again, of one owner or of all; a stopped projection goes on from where it stopped. */
  async retry(key: ReadModelKey, ofOwner: OwnerKey | undefined): Promise<string> {
    const told: string[] = [];
    for (const [name] of this.#stopped) {
      if (!name.startsWith(`${key}.`) || this.#members().some((member) => member.name === name)) continue;
      const own = (await this.#cursors.takeOver()).find(
        ({ members, stopped }) => stopped && members.some((member) => memberName(member) === name),
      );
      if (own) this.#start(own);
      told.push(`${name} goes on`);
    }
    for (const group of this.#groups.values()) {
      for (const member of group.members) {
        if (member.key !== key) continue;
        for (const owner of ofOwner === undefined ? [...member.parked] : [ofOwner]) {
          if (!member.parked.has(owner)) continue;
          const { applied, left } = await group.exclusive(() => group.retryOwner(member, owner));
          told.push(`${owner}: ${applied} applied, ${left} left`);
        }
      }
    }
    return told.join("; ") || "nothing was parked";
  }
}

function readModelKeyOf(member: Pick<CursorMember, "projection" | "version">): ReadModelKey {
  return readModelKey({ name: member.projection, version: member.version });
}
