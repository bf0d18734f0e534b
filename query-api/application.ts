import type { Express } from "express";
import { type ApplicationParts, createApplication } from "#infrastructure/http/application.js";
import type { RouteDefinition } from "#infrastructure/http/routes.js";
import type { DocumentDefinition } from "#projectors/runner/projection.js";
import { activityDocument } from "#projectors/activity/activity.document.js";
import { addressDocument } from "#projectors/addresses/addresses.document.js";
import { dashboardDocument } from "#projectors/dashboard/dashboard.document.js";
import { fileDocument } from "#projectors/files/files.document.js";
import { orderDocument } from "#projectors/orders/orders.document.js";
import { privacyDocument } from "#projectors/privacy/privacy.document.js";
import { paymentMethodDocument } from "#projectors/payment-methods/payment-methods.document.js";
import { profileDocument } from "#projectors/profile/profile.document.js";
import { customerZoneDocument } from "#projectors/reservations/customer-zone.document.js";
import { definitionDocument } from "#projectors/reservations/definition.document.js";
import { holdDocument } from "#projectors/reservations/hold.document.js";
import { reservationDocument } from "#projectors/reservations/reservations.document.js";
import { resourceDocument } from "#projectors/reservations/resource.document.js";
import { slotbookDocument } from "#projectors/reservations/slotbook.document.js";
import { waitlistDocument } from "#projectors/reservations/waitlist.document.js";
import { transactionDocument } from "#projectors/transactions/transactions.document.js";
import { verificationDocument } from "#projectors/verification/verification.document.js";
import { productDocument } from "#projectors/wishlist/product.document.js";
import { wishlistDocument } from "#projectors/wishlist/wishlist.document.js";
import { activityQueries } from "./activity/activity.queries.js";
import { addressQueries } from "./addresses/addresses.queries.js";
import { dashboardQueries } from "./dashboard/dashboard.queries.js";
import type { QueryDependencies } from "./dependencies.js";
import { fileQueries } from "./files/files.queries.js";
import { orderQueries } from "./orders/orders.queries.js";
import { privacyQueries } from "./privacy/privacy.queries.js";
import { paymentMethodQueries } from "./payment-methods/payment-methods.queries.js";
import { profileQueries } from "./profile/profile.queries.js";
import { calendarQueries } from "./reservations/calendar.queries.js";
import { reservationQueries } from "./reservations/reservations.queries.js";
import { slotQueries } from "./reservations/slots.queries.js";
import { transactionQueries } from "./transactions/transactions.queries.js";
import { verificationQueries } from "./verification/verification.queries.js";
import { wishlistQueries } from "./wishlist/wishlist.queries.js";

type Room = {
  readonly queries: (deps: QueryDependencies) => RouteDefinition[];
  readonly documents: readonly DocumentDefinition<unknown>[];
};

/** The rooms of the read side, each with the read models it opens: a new area is one line here. */
const rooms: readonly Room[] = [
  { queries: activityQueries, documents: [activityDocument] },
  { queries: addressQueries, documents: [addressDocument] },
  { queries: dashboardQueries, documents: [dashboardDocument] },
  { queries: fileQueries, documents: [fileDocument] },
  { queries: orderQueries, documents: [orderDocument] },
  { queries: privacyQueries, documents: [privacyDocument] },
  { queries: paymentMethodQueries, documents: [paymentMethodDocument] },
  { queries: profileQueries, documents: [profileDocument] },
  { queries: reservationQueries, documents: [reservationDocument, holdDocument, waitlistDocument] },
  { queries: slotQueries, documents: [definitionDocument, resourceDocument, slotbookDocument, customerZoneDocument] },
  { queries: calendarQueries, documents: [] },
  { queries: transactionQueries, documents: [transactionDocument] },
  { queries: verificationQueries, documents: [verificationDocument] },
  { queries: wishlistQueries, documents: [wishlistDocument, productDocument] },
];

/** Every read model that the query API reads. */
export const queryDocuments = rooms.flatMap(({ documents }) => documents);

/** Every route of the query API. */
export function queryRoutes(deps: QueryDependencies): RouteDefinition[] {
  return rooms.flatMap(({ queries }) => queries(deps));
}

export type QueryApiParts = Omit<ApplicationParts, "routes" | "beforeCommand" | "document"> & QueryDependencies;

/** Wires the query API: the areas' routes in the HTTP frame. Opens nothing, listens on nothing. */
export function createQueryApi(parts: QueryApiParts): { app: Express; routes: readonly RouteDefinition[] } {
  const routes = queryRoutes(parts);
  const app = createApplication({
    ...parts,
    routes,
    document: {
      title: "client-data query API",
      version: "1.0.0",
      description: "Everything a customer can see.",
    },
  });
  return { app, routes };
}
