import type { Actor } from "#domain/core/recorded-event.js";
import type { Wallets } from "#domain/transactions/wallet.policy.js";
import { defineDocument } from "#projectors/runner/projection.js";

export type RecentActivity = {
  readonly id: string;
  readonly at: string;
  readonly kind: string;
  readonly title: string;
  readonly actor: { readonly type: Actor["type"]; readonly name: string | null };
  readonly ref: { readonly datatype: string; readonly pk: string };
};

export type UpcomingReservation = {
  readonly id: string;
  readonly title: string;
  readonly start: string;
  readonly end: string;
  readonly timezone: string;
  readonly offsetMinutes: number;
};

/** Whether the customer can be reached at a destination, and has proved that it is theirs. */
export type Reach = "none" | "unverified" | "verified";

/** A saved card and the first instant at which it is expired. */
export type CardDates = { readonly id: string; readonly expiresAt: string };

/** Everything a customer's first page shows, in one document; what depends on the clock is derived by the query. */
export type DashboardDocument = {
  readonly orders: { readonly total: number; readonly byStatus: Readonly<Record<string, number>> };
  readonly wallets: Wallets;
  readonly wishlistCount: number;
  /** Reservations that are to take place, by their start; bounded. Which of them lie ahead is for the query to say. */
  readonly reservations: readonly UpcomingReservation[];
  readonly email: Reach;
  readonly phone: Reach;
  /** Bounded, as the saved payment methods are. */
  readonly cards: readonly CardDates[];
  /** The newest by the time they happened, newest first; bounded. */
  readonly recentActivity: readonly RecentActivity[];
  /** Time of the last event applied. */
  readonly asOf: string;
};

export const dashboardDocument = defineDocument<DashboardDocument>({ name: "dashboard", version: 2, indexes: [] });

/** Local id of the document: an owner has one. */
export const dashboardDocumentId = "dashboard";

/** What somebody without any event sees. */
export const emptyDashboard: Omit<DashboardDocument, "asOf"> = {
  orders: { total: 0, byStatus: {} },
  wallets: {},
  wishlistCount: 0,
  reservations: [],
  email: "none",
  phone: "none",
  cards: [],
  recentActivity: [],
};
