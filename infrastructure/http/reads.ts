import type { Request, Response } from "express";
import type { Collection, Filter } from "mongodb";
import { type OwnerKey, ownerKey } from "#domain/core/identifiers.js";
import type { DocumentDefinition, Stored } from "#projectors/runner/projection.js";
import { live, type ReadModels } from "../read-models.js";
import { matchesNone, weakTag } from "./etags.js";
import { freshnessOf, wirePosition } from "./log-position.js";
import { patienceOf } from "./patience.js";
import { principalOf } from "./principal.js";
import { Problem, type ProblemCode, unavailable } from "./problem-details.js";
import { sendJson } from "./records.js";

/** What every read needs: the read models and the time. */
export type ReadDependencies = { readonly readModels: ReadModels; readonly clock: () => Date };

/**
 * Begins a read: waits, bounded, when the client names a position it has seen, then says in `X-Log-Position` how far
 * the read models are. Call it before reading from them, so that the position promises no more than the answer holds.
 *
 * @throws Problem 503 `PROJECTION_BEHIND` when the wait was not enough, unless the client is lenient
 */
export async function beginRead(
  req: Request,
  res: Response,
  readModels: ReadModels,
  definitions: readonly DocumentDefinition<unknown>[],
): Promise<void> {
  const epoch = readModels.epoch();
  const asked = freshnessOf(req, epoch);
  let stale = asked?.foreign === true;
  if (asked?.position !== undefined) {
    patienceOf(res).prolong(asked.waitMs);
    // A client that hangs up frees its place among the waiters.
    const gone = new AbortController();
    const abort = () => gone.abort();
    res.once("close", abort);
    const reached = await readModels.waitFor(definitions, asked.position, asked.waitMs, gone.signal);
    res.off("close", abort);
    if (!reached && !asked.lenient) throw unavailable("PROJECTION_BEHIND");
    stale ||= !reached;
  }
  const owner = ownerKey(principalOf(res).owner);
  let lowest: string | undefined;
  for (const definition of definitions) {
    const position = readModels.position(definition);
    if (lowest === undefined || position < lowest) lowest = position;
    stale ||= readModels.isStale(definition, owner);
  }
  if (epoch !== "" && lowest !== undefined) res.setHeader("X-Log-Position", wirePosition(epoch, lowest));
  if (stale) res.setHeader("X-Stale", "true");
}

/**
 * Ends a read: 304 when the client has this very answer, else 200 with the body, which is only then made.
 *
 * @param tag of {@link weakTag}
 */
export function sendRead(req: Request, res: Response, tag: string, body: () => unknown): void {
  res.setHeader("ETag", tag);
  if (matchesNone(req, tag)) {
    res.statusCode = 304;
    res.end();
  } else sendJson(res, 200, JSON.stringify(body()));
}

/** The query string of a request, without its question mark; part of what an entity tag stands for. */
export function queryString(req: Request): string {
  const start = req.originalUrl.indexOf("?");
  return start < 0 ? "" : req.originalUrl.slice(start + 1);
}

/**
 * Answers with one document of the caller: one lookup, weak `ETag`, 304.
 *
 * @param read.id local id of the document, or filters tried one after the other when it has other names too
 * @param read.body the answer's body; gets null when there is no document and `notFound` is not given
 * @param read.notFound code of the 404 for a document that is not there or belongs to somebody else
 */
export async function answerDocument<Document>(
  req: Request,
  res: Response,
  deps: ReadDependencies,
  read: {
    readonly definition: DocumentDefinition<Document>;
    readonly id: string | readonly Filter<Stored<Document>>[];
    readonly notFound?: ProblemCode;
    readonly body: (document: Stored<Document> | null, now: Date) => unknown;
    /** What of the body changes with the clock alone, for the tag. */
    readonly tag?: (document: Stored<Document> | null, now: Date) => string;
  },
): Promise<void> {
  await beginRead(req, res, deps.readModels, [read.definition]);
  const owner = ownerKey(principalOf(res).owner);
  const collection = deps.readModels.collection(read.definition);
  const document = await findOwn(collection, owner, read.id);
  if (!document && read.notFound) throw new Problem(404, read.notFound);
  const now = deps.clock();
  const asked = `${queryString(req)}\n${read.tag?.(document, now) ?? ""}`;
  const tag = weakTag(owner, collection.collectionName, document?._pos ?? "", asked, now);
  const body = matchesNone(req, tag) ? undefined : await read.body(document, now);
  sendRead(req, res, tag, () => body);
}

async function findOwn<Document>(
  collection: Collection<Stored<Document>>,
  owner: OwnerKey,
  id: string | readonly Filter<Stored<Document>>[],
): Promise<Stored<Document> | null> {
  const find = async (filter: object) =>
    (await collection.findOne(filter as Filter<Stored<Document>>)) as Stored<Document> | null;
  if (typeof id === "string") {
    // A filter of nothing but `_id` takes MongoDB's shortest way.
    const document = await find({ _id: `${owner}.${id}` });
    return document && document.owner === owner && !document._deletedAt ? document : null;
  }
  for (const filter of id) {
    const document = await find({ ...filter, owner, ...live });
    if (document) return document;
  }
  return null;
}
