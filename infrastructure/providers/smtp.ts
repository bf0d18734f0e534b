import type { Transporter } from "nodemailer";
import type { OrgSettings } from "../org-settings.js";
import {
  createProviderCall,
  IntegrationNotConfigured,
  type ProviderCallOptions,
  ProviderFault,
  ProviderUnavailable,
  RecipientRefused,
} from "./provider-call.js";

/** A message as data: what is sent never depends on how. */
export type Message = { readonly subject: string; readonly text: string; readonly html: string };

export type MailSender = {
  /**
   * Hands a mail to the mail server, from the org's own address.
   *
   * @param id names the mail in its `Message-ID`, so that a mail sent twice can be told by its receiver; letters,
   *   digits and `.-`
   * @throws ProviderUnavailable when it may be tried again
   * @throws RecipientRefused when the mailbox does not exist
   * @throws ProviderFault when the server refuses the mail itself, or us
   * @throws IntegrationNotConfigured when the org has no sender's address
   */
  send(org: string, to: string, message: Message, id: string): Promise<void>;
  close(): void;
};

export type MailSenderOptions = {
  /** `smtp://` or `smtps://`, with user and password where the server wants them. */
  readonly url: string;
  readonly orgSettings: OrgSettings;
  /** No mail leaves unencrypted: with `smtp://` STARTTLS must succeed. */
  readonly demandTls: boolean;
  readonly onCall?: ProviderCallOptions["onCall"];
  /** Further authorities to trust, for tests. */
  readonly ca?: string | Buffer;
};

const connections = 3;
const timeoutMs = 10_000;

/** Sends mails through one mail server over a few connections that stay open between mails. */
export function createMailSender({ url, orgSettings, demandTls, onCall, ca }: MailSenderOptions): MailSender {
  const call = createProviderCall({ provider: "smtp", timeoutMs, onCall });
  let opening: Promise<Transporter> | undefined;

  async function open(): Promise<Transporter> {
    // Loaded when first needed: it takes 14 MB.
    const { createTransport } = await import("nodemailer");
    const { protocol, hostname, port, username, password } = new URL(url);
    const secure = protocol === "smtps:";
    return createTransport({
      pool: true,
      maxConnections: connections,
      host: hostname.replace(/^\[|\]$/g, ""),
      port: port === "" ? (secure ? 465 : 587) : Number(port),
      secure,
      requireTLS: demandTls && !secure,
      ...(username === "" ? {} : { auth: { user: decodeURIComponent(username), pass: decodeURIComponent(password) } }),
      tls: { minVersion: "TLSv1.2", ...(ca === undefined ? {} : { ca }) },
      connectionTimeout: timeoutMs / 2,
      greetingTimeout: timeoutMs / 2,
      socketTimeout: timeoutMs * 2,
      // A mail is made of what it is given, never of files or addresses named in it.
      disableFileAccess: true,
      disableUrlAccess: true,
    });
  }

  return {
    async send(org, to, { subject, text, html }, id) {
      const from = orgSettings.of(org)?.providers.mail?.from;
      if (from === undefined) throw new IntegrationNotConfigured("smtp");
      opening ??= open();
      const transport = await opening;
      const host = /@([^\s>]+)>?\s*$/.exec(from)?.[1] ?? "localhost";
      await call(async () => {
        try {
          await transport.sendMail({
            from,
            // As an object: an address is one recipient, whatever commas it has.
            to: { name: "", address: to },
            subject,
            text,
            html,
            messageId: `<${id}@${host}>`,
            headers: { "Auto-Submitted": "auto-generated", "X-Auto-Response-Suppress": "All" },
          });
        } catch (error) {
          throw judged(error);
        }
      });
    },
    close() {
      void opening?.then((transport) => transport.close());
    },
  };
}

/**
 * RFC 5321 §4.2.1: 4xx may be tried again, 5xx not. Without a reply nobody knows, so it may; and so may a mail that
 * never left because nobody offered encryption.
 */
function judged(error: unknown): Error {
  const { responseCode, code } = error as { responseCode?: number; code?: string };
  if (responseCode === undefined || responseCode < 500 || code === "ETLS")
    return new ProviderUnavailable("smtp", { cause: error });
  if (code === "EENVELOPE") return new RecipientRefused("smtp", { cause: error });
  return new ProviderFault("smtp", `the mail is refused with ${responseCode}`, { cause: error });
}
