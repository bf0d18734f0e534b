import { Readable } from "node:stream";
import { pipeline } from "node:stream/promises";
import { stringify } from "csv-stringify";
import type { Request, Response } from "express";
import type { Collection, Filter } from "mongodb";
import { z } from "zod";
import { bareId, ownerKey, recordKey } from "#domain/core/identifiers.js";
import { decimalsOf, majorAmount } from "#domain/core/money.js";
import { transactionShown, transactionStatuses, transactionTypes } from "#domain/transactions/transactions.policy.js";
import { matchesNone, weakTag } from "#infrastructure/http/etags.js";
import { preferredType } from "#infrastructure/http/media-types.js";
import { answerList, findPage, lastPosition, type ListQuery, listQuery } from "#infrastructure/http/paging.js";
import { principalOf } from "#infrastructure/http/principal.js";
import { beginRead, queryString, type ReadDependencies } from "#infrastructure/http/reads.js";
import { type RecordBody, record } from "#infrastructure/http/records.js";
import { listOf } from "#infrastructure/http/response-schemas.js";
import type { RouteDefinition } from "#infrastructure/http/routes.js";
import { id, parseQuery } from "#infrastructure/http/validation.js";
import { type TransactionDocument, transactionDocument } from "#projectors/transactions/transactions.document.js";
import type { Stored } from "#projectors/runner/projection.js";

/** Rows of a statement; a longer one goes on at the `Link` header. */
const statementRows = 10_000;

const decimal = z.string().regex(/^-?\d{1,12}(\.\d{1,4})?$/, { message: "must be an amount such as 12.50" });

const query = listQuery({
  sortable: {
    "data.createdAt": "data.createdAt",
    "data.amountMinor": "data.amountMinor",
    "data.amount": "data.amount",
    "data.status": "data.status",
    "data.type": "data.type",
  },
  defaultSort: "data.createdAt",
  statuses: transactionStatuses,
  datePath: "data.createdAt",
  filters: {
    type: z.enum(transactionTypes).optional(),
    paymentMethod: id(90).optional().meta({ description: "pk of a payment method, or a type such as card" }),
    orderId: id(80).optional(),
    minAmount: decimal.transform(Number).optional(),
    maxAmount: decimal.transform(Number).optional(),
  },
});

/** Reads of the customer's ledger. */
export function transactionQueries(deps: ReadDependencies): RouteDefinition[] {
  return [
    {
      method: "get",
      path: "/client-data/transactions",
      summary: "The customer's transactions; with `Accept: text/csv` a statement of at most 10,000 rows",
      operationId: "listTransactions",
      area: "transactions",
      request: { query },
      responses: {
        200: {
          description: "A page of transactions, with the sums over the whole filter where it is counted",
          schema: listOf(transactionData, { summary: z.array(summaryRow).optional() }),
          alternative: "text/csv",
        },
      },
      problems: ["SORT_NOT_ALLOWED", "PAGE_TOO_DEEP"],
      handler: (req, res) => {
        const list = parseQuery(query, req);
        const filter = filterOf(list.filters);
        res.vary("Accept");
        switch (preferredType(req, ["application/json", "text/csv"])) {
          case "text/csv":
            return sendStatement(req, res, deps, list, filter);
          default: {
            const { org } = principalOf(res);
            return answerList(req, res, deps, {
              definition: transactionDocument,
              query: list,
              filter,
              toRecord: (document) => toRecord(document, org),
              also: async (collection, found) => (list.count ? { summary: await summaryOf(collection, found) } : {}),
            });
          }
        }
      },
    },
  ];
}

type OwnFilters = {
  readonly type?: string | undefined;
  readonly paymentMethod?: string | undefined;
  readonly orderId?: string | undefined;
  readonly minAmount?: number | undefined;
  readonly maxAmount?: number | undefined;
};

function filterOf(filters: OwnFilters): Filter<Stored<TransactionDocument>> {
  const { type, paymentMethod, orderId, minAmount, maxAmount } = filters;
  const filter: Record<string, unknown> = {};
  if (type !== undefined) filter["data.type"] = type;
  // The platform may name orders and payment methods by pk or by bare id, and so may the client.
  if (orderId !== undefined) filter["data.orderId"] = { $in: namesOf("order", orderId) };
  if (paymentMethod !== undefined) {
    filter.$or = [
      { "data.paymentMethod.type": paymentMethod },
      { "data.paymentMethod.pk": { $in: namesOf("payment_method", paymentMethod) } },
    ];
  }
  if (minAmount !== undefined || maxAmount !== undefined) {
    filter["data.amount"] = {
      ...(minAmount === undefined ? {} : { $gte: minAmount }),
      ...(maxAmount === undefined ? {} : { $lte: maxAmount }),
    };
  }
  return filter as Filter<Stored<TransactionDocument>>;
}

function namesOf(datatype: "order" | "payment_method", pkOrId: string): string[] {
  const bare = bareId(datatype, pkOrId);
  return [...new Set([pkOrId, bare, recordKey(datatype, bare)])];
}

