import { z } from "zod";
import { defineEvent, type EventOf } from "../core/event-definition.js";
import { currencySchema, minorSchema } from "../core/money.js";
import { sourceRevisionSchema } from "../core/source-revision.js";

// Storage format: a shipped version is never edited, a new one is added.

export const orderStatuses = [
  "new",
  "processing",
  "shipped",
  "delivered",
  "completed",
  "on-hold",
  "cancelled",
  "refunded",
] as const;
export type OrderStatus = (typeof orderStatuses)[number];

const status = z.enum(orderStatuses);
const instant = z.iso.datetime({ precision: 3 });
const text = z.string();

/** A copy of an address as the platform had it: nothing in it is required, nothing is checked. */
const address = z.object({
  label: text.optional(),
  name: text.optional(),
  company: text.optional(),
  line1: text.optional(),
  line2: text.optional(),
  city: text.optional(),
  region: text.optional(),
  postalCode: text.optional(),
  country: text.optional(),
  phone: text.optional(),
  instructions: text.optional(),
});

const item = z.object({
  id: text,
  sku: text,
  productId: text.optional(),
  title: text,
  quantity: z.number(),
  unitPriceMinor: minorSchema,
  lineTotalMinor: minorSchema,
  imageUrl: text.optional(),
});

const shipment = z.object({
  carrier: text,
  service: text.optional(),
  tracking: text.optional(),
  trackingUrl: text.optional(),
  status: text,
  items: z.array(z.object({ id: text, quantity: z.number() })),
  shippedAt: instant.optional(),
  deliveredAt: instant.optional(),
});

const timelineEntry = z.object({ at: instant, status, note: text.optional() });

/** What the platform says of an order besides its status. Amounts are taken as given, never recomputed. */
const details = z.object({
  orderNumber: text,
  placedAt: instant,
  currency: currencySchema,
  items: z.array(item),
  totalMinor: minorSchema,
  subtotalMinor: minorSchema.optional(),
  discountMinor: minorSchema.optional(),
  shippingMinor: minorSchema.optional(),
  taxMinor: minorSchema.optional(),
  benefitsApplied: z.array(z.object({ programmeId: text, amountMinor: minorSchema })).optional(),
  shippingAddress: address.optional(),
  billingAddress: address.optional(),
  paymentMethod: z.object({ type: text, brand: text.optional(), last4: text.optional() }).optional(),
  payments: z.array(z.object({ transactionId: text, status: text, amountMinor: minorSchema })).optional(),
  shipments: z.array(shipment).optional(),
  /** The platform's own history, where it keeps one; ours is made of the status changes. */
  timeline: z.array(timelineEntry).optional(),
  /** The platform's own word on it, where it has one; else `orders.policy.ts` says. */
  cancellable: z.boolean().optional(),
});
export type OrderDetails = z.infer<typeof details>;
export type OrderItem = z.infer<typeof item>;
export type OrderAddress = z.infer<typeof address>;
export type TimelineEntry = z.infer<typeof timelineEntry>;

// Invoices outlive an erasure under a pseudonym. Of the person only whom the invoice went to is kept, under the second
// key; `domain/privacy/privacy.policy.ts` lists it. The rest goes with the person.
const person = {
  personal: ["shippingAddress", "billingAddress", "paymentMethod", "shipments", "timeline"],
  kept: [
    "billingAddress.name",
    "billingAddress.company",
    "billingAddress.line1",
    "billingAddress.line2",
    "billingAddress.city",
    "billingAddress.region",
    "billingAddress.postalCode",
    "billingAddress.country",
  ],
  outlivesErasure: true,
} as const;

/** The platform told us of an order for the first time, in whatever status it then was. */
export const OrderPlaced = defineEvent("orders.Placed.v1", {
  category: "order",
  schema: details.extend({ sourceRevision: sourceRevisionSchema, status, statusAt: instant }),
  ...person,
});

/** The order moved on. Carries the status before, so that counts can be moved without looking elsewhere. */
export const OrderStatusChanged = defineEvent("orders.StatusChanged.v1", {
  category: "order",
  schema: z.object({
    sourceRevision: sourceRevisionSchema,
    status,
    previousStatus: status,
    statusAt: instant,
    note: text.optional(),
  }),
  personal: ["note"],
  outlivesErasure: true,
});

/** Anything but the status changed: the changed fields alone, null where one was cleared. */
export const OrderDetailsChanged = defineEvent("orders.DetailsChanged.v1", {
  category: "order",
  schema: z.object({
    sourceRevision: sourceRevisionSchema,
    ...details.pick({ orderNumber: true, placedAt: true, currency: true, items: true, totalMinor: true }).partial()
      .shape,
    subtotalMinor: minorSchema.nullish(),
    discountMinor: minorSchema.nullish(),
    shippingMinor: minorSchema.nullish(),
    taxMinor: minorSchema.nullish(),
    benefitsApplied: details.shape.benefitsApplied.nullable(),
    shippingAddress: details.shape.shippingAddress.nullable(),
    billingAddress: details.shape.billingAddress.nullable(),
    paymentMethod: details.shape.paymentMethod.nullable(),
    payments: details.shape.payments.nullable(),
    shipments: details.shape.shipments.nullable(),
    timeline: details.shape.timeline.nullable(),
    cancellable: details.shape.cancellable.nullable(),
  }),
  ...person,
});

/** A newer revision said nothing new. Kept, because what lies between the two revisions must then come too late. */
export const OrderReconfirmed = defineEvent("orders.Reconfirmed.v1", {
  category: "order",
  schema: z.object({ sourceRevision: sourceRevisionSchema }),
});

export const orderEvents = [OrderPlaced, OrderStatusChanged, OrderDetailsChanged, OrderReconfirmed] as const;
export type OrderEvent = EventOf<(typeof orderEvents)[number]>;
