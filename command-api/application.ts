import type { Express } from "express";
import type { EventStore } from "#infrastructure/event-store.js";
import { type ApplicationParts, createApplication } from "#infrastructure/http/application.js";
import { wirePosition } from "#infrastructure/http/log-position.js";
import type { RouteDefinition } from "#infrastructure/http/routes.js";
import { createAccountGuard } from "./account.js";
import type { AccountChanges } from "./account-changes.js";
import { addressRoutes } from "./addresses/addresses.routes.js";
import type { CommandDependencies } from "./dependencies.js";
import { createIdempotency } from "./idempotency.js";
import { directUploadRoutes } from "./files/direct-upload.routes.js";
import { fileRoutes } from "./files/files.routes.js";
import { ingestRoutes } from "./ingest.js";
import { orderIngest } from "./orders/orders.routes.js";
import { paymentMethodRoutes } from "./payment-methods/payment-methods.routes.js";
import { lockRoutes, privacyRoutes } from "./privacy/privacy.routes.js";
import { customerIngest, profileRoutes } from "./profile/profile.routes.js";
import { definitionIngest, resourceIngest } from "./reservations/catalogue.routes.js";
import { holdRoutes } from "./reservations/hold.routes.js";
import { reservationRoutes } from "./reservations/reservations.routes.js";
import { staffReservationRoutes } from "./reservations/staff.routes.js";
import { waitlistRoutes } from "./reservations/waitlist.routes.js";
import { transactionIngest } from "./transactions/transactions.routes.js";
import { emailChangeRoutes } from "./verification/email-change.routes.js";
import { verificationRoutes } from "./verification/verification.routes.js";
import { productIngest } from "./wishlist/product.routes.js";
import { webhookRoutes } from "./webhooks.js";
import { wishlistRoutes } from "./wishlist/wishlist.routes.js";

/** The rooms of the write side: a new area is one line here. */
export function commandRoutes(deps: CommandDependencies): RouteDefinition[] {
  const fedByThePlatform = [
    customerIngest(deps),
    orderIngest(deps),
    transactionIngest(deps),
    productIngest(deps),
    definitionIngest(deps),
    resourceIngest(deps),
  ];
  return [
    ...profileRoutes(deps),
    ...addressRoutes(deps),
    ...emailChangeRoutes(deps),
    ...verificationRoutes(deps),
    ...wishlistRoutes(deps),
    ...paymentMethodRoutes(deps),
    ...fileRoutes(deps),
    ...directUploadRoutes(deps),
    ...privacyRoutes(deps),
    ...lockRoutes(deps),
    ...reservationRoutes(deps),
    ...holdRoutes(deps),
    ...waitlistRoutes(deps),
    ...staffReservationRoutes(deps),
    ...ingestRoutes(fedByThePlatform, deps),
    ...webhookRoutes(deps),
  ];
}

export type CommandApiParts = Omit<ApplicationParts, "routes" | "beforeCommand" | "document"> &
  Omit<CommandDependencies, "idempotency" | "answerOf"> & {
    readonly eventStore: EventStore;
    readonly accountChanges: Pick<AccountChanges, "maxAgeMs" | "hasChanged">;
  };

/** Wires the command API: the areas' routes in the HTTP frame. Opens nothing, listens on nothing. */
export function createCommandApi(parts: CommandApiParts): { app: Express; routes: readonly RouteDefinition[] } {
  const { clock, commands, eventStore, accountChanges } = parts;
  const idempotency = createIdempotency({ clock });
  const guardAccount = createAccountGuard({ commands, idempotency, accountChanges });
  let epoch: string | undefined;
  const deps: CommandDependencies = {
    ...parts,
    idempotency,
    answerOf: ({ position, replayed }) => ({
      position: position === undefined ? undefined : wirePosition(epoch ?? "", position),
      replayed,
    }),
  };
  const routes = commandRoutes(deps);
  const app = createApplication({
    ...parts,
    routes,
    document: {
      title: "client-data command API",
      version: "1.0.0",
      description: "Everything a customer, or the platform, can ask to change.",
    },
    beforeCommand: async (req, res, route) => {
      // Known once the store has answered for the first time; no command gets past here before.
      epoch ??= await eventStore.epoch();
      await guardAccount(req, res, route);
    },
  });
  return { app, routes };
}
