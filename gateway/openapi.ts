import { request } from "undici";

/** An OpenAPI document, as far as it has to be known for joining two. */
export type OpenApiDocument = {
  openapi: string;
  info: Record<string, unknown>;
  servers?: unknown[];
  tags?: { name: string }[];
  paths?: Record<string, Record<string, unknown>>;
  components?: Record<string, Record<string, unknown>>;
  [extension: string]: unknown;
};

const info = { title: "client-data API", description: "Everything a customer can see and do." };

/**
 * Joins the documents of the two APIs into the one that customers see: what the gateway does not serve
 * (`/internal/*`, health) is left out.
 *
 * @throws Error when both define the same component or operation differently
 */
export function mergeOpenApi(first: OpenApiDocument, second: OpenApiDocument): OpenApiDocument {
  const paths: NonNullable<OpenApiDocument["paths"]> = {};
  const components: NonNullable<OpenApiDocument["components"]> = {};
  for (const document of [first, second]) {
    for (const [path, item] of Object.entries(document.paths ?? {})) {
      if (isPublic(path)) paths[path] = join(`paths ${path}`, paths[path], item);
    }
    for (const [kind, entries] of Object.entries(document.components ?? {})) {
      components[kind] = join(`components ${kind}`, components[kind], entries);
    }
  }
  const used = new Set(Object.values(paths).flatMap((item) => Object.values(item).flatMap(tagsOf)));
  const tags = [...(first.tags ?? []), ...(second.tags ?? [])];
  return {
    ...second,
    ...first,
    info: { ...first.info, ...info },
    servers: [{ url: "/" }],
    tags: tags.filter(({ name }, index) => used.has(name) && tags.findIndex((tag) => tag.name === name) === index),
    paths: Object.fromEntries(Object.entries(paths).sort(([a], [b]) => (a < b ? -1 : 1))),
    components,
  };
}

function tagsOf(operation: unknown): string[] {
  return (operation as { tags?: string[] }).tags ?? [];
}

function isPublic(path: string): boolean {
  return path.startsWith("/client-data/") || path.startsWith("/webhooks/");
}

function join(
  where: string,
  one: Record<string, unknown> | undefined,
  other: Record<string, unknown>,
): Record<string, unknown> {
  const joined = { ...one };
  for (const [name, value] of Object.entries(other)) {
    if (name in joined && JSON.stringify(joined[name]) !== JSON.stringify(value)) {
      throw new Error(`the two APIs describe ${where} ${name} differently`);
    }
    joined[name] = value;
  }
  return joined;
}

/** Gives the joined document as JSON. */
export type MergedDocument = () => Promise<string>;

const freshForMs = 60_000;
const waitMs = 5_000;
const largestDocument = 8 * 1024 * 1024;

/**
 * Fetches and joins the APIs' documents when asked, at most once a minute. While an API is away the last document is
 * served on.
 *
 * @param apis base URLs
 * @returns a function that rejects when an API has not answered yet
 */
export function mergedDocument(apis: readonly [string, string]): MergedDocument {
  let last: { readonly json: string; readonly at: number } | undefined;
  let refreshing: Promise<string> | undefined;
  const refresh = async (): Promise<string> => {
    const [first, second] = await Promise.all([fetchDocument(apis[0]), fetchDocument(apis[1])]);
    const json = JSON.stringify(mergeOpenApi(first, second));
    last = { json, at: Date.now() };
    return json;
  };
  return async () => {
    if (last && Date.now() - last.at < freshForMs) return last.json;
    refreshing ??= refresh().finally(() => {
      refreshing = undefined;
    });
    const stale = last;
    return stale ? refreshing.catch(() => stale.json) : refreshing;
  };
}

async function fetchDocument(api: string): Promise<OpenApiDocument> {
  const { statusCode, body } = await request(`${api}/openapi.json`, {
    headersTimeout: waitMs,
    bodyTimeout: waitMs,
    signal: AbortSignal.timeout(waitMs),
  });
  const text = await body.text();
  if (statusCode !== 200 || text.length > largestDocument) throw new Error(`no OpenAPI document at ${api}`);
  return JSON.parse(text);
}
