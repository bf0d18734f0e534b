import { createHash } from "node:crypto";
import { type DestinationStream, destination, type Logger, pino } from "pino";

export type { Logger } from "pino";

/** Field names whose values never reach a log, wherever a caller puts them; one level deep and at the top. */
const secretFields = [
  "authorization",
  "cookie",
  "password",
  "secret",
  "token",
  "accessToken",
  "apiKey",
  "email",
  "phone",
  "body",
  "headers",
  "code",
] as const;

export type LogOptions = {
  /** Which process speaks: `command-api`, `query-api`, … */
  readonly service: string;
  readonly level?: string;
  readonly version?: string;
  /** Where lines go; default standard output, buffered a little. */
  readonly destination?: DestinationStream;
};

/**
 * A logger of JSON lines. Fields are those of the operations guide: `requestId traceId orgId customer area command
 * commandId position outcome code durationMs projection eventType eventId jobId provider attempt err`; never bodies,
 * tokens, contact data or stream names.
 */
export function createLogger(options: LogOptions): Logger {
  return pino(
    {
      level: options.level ?? "info",
      base: { service: options.service, version: options.version ?? packageVersion },
      timestamp: () => `,"time":"${new Date().toISOString()}"`,
      formatters: { level: (label) => ({ level: label }) },
      // `code` at the top is our own outcome code; inside other objects it may be a one-time code.
      redact: {
        paths: secretFields.flatMap((name) => (name === "code" ? ["body.code"] : [name, `*.${name}`])),
        censor: "[redacted]",
      },
      serializers: { err: describeError },
    },
    options.destination ?? destination({ dest: 1, sync: false, minLength: 0 }),
  );
}

/** Version of the running build. */
export const packageVersion = process.env.npm_package_version ?? "0.1.0";

/** An error as it may be logged: type, message, stack and causes, with credentials and tokens cut out. */
export function describeError(error: unknown, depth = 0): Record<string, unknown> {
  if (!(error instanceof Error)) return { type: typeof error, message: scrub(String(error)) };
  const { code } = error as { code?: unknown };
  return {
    type: error.name,
    message: scrub(error.message),
    ...(typeof code === "string" || typeof code === "number" ? { code } : {}),
    stack: scrub(error.stack ?? ""),
    ...(error.cause !== undefined && depth < 3 ? { cause: describeError(error.cause, depth + 1) } : {}),
  };
}

/** Cuts credentials out of connection strings, and tokens and e-mail addresses out of text that others wrote. */
export function scrub(text: string): string {
  return text
    .slice(0, 8_000)
    .replace(/:\/\/[^\s/@]*@/g, "://[redacted]@")
    .replace(/\beyJ[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+\.[A-Za-z0-9_-]*/g, "[redacted]")
    .replace(/\bBearer\s+\S+/gi, "Bearer [redacted]")
    .replace(/[^\s<>"'=:,;()]+@[^\s<>"'=:,;()]+\.[A-Za-z]{2,}/g, "[redacted]");
}

/** A customer in a log: the same person has the same name in every line, and the line does not say who. */
export function customerPseudonym(ownerKey: string): string {
  return createHash("sha256").update(ownerKey).digest("base64url").slice(0, 12);
}
