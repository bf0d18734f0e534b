import type { Filter } from "mongodb";
import {
  paymentMethodData,
  paymentMethodDataSchema,
  type PaymentMethodStatus,
  paymentMethodStatuses,
} from "#domain/payment-methods/payment-methods.policy.js";
import { answerList, listQuery } from "#infrastructure/http/paging.js";
import { principalOf } from "#infrastructure/http/principal.js";
import type { ReadDependencies } from "#infrastructure/http/reads.js";
import { type RecordBody, record } from "#infrastructure/http/records.js";
import { listOf } from "#infrastructure/http/response-schemas.js";
import type { RouteDefinition } from "#infrastructure/http/routes.js";
import { parseQuery } from "#infrastructure/http/validation.js";
import {
  type PaymentMethodDocument,
  paymentMethodDocument,
} from "#projectors/payment-methods/payment-methods.document.js";
import type { Stored } from "#projectors/runner/projection.js";

const shownByDefault: readonly PaymentMethodStatus[] = ["pending", "active", "expired"];

const query = listQuery({
  sortable: {
    "data.isDefault": "rank",
    "data.addedAt": "addedAt",
    "data.provider": "provider",
    "data.type": "type",
    "data.brand": "brand",
    "data.label": "label",
  },
  defaultSort: "data.isDefault",
  statuses: paymentMethodStatuses,
  statusPath: "status",
});

/** Reads of the customer's payment methods. */
export function paymentMethodQueries(deps: ReadDependencies): RouteDefinition[] {
  return [
    {
      method: "get",
      path: "/client-data/payment-methods",
      summary: "The customer's payment methods, the default first",
      operationId: "listPaymentMethods",
      area: "payment-methods",
      request: { query },
      responses: { 200: { description: "A page of payment methods", schema: listOf(paymentMethodDataSchema) } },
      problems: ["SORT_NOT_ALLOWED", "PAGE_TOO_DEEP"],
      handler: (req, res) => {
        const parsed = parseQuery(query, req);
        const { org } = principalOf(res);
        const now = deps.clock();
        res.setHeader("Cache-Control", "no-store");
        // A status may have been changed by the clock since it was recorded.
        const { status, ...filter } = parsed.filter as { status?: { $in: readonly PaymentMethodStatus[] } };
        return answerList(req, res, deps, {
          definition: paymentMethodDocument,
          query: { ...parsed, filter },
          filter: withStatus(status?.$in ?? shownByDefault, now),
          toRecord: (document) => toRecord(document, org, now),
        });
      },
    },
  ];
}

/** Documents that have one of these statuses by the clock. */
function withStatus(statuses: readonly PaymentMethodStatus[], now: Date): Filter<Stored<PaymentMethodDocument>> {
  const time = now.toISOString();
  const conditions = statuses.map((status) => {
    if (status === "active") return { status, $or: [{ expiresAt: null }, { expiresAt: { $gt: time } }] };
    if (status === "expired") return { $or: [{ status }, { status: "active", expiresAt: { $lte: time } }] };
    return { status };
  });
  return { $or: conditions } as Filter<Stored<PaymentMethodDocument>>;
}

function toRecord(document: PaymentMethodDocument, org: string, now: Date): RecordBody {
  const { id, version, addedAt: createdAt, modifiedAt } = document;
  const data = paymentMethodData(document, now);
  return record({
    ...{ datatype: "payment_method", id, org, version, state: data.status, createdAt, modifiedAt, data },
  });
}
