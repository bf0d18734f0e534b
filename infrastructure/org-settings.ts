import { readFileSync, statSync } from "node:fs";
import type { Logger } from "pino";
import { z } from "zod";
import { ConfigurationError, insecureEndpoint } from "./environment.js";

/** Names the claims of an org's tokens; an identity provider rarely lets one choose. */
const claimNames = z
  .strictObject({
    org: z.string().min(1).default("org"),
    typ: z.string().min(1).default("typ"),
    subject: z.string().min(1).default("sub"),
    customer: z.string().min(1).default("customer_id"),
    scope: z.string().min(1).default("scope"),
    authTime: z.string().min(1).default("auth_time"),
    email: z.string().min(1).default("email"),
    name: z.string().min(1).default("name"),
  })
  .prefault({});

const rateLimit = z.strictObject({
  points: z.int().min(1).max(1_000_000_000),
  windowSeconds: z.int().min(1).max(86_400),
});

const httpUrl = z.url({ protocol: /^https?$/, message: "must be an http or https URL" });

/** Symmetric algorithms are left out: a public key must never be taken for a shared secret. */
const algorithms = [
  "ES256",
  "ES384",
  "ES512",
  "RS256",
  "RS384",
  "RS512",
  "PS256",
  "PS384",
  "PS512",
  "EdDSA",
  "Ed25519",
] as const;

/** A secret stands in the environment; the file only names the variable, so that it may be kept with other files. */
const secretName = z
  .string()
  .regex(/^[A-Z][A-Z0-9_]{0,99}$/, { message: "must be the name of an environment variable" });

/** Outside parties that act for the org, under its own credentials; absent means the org has none. */
const providers = z
  .strictObject({
    stripe: z.strictObject({ secretKey: secretName, webhookSecret: secretName }).optional(),
    paypal: z
      .strictObject({ clientId: secretName, clientSecret: secretName, webhookId: z.string().min(1).max(100) })
      .optional(),
    googlePlaces: z
      .strictObject({
        apiKey: secretName,
        /** Google's Places API (New), or the legacy one where the org's project still has it. */
        api: z.enum(["new", "legacy"]).default("new"),
      })
      .optional(),
    mail: z.strictObject({ from: z.string().min(3).max(320) }).optional(),
    sms: z
      .strictObject({
        accountSid: z.string().min(1).max(64),
        authToken: secretName,
        from: z.string().min(1).max(64),
        /** ISO 3166-1 alpha-2 codes of the countries messages may go to. */
        countries: z.array(z.string().regex(/^[A-Z]{2}$/)).min(1),
        /** Messages a day, of all customers together. */
        dailyBudget: z.int().min(1).max(10_000_000).default(1_000),
      })
      .optional(),
  })
  .prefault({});

const orgSetting = z.strictObject({
  issuer: httpUrl,
  /** Where the issuer's keys are. */
  jwksUri: httpUrl,
  audience: z.union([z.string().min(1), z.array(z.string().min(1)).min(1)]),
  algorithms: z.array(z.enum(algorithms)).min(1).default(["ES256", "RS256", "EdDSA"]),
  /** How far the issuer's clock may be off. */
  clockToleranceSeconds: z.int().min(0).max(300).default(5),
  claims: claimNames,
  /** Browser origins that may call: `https://portal.example`, or `*` for any (tokens, no cookies). */
  corsOrigins: z.array(z.union([z.literal("*"), httpUrl])).default([]),
  /** Limits per customer that differ from the defaults in `rate-limits.ts`. */
  rateLimits: z.record(z.string().regex(/^[a-z][a-zA-Z-]{0,40}$/), rateLimit).default({}),
  /** Keys a customer may set in its profile's `metadata`. */
  metadataKeys: z.array(z.string().min(1).max(64)).max(100).default([]),
  providers,
  reservations: z
    .strictObject({
      /** After the window: refuse to cancel, or cancel and mark it as late. */
      lateCancel: z.enum(["refuse", "mark"]).default("refuse"),
    })
    .prefault({}),
});

const settingsFile = z.strictObject({
  orgs: z.record(z.string().regex(/^[A-Za-z0-9._-]{1,64}$/, { message: "must be a name of an org" }), orgSetting),
});

/** What one org has decided. */
export type OrgSetting = z.output<typeof orgSetting>;

/** The outside parties of one org. */
export type OrgProviders = OrgSetting["providers"];

/** The same as it stands in the file, where defaults may be left out. */
export type OrgSettingsFile = z.input<typeof settingsFile>;

export type OrgSettings = {
  /** The org's settings; undefined for an unknown org, which answers 401 to every token. */
  readonly of: (org: string) => OrgSetting | undefined;
  readonly orgs: () => readonly string[];
  /** Whether a browser page of this origin may call on behalf of the org; without an org, of any org. */
  readonly allowsOrigin: (origin: string, org?: string) => boolean;
  /** Stops watching the file. */
  readonly close: () => void;
};

