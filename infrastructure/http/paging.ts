import type { Request, Response } from "express";
import { DateTime } from "luxon";
import type { Collection, Filter, Sort } from "mongodb";
import { z } from "zod";
import { type OwnerKey, ownerKey } from "#domain/core/identifiers.js";
import { searchText } from "#domain/core/search-text.js";
import type { DocumentDefinition, Stored } from "#projectors/runner/projection.js";
import { live } from "../read-models.js";
import { type CursorPlace, cursorLength, decodeCursor, encodeCursor } from "./cursors.js";
import { matchesNone, weakTag } from "./etags.js";
import { principalOf } from "./principal.js";
import { Problem } from "./problem-details.js";
import { beginRead, queryString, type ReadDependencies, sendRead } from "./reads.js";
import { ianaZone, instant, text } from "./validation.js";

/** Rows that a page may end at; beyond it the cursor goes on. */
const deepest = 10_000;

export type ListOptions<Filters extends z.ZodRawShape> = {
  /** Names that may be sorted by, each with its path in the document; wrapper fields are always there. */
  readonly sortable: Readonly<Record<string, string>>;
  /** One of the sortable names; default `modifydate`. */
  readonly defaultSort?: string;
  /** A feed is read from the top with the cursor: 20 rows instead of 50, 100 at most, no total by itself. */
  readonly feed?: boolean;
  /** States that `status` may name, and where they stand (default `data.status`). */
  readonly statuses?: readonly string[];
  readonly statusPath?: string;
  /** Path of the time that `from` and `to` are about, an RFC 3339 string in UTC. */
  readonly datePath?: string;
  /** Path of the text that `q` is looked for in, made by `searchText`. */
  readonly searchPath?: string;
  /** Further parameters of this list. */
  readonly filters?: Filters;
};

/** A list request understood: what to find, in which order, from where. */
export type ListQuery<Filters = Record<string, unknown>> = {
  readonly page: number;
  readonly pageSize: number;
  /** Path in the document. */
  readonly sortPath: string;
  readonly direction: 1 | -1;
  readonly count: boolean;
  readonly cursor: string | undefined;
  /** Conditions from `status`, `from`, `to` and `q`. */
  readonly filter: Readonly<Record<string, unknown>>;
  /** The list's own parameters as their schemas gave them. */
  readonly filters: Filters;
  /** The same for every page of one list: what a cursor belongs to. */
  readonly key: string;
};

const wrapperPaths = { createdate: "createdAt", modifydate: "modifiedAt", version: "version" };

const count = (max: number) =>
  z
    .string()
    .regex(/^[1-9]\d{0,8}$/, { message: `must be a whole number from 1 to ${max}` })
    .refine((value) => !/^\d{1,9}$/.test(value) || Number(value) <= max, { message: `must be at most ${max}` })
    .meta({ description: `1 to ${max}` });
const anyCount = z.string().regex(/^[1-9]\d{0,8}$/, { message: "must be a whole number from 1" });
const direction = z.enum(["asc", "desc"]);
const day = /^\d{4}-\d{2}-\d{2}$/;
const moment = z.string().max(40).meta({ description: "RFC 3339 time, or a date in `timezone`" });

/**
 * The query schema of a list route. It yields a {@link ListQuery}; `parseQuery` names what is faulty.
 *
 * @throws (while parsing) Problem 400 `SORT_NOT_ALLOWED` with the names allowed, `PAGE_TOO_DEEP`
 */
