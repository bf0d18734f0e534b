import { z } from "zod";
import { maskedEmail } from "../core/masking.js";
import { type Rejection, rejection } from "../core/rejection.js";
import { paymentProviders } from "./payment-methods.events.js";

/** Limits of CONTRACT §7; the label in Unicode code points. */
export const paymentMethodLimits = { methods: 20, label: 60 } as const;

/** What the record of a payment method may be. `merged` is ours alone: it was there already, and is never shown. */
export const paymentMethodStatuses = ["pending", "active", "expired", "failed", "removed"] as const;
export type PaymentMethodStatus = (typeof paymentMethodStatuses)[number];

/** So long before its end a card counts as expiring. */
const expiringMs = 30 * 24 * 3_600_000;

type Expiry = { readonly expMonth?: number | null | undefined; readonly expYear?: number | null | undefined };

/** When a card stops being valid: the end of its month, in UTC; null for what does not expire. */
export function expiresAt({ expMonth, expYear }: Expiry): string | null {
  if (!expMonth || !expYear) return null;
  const end = Date.UTC(expYear, expMonth, 1);
  return Number.isNaN(end) ? null : new Date(end).toISOString();
}

/** From when on a card counts as expiring. */
export function expiringFrom(expiry: Expiry): string | null {
  const end = expiresAt(expiry);
  return end === null ? null : new Date(Date.parse(end) - expiringMs).toISOString();
}

/** A status by the clock: an active card is expired from the first instant after its month, whoever has noticed. */
export function statusAt<Status extends string>(method: Expiry & { readonly status: Status }, now: Date) {
  const end = expiresAt(method);
  const isOver = method.status === "active" && end !== null && end <= now.toISOString();
  return isOver ? ("expired" as const) : method.status;
}

/** What a customer should do about a card that expires then; null as long as that is far away. */
export function expiryTodo(end: string, now: Date): "CARD_EXPIRING" | "CARD_EXPIRED" | null {
  if (end <= now.toISOString()) return "CARD_EXPIRED";
  return Date.parse(end) - now.getTime() <= expiringMs ? "CARD_EXPIRING" : null;
}

/** Whether a valid card will not be for long. */
export function expiresSoon(method: Expiry & { readonly status: string }, now: Date): boolean {
  const from = expiringFrom(method);
  return statusAt(method, now) === "active" && from !== null && from <= now.toISOString();
}

/** The refusal that an attempt to attach ended with, told again whenever the attempt is repeated. */
export function failureRejection(failureCode: string, declineCode: string | null): Rejection | null {
  switch (failureCode) {
    case "CARD_DECLINED":
      return rejection("payment", "CARD_DECLINED", { declineCode: declineCode ?? "generic_decline" });
    case "PAYMENT_METHOD_NOT_FOUND":
    case "REMOVED":
      return rejection("not-found", "PAYMENT_METHOD_NOT_FOUND");
    case "PAYMENT_METHOD_IN_USE_ELSEWHERE":
      return rejection("conflict", "PAYMENT_METHOD_IN_USE_ELSEWHERE");
    case "PAYMENT_METHOD_TYPE_NOT_SUPPORTED":
      return rejection("refused", "PAYMENT_METHOD_TYPE_NOT_SUPPORTED");
    default:
      return null;
  }
}

/** What a record shows, from the decider's state or the read model. */
export type ShownPaymentMethod = {
  readonly provider: (typeof paymentProviders)[number];
  readonly type: string | null;
  readonly brand: string | null;
  readonly last4: string | null;
  readonly expMonth: number | null;
  readonly expYear: number | null;
  readonly funding: string | null;
  readonly country: string | null;
  readonly holderName: string | null;
  readonly email: string | null;
  readonly label: string | null;
  readonly isDefault: boolean;
  readonly status: PaymentMethodStatus;
  readonly failureCode: string | null;
  readonly addedAt: string;
};

/** The payload of a payment method's record. */
export const paymentMethodDataSchema = z.object({
  provider: z.enum(paymentProviders),
  type: z.string(),
  brand: z.string().optional(),
  last4: z.string().optional(),
  expMonth: z.int().optional(),
  expYear: z.int().optional(),
  funding: z.string().optional(),
  country: z.string().optional(),
  holderName: z.string().optional(),
  email: z.string().optional().meta({ description: "masked" }),
  label: z.string().optional(),
  isDefault: z.boolean(),
  status: z.enum(paymentMethodStatuses),
  expiresSoon: z.boolean(),
  addedAt: z.iso.datetime(),
  failureCode: z.string().optional(),
});

/** The payload of a payment method's record; what is not known is absent. */
export function paymentMethodData(
  { provider, type, email, isDefault, addedAt, ...method }: ShownPaymentMethod,
  now: Date,
): z.infer<typeof paymentMethodDataSchema> {
  const { brand, last4, expMonth, expYear, funding, country, holderName, label, failureCode } = method;
  const known = { brand, last4, expMonth, expYear, funding, country, holderName, label, failureCode };
  return {
    provider,
    // Until the provider has answered, all that is known of a method is where it is.
    type: type ?? (provider === "paypal" ? "paypal" : "card"),
    ...Object.fromEntries(Object.entries(known).filter(([, value]) => value !== null)),
    ...(email === null ? {} : { email: maskedEmail(email) }),
    isDefault,
    status: statusAt(method, now),
    expiresSoon: expiresSoon(method, now),
    addedAt,
  };
}
