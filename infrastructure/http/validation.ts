import type { Request } from "express";
import { z } from "zod";
import { type FieldError, Problem } from "./problem-details.js";

/** Errors named in one answer at most; a hostile body may have thousands. */
const maxErrors = 50;

/**
 * The request's JSON body in the shape of a schema.
 *
 * @throws Problem 400 `UNKNOWN_FIELD` naming each unknown field, else `VALIDATION_FAILED` naming each faulty one
 */
export function parseBody<Output>(schema: z.ZodType<Output>, req: Request): Output {
  return parseInput(schema, req.body);
}

/** The same for a body that came another way: a line of a batch, a part of a form. */
export function parseInput<Output>(schema: z.ZodType<Output>, input: unknown): Output {
  const parsed = schema.safeParse(input);
  if (parsed.success) return parsed.data;
  const errors = fieldErrors(parsed.error, input);
  const code = errors[0]?.code === "UNKNOWN_FIELD" ? "UNKNOWN_FIELD" : "VALIDATION_FAILED";
  throw new Problem(400, code, { errors });
}

/**
 * The query string in the shape of a schema. A parameter given twice arrives as an array, which no schema takes.
 *
 * @throws Problem 400 `INVALID_QUERY` naming each faulty parameter
 */
export function parseQuery<Output>(schema: z.ZodType<Output>, req: Request): Output {
  const query = req.query;
  const parsed = schema.safeParse(query);
  if (parsed.success) return parsed.data;
  throw new Problem(400, "INVALID_QUERY", { errors: fieldErrors(parsed.error, query) });
}

/**
 * The path parameters in the shape of a schema.
 *
 * @throws Problem 400 `VALIDATION_FAILED` naming each faulty one
 */
export function parseParams<Output>(schema: z.ZodType<Output>, req: Request): Output {
  const parsed = schema.safeParse(req.params);
  if (parsed.success) return parsed.data;
  throw new Problem(400, "VALIDATION_FAILED", { errors: fieldErrors(parsed.error, req.params) });
}

/** What zod found, in our field names and codes; unknown fields first. */
export function fieldErrors(error: z.ZodError, input: unknown): FieldError[] {
  const errors: FieldError[] = [];
  for (const issue of error.issues.slice(0, maxErrors)) {
    if (issue.code === "unrecognized_keys") {
      for (const key of issue.keys.slice(0, maxErrors)) {
        errors.unshift({
          field: fieldName([...issue.path, key]),
          code: "UNKNOWN_FIELD",
          message: "is not a known field",
        });
      }
    } else errors.push(fieldError(issue, input));
  }
  return errors.slice(0, maxErrors);
}

function fieldError(issue: z.core.$ZodIssue, input: unknown): FieldError {
  const field = fieldName(issue.path);
  switch (issue.code) {
    case "invalid_type":
      return valueAt(input, issue.path) === undefined
        ? { field, code: "REQUIRED", message: "is required" }
        : { field, code: "TYPE", message: `must be ${kinds[issue.expected] ?? `a ${issue.expected}`}` };
    case "too_small":
    case "too_big": {
      const small = issue.code === "too_small";
      const limit = Number(small ? issue.minimum : issue.maximum);
      const sized = issue.origin === "string" || issue.origin === "array";
      const unit = issue.origin === "string" ? " characters" : issue.origin === "array" ? " entries" : "";
      return {
        field,
        code: sized ? (small ? "TOO_SHORT" : "TOO_LONG") : small ? "TOO_SMALL" : "TOO_LARGE",
        message: `must ${sized ? "have" : "be"} at ${small ? "least" : "most"} ${limit}${unit}`,
        params: small ? { min: limit } : { max: limit },
      };
    }
    case "invalid_value":
      return {
        field,
        code: "NOT_ALLOWED",
        message: `must be one of ${issue.values.map(String).join(", ")}`,
        params: { allowed: issue.values.map(String) },
      };
    case "invalid_format":
      return { field, code: "PATTERN", message: issue.message };
    case "invalid_union":
      return valueAt(input, issue.path) === undefined
        ? { field, code: "REQUIRED", message: "is required" }
        : { field, code: "TYPE", message: "is of none of the kinds allowed here" };
    case "custom": {
      const code = typeof issue.params?.code === "string" ? issue.params.code : "INVALID";
      return { field, code, message: issue.message };
    }
    default:
      return { field, code: "INVALID", message: "is not valid" };
  }
}

/** `items[0].quantity`; the whole body is the empty name. Keys come from the client, so they are cut. */
function fieldName(path: readonly PropertyKey[]): string {
  let name = "";
  for (const part of path) {
    if (typeof part === "number") name += `[${part}]`;
    else name += `${name === "" ? "" : "."}${String(part).slice(0, 100)}`;
  }
  return name.slice(0, 300);
}

function valueAt(input: unknown, path: readonly PropertyKey[]): unknown {
  let value = input;
  for (const part of path) {
    if (value === null || typeof value !== "object" || !Object.hasOwn(value, part)) return undefined;
    value = (value as Record<PropertyKey, unknown>)[part];
  }
  return value;
}

/** Zod's names of kinds that a person would put otherwise. */
const kinds: Readonly<Record<string, string>> = {
  array: "an array",
  int: "a whole number",
  object: "an object",
  record: "an object",
};

/**
 * Text as people write it: NFC, line ends as newline, trimmed, no control characters but newline and tab. Limits
 * count Unicode code points.
 */
