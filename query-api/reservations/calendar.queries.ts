import ical, { ICalCalendarMethod, ICalEventStatus } from "ical-generator";
import type { Filter } from "mongodb";
import { z } from "zod";
import { ownerKey } from "#domain/core/identifiers.js";
import { kept } from "#domain/reservations/opening-hours.js";
import { type ShownReservation, shown } from "#domain/reservations/reservation-record.policy.js";
import type { Reservation } from "#domain/reservations/reservations.policy.js";
import { Problem } from "#infrastructure/http/problem-details.js";
import type { RouteDefinition } from "#infrastructure/http/routes.js";
import { id, parseParams, parseQuery } from "#infrastructure/http/validation.js";
import { reservationDocument } from "#projectors/reservations/reservations.document.js";
import { documentId, type Stored } from "#projectors/runner/projection.js";
import type { QueryDependencies } from "../dependencies.js";

const params = z.object({ reservationId: id(90) });
const query = z.object({ sig: z.string().max(400) });
const mediaType = "text/calendar";
/** How often a calendar that subscribed looks for changes. */
const refreshSeconds = 3_600;

/** A reservation for the customer's calendar; the link's signature stands in for org and token. */
export function calendarQueries(deps: QueryDependencies): RouteDefinition[] {
  return [
    {
      method: "get",
      path: "/client-data/reservations/:reservationId/calendar.ics",
      summary: "The reservation as an iCalendar file that keeps itself up to date",
      operationId: "reservationCalendar",
      area: "reservations",
      access: "public",
      limits: [],
      request: { params, query },
      responses: { 200: { description: "One event", contentType: mediaType } },
      problems: ["LINK_INVALID", "RESERVATION_NOT_FOUND"],
      handler: async (req, res) => {
        const { reservationId } = parseParams(params, req);
        const { sig } = parseQuery(query, req);
        const owner = deps.calendarLinks.ownerOf(reservationId, sig);
        if (!owner) throw new Problem(403, "LINK_INVALID");
        const key = ownerKey(owner);
        const found = (await deps.readModels
          .collection(reservationDocument)
          .findOne({ _id: documentId(key, reservationId) } as Filter<
            Stored<Reservation>
          >)) as Stored<Reservation> | null;
        const reservation = found && found.owner === key && !found._deletedAt ? shown(found) : null;
        if (!reservation) throw new Problem(404, "RESERVATION_NOT_FOUND");
        const body = calendar(reservation, owner.org);
        res.statusCode = 200;
        res.setHeader("Content-Type", `${mediaType}; charset=utf-8`);
        res.setHeader("Content-Disposition", `inline; filename="${reservation.reservationNumber}.ics"`);
        res.setHeader("Content-Length", Buffer.byteLength(body));
        res.end(req.method === "HEAD" ? undefined : body);
      },
    },
  ];
}

/**
 * The iCalendar object. UID stays and SEQUENCE grows with every change, so a calendar that has the event already
 * replaces it instead of adding another.
 */
export function calendar(reservation: ShownReservation, org: string): string {
  const { reservationId, reservationNumber, title, status, place, version, createdAt, modifiedAt } = reservation;
  const { start, end } = kept(place.slot);
  const states = {
    pending: ICalEventStatus.TENTATIVE,
    cancelled: ICalEventStatus.CANCELLED,
    confirmed: ICalEventStatus.CONFIRMED,
    completed: ICalEventStatus.CONFIRMED,
    no_show: ICalEventStatus.CONFIRMED,
  };
  return ical({
    prodId: { company: "client-data", product: "reservations", language: "EN" },
    method: ICalCalendarMethod.PUBLISH,
    name: title,
    ttl: refreshSeconds,
    events: [
      {
        id: `${reservationId}@${org}.client-data`,
        sequence: version,
        start: new Date(start),
        end: new Date(end),
        stamp: new Date(modifiedAt),
        created: new Date(createdAt),
        lastModified: new Date(modifiedAt),
        summary: title,
        location: place.resourceName,
        description: reservationNumber,
        status: states[status],
      },
    ],
  }).toString();
}
