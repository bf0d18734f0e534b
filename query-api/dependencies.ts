import type { Request, Response } from "express";
import type { Logger } from "pino";
import type { Registry } from "prom-client";
import { type CalendarLinks, createCalendarLinks } from "#infrastructure/calendar-links.js";
import type { Environment } from "#infrastructure/environment.js";
import type { ReadinessCheck } from "#infrastructure/http/health.js";
import type { ReadDependencies } from "#infrastructure/http/reads.js";
import { providerMetrics, queryMetrics } from "#infrastructure/metrics.js";
import { createMongoClient, pingMongo, requestSilenceMs } from "#infrastructure/mongo.js";
import { createObjectStorage, type ObjectStorage, objectStorageEnvironment } from "#infrastructure/object-storage.js";
import { type OrgSettings, openOrgSettings } from "#infrastructure/org-settings.js";
import { createGooglePlaces, type GooglePlaces } from "#infrastructure/providers/google-places.js";
import { failFastConnection } from "#infrastructure/queue.js";
import { createRateLimits } from "#infrastructure/rate-limits.js";
import { openReadModels } from "#infrastructure/read-models.js";
import { createServerKey } from "#infrastructure/server-key.js";
import type { DocumentDefinition } from "#projectors/runner/projection.js";

/** What the areas' queries may use. */
export type QueryDependencies = ReadDependencies & {
  readonly orgSettings: OrgSettings;
  readonly places: GooglePlaces;
  readonly calendarLinks: CalendarLinks;
  /** Signs links; nothing is read from it. */
  readonly objectStorage: Pick<ObjectStorage, "link" | "steadyLink">;
};

/** The part of the environment that the query API needs. */
export const queryEnvironment = [
  "MONGODB_URL",
  "MONGODB_DATABASE",
  "REDIS_URL",
  "ORG_SETTINGS_FILE",
  "SERVER_KEY",
  "PUBLIC_URL",
  "GOOGLE_MAPS_BASE_URL",
  "GOOGLE_PLACES_BASE_URL",
  ...objectStorageEnvironment,
] as const;

type Surroundings = {
  readonly log: Logger;
  readonly registry: Registry;
  readonly onStop: (name: string, stop: () => void | Promise<void>) => void;
};

/**
 * Opens everything the query API talks to. Nothing here waits for a server: the process starts while they are away,
 * says so on /readyz, and serves as soon as they are back.
 *
 * @param documents the read models its routes read
 * @throws ConfigurationError for faulty org settings
 */
export async function openQueryDependencies(
  environment: Pick<Environment, (typeof queryEnvironment)[number] | "NODE_ENV" | "ALLOW_INSECURE_ENDPOINTS">,
  documents: readonly DocumentDefinition<unknown>[],
  { log, registry, onStop }: Surroundings,
) {
  const orgSettings = openOrgSettings(environment.ORG_SETTINGS_FILE, {
    production:
      environment.NODE_ENV === "production" && !environment.ALLOW_INSECURE_ENDPOINTS.includes("ORG_SETTINGS_FILE"),
    log,
    uses: ["googlePlaces"],
  });
  onStop("org settings", orgSettings.close);

  const mongo = createMongoClient(environment.MONGODB_URL, { appName: "query-api", silenceMs: requestSilenceMs });
  onStop("mongodb", () => mongo.close());
  const readModels = await openReadModels(mongo.db(environment.MONGODB_DATABASE), documents, log);
  onStop("read models", () => readModels.close());

  const redis = failFastConnection(environment.REDIS_URL, (err) => log.warn({ err }, "redis"));
  onStop("redis", () => redis.disconnect());

  const places = createGooglePlaces({
    orgSettings,
    mapsUrl: environment.GOOGLE_MAPS_BASE_URL,
    placesUrl: environment.GOOGLE_PLACES_BASE_URL,
    onCall: providerMetrics(registry),
  });
  onStop("google places", () => places.close());

  const { staleReads } = queryMetrics(registry);
  const readiness: ReadinessCheck[] = [
    { name: "mongodb", probe: () => pingMongo(mongo) },
    {
      name: "read models",
      probe: () => {
        const notBuilt = readModels.notBuilt();
        if (notBuilt.length > 0) throw new Error(`being built: ${notBuilt.join(", ")}`);
      },
    },
    // Limits are counted in memory meanwhile.
    { name: "redis", required: false, probe: async () => void (await redis.ping()) },
  ];
  return {
    clock: () => new Date(),
    readModels,
    orgSettings,
    places,
    calendarLinks: createCalendarLinks(createServerKey(environment.SERVER_KEY), environment.PUBLIC_URL),
    objectStorage: createObjectStorage(environment),
    rateLimits: createRateLimits(redis, orgSettings),
    readiness,
    onAnswer: (_req: Request, res: Response) => {
      if (res.hasHeader("X-Stale")) staleReads.inc();
    },
  };
}
