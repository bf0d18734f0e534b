import { randomBytes } from "node:crypto";

/** One hop of a trace (W3C Trace Context, level 1). */
export type TraceContext = {
  /** 32 hex digits. */
  readonly traceId: string;
  /** 16 hex digits: the span that caused this one. */
  readonly spanId: string;
  readonly sampled: boolean;
};

const zeroTrace = "0".repeat(32);
const zeroSpan = "0".repeat(16);

/** Reads a `traceparent` header; undefined for one that is missing or not of that form. */
export function parseTraceparent(header: unknown): TraceContext | undefined {
  if (typeof header !== "string" || header.length > 200) return undefined;
  const match = /^([0-9a-f]{2})-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})(-.*)?$/.exec(header.trim());
  const [, version, traceId, spanId, flags, more] = match ?? [];
  if (!version || !traceId || !spanId || !flags || version === "ff") return undefined;
  // Version 00 has exactly four fields; later ones may have more.
  if (version === "00" && more !== undefined) return undefined;
  if (traceId === zeroTrace || spanId === zeroSpan) return undefined;
  return { traceId, spanId, sampled: (Number.parseInt(flags, 16) & 1) === 1 };
}

/** Our own span under a parent, or the first of a new trace. */
export function childContext(parent: TraceContext | undefined): TraceContext {
  return {
    traceId: parent?.traceId ?? randomBytes(16).toString("hex"),
    spanId: randomBytes(8).toString("hex"),
    sampled: parent?.sampled ?? false,
  };
}

/** Writes a `traceparent`, for event metadata, jobs and calls to others. */
export function formatTraceparent(context: TraceContext): string {
  return `00-${context.traceId}-${context.spanId}-${context.sampled ? "01" : "00"}`;
}
