import { isUtf8 } from "node:buffer";
import type { Request, Response } from "express";
import { z } from "zod";
import type { Owner } from "#domain/core/identifiers.js";
import type { DomainEvent } from "#domain/core/decider.js";
import {
  type CommandContext,
  type CommandHandler,
  type CommandRequest,
  StreamBusy,
} from "#infrastructure/command-handler.js";
import type { LogPosition } from "#infrastructure/event-store.js";
import { problemOf } from "#infrastructure/http/application.js";
import { Problem, problemDocument } from "#infrastructure/http/problem-details.js";
import { sendCommandAnswer } from "#infrastructure/http/records.js";
import { requestIdOf } from "#infrastructure/http/request-id.js";
import type { RouteDefinition } from "#infrastructure/http/routes.js";
import { preferredLanguage } from "#infrastructure/http/titles.js";
import { id as idSchema, parseInput, parseParams } from "#infrastructure/http/validation.js";
import type { CommandDependencies } from "./dependencies.js";
import { commandIdOf, digestOf } from "./idempotency.js";
import { internalRoutes } from "./internal.js";

/** What came of one thing the platform told us. */
export type Ingested = {
  /** False when it was known already, or older than what is known. */
  readonly applied: boolean;
  /** Position of the last event written; absent when none was. */
  readonly position?: LogPosition | undefined;
  /** An earlier handling under the same idempotency key is told again. */
  readonly replayed: boolean;
};

/** One kind of thing that the platform feeds us: its PUT route, and its lines in a batch. */
export type IngestTarget<Body = unknown> = {
  /** First part of its path: `orders` in `/internal/ingest/orders/<id>`. */
  readonly segment: string;
  readonly area: string;
  /** Shape of the id in the path; default 1 to 64 safe characters. */
  readonly id?: z.ZodString;
  readonly body: z.ZodType<Body>;
  /**
   * Brings one thing into its stream.
   *
   * @param contextFor the command's context for the owner of that stream, null for an org's own
   * @throws Problem, or whatever the command handler throws
   */
  readonly ingest: (id: string, body: Body, contextFor: (owner: IngestOwner) => CommandContext) => Promise<Ingested>;
};

/** Whose stream a thing goes to: the customer named in path or body, null for an org's own streams. */
export type IngestOwner = Owner["customer"] | null;

/** A target of any body, for the table. */
export type AnyIngestTarget = IngestTarget<any>;

/**
 * Handles the commands of one target. A platform mostly sends either history, where every stream is new, or changes
 * of what is known: the last command tells which, and where the stream is presumed new the read before it is spared.
 */
export function createIngestHandler(commands: CommandHandler) {
  let wasNew = true;
  return async <State, Command, Event extends DomainEvent>(
    request: CommandRequest<State, Command, Event>,
  ): Promise<Ingested> => {
    const { events, revision, position, replayed } = await commands.handle({ ...request, presumeNew: wasNew });
    wasNew = revision - events.length === -1;
    return { applied: events.length > 0, position, replayed };
  };
}

const batchLines = 1_000;
const batchBytes = 5 * 1024 * 1024;
/** A line may be as large as the body of the PUT route it stands for. */
const lineBytes = 256 * 1024;
/** Streams that a batch writes to at the same time. */
const concurrency = 64;

const answerSchema = z.object({ applied: z.boolean() });

type Dependencies = Pick<CommandDependencies, "idempotency" | "answerOf">;

/** Routes of `/internal/ingest/*`: a PUT for each kind of thing, and the batch that takes lines for all of them. */
export function ingestRoutes(targets: readonly AnyIngestTarget[], deps: Dependencies): RouteDefinition[] {
  const puts = targets.map((target): RouteDefinition => {
    const params = paramsOf(target);
    return {
      method: "put",
      path: `/internal/ingest/${target.segment}/:id`,
      summary: `What the platform knows of one of its ${target.segment}`,
      operationId: `ingest${target.segment[0]?.toUpperCase()}${target.segment.slice(1)}`,
      area: target.area,
      request: { params, body: target.body },
      responses: { 200: { description: "Applied, or known already", schema: answerSchema } },
      handler: async (req, res) => {
        const { id } = parseParams(params, req) as { id: string };
        const body = parseInput(target.body, req.body);
        const context = deps.idempotency(req, res);
        const { applied, ...written } = await target.ingest(id, body, (owner) => ingestContext(context, owner));
        sendCommandAnswer(res, 200, { applied }, deps.answerOf(written));
      },
    };
  });
  const batch: RouteDefinition = {
    method: "post",
    path: "/internal/ingest/batch",
    summary: "Lines {path, body} of the PUT routes; an answer line for each",
    operationId: "ingestBatch",
    area: "ingest",
    request: { raw: { contentType: "application/x-ndjson", limitBytes: batchBytes } },
    responses: { 200: { description: "An answer for each line, in order", contentType: "application/x-ndjson" } },
    // A busy machine may need long for a thousand lines; a store that is away ends the batch much sooner, see below.
    patienceMs: 110_000,
    handler: (req, res) => answerBatch(req, res, targets, deps),
  };
  return internalRoutes([batch, ...puts]);
}

function paramsOf(target: AnyIngestTarget): z.ZodObject {
  return z.object({ id: target.id ?? idSchema() });
}

/** The request's context on one stream. What the calling service says of itself is no customer's data: left out. */
function ingestContext(context: CommandContext, customer: IngestOwner): CommandContext {
  const { client: _, ...rest } = context;
  return { ...rest, owner: customer === null ? null : { org: context.org, customer } };
}