/** What came in and went out over a whole filter, a row for each currency. */
async function summaryOf(
  collection: Collection<Stored<TransactionDocument>>,
  filter: Record<string, unknown>,
): Promise<z.infer<typeof summaryRow>[]> {
  const sumWhere = (direction: string) => ({
    $sum: { $cond: [{ $eq: ["$data.direction", direction] }, "$data.amountMinor", 0] },
  });
  const pipelineStages = [
    { $match: filter },
    { $group: { _id: "$data.currency", inMinor: sumWhere("credit"), outMinor: sumWhere("debit") } },
    { $sort: { _id: 1 } },
    { $project: { _id: 0, inMinor: 1, outMinor: 1, currency: "$_id" } },
  ];
  return collection.aggregate<z.infer<typeof summaryRow>>(pipelineStages, { maxTimeMS: 5_000 }).toArray();
}

/** An entry as its customer sees it. */
function toRecord(document: TransactionDocument, org: string): RecordBody {
  const { id, version, createdAt, modifiedAt, data } = document;
  const shown = transactionShown(data);
  return record({ datatype: "transaction", id, org, version, state: data.status, createdAt, modifiedAt, data: shown });
}

const statementColumns = [
  "pk",
  "createdAt",
  "type",
  "status",
  "direction",
  "amount",
  "currency",
  "reference",
  "description",
  "paymentMethod",
  "last4",
  "orderId",
  "runningBalance",
  "failureReason",
] as const;

type StatementRow = Record<(typeof statementColumns)[number], string | undefined>;

/** The amount as a bank prints it: exactly the currency's decimals, no grouping, `.` whatever the language. */
function printed(minor: number | undefined, currency: string): string | undefined {
  return minor === undefined ? undefined : majorAmount(minor, currency).toFixed(decimalsOf(currency));
}

/**
 * Text that a spreadsheet would run as a formula gets an apostrophe in front (OWASP, "CSV Injection"). Our own
 * numbers stay as they are: a negative balance is no formula.
 */
function harmless(text: string | undefined): string | undefined {
  return text !== undefined && /^[=+\-@\t\r\n\uFF1D\uFF0B\uFF0D\uFF20]/.test(text) ? `'${text}` : text;
}

function toRow({ id, data }: TransactionDocument): StatementRow {
  return {
    pk: recordKey("transaction", id),
    createdAt: data.createdAt,
    type: data.type,
    status: data.status,
    direction: data.direction,
    amount: printed(data.amountMinor, data.currency),
    currency: data.currency,
    reference: harmless(data.reference),
    description: harmless(data.description),
    paymentMethod: harmless(data.paymentMethod?.brand ?? data.paymentMethod?.type),
    last4: harmless(data.paymentMethod?.last4),
    orderId: harmless(data.orderId),
    runningBalance: printed(data.runningBalanceMinor, data.currency),
    failureReason: harmless(data.failureReason),
  };
}

/** The ledger as CSV (RFC 4180), under the same filter and order as the list; what is longer goes on at `Link`. */
async function sendStatement(
  req: Request,
  res: Response,
  deps: ReadDependencies,
  list: ListQuery,
  filter: Filter<Stored<TransactionDocument>>,
): Promise<void> {
  await beginRead(req, res, deps.readModels, [transactionDocument]);
  const owner = ownerKey(principalOf(res).owner);
  const collection = deps.readModels.collection(transactionDocument);
  const position = await lastPosition(collection, owner);
  const tag = weakTag(owner, collection.collectionName, position, `text/csv ${queryString(req)}`, deps.clock());
  res.setHeader("ETag", tag);
  if (matchesNone(req, tag)) {
    res.status(304).end();
    return;
  }
  const all = { ...list, page: 1, pageSize: statementRows, count: false };
  const page = await findPage(collection, owner, all, { filter, toRecord: toRow });
  if (page.nextCursor !== undefined) {
    const next = new URL(req.originalUrl, "http://host");
    for (const name of ["p", "page"]) next.searchParams.delete(name);
    next.searchParams.set("cursor", page.nextCursor);
    res.setHeader("Link", `<${next.pathname}${next.search}>; rel="next"`);
  }
  res.statusCode = 200;
  res.setHeader("Content-Type", "text/csv; charset=utf-8; header=present");
  res.setHeader("Content-Disposition", 'attachment; filename="transactions.csv"');
  if (req.method === "HEAD") {
    res.end();
    return;
  }
  const options = { header: true, columns: [...statementColumns], record_delimiter: "windows" as const };
  await pipeline(Readable.from(page.data), stringify(options), res);
}

const minor = z.int().meta({ description: "minor units: the truth" });
const summaryRow = z.object({ inMinor: minor, outMinor: minor, currency: z.string() });

const transactionData = z.object({
  type: z.enum(transactionTypes),
  status: z.enum(transactionStatuses),
  direction: z.enum(["credit", "debit"]),
  amount: z.number().meta({ description: "major units, with the decimals of the currency" }),
  amountMinor: minor,
  currency: z.string(),
  createdAt: z.iso.datetime(),
  reference: z.string().optional(),
  description: z.string().optional(),
  paymentMethod: z
    .object({
      pk: z.string().optional(),
      type: z.string(),
      brand: z.string().optional(),
      last4: z.string().optional(),
    })
    .optional(),
  orderId: z.string().optional(),
  runningBalance: z.number().optional(),
  runningBalanceMinor: minor.optional(),
  failureReason: z.string().optional(),
});
