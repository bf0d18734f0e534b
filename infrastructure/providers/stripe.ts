import { createHash } from "node:crypto";
import type Stripe from "stripe";
import { type Owner, ownerKey } from "#domain/core/identifiers.js";
import { type OrgProviders, secretValue } from "../org-settings.js";
import {
  type AttachOutcome,
  type IncomingWebhook,
  type PaymentProvider,
  type ProviderMethod,
  WebhookRefused,
  type WebhookReport,
  webhookToleranceMs,
} from "./payment-provider.js";
import { createProviderCall, type ProviderCallOptions, ProviderFault, ProviderUnavailable } from "./provider-call.js";

export type StripeOptions = {
  /** Where Stripe is, when it is not api.stripe.com. */
  readonly apiBase?: string | undefined;
  readonly settings: NonNullable<OrgProviders["stripe"]>;
  readonly org: string;
  readonly onCall?: ProviderCallOptions["onCall"];
};

/** One try; a slower answer is as good as none, and the same call is made again under the same key. */
const timeoutMs = 8_000;
/** A setup intent does not expire at Stripe; we promise no more than a day. */
const setupIntentMs = 24 * 3_600_000;

/** Kinds of methods that can be saved and charged later. */
const supportedTypes: readonly string[] = ["card", "link", "paypal", "sepa_debit", "us_bank_account", "bacs_debit"];

/** What a customer may be told of a decline. That a card is reported lost or stolen is not told to who holds it. */
const safeDeclineCodes: readonly string[] = [
  "authentication_required",
  "card_not_supported",
  "card_velocity_exceeded",
  "currency_not_supported",
  "do_not_honor",
  "expired_card",
  "generic_decline",
  "incorrect_cvc",
  "incorrect_number",
  "incorrect_zip",
  "insufficient_funds",
  "invalid_account",
  "processing_error",
  "try_again_later",
  "withdrawal_count_limit_exceeded",
];

