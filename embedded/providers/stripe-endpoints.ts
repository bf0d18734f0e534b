import {
  customerObject,
  fingerprintOf,
  happened,
  methodObject,
  newId,
  page,
  type StripeAccount,
  type StripeMethod,
  seconds,
  setupIntentObject,
} from "./stripe-account.js";
import { declineOf, testMethod } from "./stripe-cards.js";
import type { Form, FormValue } from "./stripe-form.js";

/** A refusal in Stripe's words. */
export class Refused extends Error {
  constructor(
    readonly status: number,
    readonly error: Readonly<Record<string, unknown>>,
  ) {
    super(String(error.message));
  }
}

export type Call = {
  readonly key: string;
  readonly account: StripeAccount;
  readonly query: URLSearchParams;
  readonly form: Form;
};
export type Endpoint = {
  readonly method: string;
  readonly path: RegExp;
  /** Top-level parameters it knows; any other is refused, as Stripe does. */
  readonly takes: readonly string[];
  readonly answer: (call: Call, id: string) => object;
};

const listing = ["limit", "starting_after", "ending_before", "expand"];

/** What of Stripe's API there is. */
export const endpoints: readonly Endpoint[] = [
  {
    method: "POST",
    path: /^\/v1\/customers$/,
    takes: ["name", "email", "description", "metadata"],
    answer: ({ account, form }) => {
      const customer = {
        id: newId("cus"),
        created: seconds(),
        ...{ name: textOf(form.name), email: textOf(form.email), description: textOf(form.description) },
        metadata: metadataOf(form.metadata),
        invoice_settings: { default_payment_method: null },
      };
      account.customers[customer.id] = customer;
      happened(account, "customer.created", customerObject(customer));
      return customerObject(customer);
    },
  },
  {
    method: "GET",
    path: /^\/v1\/customers$/,
    takes: [...listing, "email", "created"],
    answer: ({ account, query }) => {
      const email = query.get("email");
      const found = Object.values(account.customers).filter((customer) => email === null || customer.email === email);
      return page(found, query, "/v1/customers", customerObject);
    },
  },
  {
    method: "GET",
    path: /^\/v1\/customers\/search$/,
    takes: ["query", "limit", "page", "expand"],
    answer: ({ account, query }) => {
      // Only what is asked of it: metadata members that must all be equal.
      const clauses = [...(query.get("query") ?? "").matchAll(/metadata\['(\w+)'\]:'((?:[^'\\]|\\.)*)'/g)];
      const found = Object.values(account.customers).filter(({ metadata }) =>
        clauses.every(([, name = "", value = ""]) => metadata[name] === value.replace(/\\(.)/g, "$1")),
      );
      const data = found.map(customerObject);
      return { object: "search_result", url: "/v1/customers/search", has_more: false, next_page: null, data };
    },
  },
  {
    method: "GET",
    path: /^\/v1\/customers\/([^/]+)$/,
    takes: ["expand"],
    answer: ({ account }, id) => {
      if (account.deletedCustomers.includes(id)) return { id, object: "customer", deleted: true };
      return customerObject(customerOf(account, id));
    },
  },
  {
    method: "POST",
    path: /^\/v1\/customers\/([^/]+)$/,
    takes: ["name", "email", "description", "metadata", "invoice_settings"],
    answer: ({ account, form }, id) => {
      const customer = customerOf(account, id);
      for (const name of ["name", "email", "description"] as const) {
        if (form[name] !== undefined) customer[name] = textOf(form[name]);
      }
      customer.metadata = { ...customer.metadata, ...metadataOf(form.metadata) };
      const settings = form.invoice_settings as Form | undefined;
      if (settings?.default_payment_method !== undefined) {
        const chosen = textOf(settings.default_payment_method);
        if (chosen !== null && methodOf(account, chosen).customer !== id) throw noSuch("payment_method", chosen);
        customer.invoice_settings = { default_payment_method: chosen };
      }
      happened(account, "customer.updated", customerObject(customer));
      return customerObject(customer);
    },
  },
  {
    method: "DELETE",
    path: /^\/v1\/customers\/([^/]+)$/,
    takes: [],
    answer: ({ account }, id) => {
      const customer = customerOf(account, id);
      delete account.customers[id];
      account.deletedCustomers.push(id);
      for (const method of Object.values(account.methods)) {
        if (method.customer === id) Object.assign(method, { customer: null, detached: true });
      }
      happened(account, "customer.deleted", customerObject(customer));
      return { id, object: "customer", deleted: true };
    },
  },
  {
    method: "GET",
    path: /^\/v1\/customers\/([^/]+)\/payment_methods$/,
    takes: [...listing, "type"],
    answer: ({ account, query }, id) => {
      customerOf(account, id);
      const url = `/v1/customers/${id}/payment_methods`;
      return page(methodsOf(account, id, query.get("type")), query, url, methodObject);
    },
  },
  {
    method: "POST",
    path: /^\/v1\/payment_methods$/,
    takes: ["type", "card", "billing_details", "metadata"],
    answer: ({ key, account, form }) => {
      const test = testMethod(textOf((form.card as Form | undefined)?.token) ?? "");
      if (!test) throw invalid("payment_method_data", "card", "Only test tokens such as tok_visa are known here.");
      const billing = form.billing_details as Form | undefined;
      return methodObject(
        makeMethod(key, account, test.type, test.details, {
          billing_details: {
            name: textOf(billing?.name),
            email: textOf(billing?.email),
            phone: textOf(billing?.phone),
          },
          metadata: metadataOf(form.metadata),
        }),
      );
    },
  },
  {
    method: "GET",
    path: /^\/v1\/payment_methods$/,
    takes: [...listing, "customer", "type"],
    answer: ({ account, query }) => {
      const customer = query.get("customer");
      // Without a customer Stripe lists what belongs to the account itself: nothing here.
      const found =
        customer === null ? [] : methodsOf(account, customerOf(account, customer, 400).id, query.get("type"));
      return page(found, query, "/v1/payment_methods", methodObject);
    },
  },
  {
    method: "GET",
    path: /^\/v1\/payment_methods\/([^/]+)$/,
    takes: ["expand"],
    answer: ({ key, account }, id) => methodObject(usableMethod(key, account, id)),
  },
  {
    method: "POST",
    path: /^\/v1\/payment_methods\/([^/]+)$/,
    takes: ["card", "billing_details", "metadata"],
    answer: ({ account, form }, id) => {
      const method = methodOf(account, id);
      if (method.customer === null) {
        throw invalid("", "", "You must save this PaymentMethod to a customer before you can update it.");
      }
      const previous = { card: { ...method.details } };
      const { exp_month, exp_year } = (form.card ?? {}) as Form;
      if (exp_month !== undefined) method.details = { ...method.details, exp_month: Number(exp_month) };
      if (exp_year !== undefined) method.details = { ...method.details, exp_year: Number(exp_year) };
      method.metadata = { ...method.metadata, ...metadataOf(form.metadata) };
      happened(account, "payment_method.updated", methodObject(method), previous);
      return methodObject(method);
    },
  },
  {
    method: "POST",
    path: /^\/v1\/payment_methods\/([^/]+)\/attach$/,
    takes: ["customer"],
    answer: ({ key, account, form }, id) => {
      const customer = customerOf(account, textOf(form.customer) ?? "", 400);
      const method = usableMethod(key, account, id);
      attach(account, method, customer.id);
      return methodObject(method);
    },
  },
  {
    method: "POST",
    path: /^\/v1\/payment_methods\/([^/]+)\/detach$/,
    takes: [],
    answer: ({ account }, id) => {
      const method = methodOf(account, id);
      const { customer } = method;
      if (customer === null) {
        const message = "The payment method you provided is not attached to a customer so detachment is impossible.";
        throw invalid("", "", message);
      }
      method.customer = null;
      method.detached = true;
      const settings = account.customers[customer]?.invoice_settings;
      if (settings?.default_payment_method === id) settings.default_payment_method = null;
      happened(account, "payment_method.detached", methodObject(method), { customer });
      return methodObject(method);
    },
  },
  {
    method: "POST",
    path: /^\/v1\/setup_intents$/,
    takes: ["customer", "usage", "payment_method", "automatic_payment_methods", "metadata"],
    answer: ({ key, account, form }) => {
      const customer = textOf(form.customer);
      const chosen = textOf(form.payment_method);
      const id = newId("seti");
      const method = chosen === null ? null : usableMethod(key, account, chosen).id;
      const intent = {
        ...{ id, created: seconds(), client_secret: `${id}_secret_${newId("x").slice(3)}` },
        ...{ usage: textOf(form.usage) ?? "off_session", payment_method_types: ["card", "link"] },
        customer: customer === null ? null : customerOf(account, customer, 400).id,
        payment_method: method,
        status: method === null ? "requires_payment_method" : "requires_confirmation",
        metadata: metadataOf(form.metadata),
      };
      account.setupIntents[id] = intent;
      happened(account, "setup_intent.created", setupIntentObject(intent));
      return setupIntentObject(intent);
    },
  },
  {
    method: "GET",
    path: /^\/v1\/setup_intents\/([^/]+)$/,
    takes: ["expand", "client_secret"],
    answer: ({ account }, id) => setupIntentObject(setupIntentOf(account, id)),
  },
  {
    method: "POST",
    path: /^\/v1\/setup_intents\/([^/]+)\/confirm$/,
    takes: ["payment_method", "return_url", "client_secret"],
    answer: ({ key, account, form }, id) => {
      const intent = setupIntentOf(account, id);
      const method = usableMethod(key, account, textOf(form.payment_method) ?? intent.payment_method ?? "");
      // A confirmed intent of a customer attaches its method to that customer.
      if (intent.customer !== null && method.customer !== intent.customer) attach(account, method, intent.customer);
      intent.payment_method = method.id;
      intent.status = "succeeded";
      happened(account, "setup_intent.succeeded", setupIntentObject(intent));
      return setupIntentObject(intent);
    },
  },
];

