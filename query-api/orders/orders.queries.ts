import { z } from "zod";
import { bareId, ownerKey } from "#domain/core/identifiers.js";
import { orderAmounts, orderShown, orderStatuses } from "#domain/orders/orders.policy.js";
import { answerList, listQuery } from "#infrastructure/http/paging.js";
import { principalOf } from "#infrastructure/http/principal.js";
import { answerDocument, type ReadDependencies } from "#infrastructure/http/reads.js";
import { type RecordBody, record } from "#infrastructure/http/records.js";
import { listOf, recordOf } from "#infrastructure/http/response-schemas.js";
import type { RouteDefinition } from "#infrastructure/http/routes.js";
import { parseParams, parseQuery, text } from "#infrastructure/http/validation.js";
import { type OrderDocument, orderDocument } from "#projectors/orders/orders.document.js";

const query = listQuery({
  sortable: {
    // One type of record in one org: what is the same for all leaves it to the pk, which breaks ties.
    pk: "id",
    sk: "id",
    datatype: "id",
    state: "data.status",
    "data.orderNumber": "data.orderNumber",
    "data.status": "data.status",
    "data.placedAt": "data.placedAt",
    "data.currency": "data.currency",
    "data.paymentMethod.type": "data.paymentMethod.type",
    ...Object.fromEntries(
      orderAmounts.flatMap((name) => [
        [`data.${name}`, `data.${name}Minor`],
        [`data.${name}Minor`, `data.${name}Minor`],
      ]),
    ),
  },
  statuses: orderStatuses,
  datePath: "data.placedAt",
  searchPath: "search",
});

/** A pk, an id, or a number: the platform may number its orders as it likes. */
const params = z.object({ orderId: text(1, 80) });

/** Reads of the customer's orders. */
export function orderQueries(deps: ReadDependencies): RouteDefinition[] {
  return [
    {
      method: "get",
      path: "/client-data/orders",
      summary: "The customer's orders, without their timelines",
      operationId: "listOrders",
      area: "orders",
      request: { query },
      responses: { 200: { description: "A page of orders", schema: listOf(orderData) } },
      problems: ["SORT_NOT_ALLOWED", "PAGE_TOO_DEEP"],
      handler: (req, res) => {
        const { org } = principalOf(res);
        return answerList(req, res, deps, {
          definition: orderDocument,
          query: parseQuery(query, req),
          projection: { timeline: 0 },
          toRecord: (document) => toRecord(document, org),
        });
      },
    },
    {
      method: "get",
      path: "/client-data/orders/:orderId",
      summary: "One order with its timeline, by pk, id or order number",
      operationId: "getOrder",
      area: "orders",
      request: { params },
      responses: {
        200: { description: "The order", schema: recordOf(orderData.extend({ timeline: z.array(timelineEntry) })) },
      },
      problems: ["ORDER_NOT_FOUND"],
      handler: (req, res) => {
        const { org, owner } = principalOf(res);
        const { orderId } = parseParams(params, req);
        const documentId = (id: string) => `${ownerKey(owner)}.${id}`;
        return answerDocument(req, res, deps, {
          definition: orderDocument,
          // An id may look like a pk, and the number of one order like the id of another: the pk comes first.
          id: [
            { _id: documentId(bareId("order", orderId)) },
            { _id: documentId(orderId) },
            { "data.orderNumber": orderId },
          ],
          notFound: "ORDER_NOT_FOUND",
          body: (document) => (document ? toRecord(document, org) : undefined),
        });
      },
    },
  ];
}

/** An order as its customer sees it, with the timeline when the document has it. */
function toRecord(document: OrderDocument, org: string): RecordBody {
  const { id, version, createdAt, modifiedAt, data, timeline } = document as Omit<OrderDocument, "timeline"> &
    Partial<Pick<OrderDocument, "timeline">>;
  const shown = orderShown(data, timeline);
  return record({ datatype: "order", id, org, version, state: data.status, createdAt, modifiedAt, data: shown });
}

const status = z.enum(orderStatuses);
const timelineEntry = z.object({ at: z.iso.datetime(), status, note: z.string().optional() });
const amount = z.number().meta({ description: "major units, with the decimals of the currency" });
const minor = z.int().meta({ description: "minor units: the truth" });
const address = z.record(z.string(), z.string());

const orderData = z.object({
  orderNumber: z.string(),
  status,
  placedAt: z.iso.datetime(),
  currency: z.string(),
  items: z.array(
    z.object({
      id: z.string(),
      sku: z.string(),
      productId: z.string().optional(),
      title: z.string(),
      quantity: z.int(),
      unitPrice: amount,
      unitPriceMinor: minor,
      lineTotal: amount,
      lineTotalMinor: minor,
      imageUrl: z.string().optional(),
    }),
  ),
  subtotal: amount.optional(),
  subtotalMinor: minor.optional(),
  discount: amount.optional(),
  discountMinor: minor.optional(),
  shipping: amount.optional(),
  shippingMinor: minor.optional(),
  tax: amount.optional(),
  taxMinor: minor.optional(),
  total: amount,
  totalMinor: minor,
  benefitsApplied: z.array(z.object({ programmeId: z.string(), amountMinor: minor })).optional(),
  shippingAddress: address.optional(),
  billingAddress: address.optional(),
  paymentMethod: z.object({ type: z.string(), brand: z.string().optional(), last4: z.string().optional() }).optional(),
  payments: z.array(z.object({ transactionId: z.string(), status: z.string(), amountMinor: minor })).optional(),
  shipments: z
    .array(
      z.object({
        carrier: z.string(),
        service: z.string().optional(),
        tracking: z.string().optional(),
        trackingUrl: z.string().optional(),
        status: z.string(),
        items: z.array(z.object({ id: z.string(), quantity: z.int() })),
        shippedAt: z.iso.datetime().optional(),
        deliveredAt: z.iso.datetime().optional(),
      }),
    )
    .optional(),
  cancellable: z.boolean(),
});
