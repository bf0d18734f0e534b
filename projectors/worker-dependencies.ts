import type { Db } from "mongodb";
import type { Logger } from "pino";
import type { Registry } from "prom-client";
import { storedEvents } from "#domain/stored-events.js";
import { type CommandHandler, createCommandHandler } from "#infrastructure/command-handler.js";
import type { Environment } from "#infrastructure/environment.js";
import { createEventSerializer, type EventSerializer } from "#infrastructure/event-serializer.js";
import type { EventStore } from "#infrastructure/event-store.js";
import { type OrgSettings, openOrgSettings, type OrgProviders } from "#infrastructure/org-settings.js";
import { providerMetrics } from "#infrastructure/metrics.js";
import { createObjectStorage, type ObjectStorage, objectStorageEnvironment } from "#infrastructure/object-storage.js";
import type { PersonalDataKeys } from "#infrastructure/personal-data-keys.js";
import type { PaymentProviders } from "#infrastructure/providers/payment-provider.js";
import { openPaymentProviders, paymentEnvironment } from "#infrastructure/providers/payment-providers.js";
import { createScanner, type Scanner } from "#infrastructure/providers/clamav.js";
import { createSmsSender, type SmsSender } from "#infrastructure/providers/sms.js";
import { createMailSender, type MailSender } from "#infrastructure/providers/smtp.js";
import { openReadModels, type ReadModels } from "#infrastructure/read-models.js";
import { createServerKey, type ServerKey } from "#infrastructure/server-key.js";
import { openStores, storeEnvironment } from "#infrastructure/stores.js";
import { dashboardDocument } from "./dashboard/dashboard.document.js";
import { dueWorkDocument } from "./due-work.document.js";
import { waitlistDocument } from "./reservations/waitlist.document.js";
import { exportSections } from "./privacy/privacy.export.js";
import { productDocument } from "./wishlist/product.document.js";

/** What reactors and performers of duties may use. */
export type WorkerDependencies = {
  readonly eventStore: EventStore;
  readonly database: Db;
  readonly keys: PersonalDataKeys;
  readonly serializer: EventSerializer;
  readonly commands: CommandHandler;
  readonly readModels: ReadModels;
  readonly orgSettings: OrgSettings;
  readonly serverKey: ServerKey;
  readonly mail: MailSender;
  readonly sms: SmsSender;
  readonly payments: PaymentProviders;
  readonly objectStorage: ObjectStorage;
  readonly scanner: Scanner;
  readonly clock: () => Date;
  readonly log: Logger;
};

/** The part of the environment that the worker needs. */
export const workerEnvironment = [
  ...storeEnvironment,
  ...objectStorageEnvironment,
  "CLAMAV_URL",
  "REDIS_URL",
  "ORG_SETTINGS_FILE",
  "SERVER_KEY",
  "SMTP_URL",
  "TWILIO_BASE_URL",
  ...paymentEnvironment,
] as const;

/** Read models that the worker looks things up in. */
const documents = [
  dueWorkDocument,
  dashboardDocument,
  waitlistDocument,
  productDocument,
  ...exportSections.map(({ definition }) => definition),
];

/** Providers that the worker calls. */
const uses: readonly (keyof OrgProviders)[] = ["mail", "sms", "stripe", "paypal"];

type Surroundings = {
  readonly log: Logger;
  readonly registry: Registry;
  readonly onStop: (name: string, stop: () => void | Promise<void>) => void;
  readonly clock?: () => Date;
};

/**
 * Opens everything that reactors work with. Nothing here waits for a server.
 *
 * @throws ConfigurationError for faulty org settings
 */
export async function openWorkerDependencies(
  environment: Pick<Environment, (typeof workerEnvironment)[number] | "NODE_ENV" | "ALLOW_INSECURE_ENDPOINTS">,
  { log, registry, onStop, clock = () => new Date() }: Surroundings,
): Promise<WorkerDependencies> {
  const strict = (name: string) =>
    environment.NODE_ENV === "production" && !environment.ALLOW_INSECURE_ENDPOINTS.includes(name);
  const production = strict("ORG_SETTINGS_FILE");
  const orgSettings = openOrgSettings(environment.ORG_SETTINGS_FILE, { production, uses, log });
  onStop("org settings", orgSettings.close);
  const { eventStore, database, keys } = openStores(environment, { name: "worker", log, onStop });
  const readModels = await openReadModels(database, documents, log, { positions: "asked" });
  onStop("read models", () => readModels.close());
  const serializer = createEventSerializer(storedEvents, keys);
  const onCall = providerMetrics(registry);
  const mail = createMailSender({ url: environment.SMTP_URL, orgSettings, demandTls: strict("SMTP_URL"), onCall });
  onStop("mail", () => mail.close());
  const { payments, close } = openPaymentProviders(environment, orgSettings, onCall);
  onStop("payment providers", close);
  return {
    eventStore,
    database,
    keys,
    serializer,
    commands: createCommandHandler({ eventStore, serializer, keys }),
    readModels,
    orgSettings,
    serverKey: createServerKey(environment.SERVER_KEY),
    mail,
    sms: createSmsSender({ baseUrl: environment.TWILIO_BASE_URL, orgSettings, onCall }),
    payments,
    objectStorage: createObjectStorage(environment, onCall),
    scanner: createScanner(environment.CLAMAV_URL, { onCall }),
    clock,
    log,
  };
}
