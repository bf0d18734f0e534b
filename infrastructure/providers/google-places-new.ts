import { Pool } from "undici";
import { z } from "zod";
import { type FoundPlace, mostSuggestions, type PlacesWire, type Suggestion } from "./place-provider.js";
import { ProviderFault, ProviderUnavailable } from "./provider-call.js";

const connections = 32;
const largestAnswerBytes = 256 * 1024;
const biasRadiusMetres = 50_000;
/** What is asked for is what is billed: these are all of the cheapest kind. */
const placeFields = "id,formattedAddress,addressComponents,location";
const suggestionFields = [
  "placeId",
  "text.text",
  "structuredFormat.mainText.text",
  "structuredFormat.secondaryText.text",
]
  .map((field) => `suggestions.placePrediction.${field}`)
  .join(",");

const text = z.object({ text: z.string() });
const suggestionsAnswer = z.object({
  suggestions: z
    .array(
      z.object({
        placePrediction: z
          .object({
            placeId: z.string(),
            text,
            structuredFormat: z.object({ mainText: text, secondaryText: text.optional() }).optional(),
          })
          .optional(),
      }),
    )
    .default([]),
});
const placeAnswer = z.object({
  id: z.string(),
  formattedAddress: z.string().default(""),
  location: z.object({ latitude: z.number(), longitude: z.number() }).optional(),
  addressComponents: z
    .array(
      z.object({ longText: z.string(), shortText: z.string().default(""), types: z.array(z.string()).default([]) }),
    )
    .default([]),
});
const errorAnswer = z.object({ error: z.object({ status: z.string().default(""), message: z.string().default("") }) });

type Answer = { readonly status: number; readonly body: unknown };

/** Google's Places API (New): plain HTTPS, the key in a header. */
export function newPlaces(baseUrl: string): { withKey(apiKey: string): PlacesWire; close(): Promise<void> } {
  const { origin, pathname } = new URL(baseUrl);
  const base = pathname.replace(/\/$/, "");
  const pool = new Pool(origin, { connections });

  async function send(
    request: { method: "GET" | "POST"; path: string; fields: string; body?: object },
    apiKey: string,
    signal: AbortSignal,
  ): Promise<Answer> {
    try {
      const response = await pool.request({
        method: request.method,
        path: `${base}${request.path}`,
        headers: {
          "x-goog-api-key": apiKey,
          "x-goog-fieldmask": request.fields,
          ...(request.body ? { "content-type": "application/json" } : {}),
        },
        ...(request.body ? { body: JSON.stringify(request.body) } : {}),
        signal,
      });
      const chunks: Buffer[] = [];
      let size = 0;
      for await (const chunk of response.body as AsyncIterable<Buffer>) {
        size += chunk.length;
        if (size > largestAnswerBytes) throw new ProviderFault("google-places", "the answer is too large");
        chunks.push(chunk);
      }
      return { status: response.statusCode, body: parsed(Buffer.concat(chunks).toString("utf8")) };
    } catch (error) {
      if (error instanceof ProviderFault) throw error;
      throw new ProviderUnavailable("google-places", { cause: error });
    }
  }

  return {
    withKey: (apiKey) => ({
      async suggest({ input, countries, language, near }, sessionToken, signal) {
        const body = {
          input,
          sessionToken,
          ...(countries.length > 0 ? { includedRegionCodes: countries.map((code) => code.toLowerCase()) } : {}),
          ...(language === undefined ? {} : { languageCode: language }),
          ...(near
            ? {
                locationBias: {
                  circle: { center: { latitude: near.lat, longitude: near.lng }, radius: biasRadiusMetres },
                },
              }
            : {}),
        };
        const request = { method: "POST", path: "/v1/places:autocomplete", fields: suggestionFields, body } as const;
        const { suggestions } = shaped(suggestionsAnswer, await send(request, apiKey, signal));
        return suggestions
          .flatMap(({ placePrediction: found }): Suggestion[] => {
            if (!found) return [];
            const { mainText, secondaryText } = found.structuredFormat ?? { mainText: found.text };
            return [
              {
                placeId: found.placeId,
                description: found.text.text,
                mainText: mainText.text,
                secondaryText: secondaryText?.text ?? "",
              },
            ];
          })
          .slice(0, mostSuggestions);
      },

      async find({ placeId, language }, sessionToken, signal) {
        const query = new URLSearchParams({
          ...(language === undefined ? {} : { languageCode: language }),
          ...(sessionToken === undefined ? {} : { sessionToken }),
        });
        const path = `/v1/places/${encodeURIComponent(placeId)}${query.size > 0 ? `?${query}` : ""}`;
        const answer = await send({ method: "GET", path, fields: placeFields }, apiKey, signal);
        if (isNoPlace(answer)) return null;
        return foundPlace(shaped(placeAnswer, answer));
      },
    }),
    close: () => pool.close(),
  };
}

/** An id that no place has is 404, one that no place could have is 400; a bad key is 400, too. */
function isNoPlace({ status, body }: Answer): boolean {
  if (status === 404) return true;
  const refused = status === 400 ? errorAnswer.safeParse(body).data?.error : undefined;
  return refused?.status === "INVALID_ARGUMENT" && /place.?id/i.test(refused.message);
}

function foundPlace(answer: z.output<typeof placeAnswer>): FoundPlace {
  const { id, formattedAddress, location, addressComponents } = answer;
  return {
    placeId: id,
    formatted: formattedAddress,
    location: location ? { lat: location.latitude, lng: location.longitude } : null,
    parts: addressComponents.map(({ longText, shortText, types }) => {
      return { long: longText, short: shortText || longText, types };
    }),
  };
}

/** The body of a good answer; whatever else came, in our words: Google's may repeat the request. */
function shaped<Shape>(schema: z.ZodType<Shape>, { status, body }: Answer): Shape {
  if (status === 429 || status >= 500) {
    throw new ProviderUnavailable("google-places", { cause: new Error(`answered ${status}`) });
  }
  if (status !== 200) {
    const word = errorAnswer.safeParse(body).data?.error.status ?? "";
    throw new ProviderFault("google-places", `answered ${status}${/^[A-Z_]{1,40}$/.test(word) ? ` ${word}` : ""}`);
  }
  const answer = schema.safeParse(body);
  if (!answer.success) throw new ProviderFault("google-places", "the answer has another shape");
  return answer.data;
}

function parsed(json: string): unknown {
  try {
    return JSON.parse(json);
  } catch {
    return undefined;
  }
}
