import type { PaymentProviderName } from "#domain/payment-methods/payment-methods.events.js";
import type { PaymentMethodStatus } from "#domain/payment-methods/payment-methods.policy.js";
import { defineDocument } from "#projectors/runner/projection.js";

/** One payment method, also one that failed or was removed. */
export type PaymentMethodDocument = {
  readonly id: string;
  readonly provider: PaymentProviderName;
  /** As recorded; what the clock has changed since is derived from `expiresAt`. */
  readonly status: PaymentMethodStatus;
  readonly type: string | null;
  readonly brand: string | null;
  readonly last4: string | null;
  readonly expMonth: number | null;
  readonly expYear: number | null;
  /** First instant at which it is expired. */
  readonly expiresAt: string | null;
  readonly funding: string | null;
  readonly country: string | null;
  readonly holderName: string | null;
  readonly email: string | null;
  readonly label: string | null;
  readonly isDefault: boolean;
  readonly failureCode: string | null;
  readonly addedAt: string;
  readonly modifiedAt: string;
  /** Revision of the last event that touched it. */
  readonly version: number;
  /** Sorts the default one first, then the newest. */
  readonly rank: string;
  /** The provider's id of it, for its webhooks; never shown. */
  readonly providerMethodId: string | null;
};

export const paymentMethodDocument = defineDocument<PaymentMethodDocument>({
  name: "payment-methods",
  version: 1,
  indexes: [{ key: { rank: -1, _id: -1 } }, { key: { providerMethodId: 1 }, acrossOwners: true }],
});
