import type { Request, Response } from "express";
import { randomUUID } from "node:crypto";

/** Gives the request its id: the client's `X-Request-Id` when it is 8 to 64 safe characters, else a fresh UUID. */
export function assignRequestId(req: Request, res: Response): string {
  const given = req.headers["x-request-id"];
  const requestId = typeof given === "string" && /^[A-Za-z0-9._-]{8,64}$/.test(given) ? given : randomUUID();
  res.locals.requestId = requestId;
  res.setHeader("X-Request-Id", requestId);
  return requestId;
}

/** The id of the request being answered; it stands in logs, problems and event metadata. */
export function requestIdOf(res: Response): string {
  return (res.locals.requestId as string | undefined) ?? "";
}
