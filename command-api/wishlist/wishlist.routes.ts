import type { Request } from "express";
import { z } from "zod";
import { bareId, type OrgId, type Owner, streams } from "#domain/core/identifiers.js";
import type { Product } from "#domain/wishlist/product.events.js";
import { type WishlistEntry, wishlistDecider } from "#domain/wishlist/wishlist.decider.js";
import {
  entryId,
  productIdPattern,
  wishlistData,
  wishlistDataSchema,
  wishlistLimits,
} from "#domain/wishlist/wishlist.policy.js";
import { expectedVersion, versionGuard } from "#infrastructure/http/etags.js";
import { principalOf } from "#infrastructure/http/principal.js";
import { Problem } from "#infrastructure/http/problem-details.js";
import { type RecordBody, record, sendCommandAnswer, sendRecord } from "#infrastructure/http/records.js";
import { recordOf } from "#infrastructure/http/response-schemas.js";
import type { RouteDefinition } from "#infrastructure/http/routes.js";
import { parseBody, parseParams, parseQuery, text, version } from "#infrastructure/http/validation.js";
import type { CatalogueAnswer } from "#infrastructure/providers/product-catalogue.js";
import type { CommandDependencies } from "../dependencies.js";

export const productId = () =>
  z.string().regex(productIdPattern, { message: "must be 1 to 128 of A-Z a-z 0-9 . _ : -" });

const entryFields = {
  variantId: productId().nullish(),
  note: text(0, wishlistLimits.note).nullish(),
  quantity: z.int().min(1).max(wishlistLimits.quantity).optional(),
  notify: z.strictObject({ backInStock: z.boolean().optional(), priceDrop: z.boolean().optional() }).optional(),
};
const addBody = z.strictObject(entryFields).prefault({});
const mergeBody = z.strictObject({
  items: z.array(z.strictObject({ productId: productId(), ...entryFields })).max(wishlistLimits.merge),
});

/** A product id, or the id or pk of an entry, which may name a variant too. */
const params = z.object({
  productId: z
    .string()
    .regex(/^(wishlist_item-)?[A-Za-z0-9._:-]{1,128}(~[A-Za-z0-9._:-]{1,128})?$/, {
      message: "must be 1 to 128 of A-Z a-z 0-9 . _ : -",
    })
    .meta({ description: "product id, or pk or id of an entry" }),
});

function namedInPath(req: Request): { productId: string; variantId?: string } {
  const [productId = "", variantId] = bareId("wishlist_item", parseParams(params, req).productId).split("~");
  return { productId, ...named({ variantId }) };
}

const removeBody = z.strictObject({ version: version().optional() }).prefault({});
const removeQuery = z.object({ variantId: productId().optional() });

const mergedSchema = z.object({
  data: z.object({
    added: z.int(),
    existing: z.int(),
    refused: z.array(z.object({ productId: z.string(), variantId: z.string().optional(), code: z.string() })),
  }),
});

