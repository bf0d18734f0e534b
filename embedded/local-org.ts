import { algorithm, audience } from "./identity.js";

/** The settings file of the local stack: one organisation, whose tokens come from the local issuer. */
export function localOrgSettings(org: string, issuer: string): Record<string, unknown> {
  return {
    [org]: { issuer, jwksUrl: `${issuer}/jwks`, audience, algorithms: [algorithm], corsOrigins: ["*"] },
  };
}
