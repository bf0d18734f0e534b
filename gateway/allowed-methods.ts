import type { MergedDocument, OpenApiDocument } from "./openapi.js";

export type AllowedMethods = {
  /** The methods that either API serves at a path; undefined for a path that neither knows, or before it is known. */
  at(path: string): readonly string[] | undefined;
  /** Waits until it is known. Rejects while an API has never told what it serves. */
  learn(): Promise<void>;
};

const refreshAfterMs = 60_000;

type PathMethods = { readonly pattern: RegExp; readonly methods: readonly string[] };

/**
 * Each API knows its own half of a path's methods; together they stand in the joined document. It is fetched beside
 * the requests: none waits for it, and while it is missing the APIs answer for themselves.
 */
export function allowedMethods(document: MergedDocument): AllowedMethods {
  let table: readonly PathMethods[] = [];
  let known = "";
  let refreshAt = 0;

  const learn = async () => {
    const json = await document();
    if (json !== known) table = tableOf(JSON.parse(json));
    known = json;
  };
  const refresh = async () => {
    refreshAt = Date.now() + refreshAfterMs;
    await learn().catch(() => {
      refreshAt = Date.now() + 1_000; // an API is not up yet
    });
  };

  return {
    at(path) {
      if (Date.now() >= refreshAt) void refresh();
      const matching = table.filter(({ pattern }) => pattern.test(path));
      return matching.length === 0 ? undefined : [...new Set(matching.flatMap(({ methods }) => methods))];
    },
    learn,
  };
}

function tableOf({ paths = {} }: OpenApiDocument): PathMethods[] {
  return Object.entries(paths).map(([template, operations]) => {
    const parts = template.split(/\{[^}]+\}/).map((part) => part.replace(/[.*+?^$()[\]|\\]/g, "\\$&"));
    const methods = Object.keys(operations).map((method) => method.toUpperCase());
    return {
      pattern: new RegExp(`^${parts.join("[^/]+")}/?$`),
      methods: methods.includes("GET") ? [...methods, "HEAD"] : methods,
    };
  });
}
