import { createHash, createHmac, randomBytes } from "node:crypto";
import type { HttpStandIn, WireAnswer, WireRequest } from "./stand-in.js";
import { keepState } from "./state.js";

type Payer = { readonly email: string; readonly payerId: string; readonly name: string; readonly country: string };
type SetupToken = { readonly id: string; status: string; payer: Payer | null; readonly declined?: boolean };
type PaymentToken = { readonly id: string; readonly customerId: string; readonly payer: Payer };
type Agreement = { readonly id: string; state: "ACTIVE" | "CANCELLED"; readonly payer: Payer };
type State = {
  setupTokens: Record<string, SetupToken>;
  paymentTokens: Record<string, PaymentToken>;
  agreements: Record<string, Agreement>;
  answers: Record<string, { readonly status: number; readonly body?: object }>;
  accessTokens: Record<string, number>;
};

/** A refusal in PayPal's words. */
class Refused extends Error {
  constructor(
    readonly status: number,
    readonly problem: string,
    readonly issue?: string,
  ) {
    super(issue ?? problem);
  }
}

const tokenSeconds = 32_400;
const someone: Payer = { email: "buyer@example.com", payerId: "TESTPAYER0001", name: "Bo Buyer", country: "US" };

/**
 * Tokens that are approved already, as a page would bring them: one payer each. `…-declined` is refused when it is
 * turned into a payment token.
 */
const testTokens: Readonly<Record<string, SetupToken>> = {
  "TEST-APPROVED": { id: "TEST-APPROVED", status: "APPROVED", payer: someone },
  "TEST-APPROVED-2": {
    ...{ id: "TEST-APPROVED-2", status: "APPROVED" },
    payer: { email: "second@example.com", payerId: "TESTPAYER0002", name: "Sam Second", country: "DE" },
  },
  "TEST-DECLINED": { id: "TEST-DECLINED", status: "APPROVED", payer: someone, declined: true },
  "BA-TESTAPPROVED": { id: "BA-TESTAPPROVED", status: "APPROVED", payer: { ...someone, payerId: "TESTPAYER0003" } },
};

