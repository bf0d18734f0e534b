import type { OrgSettingsFile } from "#infrastructure/org-settings.js";
import { algorithm, audience } from "./identity.js";

/** Credentials of the stand-ins; the secrets are in `standInEnvironment`. */
export const localProviders: OrgSettingsFile["orgs"][string]["providers"] = {
  stripe: { secretKey: "STRIPE_SECRET_KEY", webhookSecret: "STRIPE_WEBHOOK_SECRET" },
  paypal: { clientId: "PAYPAL_CLIENT_ID", clientSecret: "PAYPAL_CLIENT_SECRET", webhookId: "WH-LOCAL" },
  googlePlaces: { apiKey: "GOOGLE_API_KEY", api: "new" },
  mail: { from: "Acme <service@acme.example>" },
  sms: {
    accountSid: "AC00000000000000000000000000000000",
    authToken: "TWILIO_AUTH_TOKEN",
    from: "+15005550006",
    countries: ["AT", "CH", "DE", "FR", "GB", "US"],
    dailyBudget: 1_000,
  },
};

/** The settings file of the local stack: one organisation, whose tokens come from the local issuer. */
export function localOrgSettings(org: string, issuer: string): OrgSettingsFile {
  return {
    orgs: {
      [org]: {
        issuer,
        jwksUri: `${issuer}/jwks`,
        audience,
        algorithms: [algorithm],
        corsOrigins: ["*"],
        metadataKeys: ["loyaltyNumber", "preferredStore"],
        providers: localProviders,
      },
    },
  };
}
