import type { Collection, Filter } from "mongodb";
import { z } from "zod";
import { type OrgId, type OwnerKey, orgKey, ownerKey } from "#domain/core/identifiers.js";
import {
  entryId,
  productIdPattern,
  wishlistData,
  wishlistDataSchema,
  wishlistLimits,
} from "#domain/wishlist/wishlist.policy.js";
import { type CursorPlace, decodeCursor, encodeCursor } from "#infrastructure/http/cursors.js";
import { weakTag } from "#infrastructure/http/etags.js";
import { type ListBody, type ListQuery, lastPosition, listQuery } from "#infrastructure/http/paging.js";
import { principalOf } from "#infrastructure/http/principal.js";
import { beginRead, queryString, type ReadDependencies, sendRead } from "#infrastructure/http/reads.js";
import { record } from "#infrastructure/http/records.js";
import { listOf } from "#infrastructure/http/response-schemas.js";
import type { RouteDefinition } from "#infrastructure/http/routes.js";
import { parseQuery } from "#infrastructure/http/validation.js";
import { live, type ReadModels } from "#infrastructure/read-models.js";
import { documentId, type Stored } from "#projectors/runner/projection.js";
import { type ProductDocument, productDocument } from "#projectors/wishlist/product.document.js";
import { type WishlistDocument, wishlistDocument } from "#projectors/wishlist/wishlist.document.js";

const query = listQuery({
  sortable: {
    "data.addedAt": "addedAt",
    "data.product.name": "product.name",
    "data.product.priceMinor": "product.priceMinor",
  },
  defaultSort: "data.addedAt",
  filters: {
    ids: z
      .string()
      .max(wishlistLimits.idsFilter * (wishlistLimits.productId + 1))
      .transform((value) => value.split(",").filter((id) => id !== ""))
      .pipe(
        z.array(z.string().regex(productIdPattern, { message: "must be product ids" })).max(wishlistLimits.idsFilter),
      )
      .optional()
      .meta({ description: `comma list of at most ${wishlistLimits.idsFilter} product ids` }),
  },
});

/** An entry joined with its product, under the names that may be sorted by. */
type Row = {
  readonly id: string;
  readonly version: number;
  readonly createdAt: string;
  readonly modifiedAt: string;
  readonly addedAt: string;
  readonly data: ReturnType<typeof wishlistData>;
  readonly product: ReturnType<typeof wishlistData>["product"];
};

/** Reads of the customer's wishlist. */
export function wishlistQueries(deps: ReadDependencies): RouteDefinition[] {
  return [
    {
      method: "get",
      path: "/client-data/wishlist",
      summary: "The customer's wishlist with what the catalogue says of each product now",
      operationId: "listWishlist",
      area: "wishlist",
      request: { query },
      responses: { 200: { description: "A page of entries", schema: listOf(wishlistDataSchema) } },
      problems: ["SORT_NOT_ALLOWED", "PAGE_TOO_DEEP"],
      handler: async (req, res) => {
        const parsed = parseQuery(query, req);
        const { org, owner } = principalOf(res);
        await beginRead(req, res, deps.readModels, [wishlistDocument, productDocument]);
        const { rows, collection, position } = await joined(deps.readModels, ownerKey(owner), org, parsed.filters.ids);
        const tag = weakTag(ownerKey(owner), collection, position, queryString(req), deps.clock());
        sendRead(req, res, tag, () => pageOfRows(rows, parsed, `${ownerKey(owner)}\nwishlist\n${parsed.key}`, org));
      },
    },
  ];
}

/** The owner's entries (at most 500) with their products, and the newest position in either: what a tag stands for. */
async function joined(readModels: ReadModels, owner: OwnerKey, org: OrgId, ids: readonly string[] | undefined) {
  const entries = readModels.collection(wishlistDocument);
  const products = readModels.collection(productDocument);
  const { found, wishlistPosition } = ids ? await someOf(entries, owner, ids) : await allOf(entries, owner);
  const productIds = [...new Set(found.map(({ productId }) => documentId(orgKey(org), productId)))];
  const known = (
    productIds.length === 0
      ? []
      : await products
          .find({ _id: { $in: productIds }, ...live } as unknown as Filter<Stored<ProductDocument>>)
          .toArray()
  ) as Stored<ProductDocument>[];
  const byId = new Map(known.map((document) => [document.productId, document]));
  const rows = found.map((entry): Row => {
    const product = byId.get(entry.productId);
    const data = wishlistData(entry, product ? withoutId(product) : null);
    return {
      id: entryId(entry.productId, entry.variantId ?? undefined),
      version: entry.version,
      createdAt: entry.addedAt,
      modifiedAt: entry.modifiedAt,
      addedAt: entry.addedAt,
      data,
      product: data.product,
    };
  });
  const productsPosition = known.reduce((newest, { _pos }) => (_pos > newest ? _pos : newest), "");
  return { rows, collection: entries.collectionName, position: `${wishlistPosition}.${productsPosition}` };
}

