import { request } from "undici";
import { type OrgSettings, secretValue } from "../org-settings.js";
import {
  createProviderCall,
  IntegrationNotConfigured,
  type ProviderCallOptions,
  ProviderFault,
  ProviderUnavailable,
  RecipientRefused,
} from "./provider-call.js";

export type SmsSender = {
  /**
   * Hands a text message to the org's account at Twilio.
   *
   * @param to E.164
   * @throws ProviderUnavailable when it may be tried again; the message may have gone out
   * @throws RecipientRefused when nothing can be sent to this number
   * @throws ProviderFault when our request or account is at fault
   * @throws IntegrationNotConfigured when the org has no account
   */
  send(org: string, to: string, text: string): Promise<void>;
};

export type SmsSenderOptions = {
  /** Twilio's own address, or a stand-in's. */
  readonly baseUrl: string;
  readonly orgSettings: OrgSettings;
  readonly onCall?: ProviderCallOptions["onCall"];
};

const timeoutMs = 10_000;
const largestAnswerBytes = 64 * 1024;

/**
 * Codes of Twilio's that are about the recipient: no such number, not reachable, region not enabled, unsubscribed, not
 * a mobile.
 */
const recipientCodes: readonly unknown[] = [21211, 21214, 21217, 21408, 21610, 21612, 21614, 21635];

/** Sends text messages by Twilio's API of 2010-04-01: one form over HTTP, without its SDK, which is that and 90 ms. */
export function createSmsSender({ baseUrl, orgSettings, onCall }: SmsSenderOptions): SmsSender {
  const call = createProviderCall({ provider: "sms", timeoutMs, onCall });
  return {
    async send(org, to, text) {
      const account = orgSettings.of(org)?.providers.sms;
      if (account === undefined) throw new IntegrationNotConfigured("sms");
      const { accountSid, authToken, from } = account;
      const sender = from.startsWith("MG") ? { MessagingServiceSid: from } : { From: from };
      const credentials = Buffer.from(`${accountSid}:${secretValue(authToken)}`).toString("base64");
      await call(async (signal) => {
        const { status, code, retryAfterSeconds } = await post(
          `${baseUrl.replace(/\/$/, "")}/2010-04-01/Accounts/${encodeURIComponent(accountSid)}/Messages.json`,
          credentials,
          new URLSearchParams({ To: to, ...sender, Body: text }).toString(),
          signal,
        );
        if (status >= 200 && status < 300) return;
        if (status === 429 || status >= 500 || code === 20429) {
          throw new ProviderUnavailable("sms", retryAfterSeconds === undefined ? {} : { retryAfterSeconds });
        }
        if (recipientCodes.includes(code)) throw new RecipientRefused("sms");
        throw new ProviderFault("sms", `answered ${status} with code ${String(code)}`);
      });
    },
  };
}

type Posted = { readonly status: number; readonly code: unknown; readonly retryAfterSeconds: number | undefined };

async function post(url: string, credentials: string, form: string, signal: AbortSignal): Promise<Posted> {
  try {
    const { statusCode, headers, body } = await request(url, {
      method: "POST",
      headers: { authorization: `Basic ${credentials}`, "content-type": "application/x-www-form-urlencoded" },
      body: form,
      signal,
      headersTimeout: timeoutMs,
      bodyTimeout: timeoutMs,
    });
    const chunks: Buffer[] = [];
    let size = 0;
    for await (const chunk of body as AsyncIterable<Buffer>) {
      size += chunk.length;
      if (size > largestAnswerBytes) throw new Error("the answer is too large");
      chunks.push(chunk);
    }
    const retryAfter = Number(headers["retry-after"]);
    return {
      status: statusCode,
      code: codeOf(Buffer.concat(chunks).toString("utf8")),
      retryAfterSeconds: retryAfter > 0 ? retryAfter : undefined,
    };
  } catch (error) {
    throw new ProviderUnavailable("sms", { cause: error });
  }
}

/** Twilio's own code of an error; nothing else of its answer is read, it may quote the number. */
function codeOf(json: string): unknown {
  try {
    return (JSON.parse(json) as { code?: unknown } | null)?.code;
  } catch {
    return undefined;
  }
}
