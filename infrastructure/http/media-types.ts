import type { Request } from "express";

/**
 * The media type that the client likes best of those offered (RFC 9110 §12.5.1). A `charset` beside a type is passed
 * over: all text here is UTF-8, and some clients name it.
 *
 * @param offered the first one is taken where the client does not mind
 * @returns undefined when it accepts none of them
 */
export function preferredType(req: Request, offered: readonly string[]): string | undefined {
  const { accept } = req.headers;
  if (accept === undefined || accept === "*/*") return offered[0];
  const found = req.accepts([...offered, ...offered.map((type) => `${type};charset=utf-8`)]);
  return found === false ? undefined : found.split(";", 1)[0];
}
