import { type KnownPlace, knownPlaces, placesLike } from "./places.js";
import type { HttpStandIn, WireAnswer, WireRequest } from "./stand-in.js";

/** The key that both take. */
export const googleApiKey = "local-google-key";

/** One session as Google would bill it. */
type BilledSession = { token: string; autocomplete: number; details: number };

/** So many sessions are remembered. */
const mostSessions = 1_000;

/** Counts what would be billed, by session token; requests without one by themselves. */
function billing() {
  const sessions = new Map<string, BilledSession>();
  return {
    count(token: string | null | undefined, what: "autocomplete" | "details") {
      const key = token ?? "";
      const session = sessions.get(key) ?? { token: key, autocomplete: 0, details: 0 };
      session[what] += 1;
      sessions.set(key, session);
      if (sessions.size > mostSessions) for (const oldest of sessions.keys()) return void sessions.delete(oldest);
    },
    actions: {
      /** What would be on the bill. */
      sessions: () => [...sessions.values()],
      forget: () => sessions.clear(),
    },
  };
}

const mostPredictions = 5;
const anyPlaceId = /^[A-Za-z0-9_-]{1,300}$/;

/** Google's legacy Places API: the verdict stands in a 200's body. */
export function googleMapsStandIn(): HttpStandIn {
  const { count, actions } = billing();

  function handle({ method, path, query }: WireRequest): WireAnswer {
    if (method !== "GET") return { status: 405 };
    const nothing = path.endsWith("/autocomplete/json") ? { predictions: [] } : { html_attributions: [] };
    const say = (status: string, error_message: string) => ({
      status: 200,
      body: { ...nothing, error_message, status },
    });
    if (query.get("key") !== googleApiKey) return say("REQUEST_DENIED", "The provided API key is invalid.");
    if (path === "/maps/api/place/autocomplete/json") {
      const input = query.get("input");
      if (!input) return say("INVALID_REQUEST", "");
      count(query.get("sessiontoken"), "autocomplete");
      const countries = (query.get("components") ?? "").split("|").map((part) => part.replace(/^country:/, ""));
      const found = placesLike(input, countries.filter(Boolean)).slice(0, mostPredictions);
      const status = found.length > 0 ? "OK" : "ZERO_RESULTS";
      return { status: 200, body: { predictions: found.map(prediction), status } };
    }
    if (path === "/maps/api/place/details/json") {
      const id = query.get("place_id") ?? "";
      if (!anyPlaceId.test(id)) return say("INVALID_REQUEST", "");
      const place = knownPlaces.find((one) => one.id === id);
      if (!place) return say("NOT_FOUND", "");
      count(query.get("sessiontoken"), "details");
      const result = details(place, (query.get("fields") ?? "").split(","));
      return { status: 200, body: { html_attributions: [], result, status: "OK" } };
    }
    return { status: 404 };
  }
  return { name: "google-maps", mount: "/google-maps", handle, actions };
}

function prediction({ id, main, secondary }: KnownPlace): object {
  const description = `${main}, ${secondary}`;
  return {
    description,
    matched_substrings: [],
    place_id: id,
    reference: id,
    structured_formatting: { main_text: main, main_text_matched_substrings: [], secondary_text: secondary },
    terms: [{ offset: 0, value: main }],
    types: ["street_address", "geocode"],
  };
}

/** Only the fields asked for, all of them when none is: so Google answers, and bills. */
function details(place: KnownPlace, fields: readonly string[]): object {
  const all: Record<string, object> = {
    place_id: { place_id: place.id },
    formatted_address: { formatted_address: place.formatted },
    address_component: {
      address_components: place.parts.map(([long_name, short_name, ...types]) => ({ long_name, short_name, types })),
    },
    "geometry/location": { geometry: { location: { lat: place.lat, lng: place.lng } } },
  };
  const asked = fields.filter((field) => field !== "");
  return Object.assign({}, ...(asked.length === 0 ? Object.values(all) : asked.map((field) => all[field] ?? {})));
}

/** Google's Places API (New): JSON both ways, faults as Google's other APIs tell them. */
export function googlePlacesStandIn(): HttpStandIn {
  const { count, actions } = billing();

  function handle({ method, path, query, headers, body }: WireRequest): WireAnswer {
    if (headers["x-goog-api-key"] !== googleApiKey) {
      return fault(400, "INVALID_ARGUMENT", "API key not valid. Please pass a valid API key.", [
        {
          "@type": "type.googleapis.com/google.rpc.ErrorInfo",
          reason: "API_KEY_INVALID",
          domain: "googleapis.com",
          metadata: { service: "places.googleapis.com" },
        },
      ]);
    }
    if (method === "POST" && path === "/v1/places:autocomplete") {
      const asked = JSON.parse(body.toString("utf8")) as Asked;
      if (!asked.input) return fault(400, "INVALID_ARGUMENT", "Empty input.");
      if (!isToken(asked.sessionToken)) return fault(400, "INVALID_ARGUMENT", "Invalid session token.");
      count(asked.sessionToken, "autocomplete");
      const found = placesLike(asked.input, asked.includedRegionCodes ?? []).slice(0, mostPredictions);
      return { status: 200, body: found.length === 0 ? {} : { suggestions: found.map(suggestion) } };
    }
    const [, id] = /^\/v1\/places\/([^/]+)$/.exec(path) ?? [];
    if (method !== "GET" || id === undefined) return fault(404, "NOT_FOUND", "Method not found.");
    const mask = headers["x-goog-fieldmask"];
    if (!mask) return fault(400, "INVALID_ARGUMENT", "FieldMask is a required parameter.");
    const token = query.get("sessionToken") ?? undefined;
    if (!isToken(token)) return fault(400, "INVALID_ARGUMENT", "Invalid session token.");
    if (!id.startsWith("ChIJ")) return fault(400, "INVALID_ARGUMENT", `Not a valid Place ID: ${id}`);
    const place = knownPlaces.find((one) => one.id === id);
    if (!place) return fault(404, "NOT_FOUND", "The Place ID is no longer valid.");
    count(token, "details");
    return { status: 200, body: masked(place, String(mask).split(",")) };
  }
  return { name: "google-places", mount: "/google-places", handle, actions };
}

type Asked = { input?: string; sessionToken?: string; includedRegionCodes?: string[] };

/** URL-safe base64 of at most 36 characters, or none. */
function isToken(token: string | undefined): boolean {
  return token === undefined || /^[A-Za-z0-9_-]{1,36}$/.test(token);
}

function fault(code: number, status: string, message: string, details: object[] = []): WireAnswer {
  return { status: code, body: { error: { code, message, status, ...(details.length > 0 ? { details } : {}) } } };
}

function suggestion({ id, main, secondary }: KnownPlace): object {
  return {
    placePrediction: {
      place: `places/${id}`,
      placeId: id,
      text: { text: `${main}, ${secondary}`, matches: [] },
      structuredFormat: { mainText: { text: main, matches: [] }, secondaryText: { text: secondary } },
      types: ["street_address", "geocode"],
    },
  };
}

function masked(place: KnownPlace, fields: readonly string[]): object {
  const all: Record<string, unknown> = {
    id: place.id,
    formattedAddress: place.formatted,
    addressComponents: place.parts.map(([longText, shortText, ...types]) => {
      return { longText, shortText, types, languageCode: "en" };
    }),
    location: { latitude: place.lat, longitude: place.lng },
  };
  return Object.fromEntries(Object.entries(all).filter(([name]) => fields.includes(name) || fields.includes("*")));
}