function attach(account: StripeAccount, method: StripeMethod, customer: string): void {
  if (method.customer !== null) {
    throw invalid("", "", "The payment method you provided has already been attached to a customer.");
  }
  if (method.detached) {
    const message = "This PaymentMethod was previously used without being attached to a Customer or was detached.";
    throw invalid("", "", message);
  }
  const decline = method.type === "card" ? declineOf(method.details.last4) : undefined;
  if (decline) {
    throw new Refused(402, { type: "card_error", message: "Your card was declined.", param: "", ...decline });
  }
  if (method.type === "alipay") {
    throw invalid("", "type", "This payment method type cannot be attached to a customer.");
  }
  method.customer = customer;
  if (method.type === "card") method.details = { ...method.details, checks: { cvc_check: "pass" } };
  happened(account, "payment_method.attached", methodObject(method));
}

/** A payment method by its id, or a new one where the id is the name of a test method. */
function usableMethod(key: string, account: StripeAccount, id: string): StripeMethod {
  const test = testMethod(id);
  return test ? makeMethod(key, account, test.type, test.details, {}) : methodOf(account, id);
}

/** Makes a payment method that belongs to nobody yet. */
export function makeMethod(
  key: string,
  account: StripeAccount,
  type: string,
  details: Readonly<Record<string, unknown>>,
  more: { billing_details?: object; metadata?: Record<string, string> },
): StripeMethod {
  const method: StripeMethod = {
    ...{ id: newId("pm"), type, created: seconds(), customer: null, detached: false },
    metadata: more.metadata ?? {},
    billing_details: { name: null, email: null, phone: null, ...more.billing_details },
    details: type === "alipay" ? { ...details } : { fingerprint: fingerprintOf(key, type, details), ...details },
  };
  account.methods[method.id] = method;
  return method;
}

