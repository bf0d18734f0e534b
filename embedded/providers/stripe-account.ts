import { createHash, randomBytes } from "node:crypto";

export type StripeCustomer = {
  readonly id: string;
  readonly created: number;
  name: string | null;
  email: string | null;
  description: string | null;
  metadata: Record<string, string>;
  invoice_settings: { default_payment_method: string | null };
};

export type StripeMethod = {
  readonly id: string;
  readonly type: string;
  readonly created: number;
  customer: string | null;
  /** It belonged to a customer once: it can never be attached again. */
  detached: boolean;
  billing_details: { name: string | null; email: string | null; phone: string | null };
  metadata: Record<string, string>;
  /** The member named after the type: `card`, `us_bank_account`. */
  details: Record<string, unknown>;
};

export type StripeSetupIntent = {
  readonly id: string;
  readonly created: number;
  readonly client_secret: string;
  readonly usage: string;
  readonly payment_method_types: readonly string[];
  customer: string | null;
  payment_method: string | null;
  status: string;
  metadata: Record<string, string>;
};

/** A webhook event with its object as it was at that moment. */
export type StripeEvent = {
  readonly id: string;
  readonly created: number;
  readonly type: string;
  readonly data: object;
};

/** What was answered under an idempotency key. */
export type StripeAnswer = {
  readonly request: string;
  readonly at: number;
  readonly status: number;
  readonly body: object;
};

/** Everything one account (one secret key) has; lists keep the order things came in. */
export type StripeAccount = {
  readonly customers: Record<string, StripeCustomer>;
  readonly deletedCustomers: string[];
  readonly methods: Record<string, StripeMethod>;
  readonly setupIntents: Record<string, StripeSetupIntent>;
  readonly answers: Record<string, StripeAnswer>;
  events: StripeEvent[];
};

export function emptyAccount(): StripeAccount {
  return { customers: {}, deletedCustomers: [], methods: {}, setupIntents: {}, answers: {}, events: [] };
}

const eventsKept = 1_000;
const letters = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";

/** An id as Stripe makes them: `pm_1Nv0…`. */
export function newId(prefix: string): string {
  return `${prefix}_1${[...randomBytes(23)].map((byte) => letters[byte % letters.length]).join("")}`;
}

export function seconds(): number {
  return Math.floor(Date.now() / 1_000);
}

/** The same card has the same fingerprint within an account, whatever payment method it stands in. */
export function fingerprintOf(account: string, type: string, details: Readonly<Record<string, unknown>>): string {
  const { brand, last4, bank_name, routing_number } = details;
  const text = JSON.stringify([account, type, brand, last4, bank_name, routing_number]);
  return createHash("sha256").update(text).digest("base64url").replace(/[-_]/g, "x").slice(0, 16);
}

/** Notes that something happened, for webhooks. */
export function happened(account: StripeAccount, type: string, object: object, previous?: object): void {
  const data = previous === undefined ? { object } : { object, previous_attributes: previous };
  account.events = [...account.events.slice(1 - eventsKept), { id: newId("evt"), created: seconds(), type, data }];
}

export function customerObject(customer: StripeCustomer): object {
  return { object: "customer", livemode: false, ...customer };
}

export function methodObject({ details, detached: _, ...method }: StripeMethod): object {
  return { object: "payment_method", livemode: false, ...method, [method.type]: details };
}

export function setupIntentObject(intent: StripeSetupIntent): object {
  return { object: "setup_intent", livemode: false, ...intent };
}

/** One page of a list, newest first. */
export function page<Item extends { readonly id: string }>(
  items: readonly Item[],
  query: URLSearchParams,
  url: string,
  show: (item: Item) => object,
): object {
  const limit = Math.min(100, Math.max(1, Number(query.get("limit") ?? 10)));
  const newestFirst = [...items].reverse();
  const after = query.get("starting_after");
  const before = query.get("ending_before");
  const start = after === null ? 0 : newestFirst.findIndex(({ id }) => id === after) + 1;
  const end = before === null ? newestFirst.length : newestFirst.findIndex(({ id }) => id === before);
  const rest = newestFirst.slice(start, end);
  const shown = before === null ? rest.slice(0, limit) : rest.slice(-limit);
  return { object: "list", url, has_more: rest.length > shown.length, data: shown.map(show) };
}
