import type { DomainEvent } from "#domain/core/decider.js";
import { decodePart } from "#domain/core/identifiers.js";
import type { Place, ReservationsEvent } from "#domain/reservations/reservations.events.js";
import type { SlotbookEvent } from "#domain/reservations/slotbook.events.js";

/** An event as the audit needs it, in log order. */
export type AuditedEvent = { readonly stream: string; readonly at: string; readonly event: DomainEvent };

type Taken = {
  readonly reservationId: string | null;
  readonly move: number;
  readonly start: number;
  readonly end: number;
  readonly size: number;
  /** When a hold ends; claims end never. */
  readonly until: number;
};

type Kept = { status: string; place: Place; move: number; owner: string };

const minute = 60_000;

/**
 * Follows a log event by event and knows nothing of deciders: at no point of it may a place be sold twice, and nobody
 * who has a reservation may be without their place. At the end, once everything is settled, every claim belongs to a
 * reservation and every reservation has its claim.
 */
export class ReservationsAudit {
  readonly faults: string[] = [];
  readonly #capacities: ReadonlyMap<string, number>;
  readonly #books = new Map<string, { taken: Map<string, Taken>; blocks: Map<string, [number, number]> }>();
  readonly #kept = new Map<string, Kept>();
  readonly #open = new Set<string>();
  readonly counts: Record<string, number> = {};

  /** @param capacities by resource id */
  constructor(capacities: ReadonlyMap<string, number>) {
    this.#capacities = capacities;
  }

  add({ stream, at, event }: AuditedEvent): void {
    this.counts[event.type] = (this.counts[event.type] ?? 0) + 1;
    if (stream.startsWith("slotbook-")) this.#slotbook(stream, Date.parse(at), event as SlotbookEvent);
    if (stream.startsWith("reservations-")) this.#customer(stream, event as ReservationsEvent);
  }

  /** What must hold once nothing is open any more. */
  settled(): readonly string[] {
    for (const id of this.#open) this.#fault(`${id} was never settled`);
    const claims = new Map<string, string>();
    for (const [stream, { taken }] of this.#books) {
      for (const { reservationId, move } of taken.values()) {
        if (reservationId === null) continue;
        const kept = this.#kept.get(reservationId);
        const fits = kept && kept.status !== "cancelled" && kept.move === move && this.#bookOf(kept) === stream;
        if (!fits) this.#fault(`${stream} keeps a lost place of ${reservationId}/${move} (${kept?.status ?? "none"})`);
        claims.set(reservationId, stream);
      }
    }
    for (const [id, { status }] of this.#kept) {
      if (status !== "cancelled" && !claims.has(id)) this.#fault(`${id} is ${status} and has no place`);
    }
    return this.faults;
  }

  /** Reservations that are to take place. */
  get standing(): number {
    return [...this.#kept.values()].filter(({ status }) => status === "confirmed" || status === "pending").length;
  }

  #slotbook(stream: string, at: number, { type, data }: SlotbookEvent): void {
    const book = this.#books.get(stream) ?? { taken: new Map(), blocks: new Map() };
    this.#books.set(stream, book);
    switch (type) {
      case "reservations.PlaceClaimed.v1": {
        const key = `${data.reservationId}/${data.move}`;
        if (data.holdId !== null) book.taken.delete(data.holdId);
        if (book.taken.has(key)) this.#fault(`${stream}: ${key} claimed twice`);
        this.#takes(stream, key, data, data.reservationId, Number.POSITIVE_INFINITY, at);
        return;
      }
      case "reservations.PlaceHeld.v1":
        return this.#takes(stream, data.holdId, data, null, Date.parse(data.expiresAt), at);
      case "reservations.PlaceReleased.v1": {
        const key = `${data.reservationId}/${data.move}`;
        const kept = this.#kept.get(data.reservationId);
        if (!book.taken.delete(key)) this.#fault(`${stream}: ${key} given back without having been claimed`);
        if (kept && kept.status !== "cancelled" && kept.move === data.move && this.#bookOf(kept) === stream) {
          this.#fault(`${key} lost its place while it stands`);
        }
        return;
      }
      case "reservations.HeldPlaceReleased.v1":
      case "reservations.HeldPlaceLapsed.v1":
        book.taken.delete(data.holdId);
        return;
      case "reservations.SlotsBlocked.v1":
        book.blocks.set(data.blockId, [Date.parse(data.start), Date.parse(data.end)]);
        return;
      case "reservations.SlotsUnblocked.v1":
        book.blocks.delete(data.blockId);
        return;
    }
  }

  #takes(
    stream: string,
    key: string,
    data: { slot: { start: string; end: string }; bufferMinutes: number; partySize: number },
    reservationId: string | null,
    until: number,
    at: number,
  ): void {
    const book = this.#books.get(stream);
    if (!book) return;
    const start = Date.parse(data.slot.start);
    const end = Date.parse(data.slot.end) + data.bufferMinutes * minute;
    const size = data.partySize;
    for (const [from, to] of book.blocks.values()) {
      if (from < Date.parse(data.slot.end) && start < to) this.#fault(`${stream}: ${key} within a block`);
    }
    const resource = decodePart(stream.slice(stream.indexOf(".") + 1, stream.lastIndexOf(".")));
    const capacity = this.#capacities.get(resource) ?? 0;
    const others = [...book.taken.values()].filter(
      (other) => other.until > at && (reservationId === null || other.reservationId !== reservationId),
    );
    // A hold that takes over from another of its customer is judged without it; they end together.
    if (reservationId !== null || others.length > 0) {
      for (let now = start; now < end; now += minute) {
        const sum = others.reduce((all, other) => all + (other.start <= now && now < other.end ? other.size : 0), size);
        if (sum <= capacity) continue;
        if (reservationId === null && sum - size <= capacity) break;
        this.#fault(`${stream}: ${key} is one too many of ${capacity} at ${new Date(now).toISOString()}`);
        break;
      }
    }
    book.taken.set(key, { reservationId, move: (data as { move?: number }).move ?? 0, start, end, size, until });
  }

