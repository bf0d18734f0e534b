import { createHash } from "node:crypto";
import { Agent, request } from "undici";
import { z } from "zod";
import { type Owner, ownerKey } from "#domain/core/identifiers.js";
import { type OrgProviders, secretValue } from "../org-settings.js";
import {
  type AttachOutcome,
  type IncomingWebhook,
  type PaymentProvider,
  type ProviderMethod,
  WebhookRefused,
  webhookToleranceMs,
} from "./payment-provider.js";
import { createProviderCall, type ProviderCallOptions, ProviderFault, ProviderUnavailable } from "./provider-call.js";

export type PaypalOptions = {
  readonly baseUrl: string;
  /** Where PayPal sends a buyer back to from a page of its own. */
  readonly returnUrl: string;
  readonly settings: NonNullable<OrgProviders["paypal"]>;
  readonly onCall?: ProviderCallOptions["onCall"];
};

/** PayPal with the credentials of one org, and what must be closed when it is let go. */
export type PaypalProvider = PaymentProvider & { close(): Promise<void> };

const timeoutMs = 8_000;
/** PayPal forgets a setup token after three hours. */
const setupTokenMs = 3 * 3_600_000;
/** An access token is not used in the last minute of its life. */
const tokenMarginMs = 60_000;
const mostBytes = 1024 * 1024;

const accessTokenAnswer = z.object({ access_token: z.string().min(1), expires_in: z.number() });
const setupTokenAnswer = z.object({ id: z.string().min(1) });
const verification = z.object({ verification_status: z.string() });

const paymentToken = z.object({
  id: z.string().min(1),
  payment_source: z.object({
    paypal: z
      .object({
        email_address: z.string().optional(),
        account_id: z.string().optional(),
        payer_id: z.string().optional(),
        name: z.object({ given_name: z.string().optional(), surname: z.string().optional() }).optional(),
        address: z.object({ country_code: z.string().optional() }).optional(),
      })
      .optional(),
  }),
});

const agreement = z.object({
  id: z.string().min(1),
  state: z.string(),
  payer: z.object({
    payer_info: z.object({
      email: z.string().optional(),
      payer_id: z.string().optional(),
      first_name: z.string().optional(),
      last_name: z.string().optional(),
      billing_address: z.object({ country_code: z.string().optional() }).optional(),
    }),
  }),
});

const incomingEvent = z.object({
  id: z.string().min(1).max(200),
  event_type: z.string(),
  resource: z.object({ id: z.string().min(1).max(200) }).loose(),
});

const concerning: readonly string[] = [
  "VAULT.PAYMENT-TOKEN.CREATED",
  "VAULT.PAYMENT-TOKEN.DELETED",
  "VAULT.PAYMENT-TOKEN.DELETION-INITIATED",
  "BILLING_AGREEMENTS.AGREEMENT.CANCELLED",
];

type Reply = { readonly status: number; readonly json: unknown };

/**
 * PayPal with the credentials of one org: wallets in the vault (v3), and billing agreements where the org still has
 * them (`BA-` tokens, `B-` agreements). Repeats go under the same `PayPal-Request-Id`, which PayPal remembers for
 * three hours; after that a token that was used is refused, and the attempt counts as failed.
 */
