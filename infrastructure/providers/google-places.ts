import { secretValue, type OrgSettings } from "../org-settings.js";
import { legacyPlaces } from "./google-places-legacy.js";
import { newPlaces } from "./google-places-new.js";
import { clientPerOrg } from "./per-org.js";
import type { FoundPlace, PlaceWish, Suggestion, SuggestionWish } from "./place-provider.js";
import { createPlaceSessions } from "./place-sessions.js";
import { createProviderCall, type ProviderCallOptions } from "./provider-call.js";

export type GooglePlaces = {
  /**
   * Suggests places for what was typed.
   *
   * @param owner owner key: sessions of different customers never meet
   * @param sessionToken the token of the client's last answer; absent begins a session
   * @returns at most five, and the token to go on with
   * @throws IntegrationNotConfigured, ProviderUnavailable, ProviderFault
   */
  suggest(
    org: string,
    owner: string,
    wish: SuggestionWish,
    sessionToken?: string,
  ): Promise<{ readonly suggestions: readonly Suggestion[]; readonly sessionToken: string }>;
  /**
   * Finds a place, which closes its billing session.
   *
   * @returns null when there is no such place
   * @throws IntegrationNotConfigured, ProviderUnavailable, ProviderFault
   */
  find(org: string, owner: string, wish: PlaceWish, sessionToken?: string): Promise<FoundPlace | null>;
  close(): Promise<void>;
};

export type GooglePlacesOptions = {
  readonly orgSettings: OrgSettings;
  /** Endpoint of the legacy API. */
  readonly mapsUrl: string;
  /** Endpoint of the Places API (New). */
  readonly placesUrl: string;
  /** Told of every call. */
  readonly onCall?: ProviderCallOptions["onCall"];
};

/** Somebody is typing: what is not there soon is not worth waiting for. */
const timeoutMs = 2_000;

/** Google Places by each org's own key, over the API that its settings name. */
export function createGooglePlaces({ orgSettings, mapsUrl, placesUrl, onCall }: GooglePlacesOptions): GooglePlaces {
  const sessions = createPlaceSessions();
  const overNew = newPlaces(placesUrl);
  const overLegacy = legacyPlaces(mapsUrl);
  const clientOf = clientPerOrg(orgSettings, "googlePlaces", "google-places", ({ apiKey, api }) => {
    const key = secretValue(apiKey);
    return {
      wire: api === "legacy" ? overLegacy.withKey(key) : overNew.withKey(key),
      // Its own for each org: one whose quota is used up must not break the circuit of the others.
      call: createProviderCall({ provider: "google-places", timeoutMs, onCall }),
    };
  });

  return {
    suggest(org, owner, wish, sessionToken) {
      const { wire, call } = clientOf(org);
      return sessions.suggest(owner, wish, sessionToken, (token) =>
        call((signal) => wire.suggest(wish, token, signal)),
      );
    },
    find(org, owner, wish, sessionToken) {
      const { wire, call } = clientOf(org);
      return sessions.find(owner, wish, sessionToken, (token) => call((signal) => wire.find(wish, token, signal)));
    },
    close: () => overNew.close(),
  };
}