  #customer(stream: string, { type, data }: ReservationsEvent): void {
    if (!("reservationId" in data)) return;
    const { reservationId } = data;
    const kept = this.#kept.get(reservationId);
    switch (type) {
      case "reservations.Requested.v1":
        if (kept || this.#open.has(reservationId)) this.#fault(`${reservationId} requested twice`);
        this.#open.add(reservationId);
        return;
      case "reservations.MoveRequested.v1":
        this.#open.add(reservationId);
        return;
      case "reservations.Refused.v1":
      case "reservations.MoveRefused.v1":
        this.#open.delete(reservationId);
        return;
      case "reservations.Booked.v1":
      case "reservations.Moved.v1": {
        this.#open.delete(reservationId);
        const move = type === "reservations.Moved.v1" ? data.move : 0;
        const now = { status: data.status, place: data.place, move, owner: stream };
        if (type === "reservations.Booked.v1" && kept) this.#fault(`${reservationId} booked twice`);
        this.#kept.set(reservationId, now);
        return this.#hasPlace(reservationId, now);
      }
      case "reservations.Cancelled.v1":
        if (kept) kept.status = "cancelled";
        return;
      case "reservations.Confirmed.v1":
        if (kept) kept.status = "confirmed";
        return;
    }
  }

  #hasPlace(id: string, kept: Kept): void {
    const held = this.#books.get(this.#bookOf(kept))?.taken.has(`${id}/${kept.move}`);
    if (!held) this.#fault(`${id} stands without a place at ${kept.place.slot.start}`);
  }

  #bookOf({ owner, place }: Kept): string {
    const org = owner.slice("reservations-".length, owner.indexOf("."));
    const part = (text: string) =>
      text.replace(/[^A-Za-z0-9_-]/g, (c) => `~${c.charCodeAt(0).toString(16).padStart(2, "0")}`);
    return `slotbook-${org}.${part(place.resourceId)}.${part(place.day)}`;
  }

  #fault(text: string): void {
    this.faults.push(text);
  }
}
