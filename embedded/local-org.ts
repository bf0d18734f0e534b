import type { OrgSettingsFile } from "#infrastructure/org-settings.js";
import { algorithm, audience } from "./identity.js";

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
      },
    },
  };
}
