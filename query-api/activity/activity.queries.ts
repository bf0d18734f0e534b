import { z } from "zod";
import { type Area, areas } from "#domain/core/identifiers.js";
import { answerList, listQuery } from "#infrastructure/http/paging.js";
import type { ReadDependencies } from "#infrastructure/http/reads.js";
import { pageOf } from "#infrastructure/http/response-schemas.js";
import type { RouteDefinition } from "#infrastructure/http/routes.js";
import { parseQuery } from "#infrastructure/http/validation.js";
import { type ActivityDocument, activityDocument } from "#projectors/activity/activity.document.js";

const query = listQuery({
  sortable: { at: "at" },
  defaultSort: "at",
  feed: true,
  datePath: "at",
  filters: { area: z.enum(Object.keys(areas) as [Area, ...Area[]]).optional() },
});

const lineSchema = z.object({
  id: z.string(),
  at: z.iso.datetime(),
  what: z.string(),
  area: z.string(),
  ref: z.object({ datatype: z.string(), pk: z.string() }),
  actor: z.object({ type: z.enum(["customer", "staff", "system", "provider"]), name: z.string().optional() }),
  changes: z
    .array(z.object({ field: z.string(), from: z.unknown().optional(), to: z.unknown().optional() }))
    .optional(),
  via: z.string().optional(),
});

/** The audit trail of the customer's own streams, newest first. */
export function activityQueries(deps: ReadDependencies): RouteDefinition[] {
  return [
    {
      method: "get",
      path: "/client-data/activity",
      summary: "What happened on the customer's account, by whom",
      operationId: "listActivity",
      area: "activity",
      request: { query },
      responses: { 200: { description: "A page of the audit trail", schema: pageOf(lineSchema) } },
      problems: ["SORT_NOT_ALLOWED", "PAGE_TOO_DEEP"],
      handler: (req, res) => {
        const parsed = parseQuery(query, req);
        const { area } = parsed.filters;
        return answerList(req, res, deps, {
          definition: activityDocument,
          query: parsed,
          filter: area === undefined ? {} : { area },
          toRecord: toLine,
        });
      },
    },
  ];
}

function toLine({ id, at, what, area, ref, actor, changes, via }: ActivityDocument) {
  return {
    id,
    at,
    what,
    area,
    ref,
    actor,
    ...(changes === undefined ? {} : { changes }),
    ...(via === undefined ? {} : { via }),
  };
}