type Entries = Collection<Stored<WishlistDocument>>;
type Found = { readonly found: readonly Stored<WishlistDocument>[]; readonly wishlistPosition: string };

/** Tombstones of what was taken off lately may be read along with the entries, up to so many documents. */
const mostAtOnce = wishlistLimits.entries + 500;

/** All entries in one call: with the tombstones the newest document tells the position, too. */
async function allOf(entries: Entries, owner: OwnerKey): Promise<Found> {
  const filter = { owner } as unknown as Filter<Stored<WishlistDocument>>;
  const documents = (await entries.find(filter, { limit: mostAtOnce }).toArray()) as Stored<WishlistDocument>[];
  if (documents.length === mostAtOnce) return someOf(entries, owner, undefined);
  const wishlistPosition = documents.reduce((newest, { _pos }) => (_pos > newest ? _pos : newest), "");
  return { found: documents.filter(({ _deletedAt }) => !_deletedAt), wishlistPosition };
}

async function someOf(entries: Entries, owner: OwnerKey, ids: readonly string[] | undefined): Promise<Found> {
  const filter = { owner, ...live, ...(ids ? { productId: { $in: ids } } : {}) };
  // Read before the entries: a tag may be older than its body, never newer.
  const wishlistPosition = await lastPosition(entries, owner);
  const found = (await entries
    .find(filter as unknown as Filter<Stored<WishlistDocument>>)
    .toArray()) as Stored<WishlistDocument>[];
  return { found, wishlistPosition };
}

function withoutId({ name, slug, imageUrl, priceMinor, currency, inStock, available }: ProductDocument) {
  return { name, slug, imageUrl, priceMinor, currency, inStock, available };
}

/** One page of rows sorted in memory, ties by id; what has no value comes before all others, as in MongoDB. */
function pageOfRows(rows: readonly Row[], query: ListQuery<unknown>, cursorScope: string, org: OrgId): ListBody {
  const sorted = rows
    .map((row) => ({ row, place: placeOf(row, query.sortPath) }))
    .sort((one, other) => query.direction * compare(one.place, other.place));
  const given = query.cursor === undefined ? undefined : decodeCursor(query.cursor, cursorScope);
  // A long name stands in the cursor by its beginning only; the row itself, if it is still there, has all of it.
  const start = given?.cut ? (sorted.find(({ place }) => place.id === given.id)?.place ?? given) : given;
  const ahead = start ? sorted.filter(({ place }) => query.direction * compare(place, start) > 0) : sorted;
  const first = start ? 0 : (query.page - 1) * query.pageSize;
  const page = ahead.slice(first, first + query.pageSize);
  const hasNext = ahead.length > first + query.pageSize;
  const last = page.at(-1);
  const total = rows.length;
  return {
    data: page.map(({ row: { id, version, createdAt, modifiedAt, data } }) =>
      record({ datatype: "wishlist_item", id, org, version, createdAt, modifiedAt, data }),
    ),
    ...(query.count ? { total, totalPages: Math.ceil(total / query.pageSize) } : {}),
    hasNext,
    ...(start ? {} : { page: query.page }),
    pageSize: query.pageSize,
    ...(hasNext && last ? { nextCursor: encodeCursor(last.place, cursorScope) } : {}),
  };
}

function placeOf(row: Row, sortPath: string): CursorPlace {
  let value: unknown = row;
  for (const part of sortPath.split(".")) value = (value as Record<string, unknown> | undefined)?.[part];
  return { value: typeof value === "string" || typeof value === "number" ? value : null, id: row.id };
}

const names = new Intl.Collator("en", { numeric: true });

function compare(one: CursorPlace, other: CursorPlace): number {
  return compareValues(one.value, other.value) || (one.id < other.id ? -1 : one.id > other.id ? 1 : 0);
}

function compareValues(one: CursorPlace["value"], other: CursorPlace["value"]): number {
  if (one === null || other === null) return Number(one !== null) - Number(other !== null);
  if (typeof one === "string" && typeof other === "string") return names.compare(one, other);
  return Number(one) - Number(other);
}