export type OrgSettingsOptions = {
  /** In production issuers and key sets must be https and not on this machine. */
  readonly production?: boolean;
  readonly log?: Pick<Logger, "info" | "error">;
  /** Providers this process calls: the secrets that the file names for them must be there. */
  readonly uses?: readonly (keyof OrgProviders)[];
  /** Where secrets are looked up, default `process.env`. */
  readonly secrets?: Readonly<Record<string, string | undefined>>;
  /** How often the file is looked at, default 1 s. Polled: it may be a mounted file that is swapped by rename. */
  readonly pollMs?: number;
};

/**
 * Reads the settings of all orgs and keeps them fresh: a change takes effect within a second or so; a file that has
 * become unreadable or wrong is reported and the last good settings stay.
 *
 * @throws ConfigurationError listing every fault of the file as it is now
 */
export function openOrgSettings(path: string, options: OrgSettingsOptions = {}): OrgSettings {
  // Taken before reading: a change in between is seen as one.
  let seen = stampOf(path);
  let current = parseOrgSettings(readSettings(path), options);
  const reload = () => {
    const stamp = stampOf(path);
    if (stamp === seen) return;
    seen = stamp;
    try {
      current = parseOrgSettings(readSettings(path), options);
      options.log?.info({ orgs: Object.keys(current).length }, "org settings reloaded");
    } catch (error) {
      options.log?.error({ err: error }, "org settings not reloaded, the last good ones stay");
    }
  };
  const polling = setInterval(reload, options.pollMs ?? 1_000);
  polling.unref();
  return settingsView(
    () => current,
    () => clearInterval(polling),
  );
}

/** Tells one content of a file from another, also where it was swapped by rename; "" while there is none. */
function stampOf(path: string): string {
  const stat = statSync(path, { throwIfNoEntry: false });
  return stat === undefined ? "" : `${stat.ino} ${stat.size} ${stat.mtimeMs}`;
}

/** Settings from a value instead of a file, for tests and tools. Faults throw as in {@link openOrgSettings}. */
export function fixedOrgSettings(file: OrgSettingsFile): OrgSettings {
  const current = parseOrgSettings(JSON.stringify(file), {});
  return settingsView(
    () => current,
    () => {},
  );
}

type Settings = Readonly<Record<string, OrgSetting>>;

function settingsView(current: () => Settings, close: () => void): OrgSettings {
  const of = (org: string) => (Object.hasOwn(current(), org) ? current()[org] : undefined);
  const allows = (setting: OrgSetting, origin: string) =>
    setting.corsOrigins.includes(origin) || setting.corsOrigins.includes("*");
  return {
    of,
    orgs: () => Object.keys(current()),
    allowsOrigin: (origin, org) => {
      if (org === undefined) return Object.values(current()).some((setting) => allows(setting, origin));
      const setting = of(org);
      return setting !== undefined && allows(setting, origin);
    },
    close,
  };
}

function readSettings(path: string): string {
  try {
    return readFileSync(path, "utf8");
  } catch (error) {
    throw new ConfigurationError([`ORG_SETTINGS_FILE cannot be read (${(error as NodeJS.ErrnoException).code})`]);
  }
}

function parseOrgSettings(json: string, options: OrgSettingsOptions): Settings {
  let value: unknown;
  try {
    value = JSON.parse(json);
  } catch {
    throw new ConfigurationError(["ORG_SETTINGS_FILE is not valid JSON"]);
  }
  const parsed = settingsFile.safeParse(value);
  if (!parsed.success) {
    throw new ConfigurationError(
      parsed.error.issues.map((issue) => `ORG_SETTINGS_FILE ${issue.path.join(".") || "(root)"}: ${issue.message}`),
    );
  }
  const faults = missingSecrets(parsed.data.orgs, options);
  for (const [org, setting] of Object.entries(options.production ? parsed.data.orgs : {})) {
    for (const name of ["issuer", "jwksUri"] as const) {
      const fault = insecureEndpoint(setting[name]);
      if (fault) faults.push(`ORG_SETTINGS_FILE orgs.${org}.${name} ${fault}`);
    }
  }
  if (faults.length > 0) throw new ConfigurationError(faults);
  return parsed.data.orgs;
}

/** Names, never values: what a provider's section points at and the environment does not have. */
function missingSecrets(orgs: Settings, { uses = [], secrets = process.env }: OrgSettingsOptions): string[] {
  return Object.entries(orgs).flatMap(([org, { providers }]) =>
    uses.flatMap((provider) =>
      Object.entries(providers[provider] ?? {})
        .filter(([field, value]) => secretFields.includes(field) && !secrets[String(value)])
        .map(([field, name]) => `ORG_SETTINGS_FILE orgs.${org}.providers.${provider}.${field}: ${name} is not set`),
    ),
  );
}

const secretFields: readonly string[] = [
  "secretKey",
  "webhookSecret",
  "clientId",
  "clientSecret",
  "apiKey",
  "authToken",
];

/**
 * The value of a secret that the settings name.
 *
 * @throws ConfigurationError when the environment no longer has it
 */
export function secretValue(name: string, secrets: Readonly<Record<string, string | undefined>> = process.env): string {
  const value = secrets[name];
  if (!value) throw new ConfigurationError([`${name} is required`]);
  return value;
}
