import { z } from "zod";

/** A key that wraps the customers' data keys: 32 bytes, named so that it can be rotated. */
export type MasterKey = { readonly id: string; readonly key: Buffer };

/** The configuration is wrong: the process must not start. Lists every fault, never a value (it may be a secret). */
export class ConfigurationError extends Error {
  constructor(readonly faults: readonly string[]) {
    super(`wrong configuration:\n${faults.map((fault) => `  - ${fault}`).join("\n")}`);
    this.name = "ConfigurationError";
  }
}

const url = (protocols: readonly string[]) =>
  z.string().refine(
    (value) => {
      try {
        return protocols.includes(new URL(value).protocol.slice(0, -1));
      } catch {
        return false;
      }
    },
    { message: `must be a URL starting with ${protocols.map((protocol) => `${protocol}://`).join(" or ")}` },
  );

/** MongoDB's list of hosts is no WHATWG URL, and the store's scheme is its own: only the form is checked here. */
const connectionString = (schemes: string) =>
  z.string().regex(new RegExp(`^(${schemes})://\\S+$`), {
    message: `must be a connection string starting with ${schemes.replaceAll("\\", "").replaceAll("|", ":// or ")}://`,
  });

const port = z
  .string()
  .regex(/^\d{1,5}$/, { message: "must be a port number" })
  .transform(Number)
  .refine((value) => value <= 65_535, { message: "must be a port number up to 65535" });

const databaseName = z.string().regex(/^[A-Za-z0-9_-]{1,38}$/, { message: "must be 1 to 38 of A-Z a-z 0-9 _ -" });

const masterKeys = z.string().transform((value, context): readonly MasterKey[] => {
  const keys: MasterKey[] = [];
  for (const entry of value.split(",").map((part) => part.trim())) {
    const [, id, encoded] = /^([A-Za-z0-9._-]{1,32}):([A-Za-z0-9+/_-]+={0,2})$/.exec(entry) ?? [];
    const key = Buffer.from(encoded ?? "", "base64");
    if (!id || key.length !== 32) {
      context.addIssue({ code: "custom", message: "must be <keyId>:<base64 of 32 bytes>, the current key first" });
      return z.NEVER;
    }
    keys.push({ id, key });
  }
  return keys;
});

const serverKey = z.string().transform((value, context): Buffer => {
  const key = Buffer.from(value, "base64");
  if (/^[A-Za-z0-9+/_-]{42,}={0,2}$/.test(value) && key.length === 32) return key;
  context.addIssue({ code: "custom", message: "must be base64 of 32 bytes" });
  return z.NEVER;
});

/** Every variable any process knows. A missing or empty one takes its default; without a default it is required. */
const variables = {
  NODE_ENV: z.enum(["development", "test", "production"]).default("development"),
  LOG_LEVEL: z.enum(["trace", "debug", "info", "warn", "error", "fatal", "silent"]).default("info"),
  /** Address to listen on; a container sets 0.0.0.0. */
  HOST: z.string().min(1).default("127.0.0.1"),
  /** Port to listen on; 0 lets the system pick one. */
  PORT: port.default(8080),
  EVENTSTORE_URL: connectionString("esdb|esdb\\+discover|kurrentdb|kurrentdb\\+discover|kdb"),
  MONGODB_URL: connectionString("mongodb|mongodb\\+srv"),
  MONGODB_DATABASE: databaseName.default("client-data"),
  /** The key database may live on a server of its own; default: the read models' server. */
  KEYS_MONGODB_URL: connectionString("mongodb|mongodb\\+srv").optional(),
  KEYS_DATABASE: databaseName.default("client-data-keys"),
  REDIS_URL: url(["redis", "rediss"]),
  S3_ENDPOINT: url(["http", "https"]),
  S3_ACCESS_KEY: z.string().min(1),
  S3_SECRET_KEY: z.string().min(1),
  S3_BUCKET: z.string().regex(/^[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]$/, { message: "must be a bucket name" }),
  S3_REGION: z.string().min(1).default("us-east-1"),
  ORG_SETTINGS_FILE: z.string().min(1),
  /** Current key first, older ones after it for reading: `<keyId>:<base64 of 32 bytes>,…`. */
  MASTER_KEYS: masterKeys,
  /** Address that devices reach the object store at, where it differs: it stands in signed links. */
  S3_PUBLIC_ENDPOINT: url(["http", "https"]).optional(),
  /** What codes, claims and links are signed with: base64 of 32 bytes. Never changed once customers live on it. */
  SERVER_KEY: serverKey,
  /** Address of the gateway as customers see it; it stands in messages and links. */
  PUBLIC_URL: url(["http", "https"]).default("http://127.0.0.1:8080"),
  /** Endpoints of providers, where they are not the provider's own. */
  STRIPE_API_BASE: url(["http", "https"]).optional(),
  PAYPAL_BASE_URL: url(["http", "https"]).default("https://api-m.paypal.com"),
  GOOGLE_MAPS_BASE_URL: url(["http", "https"]).default("https://maps.googleapis.com"),
  GOOGLE_PLACES_BASE_URL: url(["http", "https"]).default("https://places.googleapis.com"),
  TWILIO_BASE_URL: url(["http", "https"]).default("https://api.twilio.com"),
  /** `smtp://` (STARTTLS is demanded in production) or `smtps://`, with user and password where the server wants them. */
  SMTP_URL: connectionString("smtp|smtps"),
  /** clamd over TCP: `tcp://host:3310`. */
  CLAMAV_URL: connectionString("tcp"),
  /** Outside product catalogue; without it the ingested products are the catalogue. */
  PRODUCT_CATALOGUE_URL: url(["http", "https"]).optional(),
  COMMAND_API_URL: url(["http", "https"]),
  QUERY_API_URL: url(["http", "https"]),
  /** Port of the gateway's health and metrics, which its public port does not show; absent means none. */
  HEALTH_PORT: port.optional(),
  /**
   * Names of variables whose endpoint may be plain http or loopback in production (a private network, a sidecar).
   * `ORG_SETTINGS_FILE` in it stands for the issuers and key sets in that file.
   */
  ALLOW_INSECURE_ENDPOINTS: z
    .string()
    .default("")
    .transform((value) => value.split(",").flatMap((name) => name.trim() || [])),
} as const;

export type VariableName = keyof typeof variables;
export type Environment = { readonly [Name in VariableName]: z.output<(typeof variables)[Name]> };

/** What every process reads besides its own part. */
const common = ["NODE_ENV", "LOG_LEVEL", "HOST", "PORT", "ALLOW_INSECURE_ENDPOINTS"] as const;

/** Endpoints of outside parties, where a stand-in's address or an unencrypted one must not reach production. */
const outsideEndpoints = [
  "S3_ENDPOINT",
  "S3_PUBLIC_ENDPOINT",
  "PUBLIC_URL",
  "STRIPE_API_BASE",
  "PAYPAL_BASE_URL",
  "GOOGLE_MAPS_BASE_URL",
  "GOOGLE_PLACES_BASE_URL",
  "TWILIO_BASE_URL",
  "SMTP_URL",
  "PRODUCT_CATALOGUE_URL",
] as const satisfies readonly VariableName[];

/**
 * Reads a process's part of the environment.
 *
 * @param names the variables it needs, besides the ones every process has
 * @param source the raw environment
 * @throws ConfigurationError listing all faults at once
 */
export function readEnvironment<const Name extends VariableName>(
  names: readonly Name[],
  source: Readonly<Record<string, string | undefined>> = process.env,
): Pick<Environment, Name | (typeof common)[number]> {
  const faults: string[] = [];
  const values: Partial<Record<VariableName, unknown>> = {};
  for (const name of new Set<VariableName>([...common, ...names])) {
    const raw = source[name];
    const parsed = variables[name].safeParse(raw === "" ? undefined : raw);
    if (parsed.success) values[name] = parsed.data;
    else if (raw === undefined || raw === "") faults.push(`${name} is required`);
    else faults.push(...parsed.error.issues.map((issue) => `${name} ${describeIssue(issue)}`));
  }
  if (values.NODE_ENV === "production") {
    const allowed = (values.ALLOW_INSECURE_ENDPOINTS ?? []) as readonly string[];
    for (const name of outsideEndpoints) {
      const endpoint = values[name];
      if (typeof endpoint !== "string" || allowed.includes(name)) continue;
      const fault = insecureEndpoint(endpoint);
      if (fault) faults.push(`${name} ${fault}`);
    }
  }
  if (faults.length > 0) throw new ConfigurationError(faults);
  return values as Pick<Environment, Name | (typeof common)[number]>;
}

/** Encrypted from the first byte, or, with `smtp`, by the STARTTLS that the mailer then demands. */
const encrypted = ["https:", "smtps:", "smtp:"];

/**
 * Says why an endpoint may not be used in production: not encrypted, or the machine itself.
 *
 * @returns undefined when it may
 */
export function insecureEndpoint(endpoint: string): string | undefined {
  const { protocol, hostname } = new URL(endpoint);
  if (/^(localhost|.*\.localhost|127(\.\d+){3}|0\.0\.0\.0|\[::1?\]|\[::ffff:7f.*\])$/i.test(hostname)) {
    return "must not point at this machine in production";
  }
  return encrypted.includes(protocol) ? undefined : "must use https in production";
}

function describeIssue(issue: z.core.$ZodIssue): string {
  return issue.code === "invalid_value" ? `must be one of ${issue.values.join(", ")}` : issue.message;
}
