import { z } from "zod";
import { majorAmount } from "../core/money.js";
import { kept } from "./opening-hours.js";
import { type Reservation, type ReservationStatus, reservationStatuses, windowsOf } from "./reservations.policy.js";

const slotSchema = z.object({ start: z.iso.datetime(), end: z.iso.datetime() });

/** The payload of a reservation's record. */
export const reservationDataSchema = z.object({
  reservationNumber: z.string(),
  definitionId: z.string(),
  title: z.string(),
  slot: slotSchema,
  timezone: z.string(),
  /** The instants once booked, where the zone's rules have changed since: the wall clock stays, the instants moved. */
  slotAsBooked: slotSchema.optional(),
  durationMinutes: z.int(),
  resource: z.object({ id: z.string(), name: z.string() }),
  partySize: z.int(),
  notes: z.string().optional(),
  status: z.enum(reservationStatuses),
  price: z.object({ amount: z.number(), amountMinor: z.int(), currency: z.string() }).optional(),
  lateCancel: z.boolean().optional(),
  cancelReason: z.string().optional(),
  rescheduleCount: z.int(),
  cancellableUntil: z.iso.datetime(),
  reschedulableUntil: z.iso.datetime(),
  history: z.array(
    z.object({
      at: z.iso.datetime(),
      what: z.string(),
      from: z.string().optional(),
      to: z.string().optional(),
      by: z.string(),
    }),
  ),
  icsUrl: z.string(),
});

export type ReservationData = z.infer<typeof reservationDataSchema>;

/** A reservation that came about, as customers are shown it. */
export type ShownReservation = Reservation & {
  readonly place: NonNullable<Reservation["place"]>;
  readonly status: ReservationStatus;
};

/** The reservation as it may be shown; null for one that is still being settled, or never came about. */
export function shown(reservation: Reservation | null | undefined): ShownReservation | null {
  if (!reservation?.place || reservation.status === "requested" || reservation.status === "refused") return null;
  return { ...reservation, place: reservation.place, status: reservation.status };
}

/**
 * The payload of a reservation's record; what is not known is absent.
 *
 * @param icsUrl where its calendar file is
 */
export function reservationData(reservation: ShownReservation, icsUrl: string): ReservationData {
  const { place, priceMinor, currency } = reservation;
  const { start, end, changed } = kept(place.slot);
  const { cancellableUntil, reschedulableUntil } = windowsOf(reservation, start);
  return {
    reservationNumber: reservation.reservationNumber,
    definitionId: reservation.definitionId,
    title: reservation.title,
    slot: { start: iso(start), end: iso(end) },
    timezone: place.slot.timezone,
    ...(changed ? { slotAsBooked: { start: place.slot.start, end: place.slot.end } } : {}),
    durationMinutes: reservation.durationMinutes,
    resource: { id: place.resourceId, name: place.resourceName },
    partySize: reservation.partySize,
    ...(reservation.notes === null ? {} : { notes: reservation.notes }),
    status: reservation.status,
    ...(priceMinor === null || currency === null
      ? {}
      : { price: { amount: majorAmount(priceMinor, currency), amountMinor: priceMinor, currency } }),
    ...(reservation.status === "cancelled" ? { lateCancel: reservation.lateCancel } : {}),
    ...(reservation.cancelReason === null ? {} : { cancelReason: reservation.cancelReason }),
    rescheduleCount: reservation.rescheduleCount,
    cancellableUntil: iso(cancellableUntil),
    reschedulableUntil: iso(reschedulableUntil),
    history: [...reservation.history],
    icsUrl,
  };
}

function iso(instant: number): string {
  return new Date(instant).toISOString();
}
