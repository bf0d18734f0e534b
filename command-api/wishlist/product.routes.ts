import { z } from "zod";
import { streams } from "#domain/core/identifiers.js";
import { currencySchema, minorSchema } from "#domain/core/money.js";
import { productDecider } from "#domain/wishlist/product.decider.js";
import { sourceRevisionSchema } from "#domain/core/source-revision.js";
import type { CommandHandler } from "#infrastructure/command-handler.js";
import { text } from "#infrastructure/http/validation.js";
import { createIngestHandler, type IngestTarget } from "../ingest.js";
import { productId } from "./wishlist.routes.js";

const body = z
  .strictObject({
    sourceRevision: sourceRevisionSchema,
    name: text(1, 300),
    slug: text(0, 300).nullish(),
    imageUrl: z
      .url({ protocol: /^https?$/, message: "must be an http or https URL" })
      .max(2_000)
      .nullish(),
    priceMinor: minorSchema.min(0).nullish(),
    currency: currencySchema.nullish(),
    inStock: z.boolean().default(true),
    available: z.boolean().default(true),
  })
  .refine(({ priceMinor, currency }) => (priceMinor ?? null) === null || (currency ?? null) !== null, {
    path: ["currency"],
    message: "is required with priceMinor",
    params: { code: "REQUIRED" },
  });

/** `PUT /internal/ingest/products/:id`: the platform's catalogue tells of a product, all of it each time. */
export function productIngest(deps: { readonly commands: CommandHandler }): IngestTarget<z.output<typeof body>> {
  const ingest = createIngestHandler(deps.commands);
  return {
    segment: "products",
    area: "wishlist",
    id: productId(),
    body,
    ingest(id, { sourceRevision, name, slug, imageUrl, priceMinor, currency, inStock, available }, contextFor) {
      const context = contextFor(null);
      const product = {
        name,
        slug: slug || null,
        imageUrl: imageUrl ?? null,
        priceMinor: priceMinor ?? null,
        currency: (priceMinor ?? null) === null ? null : (currency ?? null),
        inStock,
        available,
      };
      return ingest({
        decider: productDecider,
        stream: streams.product(context.org, id),
        command: { type: "IngestProduct", productId: id, sourceRevision, product },
        context,
      });
    },
  };
}