export function listQuery<Filters extends z.ZodRawShape = Record<never, never>>(
  options: ListOptions<Filters>,
): z.ZodType<ListQuery<z.output<z.ZodObject<Filters>>>> {
  const most = options.feed ? 100 : 200;
  const sortPaths = sortPathsOf(options);
  const { statuses } = options;
  const shape = {
    p: anyCount.optional(),
    page: anyCount.optional(),
    ps: count(most).optional(),
    pageSize: count(most).optional(),
    s: z.string().max(100).optional(),
    sort: z.string().max(100).optional(),
    st: direction.optional(),
    sortType: direction.optional(),
    count: z.enum(["true", "false"]).optional(),
    cursor: z.string().min(1).max(cursorLength).optional(),
    ...(statuses ? { status: statusList(statuses).optional() } : {}),
    ...(options.datePath ? { from: moment.optional(), to: moment.optional(), timezone: ianaZone().optional() } : {}),
    ...(options.searchPath ? { q: text(2, 100).optional() } : {}),
  };
  type Raw = z.output<z.ZodObject<typeof shape>> & {
    status?: string;
    from?: string;
    to?: string;
    timezone?: string;
  } & {
    q?: string;
  };
  const own = z.object(options.filters ?? ({} as Filters));
  const schema = z.object({ ...shape, ...options.filters }).transform((value, context) => {
    const raw = value as unknown as Raw;
    const sort = raw.s ?? raw.sort ?? options.defaultSort ?? "modifydate";
    const sortPath = sortPaths.get(sort);
    if (sortPath === undefined) throw sortNotAllowed(options);
    const page = Number(raw.p ?? raw.page ?? 1);
    const pageSize = Number(raw.ps ?? raw.pageSize ?? (options.feed ? 20 : 50));
    if (raw.cursor !== undefined && (raw.p ?? raw.page) !== undefined) {
      context.addIssue({ code: "custom", path: ["p"], message: "cannot be given with a cursor" });
    }
    if (page * pageSize > deepest) throw new Problem(400, "PAGE_TOO_DEEP", { params: { deepest } });
    const filter: Record<string, unknown> = {};
    if (raw.status !== undefined) filter[options.statusPath ?? "data.status"] = { $in: raw.status.split(",") };
    if (options.datePath && (raw.from !== undefined || raw.to !== undefined)) {
      filter[options.datePath] = dateRange(raw, context);
    }
    if (options.searchPath && raw.q !== undefined) filter[options.searchPath] = containing(raw.q);
    const st = raw.st ?? raw.sortType ?? "desc";
    const filters: Record<string, unknown> = {};
    for (const name of Object.keys(own.shape)) {
      const given = (value as Record<string, unknown>)[name];
      if (given !== undefined) filters[name] = given;
    }
    return {
      page,
      pageSize,
      sortPath,
      direction: st === "asc" ? (1 as const) : (-1 as const),
      count: raw.count === undefined ? !options.feed : raw.count === "true",
      cursor: raw.cursor,
      filter,
      filters,
      key: JSON.stringify([sortPath, st, raw.status, raw.from, raw.to, raw.timezone, raw.q, filters]),
    };
  });
  return schema as unknown as z.ZodType<ListQuery<z.output<z.ZodObject<Filters>>>>;
}

/** Public names, the bare payload names among them, each with its path. */
function sortPathsOf(options: ListOptions<z.ZodRawShape>): Map<string, string> {
  const paths = new Map<string, string>();
  for (const [name, path] of Object.entries(options.sortable)) {
    paths.set(name, path);
    if (name.startsWith("data.")) paths.set(name.slice("data.".length), path);
  }
  for (const [name, path] of Object.entries(wrapperPaths)) paths.set(name, path);
  return paths;
}

function sortNotAllowed(options: ListOptions<z.ZodRawShape>): Problem {
  const allowed = [...Object.keys(options.sortable), ...Object.keys(wrapperPaths)];
  const message = `must be one of ${allowed.join(", ")}`;
  const errors = [{ field: "s", code: "NOT_ALLOWED", message, params: { allowed } }];
  return new Problem(400, "SORT_NOT_ALLOWED", { errors, params: { allowed } });
}

function statusList(statuses: readonly string[]): z.ZodString {
  return z
    .string()
    .max(500)
    .refine((value) => value.split(",").every((status) => statuses.includes(status)), {
      message: `must be a comma list of ${statuses.join(", ")}`,
      params: { code: "NOT_ALLOWED" },
    })
    .meta({ description: `comma list of ${statuses.join(", ")}` });
}