export function text(min: number, max: number): z.ZodString {
  return z
    .string()
    .overwrite((value) => value.normalize("NFC").replaceAll("\r\n", "\n").trim())
    .check((context) => {
      const length = codePoints(context.value);
      const issue = { input: context.value, origin: "string" as const, inclusive: true };
      if (length < min) context.issues.push({ ...issue, code: "too_small", minimum: min });
      if (length > max) context.issues.push({ ...issue, code: "too_big", maximum: max });
      if (/[^\P{Cc}\n\t]|\p{Cs}/u.test(context.value)) {
        context.issues.push({
          code: "custom",
          input: context.value,
          message: "must not contain control characters",
          params: { code: "CONTROL_CHARACTER" },
        });
      }
    })
    .meta({ minLength: min, maxLength: max });
}

function codePoints(value: string): number {
  let count = value.length;
  for (let index = 0; index < value.length - 1; index++) {
    if ((value.codePointAt(index) ?? 0) > 0xffff) count--;
  }
  return count;
}

/** An instant: RFC 3339 with any offset in, UTC with `Z` and milliseconds out; a time without a zone is refused. */
export function instant(): z.ZodType<string, string> {
  return z.iso
    .datetime({ offset: true, message: "must be an RFC 3339 time with an offset" })
    .overwrite((value) => toUtc(value) ?? value)
    .refine((value) => toUtc(value) !== undefined, { message: "must lie in the years 0000 to 9999" });
}

function toUtc(value: string): string | undefined {
  const date = new Date(value);
  const utc = Number.isNaN(date.getTime()) ? "" : date.toISOString();
  return utc.length === 24 ? utc : undefined;
}

/** An E.164 telephone number: `+` and 2 to 15 digits, the first not 0. */
export function e164(): z.ZodString {
  return z.string().regex(/^\+[1-9]\d{1,14}$/, { message: "must be an E.164 number such as +4915112345678" });
}

/** An e-mail address as mail servers take it, at most 254 characters. */
export function emailAddress(): z.ZodEmail {
  return z.email({ message: "must be an e-mail address" }).max(254);
}

/** A BCP 47 language tag of at most 35 characters, in canonical case (`en-GB`). */
export function bcp47(): z.ZodString {
  return z
    .string()
    .max(35)
    .overwrite((value) => canonicalLanguage(value) ?? value)
    .refine((value) => canonicalLanguage(value) !== undefined, {
      message: "must be a BCP 47 language tag such as en-GB",
      params: { code: "PATTERN" },
    });
}

function canonicalLanguage(value: string): string | undefined {
  try {
    return Intl.getCanonicalLocales(value)[0];
  } catch {
    return undefined;
  }
}

const knownZones = new Map<string, boolean>();

/** An IANA time zone name that the server's tzdata knows; offsets are refused. */
export function ianaZone(): z.ZodString {
  return z
    .string()
    .max(64)
    .refine(isZone, { message: "must be an IANA time zone such as Europe/Berlin", params: { code: "PATTERN" } });
}

function isZone(value: string): boolean {
  if (!/^[A-Za-z][A-Za-z0-9_+-]*(\/[A-Za-z0-9_+-]+){0,2}$/.test(value)) return false;
  let known = knownZones.get(value);
  if (known === undefined) {
    try {
      new Intl.DateTimeFormat("en", { timeZone: value });
      known = true;
    } catch {
      known = false;
    }
    // Names are refused or known for ever; the table must not grow with what clients invent.
    if (known) knownZones.set(value, known);
  }
  return known;
}

/** An opaque id or `pk` in a path or a body: 1 to `max` of `[A-Za-z0-9._:~-]`. */
export function id(max = 64): z.ZodString {
  return z.string().regex(new RegExp(`^[A-Za-z0-9._:~-]{1,${max}}$`), {
    message: `must be 1 to ${max} of A-Z a-z 0-9 . _ : ~ -`,
  });
}

/** A customer's id as the platform's identity provider has it (`auth0|17`): 1 to 64 characters, no control characters. */
export function customerId(): z.ZodString {
  return z
    .string()
    .min(1)
    .max(64)
    .regex(/^[^\p{Cc}\p{Cs}]*$/u, { message: "must not contain control characters" });
}

/** A record's version as the client last saw it. */
export function version(): z.ZodType<number> {
  return z.int().min(0);
}

/**
 * A free-form JSON object (metadata): bounded in bytes and depth, its strings and keys well-formed.
 *
 * @param maxBytes of its JSON text in UTF-8
 * @param maxDepth objects and arrays inside one another
 */
export function jsonObject(maxBytes: number, maxDepth = 4): z.ZodType<Record<string, unknown>> {
  return z.record(z.string(), z.unknown()).superRefine((value, context) => {
    if (!isPlainJson(value, maxDepth)) {
      const message = `must be at most ${maxDepth} levels deep, without control characters`;
      context.addIssue({ code: "custom", message, params: { code: "INVALID" } });
    } else if (Buffer.byteLength(JSON.stringify(value)) > maxBytes) {
      context.addIssue({ code: "custom", message: `must be at most ${maxBytes} bytes`, params: { code: "TOO_LONG" } });
    }
  });
}

function isPlainJson(value: unknown, depth: number): boolean {
  if (typeof value === "string") return !/[^\P{Cc}\n\t]|\p{Cs}/u.test(value);
  if (value === null || typeof value !== "object") return true;
  if (depth === 0) return false;
  return Object.entries(value).every(([key, child]) => isPlainJson(key, 0) && isPlainJson(child, depth - 1));
}
