import { z } from "zod";
import type { Patch } from "#domain/core/changes.js";
import { streams } from "#domain/core/identifiers.js";
import { currencySchema, minorSchema } from "#domain/core/money.js";
import { type IngestOrder, orderDecider } from "#domain/orders/orders.decider.js";
import { type OrderDetails, orderStatuses } from "#domain/orders/orders.events.js";
import { sourceRevisionSchema } from "#domain/core/source-revision.js";
import type { CommandHandler } from "#infrastructure/command-handler.js";
import { customerId, id, instant, text } from "#infrastructure/http/validation.js";
import { createIngestHandler, type IngestTarget } from "../ingest.js";
import { withoutAbsent } from "../ingest-body.js";

const amount = minorSchema.min(0);
const status = z.enum(orderStatuses);
const httpUrl = z.url({ protocol: /^https?$/ }).max(2_000);

const address = z.strictObject({
  label: text(0, 60).nullish(),
  name: text(0, 200).nullish(),
  company: text(0, 200).nullish(),
  line1: text(0, 200).nullish(),
  line2: text(0, 200).nullish(),
  city: text(0, 120).nullish(),
  region: text(0, 120).nullish(),
  postalCode: text(0, 20).nullish(),
  country: text(0, 60).nullish(),
  phone: text(0, 40).nullish(),
  instructions: text(0, 500).nullish(),
});

const item = z
  .strictObject({
    id: id().nullish(),
    sku: text(1, 128),
    productId: id(128).nullish(),
    title: text(1, 500),
    quantity: z.int().min(0).max(1_000_000),
    // A line may take something off.
    unitPriceMinor: minorSchema,
    lineTotalMinor: minorSchema.nullish(),
    imageUrl: httpUrl.nullish(),
  })
  .refine((line) => Number.isSafeInteger(line.lineTotalMinor ?? line.unitPriceMinor * line.quantity), {
    path: ["lineTotalMinor"],
    message: "is too large",
    params: { code: "TOO_LARGE" },
  });

const shipment = z.strictObject({
  carrier: text(1, 100),
  service: text(0, 100).nullish(),
  tracking: text(0, 100).nullish(),
  trackingUrl: httpUrl.nullish(),
  status: text(1, 60),
  items: z
    .array(z.strictObject({ id: id(), quantity: z.int().min(0) }))
    .max(500)
    .default([]),
  shippedAt: instant().nullish(),
  deliveredAt: instant().nullish(),
});

/** An order as the platform has it. Of the optional fields, absent leaves what is known and null clears it. */
const body = z.strictObject({
  sourceRevision: sourceRevisionSchema,
  customerId: customerId(),
  orderNumber: text(1, 64),
  status,
  statusAt: instant().nullish(),
  statusNote: text(0, 500).nullish(),
  placedAt: instant(),
  currency: currencySchema,
  totalMinor: amount,
  items: z.array(item).max(500),
  subtotalMinor: amount.nullish(),
  discountMinor: minorSchema.nullish(),
  shippingMinor: amount.nullish(),
  taxMinor: amount.nullish(),
  benefitsApplied: z
    .array(z.strictObject({ programmeId: id(), amountMinor: minorSchema }))
    .max(50)
    .nullish(),
  shippingAddress: address.nullish(),
  billingAddress: address.nullish(),
  paymentMethod: z
    .strictObject({ type: text(1, 40), brand: text(0, 40).nullish(), last4: text(0, 4).nullish() })
    .nullish(),
  payments: z
    .array(z.strictObject({ transactionId: id(80), status: text(1, 40), amountMinor: minorSchema }))
    .max(100)
    .nullish(),
  shipments: z.array(shipment).max(100).nullish(),
  timeline: z
    .array(z.strictObject({ at: instant(), status, note: text(0, 500).nullish() }))
    .max(200)
    .nullish(),
  cancellable: z.boolean().nullish(),
});
type Body = z.infer<typeof body>;

function commandOf(
  { sourceRevision, customerId: _, status, statusAt, statusNote, ...rest }: Body,
  now: Date,
): IngestOrder {
  const items = rest.items.map((entry, index) => ({
    ...entry,
    id: entry.id ?? String(index + 1),
    lineTotalMinor: entry.lineTotalMinor ?? entry.unitPriceMinor * entry.quantity,
  }));
  return {
    type: "IngestOrder",
    sourceRevision,
    status,
    statusAt: statusAt ?? undefined,
    statusNote: statusNote || undefined,
    details: withoutAbsent({ ...rest, items }) as Patch<OrderDetails> & OrderDetails,
    now: now.toISOString(),
  };
}

/** `PUT /internal/ingest/orders/:id`: customers cannot change an order, the platform tells us of it. */
export function orderIngest(deps: { readonly commands: CommandHandler }): IngestTarget<Body> {
  const ingest = createIngestHandler(deps.commands);
  return {
    segment: "orders",
    area: "orders",
    body,
    ingest(orderId, order, contextFor) {
      const context = contextFor(order.customerId);
      const stream = streams.order({ org: context.org, customer: order.customerId }, orderId);
      const command = commandOf(order, context.now);
      return ingest({ decider: orderDecider, stream, command, context });
    },
  };
}