export function paypalProvider({ baseUrl, returnUrl, settings, onCall }: PaypalOptions): PaypalProvider {
  const call = createProviderCall({ provider: "paypal", timeoutMs, onCall });
  // Anybody can send what has to be verified: that must not take up the calls of customers.
  const verifying = createProviderCall({
    provider: "paypal",
    timeoutMs,
    concurrency: 4,
    onCall,
  });
  const agent = new Agent({ connections: 16, headersTimeout: timeoutMs, bodyTimeout: timeoutMs });
  let token: { readonly value: string; readonly until: number } | undefined;
  let refreshing: Promise<string> | undefined;

  async function send(
    method: "GET" | "POST" | "DELETE",
    path: string,
    headers: Readonly<Record<string, string>>,
    body: string | null,
    signal: AbortSignal,
  ): Promise<Reply> {
    try {
      const answer = await request(`${baseUrl}${path}`, { method, headers, body, signal, dispatcher: agent });
      const text = await bounded(answer.body);
      // 409: an earlier call under the same key is still at work.
      if ([409, 429].includes(answer.statusCode) || answer.statusCode >= 500)
        throw new Error(`status ${answer.statusCode}`);
      return { status: answer.statusCode, json: text === "" ? null : parsed(text) };
    } catch (error) {
      throw new ProviderUnavailable("paypal", { cause: error });
    }
  }

  async function refresh(signal: AbortSignal): Promise<string> {
    const credentials = `${secretValue(settings.clientId)}:${secretValue(settings.clientSecret)}`;
    const headers = {
      authorization: `Basic ${Buffer.from(credentials).toString("base64")}`,
      "content-type": "application/x-www-form-urlencoded",
    };
    const { status, json } = await send("POST", "/v1/oauth2/token", headers, "grant_type=client_credentials", signal);
    if (status !== 200) throw new ProviderFault("paypal", `no access token (${status})`);
    const { access_token, expires_in } = understood(accessTokenAnswer, json);
    token = { value: access_token, until: Date.now() + expires_in * 1_000 - tokenMarginMs };
    return access_token;
  }

  /** However many ask while there is none, one refresh is on its way. */
  async function accessToken(signal: AbortSignal): Promise<string> {
    if (token && token.until > Date.now()) return token.value;
    refreshing ??= refresh(signal).finally(() => {
      refreshing = undefined;
    });
    return refreshing;
  }

  function ask(
    method: "GET" | "POST" | "DELETE",
    path: string,
    { key, json, text, by = call }: { key?: string; json?: object; text?: string; by?: typeof call } = {},
  ): Promise<Reply> {
    return by(async (signal) => {
      for (let attempt = 0; ; attempt++) {
        const bearer = await accessToken(signal);
        const headers = {
          authorization: `Bearer ${bearer}`,
          accept: "application/json",
          ...(method === "POST" ? { "content-type": "application/json" } : {}),
          ...(key === undefined ? {} : { "paypal-request-id": key }),
        };
        const reply = await send(method, path, headers, text ?? (json ? JSON.stringify(json) : null), signal);
        // Taken back before its time: once more with a new one.
        if (reply.status !== 401 || attempt > 0) return reply;
        if (token?.value === bearer) token = undefined;
      }
    });
  }

  async function findMethod(id: string): Promise<ProviderMethod | null> {
    const path = id.startsWith("B-") ? agreementPath(id) : tokenPath(id);
    const { status, json } = await ask("GET", path);
    if (status === 404) return null;
    if (status !== 200) throw new ProviderFault("paypal", `a saved wallet cannot be read (${status})`);
    if (!id.startsWith("B-")) return tokenMethod(json);
    return understood(agreement, json).state.toUpperCase() === "ACTIVE" ? agreementMethod(json) : null;
  }

  async function detach(id: string, key: string): Promise<void> {
    if (!id.startsWith("B-")) {
      const { status } = await ask("DELETE", tokenPath(id));
      if (status !== 204 && status !== 404) throw new ProviderFault("paypal", `a wallet is not let go (${status})`);
      return;
    }
    const json = { note: "Removed by the customer" };
    const { status } = await ask("POST", `${agreementPath(id)}/cancel`, { key: `${key}-detach`, json });
    if (status === 204 || status === 404 || (await findMethod(id)) === null) return;
    throw new ProviderFault("paypal", `an agreement is not cancelled (${status})`);
  }

  return {
    // The vault makes a customer of its own for each approval; none is kept.
    customerOf: async () => null,

    async attach(approved, _customer, key): Promise<AttachOutcome> {
      const isAgreement = approved.startsWith("BA-");
      const { status, json } = isAgreement
        ? await ask("POST", "/v1/billing-agreements/agreements", { key: `${key}-attach`, json: { token_id: approved } })
        : await ask("POST", "/v3/vault/payment-tokens", {
            key: `${key}-attach`,
            json: { payment_source: { token: { id: approved, type: "SETUP_TOKEN" } } },
          });
      if (status === 200 || status === 201) {
        const method = isAgreement ? agreementMethod(json) : tokenMethod(json);
        return method === null ? { kind: "not-supported" } : { kind: "attached", method };
      }
      if (status === 401 || status === 403) return { kind: "fault" };
      if (declinedIssues.some((issue) => issuesOf(json).includes(issue))) {
        return { kind: "declined", declineCode: "generic_decline" };
      }
      // Not known, not approved by its payer, used up, or of another merchant.
      return { kind: "unknown" };
    },

    detach,

    // A wallet does not expire.
    updateExpiry: async () => {},

    async setupIntent(owner, _customer, key, now) {
      const experience_context = { return_url: returnUrl, cancel_url: returnUrl };
      const json = {
        payment_source: { paypal: { usage_type: "MERCHANT", experience_context } },
        ...customerReference(owner),
      };
      const { status, json: answer } = await ask("POST", "/v3/vault/setup-tokens", { key: `${key}-setup`, json });
      if (status !== 200 && status !== 201) throw new ProviderFault("paypal", `no setup token (${status})`);
      const expiresAt = new Date(now.getTime() + setupTokenMs).toISOString();
      return { clientSecret: understood(setupTokenAnswer, answer).id, expiresAt };
    },

    async forget(_owner, { methods }) {
      for (const id of methods) await detach(id, "forget");
    },

    async webhook(incoming) {
      const event = parsedEvent(incoming.body);
      const text = verificationRequest(incoming, settings.webhookId);
      const { status, json } = await ask("POST", "/v1/notifications/verify-webhook-signature", {
        ...{ text, by: verifying },
      });
      if (status !== 200) throw new WebhookRefused(`not verified (${status})`);
      if (understood(verification, json).verification_status !== "SUCCESS") throw new WebhookRefused("not signed");
      if (!concerning.includes(event.event_type)) return null;
      const providerMethodId = event.resource.id;
      return { eventId: event.id, about: { providerMethodId, method: await findMethod(providerMethodId) } };
    },

    close: () => agent.destroy(),
  };
}