/** Half-open range of RFC 3339 strings in UTC; a date as `to` includes that whole day in the zone. */
function dateRange(
  raw: { from?: string | undefined; to?: string | undefined; timezone?: string | undefined },
  context: z.RefinementCtx,
): Record<string, string> {
  const zone = raw.timezone ?? "UTC";
  const bound = (name: "from" | "to"): string | undefined => {
    const value = raw[name];
    if (value === undefined) return undefined;
    if (day.test(value)) {
      const start = DateTime.fromISO(value, { zone });
      // luxon moves a midnight that a time change skips to the day's first instant
      const edge = name === "to" ? start.plus({ days: 1 }) : start;
      if (edge.isValid) return edge.toUTC().toISO({ includeOffset: true }) ?? undefined;
    } else {
      const parsed = instant().safeParse(value);
      if (parsed.success) return parsed.data;
    }
    context.addIssue({
      code: "custom",
      path: [name],
      message: "must be an RFC 3339 time with an offset, or a date",
      params: { code: "PATTERN" },
    });
    return undefined;
  };
  const from = bound("from");
  const to = bound("to");
  if (from !== undefined && to !== undefined && from > to) {
    context.addIssue({ code: "custom", path: ["to"], message: "must not be before `from`" });
  }
  return { ...(from === undefined ? {} : { $gte: from }), ...(to === undefined ? {} : { $lt: to }) };
}

/** Every word of `q` must occur; without a word (accents alone) there is nothing to be found. */
function containing(q: string): Record<string, unknown> {
  const words = searchText(q).split(/\s+/).filter(Boolean).slice(0, 10);
  if (words.length === 0) return { $in: [] };
  const ahead = words.map((word) => `(?=[\\s\\S]*${word.replace(/[\\^$.*+?()[\]{}|/-]/g, "\\$&")})`);
  return { $regex: `^${ahead.join("")}` };
}

/** A list as every client sees it. */
export type ListBody = {
  readonly data: readonly unknown[];
  readonly total?: number;
  readonly totalPages?: number;
  readonly hasNext: boolean;
  /** Absent when the list was continued with a cursor. */
  readonly page?: number;
  readonly pageSize: number;
  /** Where to go on; absent at the end. */
  readonly nextCursor?: string;
};

export type PageOptions<Document> = {
  /** Conditions besides the owner's, the query's and being there at all. */
  readonly filter?: Filter<Stored<Document>>;
  /** May be a promise. */
  readonly toRecord: (document: Stored<Document>) => unknown;
  /** Fields to leave out (`{timeline: 0}`); whatever can be sorted by must stay. */
  readonly projection?: Readonly<Record<string, 0>>;
};

/**
 * Finds one page of an owner's documents. Sorts that have an index `{owner, field, _id}` read only that page; any
 * other field sorts the owner's rows in the server's memory.
 *
 * @throws Problem 400 `INVALID_QUERY` for a cursor that is not of this list, query and owner
 */
export async function findPage<Document>(
  collection: Collection<Stored<Document>>,
  owner: OwnerKey,
  query: ListQuery<unknown>,
  options: PageOptions<Document>,
): Promise<ListBody> {
  const cursorScope = `${owner}\n${collection.collectionName.replace(/\.g\d+$/, "")}\n${query.key}`;
  const filter = pageFilter(owner, query, options.filter);
  const place =
    query.cursor === undefined
      ? undefined
      : await completed(decodeCursor(query.cursor, cursorScope), collection, owner, query);
  const from = place ? { $and: [filter, after(place, owner, query)] } : filter;
  const sort: Sort = { [query.sortPath]: query.direction, _id: query.direction };
  const found = collection
    .find(from as Filter<Stored<Document>>, {
      sort,
      skip: place ? 0 : (query.page - 1) * query.pageSize,
      limit: query.pageSize + 1,
      maxTimeMS: 5_000,
      ...(options.projection ? { projection: options.projection } : {}),
    })
    .toArray() as unknown as Promise<Stored<Document>[]>;
  const [rows, total] = await Promise.all([
    found,
    query.count ? collection.countDocuments(filter as Filter<Stored<Document>>, { maxTimeMS: 5_000 }) : undefined,
  ]);
  const hasNext = rows.length > query.pageSize;
  if (hasNext) rows.pop();
  const last = rows.at(-1);
  return {
    data: rows.map(options.toRecord),
    ...(total === undefined ? {} : { total, totalPages: Math.ceil(total / query.pageSize) }),
    hasNext,
    ...(place ? {} : { page: query.page }),
    pageSize: query.pageSize,
    ...(hasNext && last ? { nextCursor: encodeCursor(placeOf(last, owner, query), cursorScope) } : {}),
  };
}