/** Stripe with the credentials of one org. */
export function stripeProvider({ apiBase, settings, org, onCall }: StripeOptions): PaymentProvider {
  const call = createProviderCall({ provider: "stripe", timeoutMs, onCall });
  let sdk: Promise<Stripe> | undefined;

  /** The SDK is heavy: it is loaded with the first call. Its own retries are off, ours have one policy for all. */
  const client = () => {
    sdk ??= import("stripe").then(({ default: Client }) => {
      const { protocol, hostname, port } = new URL(apiBase ?? "https://api.stripe.com");
      return new Client(secretValue(settings.secretKey), {
        protocol: protocol === "http:" ? "http" : "https",
        host: hostname,
        ...(port === "" ? {} : { port }),
        maxNetworkRetries: 0,
        timeout: timeoutMs,
        telemetry: false,
      });
    });
    return sdk;
  };

  function ask<Result>(work: (stripe: Stripe) => Promise<Result>): Promise<Result> {
    return call(async () => {
      try {
        return await work(await client());
      } catch (error) {
        throw translated(error);
      }
    });
  }

  /** The same, with null for a thing that is not there. */
  async function find<Result>(work: (stripe: Stripe) => Promise<Result>): Promise<Result | null> {
    try {
      return await ask(work);
    } catch (error) {
      if (error instanceof StripeRefusal && error.code === "resource_missing") return null;
      throw asFault(error);
    }
  }

  /** By metadata. The provider's index may be a minute old. */
  async function customersOf(owner: Owner): Promise<string[]> {
    const clauses = Object.entries(metadataOf(owner)).map(([name, value]) => `metadata['${name}']:'${quoted(value)}'`);
    const found = await ask((stripe) => stripe.customers.search({ query: clauses.join(" AND "), limit: 10 }));
    return found.data.map(({ id }) => id);
  }

  const findMethod = async (id: string): Promise<ProviderMethod | null> => {
    const found = await find((stripe) => stripe.paymentMethods.retrieve(id));
    return found && methodOf(found);
  };

  async function detach(id: string, key: string): Promise<void> {
    try {
      await ask((stripe) => stripe.paymentMethods.detach(id, {}, { idempotencyKey: `${key}-detach` }));
    } catch (error) {
      if (!(error instanceof StripeRefusal) || error.type !== "StripeInvalidRequestError") throw asFault(error);
      // Refused, but not said why in words for programs: it may be gone, or attached to nobody.
      const method = await findMethod(id);
      if (method !== null && method.providerCustomerId !== null) throw asFault(error);
    }
  }

  async function tryToAttach(token: string, customer: string, key: string): Promise<AttachOutcome> {
    try {
      const attached = await ask((stripe) =>
        stripe.paymentMethods.attach(token, { customer }, { idempotencyKey: `${key}-attach` }),
      );
      return { kind: "attached", method: methodOf(attached) };
    } catch (error) {
      if (!(error instanceof StripeRefusal)) throw error;
      if (error.type === "StripeCardError") return { kind: "declined", declineCode: error.declineCode };
      if (error.code === "resource_missing")
        return error.param === "customer" ? { kind: "no-customer" } : { kind: "unknown" };
      if (error.type !== "StripeInvalidRequestError") return { kind: "fault" };
    }
    // Attached already, to this customer or to another, or not of a kind that can be: the method itself tells.
    const method = await findMethod(token);
    if (method === null) return { kind: "unknown" };
    if (method.providerCustomerId === customer) return { kind: "attached", method };
    if (method.providerCustomerId !== null) return { kind: "elsewhere" };
    return supportedTypes.includes(method.type) ? { kind: "unknown" } : { kind: "not-supported" };
  }

  return {
    async customerOf(owner, lost = 0) {
      try {
        // The idempotency key holds for a day; what was made before that is found by its metadata.
        const [known] = await customersOf(owner);
        if (known !== undefined) return known;
        const metadata = metadataOf(owner);
        const made = await ask((stripe) =>
          stripe.customers.create({ metadata }, { idempotencyKey: `customer-${digestOf(ownerKey(owner))}-${lost}` }),
        );
        return made.id;
      } catch (error) {
        throw asFault(error);
      }
    },

    async attach(token, customer, key) {
      if (customer === null) throw new ProviderFault("stripe", "a method is attached to a customer");
      const outcome = await tryToAttach(token, customer, key);
      if (outcome.kind !== "attached" || supportedTypes.includes(outcome.method.type)) return outcome;
      await detach(outcome.method.providerMethodId, key);
      return { kind: "not-supported" };
    },

    detach,

    async updateExpiry(id, { expMonth, expYear }, key) {
      const card = { exp_month: expMonth, exp_year: expYear };
      await find((stripe) => stripe.paymentMethods.update(id, { card }, { idempotencyKey: `${key}-expiry` }));
    },

    async setupIntent(owner, customer, key) {
      if (customer === null) throw new ProviderFault("stripe", "a setup intent is of a customer");
      const metadata = metadataOf(owner);
      try {
        const made = await ask((stripe) =>
          stripe.setupIntents.create(
            { customer, usage: "off_session", automatic_payment_methods: { enabled: true }, metadata },
            { idempotencyKey: `${key}-setup` },
          ),
        );
        if (!made.client_secret) throw new ProviderFault("stripe", "a setup intent without a secret");
        // By its own time, so that a repeat is told the same.
        const expiresAt = new Date(made.created * 1_000 + setupIntentMs).toISOString();
        return { clientSecret: made.client_secret, expiresAt };
      } catch (error) {
        throw asFault(error);
      }
    },

    async forget(owner, { customers }) {
      try {
        // With a customer go the methods attached to it.
        for (const customer of new Set([...customers, ...(await customersOf(owner))])) {
          await find((stripe) => stripe.customers.del(customer));
        }
      } catch (error) {
        throw asFault(error);
      }
    },

    async webhook(incoming) {
      const event = await verified(await client(), incoming, secretValue(settings.webhookSecret));
      const subject = subjectOf(event);
      if (!subject) return null;
      const { id: eventId } = event;
      if ("customer" in subject) {
        const found = await find((stripe) => stripe.customers.retrieve(subject.customer.id));
        if (found && !found.deleted) return null;
        return { eventId, about: { lostCustomer: subject.customer.id }, ...ownerIn(subject.customer.metadata, org) };
      }
      const found = await findMethod(subject.method);
      const method = found?.providerCustomerId ? found : null;
      const about = { providerMethodId: subject.method, method };
      const customer = method?.providerCustomerId ?? subject.formerCustomer;
      if (!customer) return { eventId, about };
      const known = await find((stripe) => stripe.customers.retrieve(customer));
      return { eventId, about, ...(known && !known.deleted ? ownerIn(known.metadata, org) : {}) };
    },
  };
}

/** Stripe answered no. Its words stay here: they are written for programmers, and name what is in the account. */
class StripeRefusal extends Error {
  readonly declineCode: string;

  constructor(
    readonly type: string,
    readonly code: string,
    readonly param: string,
    declineCode: string,
  ) {
    super(`${type} ${code}`);
    this.name = "StripeRefusal";
    this.declineCode = safeDeclineCodes.includes(declineCode) ? declineCode : "generic_decline";
  }
}

type StripeErrorFields = Partial<Pick<Stripe.errors.StripeError, "statusCode" | "code" | "param">> & {
  readonly type?: string;
  readonly decline_code?: string;
  readonly headers?: Readonly<Record<string, string>>;
};