const lineSchema = z.strictObject({ path: z.string().max(400), body: z.unknown() });

type LineAnswer = {
  readonly path: string | null;
  readonly status: number;
  readonly applied?: boolean;
  readonly problem?: Record<string, unknown>;
};

/** Handles the lines of a batch: those of one path in their order, others side by side; each has its own answer. */
async function answerBatch(
  req: Request,
  res: Response,
  targets: readonly AnyIngestTarget[],
  deps: Dependencies,
): Promise<void> {
  const lines = splitLines(req.body);
  const byPath = new Map(targets.map((target) => [target.segment, { target, params: paramsOf(target) }]));
  const context = deps.idempotency(req, res, { hashBody: false });
  const language = preferredLanguage(req.headers["accept-language"]);
  const answers = new Array<LineAnswer>(lines.length);
  let highest: LogPosition | undefined;
  let written = 0;
  let replays = 0;
  let storeIsAway: Problem | undefined;

  const handle = async (line: Line, index: number): Promise<LineAnswer> => {
    const { path } = line;
    try {
      if (line.problem) throw line.problem;
      // Once a store gave no answer in time, the rest of the batch would only wait as long each.
      if (storeIsAway) throw storeIsAway;
      const [segment = "", rawId = "", ...more] = (path ?? "").split("/");
      const found = byPath.get(segment);
      if (!found || more.length > 0) throw new Problem(404, "ROUTE_NOT_FOUND");
      const { id } = parseInput(found.params, { id: decoded(rawId) }) as { id: string };
      const body = parseInput(found.target.body, line.body);
      const commandId = commandIdOf([context.commandId, String(index)]);
      const bodyDigest = context.idempotent ? { bodyDigest: digestOf(null, line.body) } : {};
      const own = { ...context, ...bodyDigest, commandId, causationId: context.commandId };
      const came = await found.target.ingest(id, body, (owner) => ingestContext(own, owner));
      const { applied, position } = came;
      if (applied) written++;
      if (came.replayed) replays++;
      if (position !== undefined && (highest === undefined || position > highest)) highest = position;
      return { path, status: 200, applied };
    } catch (error) {
      const problem = problemOf(error);
      if (problem.code === "STORE_UNAVAILABLE" && !(error instanceof StreamBusy)) storeIsAway = problem;
      return {
        path,
        status: problem.status,
        problem: problemDocument(problem, { language, requestId: requestIdOf(res) }),
      };
    }
  };

  const groups = groupByPath(lines);
  const work = groups.values();
  const worker = async () => {
    for (const group of work) for (const index of group) answers[index] = await handle(lines[index] as Line, index);
  };
  await Promise.all(Array.from({ length: Math.min(concurrency, groups.length) }, worker));

  // A replay only when no line wrote anything new.
  const { position, replayed } = deps.answerOf({ position: highest, replayed: written > 0 && written === replays });
  if (position !== undefined) res.setHeader("X-Log-Position", position);
  if (replayed) res.setHeader("Idempotency-Replayed", "true");
  const body = Buffer.from(answers.map((answer) => `${JSON.stringify(answer)}\n`).join(""));
  res.statusCode = 200;
  res.setHeader("Content-Type", "application/x-ndjson");
  res.setHeader("Content-Length", body.length);
  res.end(body);
}

type Line = { readonly path: string | null; readonly body?: unknown; readonly problem?: Problem };

/**
 * The lines of a batch, blank ones passed over.
 *
 * @throws Problem 413 for more than 1,000 of them
 */
function splitLines(body: unknown): Line[] {
  const bytes = Buffer.isBuffer(body) ? body : Buffer.alloc(0);
  const lines: Line[] = [];
  for (let start = 0; start < bytes.length; ) {
    const newline = bytes.indexOf(0x0a, start);
    const end = newline < 0 ? bytes.length : newline;
    const line = bytes.subarray(start, end);
    start = end + 1;
    if (line.length <= 1 && line.toString().trim() === "") continue;
    if (lines.length === batchLines) {
      throw new Problem(413, "BODY_TOO_LARGE", { detail: `a batch has at most ${batchLines} lines` });
    }
    lines.push(parseLine(line));
  }
  return lines;
}

function parseLine(bytes: Buffer): Line {
  if (bytes.length > lineBytes) return { path: null, problem: new Problem(413, "BODY_TOO_LARGE") };
  // Decoding would put replacement characters where the client sent something else.
  if (!isUtf8(bytes))
    return { path: null, problem: new Problem(400, "MALFORMED_JSON", { detail: "the line is not UTF-8" }) };
  let value: unknown;
  try {
    value = JSON.parse(bytes.toString());
  } catch {
    return { path: null, problem: new Problem(400, "MALFORMED_JSON") };
  }
  try {
    return parseInput(lineSchema, value);
  } catch (error) {
    const path = (value as { path?: unknown } | null)?.path;
    return { path: typeof path === "string" ? path.slice(0, 400) : null, problem: problemOf(error) };
  }
}

/** Indexes of the lines of each path, in their order; a path is a stream, however it is encoded. */
function groupByPath(lines: readonly Line[]): number[][] {
  const groups = new Map<string, number[]>();
  lines.forEach(({ path }, index) => {
    const key = path === null ? `\n${index}` : decoded(path);
    const group = groups.get(key);
    if (group) group.push(index);
    else groups.set(key, [index]);
  });
  return [...groups.values()];
}

function decoded(part: string): string {
  try {
    return decodeURIComponent(part);
  } catch {
    return part;
  }
}
