export type Coordinates = { readonly lat: number; readonly lng: number };

/** What a person has typed so far, and where it is looked for. */
export type SuggestionWish = {
  readonly input: string;
  /** Only in these countries (ISO 3166-1 alpha-2, at most 5); everywhere when empty. */
  readonly countries: readonly string[];
  /** BCP 47; the provider's choice when absent. */
  readonly language?: string | undefined;
  /** What is near comes first. */
  readonly near?: Coordinates | undefined;
};

export type Suggestion = {
  readonly placeId: string;
  readonly description: string;
  readonly mainText: string;
  readonly secondaryText: string;
};

/** Which place is asked for. */
export type PlaceWish = { readonly placeId: string; readonly language?: string | undefined };

/** A place with the parts of its address, named as Google does in both its APIs. */
export type FoundPlace = {
  readonly placeId: string;
  readonly formatted: string;
  readonly location: Coordinates | null;
  readonly parts: readonly { readonly long: string; readonly short: string; readonly types: readonly string[] }[];
};

/** Google's Places over either of its APIs; tokens of billing sessions are passed through. */
export type PlacesWire = {
  /** @throws ProviderUnavailable, ProviderFault */
  suggest(wish: SuggestionWish, sessionToken: string, signal: AbortSignal): Promise<readonly Suggestion[]>;
  /**
   * @returns null when there is no such place
   * @throws ProviderUnavailable, ProviderFault
   */
  find(wish: PlaceWish, sessionToken: string | undefined, signal: AbortSignal): Promise<FoundPlace | null>;
};

export const mostSuggestions = 5;
