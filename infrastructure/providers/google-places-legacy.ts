import type { Client } from "@googlemaps/google-maps-services-js";
import type { AxiosError } from "axios";
import { z } from "zod";
import { type FoundPlace, mostSuggestions, type PlacesWire } from "./place-provider.js";
import { ProviderFault, ProviderUnavailable } from "./provider-call.js";

const googlesOrigin = "https://maps.googleapis.com";
const largestAnswerBytes = 256 * 1024;
const biasRadiusMetres = 50_000;
const placeFields = ["place_id", "formatted_address", "address_component", "geometry/location"];

const predictionsAnswer = z.object({
  predictions: z.array(
    z.object({
      place_id: z.string(),
      description: z.string(),
      structured_formatting: z.object({ main_text: z.string(), secondary_text: z.string().default("") }).optional(),
    }),
  ),
});
const detailsAnswer = z.object({
  result: z.object({
    place_id: z.string(),
    formatted_address: z.string().default(""),
    geometry: z.object({ location: z.object({ lat: z.number(), lng: z.number() }) }).optional(),
    address_components: z
      .array(z.object({ long_name: z.string(), short_name: z.string(), types: z.array(z.string()) }))
      .default([]),
  }),
});

/** Google's legacy Places API by Google's own client, for orgs whose project still has it. */
export function legacyPlaces(baseUrl: string): { withKey(apiKey: string): PlacesWire } {
  let loading: Promise<Client> | undefined;
  const client = () => {
    loading ??= load(baseUrl);
    return loading;
  };
  return {
    withKey: (key) => ({
      async suggest({ input, countries, language, near }, sessiontoken, signal) {
        const params = {
          ...{ key, input, sessiontoken },
          ...(countries.length > 0 ? { components: countries.map((code) => `country:${code.toLowerCase()}`) } : {}),
          ...(language === undefined ? {} : { language }),
          ...(near ? { location: near, radius: biasRadiusMetres } : {}),
        };
        const maps = await client();
        const { status, data } = await answered(maps.placeAutocomplete({ params, signal }));
        if (status === "ZERO_RESULTS") return [];
        const { predictions } = shaped(predictionsAnswer, status, data);
        return predictions.slice(0, mostSuggestions).map(({ place_id, description, structured_formatting: parts }) => ({
          placeId: place_id,
          description,
          mainText: parts?.main_text ?? description,
          secondaryText: parts?.secondary_text ?? "",
        }));
      },

      async find({ placeId, language }, sessiontoken, signal) {
        const params = {
          ...{ key, place_id: placeId, fields: placeFields },
          ...(language === undefined ? {} : { language: language as never }),
          ...(sessiontoken === undefined ? {} : { sessiontoken }),
        };
        const maps = await client();
        const { status, data } = await answered(maps.placeDetails({ params, signal }));
        // An id that no place has, and one that no place could have.
        if (status === "NOT_FOUND" || status === "ZERO_RESULTS" || status === "INVALID_REQUEST") return null;
        return foundPlace(shaped(detailsAnswer, status, data));
      },
    }),
  };
}

/** Loaded when first used: few need it, and it brings a good deal along. */
async function load(baseUrl: string): Promise<Client> {
  const [{ Client }, { default: axios }] = await Promise.all([
    import("@googlemaps/google-maps-services-js"),
    import("axios"),
  ]);
  const axiosInstance = axios.create({ maxRedirects: 0, maxContentLength: largestAnswerBytes });
  // The client knows no base URL; every request passes here.
  axiosInstance.interceptors.request.use((config) => {
    if (config.url) config.url = config.url.replace(googlesOrigin, baseUrl.replace(/\/$/, ""));
    return config;
  });
  // The same package; TypeScript only sees that the client requires it where we import it.
  return new Client({ axiosInstance: axiosInstance as never });
}

/** The verdict in a 200's body. The client's errors carry the whole request, key included: they go no further. */
async function answered(request: Promise<{ data: unknown }>): Promise<{ status: string; data: unknown }> {
  try {
    const { data } = await request;
    return { status: String((data as { status?: unknown } | null)?.status ?? ""), data };
  } catch (error) {
    const { response, code } = error as AxiosError;
    const httpStatus = response?.status ?? 0;
    const what = httpStatus > 0 ? `answered ${httpStatus}` : `no answer (${code ?? "unknown"})`;
    const isTooLarge = httpStatus === 0 && code === "ERR_BAD_RESPONSE";
    if ((httpStatus === 0 && !isTooLarge) || httpStatus === 429 || httpStatus >= 500) {
      throw new ProviderUnavailable("google-places", { cause: new Error(what) });
    }
    throw new ProviderFault("google-places", isTooLarge ? "the answer is too large" : what);
  }
}

function shaped<Shape>(schema: z.ZodType<Shape>, status: string, data: unknown): Shape {
  if (status === "OVER_QUERY_LIMIT" || status === "UNKNOWN_ERROR") {
    throw new ProviderUnavailable("google-places", { cause: new Error(`answered ${status}`) });
  }
  if (status !== "OK") {
    throw new ProviderFault("google-places", `answered ${/^[A-Z_]{1,40}$/.test(status) ? status : "without status"}`);
  }
  const answer = schema.safeParse(data);
  if (!answer.success) throw new ProviderFault("google-places", "the answer has another shape");
  return answer.data;
}

function foundPlace({ result }: z.output<typeof detailsAnswer>): FoundPlace {
  return {
    placeId: result.place_id,
    formatted: result.formatted_address,
    location: result.geometry?.location ?? null,
    parts: result.address_components.map(({ long_name, short_name, types }) => {
      return { long: long_name, short: short_name, types };
    }),
  };
}
