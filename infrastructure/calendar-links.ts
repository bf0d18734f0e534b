import { createHmac, timingSafeEqual } from "node:crypto";
import type { Owner } from "#domain/core/identifiers.js";
import type { ServerKey } from "./server-key.js";

/**
 * Links to calendar files. Calendar programs send neither token nor `orgid`, so the link itself says whose reservation
 * it is, and a signature that nobody else could have made it.
 */
export type CalendarLinks = {
  /** The link, absolute. It stays the same for ever: calendars fetch it again to learn of changes. */
  readonly urlOf: (owner: Owner, reservationId: string) => string;
  /** Whose reservation a link's `sig` stands for; null when it was not made here. */
  readonly ownerOf: (reservationId: string, sig: string) => Owner | null;
};

/**
 * @param publicUrl address of the gateway as customers see it
 */
export function createCalendarLinks(serverKey: ServerKey, publicUrl: string): CalendarLinks {
  const key = serverKey("signed-link");
  const base = publicUrl.replace(/\/+$/, "");
  const macOf = (whose: string, reservationId: string) =>
    createHmac("sha256", key)
      .update(JSON.stringify(["calendar", whose, reservationId]))
      .digest()
      .subarray(0, 18);
  return {
    urlOf: ({ org, customer }, reservationId) => {
      const whose = Buffer.from(JSON.stringify([org, customer])).toString("base64url");
      const sig = `${whose}.${macOf(whose, reservationId).toString("base64url")}`;
      return `${base}/client-data/reservations/${encodeURIComponent(reservationId)}/calendar.ics?sig=${sig}`;
    },
    ownerOf: (reservationId, sig) => {
      const [whose = "", mac = ""] = sig.split(".");
      const given = Buffer.from(mac, "base64url");
      const expected = macOf(whose, reservationId);
      if (given.length !== expected.length || !timingSafeEqual(given, expected)) return null;
      const [org, customer] = JSON.parse(Buffer.from(whose, "base64url").toString()) as [string, string];
      return { org, customer };
    },
  };
}
