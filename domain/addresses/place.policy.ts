import { z } from "zod";
import { addressLimits, postalFieldsSchema } from "./addresses.policy.js";
import { countryRules, normalPostalCode } from "./countries.policy.js";

/** A part of a place's address as geocoders name them: `route`, `locality`, `administrative_area_level_1`, … */
export type PlacePart = { readonly long: string; readonly short: string; readonly types: readonly string[] };

/** A place as a geocoder knows it. */
export type Place = {
  readonly placeId: string;
  /** The whole address in one line, in the order of its country. */
  readonly formatted: string;
  readonly location: { readonly lat: number; readonly lng: number } | null;
  readonly parts: readonly PlacePart[];
};

/** The payload of a place: address fields ready to be posted; what the place does not tell is absent. */
export const placeDataSchema = postalFieldsSchema.partial().extend({
  placeId: z.string(),
  formatted: z.string(),
  location: z.object({ lat: z.number(), lng: z.number() }).optional(),
});

type Part = (...types: string[]) => PlacePart | undefined;

/** Countries whose addresses carry the region's abbreviation: `Brooklyn, NY 11215`. */
const abbreviatedRegions = ["AU", "BR", "CA", "IT", "US"];
/** Countries whose addresses name the province, one level below the largest regions. */
const provinces = ["ES", "IT"];
/** Countries whose post is addressed to the post town, whatever the village. */
const postTowns = ["GB", "SE"];

/** A place as the fields of an address, region and postal code as its country wants them. */
export function addressOfPlace(place: Place): z.infer<typeof placeDataSchema> {
  const part: Part = (...types) => {
    for (const type of types) {
      const found = place.parts.find((one) => one.types.includes(type));
      if (found) return found;
    }
    return undefined;
  };
  const country = part("country")?.short.toUpperCase();
  const rules = country === undefined ? undefined : countryRules(country);
  const code = country ?? "";
  const postalCode = rules?.postalCode === "unused" ? undefined : part("postal_code")?.long;
  const region = part(`administrative_area_level_${provinces.includes(code) ? 2 : 1}`);
  const fields = {
    line1: cut(streetOf(place, part), addressLimits.line),
    line2: cut(part("subpremise")?.long, addressLimits.line),
    city: cut(cityOf(part, code), addressLimits.city),
    region:
      rules === undefined || rules.region === "unused"
        ? undefined
        : cut(abbreviatedRegions.includes(code) ? region?.short : region?.long, addressLimits.region),
    postalCode: postalCode && cut(normalPostalCode(postalCode), addressLimits.postalCode),
    country: rules === undefined ? undefined : country,
    location: place.location ?? undefined,
  };
  const known = Object.fromEntries(Object.entries(fields).filter(([, value]) => value !== undefined));
  return { ...known, placeId: place.placeId, formatted: place.formatted };
}

/** Street and house number in the order that the place's own address has them. */
function streetOf({ formatted }: Place, part: Part): string | undefined {
  const route = part("route");
  const number = part("street_number")?.long;
  if (route && number !== undefined) {
    const streetAt = Math.max(formatted.indexOf(route.long), formatted.indexOf(route.short));
    const numberAt = formatted.indexOf(number);
    return streetAt >= 0 && streetAt < numberAt ? `${route.long} ${number}` : `${number} ${route.long}`;
  }
  if (route) return route.long;
  // Where streets have no names, blocks are numbered within quarters: Jingumae 3-12-5.
  const quarter = part("sublocality_level_2", "neighborhood")?.long;
  const blocks = ["sublocality_level_3", "sublocality_level_4", "premise", "street_number"]
    .map((type) => part(type)?.long)
    .filter((text) => text !== undefined);
  if (quarter === undefined && blocks.length === 0) return undefined;
  return [quarter, blocks.join("-")].filter(Boolean).join(" ");
}

function cityOf(part: Part, country: string): string | undefined {
  const town = postTowns.includes(country) ? ["postal_town", "locality"] : ["locality", "postal_town"];
  const wider = ["sublocality_level_1", "administrative_area_level_3", "neighborhood", "administrative_area_level_2"];
  // City states have nothing smaller than themselves.
  return part(...town, ...wider, "administrative_area_level_1", "country")?.long;
}

/** Text as a request may carry it: at most so many code points, no control characters. */
function cut(value: string | undefined, codePoints: number): string | undefined {
  const clean = value
    ?.normalize("NFC")
    .replace(/\p{Cc}+/gu, " ")
    .trim();
  return clean ? [...clean].slice(0, codePoints).join("") : undefined;
}
