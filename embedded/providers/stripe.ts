import { createHash, createHmac } from "node:crypto";
import type { HttpStandIn, WireAnswer, WireRequest } from "./stand-in.js";
import { keepState } from "./state.js";
import { emptyAccount, happened, methodObject, newId, type StripeAccount, seconds } from "./stripe-account.js";
import { testMethod } from "./stripe-cards.js";
import { type Call, type Endpoint, endpoints, makeMethod, methodOf, Refused } from "./stripe-endpoints.js";
import { parseForm } from "./stripe-form.js";

const idempotencyKeptSeconds = 24 * 3_600;

/**
 * Stripe's API as far as saved payment methods go: form encoding in, Stripe's JSON out, one account per secret key,
 * idempotency keys, test methods, and webhooks on demand.
 */
export function stripeStandIn(stateFile?: string): HttpStandIn {
  const state = keepState<{ accounts: Record<string, StripeAccount> }>(stateFile, () => ({ accounts: {} }));

  function accountOf(key: string): StripeAccount {
    state.value.accounts[key] ??= emptyAccount();
    return state.value.accounts[key];
  }

  function handle(request: WireRequest): WireAnswer {
    const headers = { "request-id": newId("req") };
    try {
      const key = keyOf(request);
      const account = accountOf(key);
      const endpoint = endpoints.find(({ method, path }) => method === request.method && path.test(request.path));
      if (!endpoint) {
        const message = `Unrecognized request URL (${request.method}: ${request.path}).`;
        throw new Refused(404, { type: "invalid_request_error", message });
      }
      const form = parseForm(request.method === "GET" ? request.query.toString() : request.body.toString("utf8"));
      const [, id = ""] = endpoint.path.exec(request.path) ?? [];
      const answer = () => execute(endpoint, { key, account, query: request.query, form }, decodeURIComponent(id));
      const { status, body, replayed } = request.method === "POST" ? once(account, request, answer) : answer();
      return { status, body, headers: { ...headers, ...(replayed ? { "idempotent-replayed": "true" } : {}) } };
    } catch (error) {
      if (!(error instanceof Refused)) throw error;
      return { status: error.status, body: { error: error.error }, headers };
    } finally {
      if (request.method !== "GET") state.save();
    }
  }

  return {
    name: "stripe",
    mount: "",
    handle,
    actions: {
      /** `{apiKey?, card?: {brand, last4, exp_month, …}, billing_details?, customer?}`: what a page makes by Stripe.js. */
      "payment-method": (asked) => {
        const { apiKey = "sk_test_local", card = {}, billing_details = {} } = asked as Asked;
        const account = accountOf(apiKey);
        const visa = testMethod("pm_card_visa")?.details;
        const method = makeMethod(apiKey, account, "card", { ...visa, ...card }, { billing_details });
        state.save();
        return methodObject(method);
      },
      /** `{apiKey?, id, card}`: the bank changed the card, as networks tell Stripe of it. */
      "update-card": (asked) => {
        const { apiKey = "sk_test_local", id = "", card } = asked as Asked;
        const account = accountOf(apiKey);
        const method = methodOf(account, id);
        const previous = { card: { ...method.details } };
        method.details = { ...method.details, ...card };
        happened(account, "payment_method.automatically_updated", methodObject(method), previous);
        state.save();
        return methodObject(method);
      },
      /** `{apiKey?}`: every event so far, oldest first. */
      events: (asked) => ({ events: accountOf((asked as Asked).apiKey ?? "sk_test_local").events }),
      /** `{apiKey?}`: customers and payment methods as they are. */
      objects: (asked) => {
        const { customers, deletedCustomers, methods } = accountOf((asked as Asked).apiKey ?? "sk_test_local");
        return { customers: Object.values(customers), deletedCustomers, methods: Object.values(methods) };
      },
      /**
       * Delivers a webhook: `{url, eventId}` one that happened, `{url, type, object, previous_attributes?}` one made up.
       * `times` repeats it, `ageSeconds` dates it back (or forward), `secret` and `tamper` make the signature wrong.
       */
      webhook: async (asked) => {
        const { apiKey = "sk_test_local", url = "", eventId, times = 1, ageSeconds = 0, tamper } = asked as Asked;
        const { secret = "whsec_local", type, object, previous_attributes } = asked as Asked;
        const known = accountOf(apiKey).events.find(({ id }) => id === eventId);
        const data = { object, ...(previous_attributes ? { previous_attributes } : {}) };
        const event = known ?? { id: eventId ?? newId("evt"), created: seconds(), type, data };
        const payload = JSON.stringify({
          object: "event",
          api_version: "2026-10-28.endive",
          livemode: false,
          ...event,
        });
        const t = seconds() - ageSeconds;
        const v1 = createHmac("sha256", secret).update(`${t}.${payload}`).digest("hex");
        const answers: number[] = [];
        for (let sent = 0; sent < times; sent++) {
          const answered = await fetch(url, {
            method: "POST",
            headers: { "content-type": "application/json; charset=utf-8", "stripe-signature": `t=${t},v1=${v1}` },
            body: tamper ? payload.replace("{", "{ ") : payload,
          });
          await answered.arrayBuffer();
          answers.push(answered.status);
        }
        return { eventId: event.id, answers };
      },
    },
  };
}