function customerOf(account: StripeAccount, id: string, status: 400 | 404 = 404) {
  const found = Object.hasOwn(account.customers, id) ? account.customers[id] : undefined;
  if (!found) throw noSuch("customer", id, status);
  return found;
}

/** @throws Refused 404 `resource_missing` */
export function methodOf(account: StripeAccount, id: string): StripeMethod {
  const found = Object.hasOwn(account.methods, id) ? account.methods[id] : undefined;
  if (!found) throw noSuch("payment_method", id);
  return found;
}

function methodsOf(account: StripeAccount, customer: string, type: string | null): StripeMethod[] {
  return Object.values(account.methods).filter(
    (method) => method.customer === customer && (type === null || method.type === type),
  );
}

function setupIntentOf(account: StripeAccount, id: string) {
  const found = Object.hasOwn(account.setupIntents, id) ? account.setupIntents[id] : undefined;
  if (!found) throw noSuch("setup_intent", id);
  return found;
}

/** 404 where the path names it, 400 where a parameter does. */
function noSuch(what: string, id: string, status: 400 | 404 = 404): Refused {
  const shown = what === "payment_method" ? "PaymentMethod" : what;
  const message = `No such ${shown}: '${id}'`;
  return new Refused(status, {
    ...{ type: "invalid_request_error", code: "resource_missing", param: what, message },
  });
}

function invalid(code: string, param: string, message: string): Refused {
  return new Refused(400, {
    ...{ type: "invalid_request_error", message },
    ...(code === "" ? {} : { code }),
    ...(param === "" ? {} : { param }),
  });
}

function textOf(value: FormValue | undefined): string | null {
  return typeof value === "string" && value !== "" ? value : null;
}

function metadataOf(value: FormValue | undefined): Record<string, string> {
  if (typeof value !== "object" || Array.isArray(value)) return {};
  return Object.fromEntries(
    Object.entries(value).flatMap(([name, inner]) => (typeof inner === "string" ? [[name, inner]] : [])),
  );
}
