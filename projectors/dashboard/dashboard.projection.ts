import type { RecordedEvent } from "#domain/core/recorded-event.js";
import { expiresAt } from "#domain/payment-methods/payment-methods.policy.js";
import type { ProfileFields } from "#domain/profile/profile.events.js";
import { fieldsOf } from "#domain/profile/profile.policy.js";
import { moveWallets } from "#domain/transactions/wallet.policy.js";
import { type ActivityEvent, activityEntry, onEveryActivity } from "#projectors/activity/activity.entries.js";
import type { Place } from "#domain/reservations/reservations.events.js";
import type { Projection } from "#projectors/runner/projection.js";
import {
  type CardDates,
  type DashboardDocument,
  dashboardDocument,
  dashboardDocumentId,
  emptyDashboard,
  type Reach,
  type RecentActivity,
} from "./dashboard.document.js";

/** Longest list of recent activity. */
const recentLimit = 10;

/** Most reservations one customer may have open. */
const upcomingLimit = 200;

type Counts = Omit<DashboardDocument, "asOf" | "recentActivity">;

/**
 * The document with what an event changed, and the event among the newest where it is news. A document that was
 * erased is not begun again by a late change of something kept: only first facts begin one.
 */
function after(
  document: DashboardDocument | null,
  event: RecordedEvent<ActivityEvent>,
  changes: Partial<Counts>,
): DashboardDocument {
  const before = document ?? emptyDashboard;
  return {
    ...before,
    ...changes,
    recentActivity: withNews(before.recentActivity, event),
    asOf: event.at,
  };
}

function withNews(recent: readonly RecentActivity[], event: RecordedEvent<ActivityEvent>): readonly RecentActivity[] {
  const { what, title, ref, happenedAt, news } = activityEntry(event);
  if (!news) return recent;
  const at = happenedAt ?? event.at;
  const place = recent.findIndex((other) => other.at <= at);
  const index = place === -1 ? recent.length : place;
  if (index >= recentLimit) return recent;
  const actor = { type: event.metadata.actor.type, name: null };
  return recent.toSpliced(index, 0, { id: event.id, at, kind: what, title, actor, ref }).slice(0, recentLimit);
}

function moved(byStatus: Readonly<Record<string, number>>, from: string | null, to: string): Record<string, number> {
  const counts = { ...byStatus };
  if (from !== null) {
    const left = (counts[from] ?? 0) - 1;
    if (left > 0) counts[from] = left;
    else delete counts[from];
  }
  counts[to] = (counts[to] ?? 0) + 1;
  return counts;
}

/** A destination after changes of the profile; absent means unchanged. */
function reach(before: Reach, destination: string | null | undefined, verified: boolean | undefined): Reach {
  if (destination === null || (destination === undefined && before === "none")) return "none";
  if (verified === undefined) return before === "none" ? "unverified" : before;
  return verified ? "verified" : "unverified";
}

function contact(document: DashboardDocument | null, fields: ProfileFields): Pick<Counts, "email" | "phone"> {
  const { email, phone } = document ?? emptyDashboard;
  return {
    email: reach(email, fields.email, fields.emailVerified),
    phone: reach(phone, fields.phone, fields.phoneVerified),
  };
}

type Dated = { id: string; expMonth?: number | undefined; expYear?: number | undefined };

/** The cards with one that came, or whose dates changed; what does not expire is left out. */
function withCard(cards: readonly CardDates[], method: Dated): readonly CardDates[] {
  const end = expiresAt(method);
  const others = cards.filter(({ id }) => id !== method.id);
  return end === null ? others : [...others, { id: method.id, expiresAt: end }];
}

/** The reservations ahead with one put at its place, or taken out; those over by the time of the event go with it. */
function upcoming(
  document: DashboardDocument | null,
  { at, data }: RecordedEvent<Extract<ActivityEvent, { data: { reservationId: string } }>>,
  place: Place | null,
): Pick<Counts, "reservations"> {
  const { reservations } = document ?? emptyDashboard;
  const others = reservations.filter(({ id, end }) => id !== data.reservationId && end > at);
  if (!place || !("title" in data)) return { reservations: others };
  const own = { id: data.reservationId, title: data.title, ...place.slot };
  const later = others.findIndex(({ start }) => start > own.start);
  return { reservations: others.toSpliced(later < 0 ? others.length : later, 0, own).slice(0, upcomingLimit) };
}

export const dashboardProjection: Projection<DashboardDocument, ActivityEvent> = {
  definition: dashboardDocument,
  idOf: () => dashboardDocumentId,
  on: {
    // What moves no count is news all the same.
    ...onEveryActivity(
      (document: DashboardDocument | null, event: RecordedEvent<ActivityEvent>) =>
        document && after(document, event, {}),
    ),
    "profile.Registered.v1": (document, event) => after(document, event, contact(document, event.data)),
    "profile.Updated.v1": (document, event) => after(document, event, contact(document, event.data)),
    "profile.DestinationVerified.v1": (document, event) =>
      document && after(document, event, contact(document, fieldsOf(event) ?? {})),
    "profile.EmailChanged.v1": (document, event) => after(document, event, contact(document, fieldsOf(event) ?? {})),
    "wishlist.ProductAdded.v1": (document, event) =>
      after(document, event, { wishlistCount: (document?.wishlistCount ?? 0) + 1 }),
    "wishlist.ProductRemoved.v1": (document, event) =>
      // Adding with a note is not readable once its key is destroyed, but removing is: never below zero.
      document && after(document, event, { wishlistCount: Math.max(0, document.wishlistCount - 1) }),
    "orders.Placed.v1": (document, event) => {
      const { total, byStatus } = (document ?? emptyDashboard).orders;
      return after(document, event, {
        orders: { total: total + 1, byStatus: moved(byStatus, null, event.data.status) },
      });
    },
    "orders.StatusChanged.v1": (document, event) => {
      if (!document) return null;
      const { total, byStatus } = document.orders;
      const { previousStatus, status } = event.data;
      return after(document, event, { orders: { total, byStatus: moved(byStatus, previousStatus, status) } });
    },
    "payment-methods.Attached.v1": (document, event) =>
      after(document, event, { cards: withCard((document ?? emptyDashboard).cards, event.data) }),
    "payment-methods.Refreshed.v1": (document, event) =>
      document && after(document, event, { cards: withCard(document.cards, event.data) }),
    "payment-methods.Removed.v1": (document, event) =>
      document && after(document, event, { cards: document.cards.filter(({ id }) => id !== event.data.id) }),
    "transactions.Recorded.v1": (document, event) =>
      after(document, event, { wallets: moveWallets((document ?? emptyDashboard).wallets, null, event.data) }),
    "transactions.Changed.v1": (document, event) =>
      document && after(document, event, { wallets: moveWallets(document.wallets, event.data.previous, event.data) }),
    "reservations.Booked.v1": (document, event) => after(document, event, upcoming(document, event, event.data.place)),
    "reservations.Moved.v1": (document, event) =>
      document && after(document, event, upcoming(document, event, event.data.place)),
    "reservations.Cancelled.v1": (document, event) =>
      document && after(document, event, upcoming(document, event, null)),
    "reservations.Completed.v1": (document, event) =>
      document && after(document, event, upcoming(document, event, null)),
    "reservations.NoShowRecorded.v1": (document, event) =>
      document && after(document, event, upcoming(document, event, null)),
  },
};
