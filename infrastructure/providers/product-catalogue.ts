import { Pool } from "undici";
import type { z } from "zod";

/**
 * What the catalogue says of a product. `unavailable`: it cannot tell, because it is down, or because nobody has
 * told it of this product; the caller goes on without.
 */
export type CatalogueAnswer<Product> =
  | { readonly kind: "found"; readonly product: Product }
  | { readonly kind: "not-found" }
  | { readonly kind: "unavailable" };

export type ProductCatalogue<Product> = {
  /** Never throws: a catalogue that fails is `unavailable`. */
  lookup(org: string, productId: string): Promise<CatalogueAnswer<Product>>;
  /** Several at once, in the order asked for. */
  lookupAll(org: string, productIds: readonly string[]): Promise<CatalogueAnswer<Product>[]>;
  close(): Promise<void>;
};

/**
 * The catalogue made of ingested products, when no outside one is configured. It never says `not-found`: what was
 * not ingested may well exist.
 *
 * @param find the products there are, by id
 */
export function ingestedCatalogue<Product>(
  find: (org: string, productIds: readonly string[]) => Promise<ReadonlyMap<string, Product>>,
): ProductCatalogue<Product> {
  async function lookupAll(org: string, productIds: readonly string[]): Promise<CatalogueAnswer<Product>[]> {
    const found = await find(org, productIds).catch(() => new Map<string, Product>());
    return productIds.map((id) => {
      const product = found.get(id);
      return product === undefined ? unavailable : { kind: "found", product };
    });
  }

  /** Lookups of one moment, by org: they share a query. */
  const gathering = new Map<string, { ids: string[]; answers: Promise<CatalogueAnswer<Product>[]> }>();

  async function lookup(org: string, productId: string): Promise<CatalogueAnswer<Product>> {
    let group = gathering.get(org);
    if (!group) {
      const ids: string[] = [];
      const moment = new Promise<void>((resolve) => setImmediate(resolve));
      const answers = moment.then(() => {
        gathering.delete(org);
        return lookupAll(org, ids);
      });
      group = { ids, answers };
      gathering.set(org, group);
    }
    const place = group.ids.push(productId) - 1;
    return (await group.answers)[place] ?? unavailable;
  }
  return { lookup, lookupAll, async close() {} };
}

export type OutsideCatalogueOptions<Product> = {
  /** Base address; a product is at `<url>/products/<id>`, with the org in the `orgid` header. */
  readonly url: string;
  readonly schema: z.ZodType<Product>;
  /** A slow catalogue must not make a slow wishlist. Default 1 s. */
  readonly timeoutMs?: number;
  /** Told of every answer that was none. */
  readonly onProblem?: (error: unknown) => void;
};

const unavailable = { kind: "unavailable" } as const;
const connections = 16;
const largestAnswerBytes = 64 * 1024;

/** An outside catalogue over HTTP; only its 404 counts as `not-found`. */
export function outsideCatalogue<Product>(options: OutsideCatalogueOptions<Product>): ProductCatalogue<Product> {
  const { origin, pathname } = new URL(options.url);
  const timeoutMs = options.timeoutMs ?? 1_000;
  const pool = new Pool(origin, { connections, headersTimeout: timeoutMs, bodyTimeout: timeoutMs });
  const base = pathname.replace(/\/$/, "");

  async function lookup(org: string, productId: string): Promise<CatalogueAnswer<Product>> {
    try {
      const { statusCode, body } = await pool.request({
        method: "GET",
        path: `${base}/products/${encodeURIComponent(productId)}`,
        headers: { accept: "application/json", orgid: org },
        signal: AbortSignal.timeout(timeoutMs),
      });
      if (statusCode !== 200) {
        await body.dump({ limit: largestAnswerBytes });
        if (statusCode === 404) return { kind: "not-found" };
        throw new Error(`the product catalogue answered ${statusCode}`);
      }
      const chunks: Buffer[] = [];
      let size = 0;
      for await (const chunk of body as AsyncIterable<Buffer>) {
        size += chunk.length;
        if (size > largestAnswerBytes) throw new Error("the product catalogue's answer is too large");
        chunks.push(chunk);
      }
      const parsed = options.schema.safeParse(JSON.parse(Buffer.concat(chunks).toString("utf8")));
      if (!parsed.success) throw new Error("the product catalogue's answer has another shape");
      return { kind: "found", product: parsed.data };
    } catch (error) {
      options.onProblem?.(error);
      return unavailable;
    }
  }

  return {
    lookup,
    // The pool bounds how many are under way; each has its own time limit.
    lookupAll: (org, productIds) => Promise.all(productIds.map((id) => lookup(org, id))),
    close: () => pool.close(),
  };
}