type Asked = {
  apiKey?: string;
  id?: string;
  card?: object;
  billing_details?: object;
  url?: string;
  eventId?: string;
  times?: number;
  ageSeconds?: number;
  tamper?: boolean;
  secret?: string;
  type?: string;
  object?: object;
  previous_attributes?: object;
};

type Executed = { readonly status: number; readonly body: object; readonly replayed?: boolean };

function keyOf({ headers }: WireRequest): string {
  const [, key] = /^Bearer (sk_test_[A-Za-z0-9_]+)$/.exec(String(headers.authorization ?? "")) ?? [];
  if (key !== undefined) return key;
  throw new Refused(401, { type: "invalid_request_error", message: "Invalid API Key provided." });
}

function execute({ takes, answer }: Endpoint, call: Call, id: string): Executed {
  for (const name of Object.keys(call.form)) {
    if (takes.includes(name)) continue;
    const message = `Received unknown parameter: ${name}`;
    throw new Refused(400, { type: "invalid_request_error", code: "parameter_unknown", param: name, message });
  }
  return { status: 200, body: answer(call, id) };
}

/** Stripe's idempotency: the first answer again for the same request, a refusal for another under the same key. */
function once(account: StripeAccount, request: WireRequest, execute: () => Executed): Executed {
  const key = request.headers["idempotency-key"];
  if (typeof key !== "string") return execute();
  for (const [known, { at }] of Object.entries(account.answers)) {
    if (at < seconds() - idempotencyKeptSeconds) delete account.answers[known];
  }
  const digest = createHash("sha256").update(`${request.method} ${request.path}\n`).update(request.body).digest("hex");
  const earlier = Object.hasOwn(account.answers, key) ? account.answers[key] : undefined;
  if (earlier) {
    if (earlier.request !== digest) {
      const message = `Keys for idempotent requests can only be used with the same parameters they were first used with.`;
      throw new Refused(400, { type: "idempotency_error", message });
    }
    return { status: earlier.status, body: earlier.body, replayed: true };
  }
  const keep = (status: number, body: object) => {
    account.answers[key] = { request: digest, at: seconds(), status, body };
    return { status, body };
  };
  try {
    const { status, body } = execute();
    return keep(status, body);
  } catch (error) {
    // What was refused before anything was tried may be sent again under the same key.
    if (!(error instanceof Refused) || error.error.code === "parameter_unknown") throw error;
    return keep(error.status, { error: error.error });
  }
}
