import type { Request, Response } from "express";
import type { Logger } from "pino";
import type { Registry } from "prom-client";
import { orgKey } from "#domain/core/identifiers.js";
import { storedEvents } from "#domain/stored-events.js";
import { type Product, productSchema } from "#domain/wishlist/product.events.js";
import { type CommandHandler, createCommandHandler } from "#infrastructure/command-handler.js";
import { type CalendarLinks, createCalendarLinks } from "#infrastructure/calendar-links.js";
import type { Environment } from "#infrastructure/environment.js";
import type { EventStore, LogPosition } from "#infrastructure/event-store.js";
import { createEventSerializer } from "#infrastructure/event-serializer.js";
import type { ReadinessCheck } from "#infrastructure/http/health.js";
import type { CommandAnswer } from "#infrastructure/http/records.js";
import { commandMetrics, providerMetrics } from "#infrastructure/metrics.js";
import { createObjectStorage, type ObjectStorage, objectStorageEnvironment } from "#infrastructure/object-storage.js";
import { type OrgSettings, openOrgSettings } from "#infrastructure/org-settings.js";
import { requestSilenceMs } from "#infrastructure/mongo.js";
import type { PaymentProviders } from "#infrastructure/providers/payment-provider.js";
import { openPaymentProviders, paymentEnvironment } from "#infrastructure/providers/payment-providers.js";
import {
  ingestedCatalogue,
  outsideCatalogue,
  type ProductCatalogue,
} from "#infrastructure/providers/product-catalogue.js";
import { failFastConnection } from "#infrastructure/queue.js";
import { createRateLimits, type RateLimits } from "#infrastructure/rate-limits.js";
import { openReadModels, type ReadModels } from "#infrastructure/read-models.js";
import { createServerKey, type ServerKey } from "#infrastructure/server-key.js";
import { openStores, storeEnvironment } from "#infrastructure/stores.js";
import { dashboardDocument } from "#projectors/dashboard/dashboard.document.js";
import { orderDocument } from "#projectors/orders/orders.document.js";
import { paymentMethodDocument } from "#projectors/payment-methods/payment-methods.document.js";
import { reservationDocument } from "#projectors/reservations/reservations.document.js";
import { slotBlockDocument } from "#projectors/reservations/slot-block.document.js";
import { productDocument } from "#projectors/wishlist/product.document.js";
import { AccountChanges } from "./account-changes.js";
import type { Idempotency } from "./idempotency.js";

/** What the areas' command routes may use. */
export type CommandDependencies = {
  readonly commands: CommandHandler;
  /** To locate streams and to check advisory limits, never for an invariant. */
  readonly readModels: ReadModels;
  readonly clock: () => Date;
  readonly idempotency: Idempotency;
  readonly catalogue: ProductCatalogue<Product>;
  readonly orgSettings: OrgSettings;
  readonly payments: PaymentProviders;
  readonly log: Logger;
  readonly calendarLinks: CalendarLinks;
  /** To know how far a read model must be before it may be believed. */
  readonly eventStore: Pick<EventStore, "head">;
  readonly objectStorage: ObjectStorage;
  readonly rateLimits: RateLimits;
  readonly serverKey: ServerKey;
  /** Headers of a command's answer: where in the log it wrote, and whether it is a replay. */
  readonly answerOf: (handled: {
    readonly position?: LogPosition | undefined;
    readonly replayed: boolean;
  }) => CommandAnswer;
};

/** The part of the environment that the command API needs. */
export const commandEnvironment = [
  ...storeEnvironment,
  ...objectStorageEnvironment,
  "REDIS_URL",
  "ORG_SETTINGS_FILE",
  "PRODUCT_CATALOGUE_URL",
  "SERVER_KEY",
  "PUBLIC_URL",
  ...paymentEnvironment,
] as const;

/** Read models that commands locate things in, or take advice from. */
const documents = [
  productDocument,
  dashboardDocument,
  orderDocument,
  paymentMethodDocument,
  reservationDocument,
  slotBlockDocument,
];

type Surroundings = {
  readonly log: Logger;
  readonly registry: Registry;
  readonly onStop: (name: string, stop: () => void | Promise<void>) => void;
};

/**
 * Opens everything the command API talks to. Nothing here waits for a server: the process starts while they are
 * away, says so on /readyz, and serves as soon as they are back.
 *
 * @throws ConfigurationError for faulty org settings
 */
