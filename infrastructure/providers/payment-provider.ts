import type { Owner } from "#domain/core/identifiers.js";

export type PaymentProviderName = "stripe" | "paypal";

/** A saved way to pay as its provider has it. */
export type ProviderMethod = {
  readonly providerMethodId: string;
  /** The provider's customer it is attached to; null when it is attached to none. */
  readonly providerCustomerId: string | null;
  readonly type: string;
  readonly brand?: string;
  readonly last4?: string;
  readonly expMonth?: number;
  readonly expYear?: number;
  readonly funding?: string;
  readonly country?: string;
  /** The same for the same card or account, whatever object it stands in. */
  readonly fingerprint?: string;
  readonly holderName?: string;
  readonly email?: string;
};

/** How an attempt to attach ended; no answer at all is thrown. */
export type AttachOutcome =
  | { readonly kind: "attached"; readonly method: ProviderMethod }
  | { readonly kind: "declined"; readonly declineCode: string }
  /** The provider knows no such method, or it cannot be used any more. */
  | { readonly kind: "unknown" }
  /** It belongs to another of the provider's customers. */
  | { readonly kind: "elsewhere" }
  | { readonly kind: "not-supported" }
  /** The provider's customer is no more. */
  | { readonly kind: "no-customer" }
  /** The provider refuses our request itself: nothing was done. */
  | { readonly kind: "fault" };

/** What a page needs to let a customer enter a way to pay at the provider. */
export type SetupIntent = { readonly clientSecret: string; readonly expiresAt: string };

/**
 * What a webhook is about. It is a hint: `method` is what the provider says now, when asked again.
 */
export type WebhookReport = {
  /** The provider's id of the event: the same delivery again has the same. */
  readonly eventId: string;
  readonly about:
    | {
        readonly providerMethodId: string;
        /** Null: the provider has no such method any more, or it is attached to nobody. */
        readonly method: ProviderMethod | null;
      }
    /** A customer of the provider that is no more. */
    | { readonly lostCustomer: string };
  /** Whose it is, as far as the provider's own customer tells; undefined when it does not. */
  readonly owner?: Owner;
};

/** A webhook as it came in. */
export type IncomingWebhook = {
  readonly body: Buffer;
  readonly headers: Readonly<Record<string, string | string[] | undefined>>;
  readonly now: Date;
};

/** The signature of a webhook does not hold, or it is too old or from the future. */
export class WebhookRefused extends Error {
  constructor(reason: string) {
    super(reason);
    this.name = "WebhookRefused";
  }
}

/** A webhook may be this much older than now, or newer. */
export const webhookToleranceMs = 5 * 60_000;

/**
 * A payment provider with one org's credentials. Every call may be made again under the same key and then changes
 * nothing more. All throw ProviderUnavailable when the outcome is not known and ProviderFault when it never will be.
 */
export type PaymentProvider = {
  /**
   * The provider's customer of an owner, made when there is none; the same for ever, however often it is asked.
   *
   * @param lost how many of them were removed at the provider, so that another one is made
   * @returns null where the provider keeps no customers
   */
  customerOf(owner: Owner, lost?: number): Promise<string | null>;
  /** Attaches what a page collected, by the provider's id or token of it. */
  attach(token: string, providerCustomerId: string | null, key: string): Promise<AttachOutcome>;
  /** Lets go of a method; fine when it is gone. */
  detach(providerMethodId: string, key: string): Promise<void>;
  /** Tells the provider when a saved card expires now. */
  updateExpiry(providerMethodId: string, expiry: { expMonth: number; expYear: number }, key: string): Promise<void>;
  setupIntent(owner: Owner, providerCustomerId: string | null, key: string, now: Date): Promise<SetupIntent>;
  /**
   * Removes everything the provider keeps of a person; fine when it is gone.
   *
   * @param known ids as far as we know them; customers that the provider finds by their owner go too
   */
  forget(owner: Owner, known: { customers: readonly string[]; methods: readonly string[] }): Promise<void>;
  /**
   * Verifies a webhook and asks for the object it is about.
   *
   * @returns null for an event that does not concern us
   * @throws WebhookRefused
   */
  webhook(incoming: IncomingWebhook): Promise<WebhookReport | null>;
};

/** Payment providers, by name and org. Throws IntegrationNotConfigured where the org has none of that name. */
export type PaymentProviders = (name: PaymentProviderName, org: string) => PaymentProvider;