/** PayPal's API as far as saved wallets go: access tokens, the vault (v3), billing agreements, webhook signatures. */
export function paypalStandIn(stateFile?: string): HttpStandIn {
  const state = keepState<State>(stateFile, () => {
    return { setupTokens: {}, paymentTokens: {}, agreements: {}, answers: {}, accessTokens: {} };
  });
  const { value } = state;

  function handle(request: WireRequest): WireAnswer {
    const headers = { "paypal-debug-id": randomBytes(7).toString("hex") };
    try {
      if (request.path === "/v1/oauth2/token") return { ...accessToken(request), headers };
      authorise(request);
      const { status, body } = request.method === "POST" ? once(request) : route(request);
      return { status, headers, ...(body === undefined ? {} : { body }) };
    } catch (error) {
      if (!(error instanceof Refused)) throw error;
      const { status, problem, issue } = error;
      const details = issue === undefined ? [] : [{ issue, description: issue }];
      return {
        status,
        headers,
        body: { name: problem, message: problem, debug_id: headers["paypal-debug-id"], details },
      };
    } finally {
      if (request.method !== "GET") state.save();
    }
  }

  function accessToken({ headers, body, method }: WireRequest): WireAnswer {
    const [, credentials = ""] = /^Basic (.+)$/.exec(String(headers.authorization ?? "")) ?? [];
    const [id = "", secret = ""] = Buffer.from(credentials, "base64").toString("utf8").split(":");
    const asked = new URLSearchParams(body.toString("utf8")).get("grant_type");
    if (method !== "POST" || asked !== "client_credentials")
      return { status: 400, body: { error: "unsupported_grant_type" } };
    if (id === "" || secret === "") return { status: 401, body: { error: "invalid_client" } };
    const token = `A21AA${randomBytes(24).toString("base64url")}`;
    value.accessTokens[token] = Date.now() + tokenSeconds * 1_000;
    return { status: 200, body: { access_token: token, token_type: "Bearer", expires_in: tokenSeconds } };
  }

  function authorise({ headers }: WireRequest): void {
    const [, token = ""] = /^Bearer (.+)$/.exec(String(headers.authorization ?? "")) ?? [];
    const until = Object.hasOwn(value.accessTokens, token) ? (value.accessTokens[token] ?? 0) : 0;
    if (until < Date.now()) throw new Refused(401, "AUTHENTICATION_FAILURE");
  }

  /** PayPal's idempotency: the first success again under the same request id. */
  function once(request: WireRequest): WireAnswer {
    const id = request.headers["paypal-request-id"];
    if (typeof id !== "string") return route(request);
    const key = `${request.path} ${id}`;
    const earlier = Object.hasOwn(value.answers, key) ? value.answers[key] : undefined;
    if (earlier) return earlier;
    const answer = route(request) as { status: number; body?: object };
    value.answers[key] = answer;
    return answer;
  }

  function route({ method, path, query, body }: WireRequest): WireAnswer {
    const [, resource = "", id = "", action = ""] =
      /^\/v\d\/(vault\/setup-tokens|vault\/payment-tokens|billing-agreements\/agreements|notifications)(?:\/([^/]+))?(?:\/([^/]+))?$/.exec(
        path,
      ) ?? [];
    const json = method === "POST" && body.length > 0 ? (JSON.parse(body.toString("utf8")) as any) : {};
    switch (`${method} ${resource}${id === "" ? "" : "/id"}${action === "" ? "" : `/${action}`}`) {
      case "POST vault/setup-tokens": {
        const made = newId();
        value.setupTokens[made] = { id: made, status: "PAYER_ACTION_REQUIRED", payer: null };
        const approve = {
          href: `https://www.sandbox.paypal.com/agreements/approve?approval_session_id=${made}`,
          rel: "approve",
        };
        return { status: 201, body: { id: made, status: "PAYER_ACTION_REQUIRED", links: [approve] } };
      }
      case "GET vault/setup-tokens/id": {
        const { status } = setupToken(id);
        return { status: 200, body: { id, status } };
      }
      case "POST vault/payment-tokens": {
        const source = json.payment_source?.token;
        if (source?.type !== "SETUP_TOKEN") throw new Refused(400, "INVALID_REQUEST", "INVALID_PARAMETER_VALUE");
        const token = setupToken(String(source.id));
        const { payer } = token;
        if (token.status === "VAULTED") throw new Refused(422, "UNPROCESSABLE_ENTITY", "TOKEN_ALREADY_VAULTED");
        if (payer === null) throw new Refused(422, "UNPROCESSABLE_ENTITY", "PAYER_ACTION_REQUIRED");
        if (token.declined) throw new Refused(422, "UNPROCESSABLE_ENTITY", "INSTRUMENT_DECLINED");
        if (!Object.hasOwn(testTokens, token.id)) token.status = "VAULTED";
        const made = { id: newId().toLowerCase(), customerId: `cust_${newId().slice(0, 10)}`, payer };
        value.paymentTokens[made.id] = made;
        return { status: 201, body: paymentTokenObject(made) };
      }
      case "GET vault/payment-tokens": {
        const customer = query.get("customer_id");
        const found = Object.values(value.paymentTokens).filter(({ customerId }) => customerId === customer);
        return { status: 200, body: { payment_tokens: found.map(paymentTokenObject) } };
      }
      case "GET vault/payment-tokens/id": {
        const found = Object.hasOwn(value.paymentTokens, id) ? value.paymentTokens[id] : undefined;
        if (!found) throw new Refused(404, "RESOURCE_NOT_FOUND", "TOKEN_NOT_FOUND");
        return { status: 200, body: paymentTokenObject(found) };
      }
      case "DELETE vault/payment-tokens/id":
        delete value.paymentTokens[id]; // PayPal answers 204 for one that is gone already
        return { status: 204 };
      case "POST billing-agreements/agreements": {
        const token = setupToken(String(json.token_id));
        const { payer } = token;
        if (token.status === "VAULTED" || payer === null) throw new Refused(400, "INVALID_TOKEN", "BA_TOKEN_INVALID");
        if (!Object.hasOwn(testTokens, token.id)) token.status = "VAULTED";
        const made: Agreement = { id: `B-${newId()}`, state: "ACTIVE", payer };
        value.agreements[made.id] = made;
        return { status: 201, body: agreementObject(made) };
      }
      case "GET billing-agreements/agreements/id":
        return { status: 200, body: agreementObject(agreement(id)) };
      case "POST billing-agreements/agreements/id/cancel": {
        const found = agreement(id);
        if (found.state === "CANCELLED")
          throw new Refused(400, "INVALID_BILLING_AGREEMENT", "AGREEMENT_ALREADY_CANCELLED");
        found.state = "CANCELLED";
        return { status: 204 };
      }
      case "POST notifications/id": {
        if (id !== "verify-webhook-signature") break;
        const expected = signature(
          json.transmission_id,
          json.transmission_time,
          json.webhook_id,
          JSON.stringify(json.webhook_event),
        );
        const holds = json.transmission_sig === expected && json.auth_algo === "SHA256withRSA";
        return { status: 200, body: { verification_status: holds ? "SUCCESS" : "FAILURE" } };
      }
    }
    throw new Refused(404, "RESOURCE_NOT_FOUND");
  }

  function setupToken(id: string): SetupToken {
    const found = Object.hasOwn(value.setupTokens, id) ? value.setupTokens[id] : testTokens[id];
    if (!found) throw new Refused(404, "RESOURCE_NOT_FOUND", "TOKEN_NOT_FOUND");
    return found;
  }

  function agreement(id: string): Agreement {
    const found = Object.hasOwn(value.agreements, id) ? value.agreements[id] : undefined;
    if (!found) throw new Refused(404, "RESOURCE_NOT_FOUND", "INVALID_RESOURCE_ID");
    return found;
  }

  return {
    name: "paypal",
    mount: "/paypal",
    handle,
    actions: {
      /** `{id?, email?, payerId?, name?}`: the payer approves a setup token, or one is made that is approved already. */
      approve: (asked) => {
        const { id = newId(), email, payerId, name } = asked as Partial<Payer> & { id?: string };
        const payer = {
          ...someone,
          email: email ?? someone.email,
          payerId: payerId ?? newId(),
          name: name ?? someone.name,
        };
        value.setupTokens[id] = { id, status: "APPROVED", payer };
        state.save();
        return { id };
      },
      objects: () => ({
        paymentTokens: Object.values(value.paymentTokens),
        agreements: Object.values(value.agreements),
      }),
      /** The payer takes a saved wallet back, at PayPal. */
      revoke: (asked) => {
        const { id = "" } = asked as { id?: string };
        delete value.paymentTokens[id];
        const held = Object.hasOwn(value.agreements, id) ? value.agreements[id] : undefined;
        if (held) held.state = "CANCELLED";
        state.save();
        return {};
      },
      /** Delivers a webhook `{url, event_type, resource, id?}`; `times`, `ageSeconds` and `tamper` as with Stripe's. */
      webhook: async (asked) => {
        const { url = "", times = 1, ageSeconds = 0, tamper = false, webhookId = "WH-LOCAL", ...event } = asked as any;
        const sentEvent = { id: `WH-${newId()}`, event_version: "1.0", resource_version: "2.0", ...event };
        const payload = JSON.stringify(sentEvent);
        const time = new Date(Date.now() - ageSeconds * 1_000).toISOString();
        const transmission = randomBytes(16).toString("hex");
        const answers: number[] = [];
        for (let sent = 0; sent < times; sent++) {
          const answered = await fetch(url, {
            method: "POST",
            headers: {
              "content-type": "application/json",
              "paypal-auth-algo": "SHA256withRSA",
              "paypal-cert-url": "https://api.paypal.com/v1/notifications/certs/CERT-LOCAL",
              "paypal-transmission-id": transmission,
              "paypal-transmission-time": time,
              "paypal-transmission-sig": tamper ? "AAAA" : signature(transmission, time, webhookId, payload),
            },
            body: payload,
          });
          await answered.arrayBuffer();
          answers.push(answered.status);
        }
        return { eventId: sentEvent.id, answers };
      },
    },
  };
}

function newId(): string {
  return randomBytes(9).toString("hex").toUpperCase().slice(0, 17);
}

/** PayPal signs with a private key; what verifies here is asked of this stand-in, so a shared one does. */
function signature(transmission: unknown, time: unknown, webhookId: unknown, payload: string): string {
  const digest = createHash("sha256").update(payload).digest("hex");
  return createHmac("sha256", "local-paypal").update(`${transmission}|${time}|${webhookId}|${digest}`).digest("base64");
}

function paymentTokenObject({ id, customerId, payer }: PaymentToken): object {
  const { email, payerId, name, country } = payer;
  const [given_name, surname] = name.split(" ");
  return {
    id,
    customer: { id: customerId },
    payment_source: {
      paypal: {
        email_address: email,
        account_id: payerId,
        payer_id: payerId,
        name: { given_name, surname },
        address: { country_code: country },
      },
    },
  };
}

function agreementObject({ id, state, payer }: Agreement): object {
  const { email, payerId, name, country } = payer;
  const [first_name, last_name] = name.split(" ");
  const payer_info = { email, payer_id: payerId, first_name, last_name, billing_address: { country_code: country } };
  return { id, state, payer: { payer_info } };
}