/** Connection errors, 5xx, 409 (the same key is at work) and 429 say nothing about what was done; all else is an answer. */
function translated(error: unknown): unknown {
  const { type = "", code = "", param = "", decline_code, statusCode, headers } = error as StripeErrorFields;
  if (!type.startsWith("Stripe")) return error;
  if (!["StripeConnectionError", "StripeAPIError", "StripeRateLimitError"].includes(type)) {
    return new StripeRefusal(type, code, param, decline_code ?? code);
  }
  const wait = Number(headers?.["retry-after"]);
  return new ProviderUnavailable("stripe", {
    cause: new Error(`${type} ${statusCode ?? ""}`),
    ...(wait > 0 ? { retryAfterSeconds: wait } : {}),
  });
}

function asFault(error: unknown): unknown {
  return error instanceof StripeRefusal ? new ProviderFault("stripe", error.message) : error;
}

function methodOf(method: Stripe.PaymentMethod): ProviderMethod {
  const { id, type, billing_details: billing, customer } = method;
  const details = (method as unknown as Readonly<Record<string, Readonly<Record<string, unknown>> | undefined>>)[type];
  const word = (name: string) => (typeof details?.[name] === "string" ? details[name] : undefined);
  const number = (name: string) => (typeof details?.[name] === "number" ? details[name] : undefined);
  return withoutAbsent({
    providerMethodId: id,
    providerCustomerId: typeof customer === "string" ? customer : (customer?.id ?? null),
    type,
    brand: word("brand") ?? word("bank_name"),
    last4: word("last4"),
    expMonth: number("exp_month"),
    expYear: number("exp_year"),
    funding: word("funding"),
    country: word("country"),
    fingerprint: word("fingerprint"),
    holderName: billing.name ?? undefined,
    email: billing.email ?? word("email"),
  });
}

type Loose<Fields> = {
  [Name in keyof Fields]: undefined extends Fields[Name] ? Fields[Name] | undefined : Fields[Name];
};

function withoutAbsent(method: Loose<ProviderMethod>): ProviderMethod {
  return Object.fromEntries(Object.entries(method).filter(([, value]) => value !== undefined)) as ProviderMethod;
}

/** Verifies over the raw bytes. The SDK bounds the age only, so what is dated ahead is refused here. */
async function verified(
  stripe: Stripe,
  { body, headers, now }: IncomingWebhook,
  secret: string,
): Promise<Stripe.Event> {
  const header = String(headers["stripe-signature"] ?? "");
  const dated = Number(/(?:^|,)t=(\d+)/.exec(header)?.[1] ?? Number.NaN) * 1_000;
  if (!(dated <= now.getTime() + webhookToleranceMs)) throw new WebhookRefused("dated ahead, or not at all");
  try {
    const seconds = webhookToleranceMs / 1_000;
    return stripe.webhooks.constructEvent(body, header, secret, seconds, undefined, now.getTime());
  } catch {
    // A wrong signature, an old one, or an event of another kind; its text has parts of the body in it.
    throw new WebhookRefused("the signature does not hold");
  }
}

type Subject =
  | { readonly method: string; readonly formerCustomer?: string }
  | { readonly customer: Pick<Stripe.Customer, "id" | "metadata"> };

/** What an event is about; undefined for one that does not concern us. */
function subjectOf(event: Stripe.Event): Subject | undefined {
  switch (event.type) {
    case "payment_method.attached":
    case "payment_method.updated":
    case "payment_method.automatically_updated":
      return { method: event.data.object.id };
    case "payment_method.detached": {
      const former = (event.data.previous_attributes as { customer?: unknown } | undefined)?.customer;
      return { method: event.data.object.id, ...(typeof former === "string" ? { formerCustomer: former } : {}) };
    }
    case "setup_intent.succeeded": {
      const { payment_method: method } = event.data.object;
      const id = typeof method === "string" ? method : method?.id;
      return id === undefined ? undefined : { method: id };
    }
    case "customer.deleted":
      return { customer: event.data.object };
    default:
      return undefined;
  }
}

/** Our customer, as its provider's one says it in its metadata. */
function ownerIn(metadata: Stripe.Metadata, org: string): { owner?: Owner } {
  const { orgId, customerId } = metadata;
  return orgId === org && customerId ? { owner: { org, customer: customerId } } : {};
}

function metadataOf({ org, customer }: Owner) {
  return { orgId: org, customerId: customer };
}

/** A value inside the quotes of Stripe's search language. */
function quoted(value: string): string {
  return value.replace(/[\\']/g, "\\$&");
}

function digestOf(text: string): string {
  return createHash("sha256").update(text).digest("hex").slice(0, 40);
}