/** What a list looks among: the owner's live documents under the query's and the route's conditions. */
export function pageFilter(
  owner: OwnerKey,
  query: Pick<ListQuery<unknown>, "filter">,
  also?: object,
): Record<string, unknown> {
  const base = { owner, ...live, ...query.filter };
  return also && Object.keys(also).length > 0 ? { $and: [base, also] } : base;
}

function placeOf(document: Stored<unknown>, owner: OwnerKey, query: ListQuery<unknown>): CursorPlace {
  let value: unknown = document;
  for (const part of query.sortPath.split(".")) value = (value as Record<string, unknown> | null | undefined)?.[part];
  const id = document._id.slice(owner.length + 1);
  if (typeof value === "string" || typeof value === "number" || typeof value === "boolean") return { value, id };
  return { value: null, id };
}

/**
 * A long value stands in the cursor by its beginning only: the row itself has all of it. When the row is gone, the page
 * goes on where values with that beginning start, and may show some of them twice rather than leave one out.
 */
async function completed<Document>(
  place: CursorPlace,
  collection: Collection<Stored<Document>>,
  owner: OwnerKey,
  query: ListQuery<unknown>,
): Promise<CursorPlace> {
  if (!place.cut) return place;
  const row = await collection.findOne({ _id: `${owner}.${place.id}`, ...live } as Filter<Stored<Document>>);
  const now = row ? placeOf(row as Stored<unknown>, owner, query) : place;
  if (now.value !== null && String(now.value).startsWith(String(place.value)) && row) return now;
  return query.direction === 1 ? place : { ...place, value: `${place.value}\u{10ffff}` };
}

/** Rows after a place in the sort order. MongoDB puts missing values before all others, and compares only like with like. */
function after(place: CursorPlace, owner: OwnerKey, query: ListQuery<unknown>): object {
  const { sortPath, direction } = query;
  const beyond = direction === 1 ? "$gt" : "$lt";
  const tie = { [sortPath]: place.value, _id: { [beyond]: `${owner}.${place.id}` } };
  if (place.value === null) return direction === 1 ? { $or: [tie, { [sortPath]: { $ne: null } }] } : tie;
  const further = { [sortPath]: { [beyond]: place.value } };
  return { $or: direction === 1 ? [tie, further] : [tie, further, { [sortPath]: null }] };
}

/**
 * Answers with a page of the caller's documents: waits when asked, weak `ETag` from the owner's last position there,
 * 304 without reading the page.
 *
 * @param list.also further members of the body, such as a summary over the whole filter
 */
export async function answerList<Document>(
  req: Request,
  res: Response,
  deps: ReadDependencies,
  list: PageOptions<Document> & {
    readonly definition: DocumentDefinition<Document>;
    readonly query: ListQuery<unknown>;
    /** What of the body changes with the clock alone, for the tag. */
    readonly tag?: string;
    readonly also?: (collection: Collection<Stored<Document>>, filter: Record<string, unknown>) => Promise<object>;
  },
): Promise<void> {
  await beginRead(req, res, deps.readModels, [list.definition]);
  const owner = ownerKey(principalOf(res).owner);
  const collection = deps.readModels.collection(list.definition);
  // Read before the page: a tag may be older than its body, never newer.
  const position = await lastPosition(collection, owner);
  const asked = `${queryString(req)}\n${list.tag ?? ""}`;
  const tag = weakTag(owner, collection.collectionName, position, asked, deps.clock());
  if (matchesNone(req, tag)) {
    sendRead(req, res, tag, () => ({}));
    return;
  }
  const page = await findPage(collection, owner, list.query, list);
  const data = await Promise.all(page.data);
  const more = list.also ? await list.also(collection, pageFilter(owner, list.query, list.filter)) : {};
  sendRead(req, res, tag, () => ({ ...page, data, ...more }));
}

/** The owner's last position in a read model, tombstones included; "" when it has nothing there. */
export async function lastPosition<Document>(
  collection: Collection<Stored<Document>>,
  owner: OwnerKey,
): Promise<string> {
  const filter = { owner } as unknown as Filter<Stored<Document>>;
  const newest = await collection.findOne(filter, { sort: { _pos: -1 }, projection: { _id: 0, _pos: 1 } });
  return (newest as { _pos?: string } | null)?._pos ?? "";
}