/** Changes of the customer's wishlist. */
export function wishlistRoutes(deps: CommandDependencies): RouteDefinition[] {
  return [
    {
      method: "post",
      path: "/client-data/wishlist",
      summary: "Merges a list into the wishlist: what is there stays as it is",
      operationId: "mergeWishlist",
      area: "wishlist",
      request: { body: mergeBody },
      responses: { 200: { description: "What came of the items", schema: mergedSchema } },
      handler: async (req, res) => {
        const { owner } = principalOf(res);
        const { items } = parseBody(mergeBody, req);
        const answers = await lookUpAll(deps, owner.org, items);
        const handled = await deps.commands.handle({
          decider: wishlistDecider,
          stream: streams.wishlist(owner),
          command: {
            type: "MergeProducts",
            items: items.flatMap(({ variantId, ...item }) => {
              const product = answers.get(item.productId);
              return product === "none" ? [] : [{ ...item, ...named({ variantId }), product: product ?? null }];
            }),
          },
          context: deps.idempotency(req, res),
        });
        const added = new Set(handled.events.map(({ data }) => entryOf(data as { productId: string })));
        const refused = items
          .filter((item) => !handled.state.entries.has(entryOf(item)))
          .map((item) => {
            const code = answers.get(item.productId) === "none" ? "PRODUCT_NOT_FOUND" : "WISHLIST_FULL";
            return { productId: item.productId, ...named(item), code };
          });
        const data = { added: added.size, existing: items.length - added.size - refused.length, refused };
        sendCommandAnswer(res, 200, { data }, deps.answerOf(handled));
      },
    },
    {
      method: "post",
      path: "/client-data/wishlist/:productId",
      summary: "Puts a product on the wishlist, or merges the fields given into its entry",
      operationId: "addToWishlist",
      area: "wishlist",
      request: { params, body: addBody },
      responses: {
        200: { description: "It was there already", schema: recordOf(wishlistDataSchema) },
        201: { description: "The new entry", schema: recordOf(wishlistDataSchema) },
      },
      problems: ["PRODUCT_NOT_FOUND", "WISHLIST_FULL"],
      handler: async (req, res) => {
        const { owner } = principalOf(res);
        const { productId, ...inPath } = namedInPath(req);
        const { variantId, ...wish } = parseBody(addBody, req);
        const entry = { productId, ...inPath, ...named({ variantId }) };
        const product = productOf(await deps.catalogue.lookup(owner.org, productId));
        if (product === "none") throw new Problem(404, "PRODUCT_NOT_FOUND");
        const handled = await deps.commands.handle({
          decider: wishlistDecider,
          stream: streams.wishlist(owner),
          command: { type: "AddProduct", ...entry, ...wish, product },
          context: deps.idempotency(req, res),
        });
        const shown = handled.state.entries.get(entryOf(entry));
        if (!shown) throw new Error("a product that was added is on the list");
        const created = handled.events.some(({ type }) => type === "wishlist.ProductAdded.v1");
        sendRecord(res, created ? 201 : 200, toRecord(shown, product, owner), {
          ...deps.answerOf(handled),
          ...(created ? { location: `/client-data/wishlist?ids=${encodeURIComponent(productId)}` } : {}),
        });
      },
    },
    {
      method: "delete",
      path: "/client-data/wishlist/:productId",
      summary: "Takes a product off the wishlist; fine when it is not there",
      operationId: "removeFromWishlist",
      area: "wishlist",
      request: { params, query: removeQuery, body: removeBody },
      responses: { 204: { description: "It is not on the wishlist" } },
      problems: ["PRECONDITION_FAILED", "VERSION_CONFLICT"],
      handler: async (req, res) => {
        const { owner } = principalOf(res);
        const entry = { ...namedInPath(req), ...named(parseQuery(removeQuery, req)) };
        const expected = expectedVersion(req, parseBody(removeBody, req).version);
        const guard = versionGuard(expected, (state: typeof wishlistDecider.initial) => {
          return state.entries.get(entryOf(entry))?.version;
        });
        const handled = await deps.commands.handle({
          decider: wishlistDecider,
          stream: streams.wishlist(owner),
          command: { type: "RemoveProduct", ...entry },
          context: deps.idempotency(req, res),
          ...(guard ? { guard } : {}),
        });
        sendCommandAnswer(res, 204, undefined, deps.answerOf(handled));
      },
    },
  ];
}

/** What the catalogue says of each product, by its id; null when it cannot tell, `none` when there is no such product. */
async function lookUpAll(
  deps: CommandDependencies,
  org: OrgId,
  items: readonly { productId: string }[],
): Promise<Map<string, Product | null | "none">> {
  const productIds = [...new Set(items.map(({ productId }) => productId))];
  const answers = await deps.catalogue.lookupAll(org, productIds);
  return new Map(productIds.map((id, index) => [id, productOf(answers[index])]));
}

function productOf(answer: CatalogueAnswer<Product> | undefined): Product | null | "none" {
  if (answer?.kind === "found") return answer.product;
  return answer?.kind === "not-found" ? "none" : null;
}

function named({ variantId }: { variantId?: string | null | undefined }): { variantId?: string } {
  return variantId ? { variantId } : {};
}

function entryOf(item: { productId: string; variantId?: string | null | undefined }): string {
  return entryId(item.productId, item.variantId ?? undefined);
}

function toRecord(entry: WishlistEntry, product: Product | null, { org }: Owner): RecordBody {
  const { version, addedAt: createdAt, modifiedAt } = entry;
  const data = wishlistData(entry, product);
  return record({ datatype: "wishlist_item", id: entryOf(entry), org, version, createdAt, modifiedAt, data });
}
