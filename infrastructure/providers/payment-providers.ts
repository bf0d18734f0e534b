import type { Environment } from "../environment.js";
import type { OrgSettings } from "../org-settings.js";
import type { PaymentProviders } from "./payment-provider.js";
import { paypalProvider } from "./paypal.js";
import { clientPerOrg } from "./per-org.js";
import type { ProviderCallOptions } from "./provider-call.js";
import { stripeProvider } from "./stripe.js";

/** The part of the environment that says where payment providers are. */
export const paymentEnvironment = ["STRIPE_API_BASE", "PAYPAL_BASE_URL", "PUBLIC_URL"] as const;

/**
 * Every payment provider, with the credentials of each org.
 *
 * @param onCall told of every call to one of them
 */
export function openPaymentProviders(
  environment: Pick<Environment, (typeof paymentEnvironment)[number]>,
  orgSettings: OrgSettings,
  onCall?: ProviderCallOptions["onCall"],
): { readonly payments: PaymentProviders; readonly close: () => void } {
  const open = new Set<{ close(): Promise<void> }>();
  const stripe = clientPerOrg(orgSettings, "stripe", "stripe", (settings, org) => {
    return stripeProvider({ apiBase: environment.STRIPE_API_BASE, settings, org, onCall });
  });
  const paypal = clientPerOrg(
    orgSettings,
    "paypal",
    "paypal",
    (settings) => {
      const { PAYPAL_BASE_URL: baseUrl, PUBLIC_URL: returnUrl } = environment;
      const client = paypalProvider({ baseUrl, returnUrl, settings, onCall });
      open.add(client);
      return client;
    },
    (client) => {
      open.delete(client);
      void client.close();
    },
  );
  return {
    payments: (name, org) => (name === "stripe" ? stripe(org) : paypal(org)),
    close: () => {
      for (const client of open) void client.close();
    },
  };
}
