import { randomBytes } from "node:crypto";
import type { HttpStandIn, WireAnswer, WireRequest } from "./stand-in.js";
import { keepState } from "./state.js";

/** A message as Twilio's API shows it, as far as anybody here reads it. */
export type TextMessage = {
  readonly sid: string;
  readonly account_sid: string;
  readonly from: string;
  readonly to: string;
  readonly body: string;
  readonly status: "queued";
  readonly date_created: string;
};

/** So many messages are kept, the newest. */
const mostMessages = 500;

/** Numbers that Twilio's test credentials answer with an error to, and what they say. */
const magicNumbers: Readonly<Record<string, readonly [code: number, message: string]>> = {
  "+15005550001": [21211, "Invalid 'To' Phone Number"],
  "+15005550002": [21612, "The 'To' phone number is not currently reachable"],
  "+15005550003": [21408, "Permission to send an SMS has not been enabled for the region"],
  "+15005550004": [21610, "Attempt to send to unsubscribed recipient"],
  "+15005550009": [21614, "'To' number is not a valid mobile number"],
};

/**
 * Twilio's messages API of 2010-04-01. `POST /control/twilio/messages` lists what was sent; other errors (20429, 500)
 * are played as failures: `{"match": "POST /2010-04-01", "status": 429, "body": {"code": 20429}}`.
 */
export function twilioStandIn(stateFile?: string): HttpStandIn {
  const kept = keepState<{ messages: TextMessage[] }>(stateFile, () => ({ messages: [] }));
  const { messages } = kept.value;

  function create(account: string, form: URLSearchParams): WireAnswer {
    const [to, from, body] = ["To", "From", "Body"].map((name) => form.get(name) ?? "") as [string, string, string];
    if (to === "") return refusal(400, 21604, "A 'To' phone number is required.");
    if (from === "" && !form.has("MessagingServiceSid"))
      return refusal(400, 21603, "A 'From' phone number is required.");
    if (body === "") return refusal(400, 21602, "Message body is required.");
    const [code, message] =
      magicNumbers[to] ?? (/^\+[1-9]\d{6,14}$/.test(to) ? [] : [21211, "Invalid 'To' Phone Number"]);
    if (code !== undefined) return refusal(400, code, `${message}: ${to}`);
    const sent: TextMessage = {
      sid: `SM${randomBytes(16).toString("hex")}`,
      account_sid: account,
      from: from || (form.get("MessagingServiceSid") as string),
      to,
      body,
      status: "queued",
      date_created: new Date().toUTCString(),
    };
    messages.push(sent);
    if (messages.length > mostMessages) messages.shift();
    kept.save();
    return { status: 201, body: sent };
  }

  return {
    name: "twilio",
    mount: "/twilio",
    handle({ method, path, headers, body }: WireRequest) {
      const [, account] = /^\/2010-04-01\/Accounts\/(AC[0-9a-f]{32})\/Messages\.json$/.exec(path) ?? [];
      if (account === undefined) return refusal(404, 20404, `The requested resource ${path} was not found`);
      const [user, password] = credentials(headers.authorization);
      if (user !== account || !password) return refusal(401, 20003, "Authenticate");
      if (method === "GET") return { status: 200, body: { messages: messages.toReversed() } };
      if (method !== "POST") return refusal(405, 20004, "Method not allowed");
      return create(account, new URLSearchParams(body.toString("utf8")));
    },
    actions: {
      messages: () => messages,
      clear: () => {
        messages.length = 0;
        kept.save();
      },
    },
  };
}

function refusal(status: number, code: number, message: string): WireAnswer {
  return { status, body: { code, message, more_info: `https://www.twilio.com/docs/errors/${code}`, status } };
}

function credentials(authorization: string | string[] | undefined): string[] {
  const [, encoded = ""] = /^Basic (\S+)$/.exec(String(authorization)) ?? [];
  return Buffer.from(encoded, "base64").toString("utf8").split(":");
}