const declinedIssues = ["INSTRUMENT_DECLINED", "PAYER_CANNOT_PAY", "PAYMENT_SOURCE_DECLINED_BY_PROCESSOR"];

function tokenPath(id: string): string {
  return `/v3/vault/payment-tokens/${encodeURIComponent(id)}`;
}

function agreementPath(id: string): string {
  return `/v1/billing-agreements/agreements/${encodeURIComponent(id)}`;
}

/** Our name for the customer, where it fits what PayPal allows. */
function customerReference(owner: Owner): object {
  const merchant_customer_id = ownerKey(owner).replaceAll("~", "^");
  return merchant_customer_id.length <= 64 ? { customer: { merchant_customer_id } } : {};
}

/** @returns null for a token that is no wallet */
function tokenMethod(json: unknown): ProviderMethod | null {
  const { id, payment_source } = understood(paymentToken, json);
  const { paypal } = payment_source;
  if (!paypal) return null;
  const { email_address: email, account_id, payer_id = account_id, name, address } = paypal;
  return wallet(id, {
    email,
    payer: payer_id,
    names: [name?.given_name, name?.surname],
    country: address?.country_code,
  });
}

function agreementMethod(json: unknown): ProviderMethod {
  const { id, payer } = understood(agreement, json);
  const { email, payer_id, first_name, last_name, billing_address } = payer.payer_info;
  const names = [first_name, last_name];
  return wallet(id, { email, payer: payer_id, names, country: billing_address?.country_code });
}

function wallet(
  providerMethodId: string,
  payer: {
    email?: string | undefined;
    payer?: string | undefined;
    names: (string | undefined)[];
    country?: string | undefined;
  },
): ProviderMethod {
  const holderName = payer.names.filter(Boolean).join(" ");
  return {
    ...{ providerMethodId, providerCustomerId: null, type: "paypal" },
    ...(payer.country ? { country: payer.country } : {}),
    ...(payer.payer ? { fingerprint: createHash("sha256").update(payer.payer).digest("hex").slice(0, 32) } : {}),
    ...(holderName ? { holderName } : {}),
    ...(payer.email ? { email: payer.email } : {}),
  };
}

function understood<Output>(schema: z.ZodType<Output>, json: unknown): Output {
  const parsed = schema.safeParse(json);
  if (parsed.success) return parsed.data;
  // It was done, in words we do not know: the same call again gives the same.
  throw new ProviderUnavailable("paypal", { cause: new Error("an answer of an unknown shape") });
}

function issuesOf(json: unknown): readonly string[] {
  const details = (json as { details?: unknown } | null)?.details;
  return Array.isArray(details) ? details.map((detail) => String((detail as { issue?: unknown })?.issue ?? "")) : [];
}

function parsedEvent(body: Buffer): z.infer<typeof incomingEvent> {
  try {
    return incomingEvent.parse(JSON.parse(body.toString("utf8")));
  } catch {
    throw new WebhookRefused("not an event");
  }
}

/** PayPal is asked to verify; its event goes back to it byte for byte, so it is put in as it came. */
function verificationRequest({ body, headers, now }: IncomingWebhook, webhookId: string): string {
  const header = (name: string) => String(headers[`paypal-${name}`] ?? "").slice(0, 1_000);
  const dated = Date.parse(header("transmission-time"));
  if (!(Math.abs(now.getTime() - dated) <= webhookToleranceMs)) throw new WebhookRefused("too old, or dated ahead");
  const said = JSON.stringify({
    auth_algo: header("auth-algo"),
    cert_url: header("cert-url"),
    transmission_id: header("transmission-id"),
    transmission_sig: header("transmission-sig"),
    transmission_time: header("transmission-time"),
    webhook_id: webhookId,
  });
  return `${said.slice(0, -1)},"webhook_event":${body.toString("utf8")}}`;
}

/** The parser's own error would quote what may be personal. */
function parsed(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    throw new Error("an answer that is no JSON");
  }
}

async function bounded(stream: AsyncIterable<Buffer>): Promise<string> {
  const chunks: Buffer[] = [];
  let length = 0;
  for await (const chunk of stream) {
    length += chunk.length;
    if (length > mostBytes) throw new Error("an answer without end");
    chunks.push(chunk);
  }
  return Buffer.concat(chunks).toString("utf8");
}
