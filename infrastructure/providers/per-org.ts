import { LRUCache } from "lru-cache";
import type { OrgSetting, OrgSettings, OrgProviders } from "../org-settings.js";
import { IntegrationNotConfigured, type ProviderName } from "./provider-call.js";

/** Clients of orgs that were not used for long are let go. */
const mostClients = 200;

/**
 * One client per org, made when first used and made anew when the org's settings change.
 *
 * @param make builds a client from the org's section of settings
 * @param dispose closes a client that is let go
 * @returns a function of the org; it throws IntegrationNotConfigured where the org has no such section
 */
export function clientPerOrg<Name extends keyof OrgProviders, Client extends object>(
  orgSettings: OrgSettings,
  section: Name,
  provider: ProviderName,
  make: (settings: NonNullable<OrgProviders[Name]>, org: string) => Client,
  dispose: (client: Client) => void = () => {},
): (org: string) => Client {
  const clients = new LRUCache<string, { client: Client; madeOf: OrgSetting }>({
    max: mostClients,
    dispose: ({ client }) => dispose(client),
  });
  return (org) => {
    const setting = orgSettings.of(org);
    const own = setting?.providers[section];
    if (!setting || !own) throw new IntegrationNotConfigured(provider);
    const known = clients.get(org);
    if (known?.madeOf === setting) return known.client;
    const client = make(own as NonNullable<OrgProviders[Name]>, org);
    clients.set(org, { client, madeOf: setting });
    return client;
  };
}