export async function openCommandDependencies(
  environment: Pick<Environment, (typeof commandEnvironment)[number] | "NODE_ENV" | "ALLOW_INSECURE_ENDPOINTS">,
  { log, registry, onStop }: Surroundings,
) {
  const orgSettings = openOrgSettings(environment.ORG_SETTINGS_FILE, {
    production: isStrict(environment),
    uses: ["stripe", "paypal"],
    log,
  });
  onStop("org settings", orgSettings.close);

  const metrics = commandMetrics(registry);
  const onCall = providerMetrics(registry);
  const { eventStore, database, keys } = openStores(environment, {
    name: "command-api",
    log,
    onStop,
    silenceMs: requestSilenceMs,
    onAppend: (outcome, seconds) => metrics.appendDuration.observe({ outcome }, seconds),
  });
  const readModels = await openReadModels(database, documents, log, { positions: "asked" });
  onStop("read models", () => readModels.close());

  const redis = failFastConnection(environment.REDIS_URL, (err) => log.warn({ err }, "redis"));
  onStop("redis", () => redis.disconnect());

  const catalogue = openCatalogue(environment.PRODUCT_CATALOGUE_URL, readModels, log);
  onStop("product catalogue", () => catalogue.close());

  const { payments, close } = openPaymentProviders(environment, orgSettings, onCall);
  onStop("payment providers", close);

  const objectStorage = createObjectStorage(environment, onCall);
  const serializer = createEventSerializer(storedEvents, keys);
  const commands = createCommandHandler({
    eventStore,
    serializer,
    keys,
    onConflict: (category) => metrics.appendConflicts.inc({ category }),
  });
  const accountChanges = new AccountChanges(eventStore, log);
  const stopping = new AbortController();
  void accountChanges.follow(stopping.signal);
  onStop("account changes", () => stopping.abort());

  const readiness: ReadinessCheck[] = [
    { name: "event store", probe: async () => void (await eventStore.head()) },
    { name: "keys", probe: () => keys.check() },
    // All but files goes on without it.
    { name: "object store", required: false, probe: () => objectStorage.ping() },
    // Limits are counted in memory meanwhile.
    { name: "redis", required: false, probe: async () => void (await redis.ping()) },
  ];
  return {
    clock: () => new Date(),
    commands,
    accountChanges,
    eventStore,
    serializer,
    keys,
    readModels,
    catalogue,
    payments,
    orgSettings,
    calendarLinks: createCalendarLinks(createServerKey(environment.SERVER_KEY), environment.PUBLIC_URL),
    objectStorage,
    serverKey: createServerKey(environment.SERVER_KEY),
    rateLimits: createRateLimits(redis, orgSettings),
    readiness,
    onAnswer: (_req: Request, res: Response) => {
      const area = res.locals.area as string | undefined;
      if (area !== undefined) metrics.commands.inc({ area, outcome: outcomeOf(res) });
    },
  };
}

function outcomeOf(res: Response): string {
  if (res.statusCode >= 500) return "failed";
  if (res.statusCode >= 400) return "rejected";
  return res.hasHeader("Idempotency-Replayed") ? "replayed" : "accepted";
}

/** Whether issuers and key sets must be https and elsewhere. */
function isStrict(environment: Pick<Environment, "NODE_ENV" | "ALLOW_INSECURE_ENDPOINTS">): boolean {
  return environment.NODE_ENV === "production" && !environment.ALLOW_INSECURE_ENDPOINTS.includes("ORG_SETTINGS_FILE");
}

function openCatalogue(url: string | undefined, readModels: ReadModels, log: Logger): ProductCatalogue<Product> {
  if (url !== undefined) {
    const onProblem = (err: unknown) => log.warn({ err, provider: "product-catalogue" }, "no answer");
    return outsideCatalogue({ url, schema: productSchema, onProblem });
  }
  return ingestedCatalogue(async (org, productIds) => {
    const ids = productIds.map((id) => `${orgKey(org)}.${id}`);
    const found = await readModels
      .collection(productDocument)
      .find({ _id: { $in: ids } })
      .toArray();
    const products = found.filter(({ _deletedAt }) => !_deletedAt);
    return new Map(products.map((document) => [document.productId, productSchema.parse(document)]));
  });
}
