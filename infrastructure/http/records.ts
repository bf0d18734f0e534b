import type { Response } from "express";
import type { Datatype } from "#domain/core/identifiers.js";
import { recordKey } from "#domain/core/identifiers.js";

/** One record as every client sees it. */
export type RecordBody<Data = unknown> = {
  readonly pk: string;
  readonly sk: string;
  readonly datatype: string;
  readonly version: number;
  readonly state: string;
  readonly createdate: string;
  readonly modifydate: string;
  readonly data: Data;
};

export type RecordInput<Data> = {
  readonly datatype: Datatype;
  /** Bare id. */
  readonly id: string;
  readonly org: string;
  /** Revision of the last event that touched this record. */
  readonly version: number;
  /** Mirrors `data.status` of things with a lifecycle; default `active`. */
  readonly state?: string;
  /** RFC 3339 UTC with milliseconds. */
  readonly createdAt: string;
  readonly modifiedAt: string;
  readonly data: Data;
};

/** Wraps a payload as a record: `pk`, `sk`, version, state, dates, `data`. */
export function record<Data>(input: RecordInput<Data>): RecordBody<Data> {
  return {
    pk: recordKey(input.datatype, input.id),
    sk: `${input.org}/${input.datatype}/${input.id}`,
    datatype: input.datatype,
    version: input.version,
    state: input.state ?? "active",
    createdate: input.createdAt,
    modifydate: input.modifiedAt,
    data: input.data,
  };
}

export type CommandAnswer = {
  /** `<epoch>.<position>` of the last event the command wrote; absent when it wrote none. */
  readonly position?: string | undefined;
  /** Path of a record just created. */
  readonly location?: string | undefined;
  /** The first answer of a repeated command, rebuilt. */
  readonly replayed?: boolean | undefined;
};

/** Answers a command with the record it left behind: strong `ETag` of its version, log position, replay mark. */
export function sendRecord(res: Response, status: number, body: RecordBody, answer: CommandAnswer = {}): void {
  res.setHeader("ETag", `"${body.version}"`);
  sendCommandAnswer(res, status, body, answer);
}

/** Answers a command with a body that is no record (`{data: …}`), or with none (204). */
export function sendCommandAnswer(res: Response, status: number, body: unknown, answer: CommandAnswer = {}): void {
  if (answer.position !== undefined) res.setHeader("X-Log-Position", answer.position);
  if (answer.location !== undefined) res.setHeader("Location", answer.location);
  if (answer.replayed) res.setHeader("Idempotency-Replayed", "true");
  if (body === undefined) res.status(status).end();
  else sendJson(res, status, JSON.stringify(body));
}

/** Sends JSON as it is, text or its bytes; Express would stringify again and look for an ETag. */
export function sendJson(res: Response, status: number, json: string | Buffer): void {
  res.statusCode = status;
  res.setHeader("Content-Type", "application/json; charset=utf-8");
  res.setHeader("Content-Length", Buffer.byteLength(json));
  // A short string leaves in one write together with the head; a buffer would take two.
  res.end(res.req.method === "HEAD" ? undefined : json);
}
