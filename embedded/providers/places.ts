/** The little world that the stand-ins of Google's Places know: real streets, invented house numbers. */

export type KnownPart = readonly [long: string, short: string, ...types: string[]];

export type KnownPlace = {
  readonly id: string;
  readonly main: string;
  readonly secondary: string;
  readonly formatted: string;
  readonly lat: number;
  readonly lng: number;
  readonly parts: readonly KnownPart[];
};

export const knownPlaces: readonly KnownPlace[] = [
  {
    id: "ChIJ_local_garfield_place",
    main: "418 Garfield Place",
    secondary: "Brooklyn, NY, USA",
    formatted: "418 Garfield Pl, Brooklyn, NY 11215, USA",
    lat: 40.6711,
    lng: -73.9736,
    parts: [
      ["418", "418", "street_number"],
      ["Garfield Place", "Garfield Pl", "route"],
      ["Brooklyn", "Brooklyn", "political", "sublocality", "sublocality_level_1"],
      ["Kings County", "Kings County", "administrative_area_level_2", "political"],
      ["New York", "NY", "administrative_area_level_1", "political"],
      ["United States", "US", "country", "political"],
      ["11215", "11215", "postal_code"],
    ],
  },
  {
    id: "ChIJ_local_valencia_street",
    main: "1190 Valencia Street",
    secondary: "San Francisco, CA, USA",
    formatted: "1190 Valencia St #4, San Francisco, CA 94110, USA",
    lat: 37.7533,
    lng: -122.4208,
    parts: [
      ["4", "4", "subpremise"],
      ["1190", "1190", "street_number"],
      ["Valencia Street", "Valencia St", "route"],
      ["San Francisco", "SF", "locality", "political"],
      ["San Francisco County", "San Francisco County", "administrative_area_level_2", "political"],
      ["California", "CA", "administrative_area_level_1", "political"],
      ["United States", "US", "country", "political"],
      ["94110", "94110", "postal_code"],
    ],
  },
  {
    id: "ChIJ_local_oranienstrasse",
    main: "Oranienstraße 25",
    secondary: "Berlin, Deutschland",
    formatted: "Oranienstraße 25, 10999 Berlin, Germany",
    lat: 52.5008,
    lng: 13.4233,
    parts: [
      ["25", "25", "street_number"],
      ["Oranienstraße", "Oranienstraße", "route"],
      ["Bezirk Friedrichshain-Kreuzberg", "Bezirk Friedrichshain-Kreuzberg", "sublocality_level_1", "sublocality"],
      ["Berlin", "Berlin", "locality", "political"],
      ["Berlin", "BE", "administrative_area_level_1", "political"],
      ["Germany", "DE", "country", "political"],
      ["10999", "10999", "postal_code"],
    ],
  },
  {
    id: "ChIJ_local_lindengasse",
    main: "Lindengasse 9",
    secondary: "Wien, Österreich",
    formatted: "Lindengasse 9, 1070 Wien, Austria",
    lat: 48.2003,
    lng: 16.3531,
    parts: [
      ["9", "9", "street_number"],
      ["Lindengasse", "Lindengasse", "route"],
      ["Wien", "Wien", "locality", "political"],
      ["Wien", "Wien", "administrative_area_level_1", "political"],
      ["Austria", "AT", "country", "political"],
      ["1070", "1070", "postal_code"],
    ],
  },
  {
    id: "ChIJ_local_hornsgatan",
    main: "Hornsgatan 64",
    secondary: "Stockholm, Sverige",
    formatted: "Hornsgatan 64, 118 21 Stockholm, Sweden",
    lat: 59.3178,
    lng: 18.0553,
    parts: [
      ["64", "64", "street_number"],
      ["Hornsgatan", "Hornsgatan", "route"],
      ["Stockholm", "Stockholm", "postal_town"],
      ["Stockholms län", "Stockholms län", "administrative_area_level_1", "political"],
      ["Sweden", "SE", "country", "political"],
      ["118 21", "118 21", "postal_code"],
    ],
  },
  {
    id: "ChIJ_local_upper_street",
    main: "71 Upper Street",
    secondary: "London, UK",
    formatted: "71 Upper St, London N1 0NY, UK",
    lat: 51.5362,
    lng: -0.1033,
    parts: [
      ["71", "71", "street_number"],
      ["Upper Street", "Upper St", "route"],
      ["Islington", "Islington", "locality", "political"],
      ["London", "London", "postal_town"],
      ["Greater London", "Greater London", "administrative_area_level_2", "political"],
      ["England", "England", "administrative_area_level_1", "political"],
      ["United Kingdom", "GB", "country", "political"],
      ["N1 0NY", "N1 0NY", "postal_code"],
    ],
  },
  {
    id: "ChIJ_local_rue_oberkampf",
    main: "38 Rue Oberkampf",
    secondary: "Paris, France",
    formatted: "38 Rue Oberkampf, 75011 Paris, France",
    lat: 48.8649,
    lng: 2.3706,
    parts: [
      ["38", "38", "street_number"],
      ["Rue Oberkampf", "Rue Oberkampf", "route"],
      ["Paris", "Paris", "locality", "political"],
      ["Département de Paris", "Département de Paris", "administrative_area_level_2", "political"],
      ["Île-de-France", "IDF", "administrative_area_level_1", "political"],
      ["France", "FR", "country", "political"],
      ["75011", "75011", "postal_code"],
    ],
  },
  {
    id: "ChIJ_local_via_dei_coronari",
    main: "Via dei Coronari, 112",
    secondary: "Roma RM, Italia",
    formatted: "Via dei Coronari, 112, 00186 Roma RM, Italy",
    lat: 41.9003,
    lng: 12.4694,
    parts: [
      ["112", "112", "street_number"],
      ["Via dei Coronari", "Via dei Coronari", "route"],
      ["Roma", "Roma", "locality", "political"],
      ["Roma", "Roma", "administrative_area_level_3", "political"],
      ["Città metropolitana di Roma Capitale", "RM", "administrative_area_level_2", "political"],
      ["Lazio", "Lazio", "administrative_area_level_1", "political"],
      ["Italy", "IT", "country", "political"],
      ["00186", "00186", "postal_code"],
    ],
  },
  {
    id: "ChIJ_local_jingumae",
    main: "Jingumae 3-12-5",
    secondary: "Shibuya, Tokyo, Japan",
    formatted: "3-chōme-12-5 Jingumae, Shibuya, Tokyo 150-0001, Japan",
    lat: 35.6694,
    lng: 139.7106,
    parts: [
      ["5", "5", "premise"],
      ["12", "12", "political", "sublocality", "sublocality_level_4"],
      ["3", "3", "political", "sublocality", "sublocality_level_3"],
      ["Jingumae", "Jingumae", "political", "sublocality", "sublocality_level_2"],
      ["Shibuya", "Shibuya", "locality", "political"],
      ["Tokyo", "Tokyo", "administrative_area_level_1", "political"],
      ["Japan", "JP", "country", "political"],
      ["150-0001", "150-0001", "postal_code"],
    ],
  },
  {
    id: "ChIJ_local_queens_road",
    main: "88 Queen's Road Central",
    secondary: "Central, Hong Kong",
    formatted: "88 Queen's Road Central, Central, Hong Kong",
    lat: 22.2838,
    lng: 114.1553,
    parts: [
      ["88", "88", "street_number"],
      ["Queen's Road Central", "Queen's Road Central", "route"],
      ["Central", "Central", "neighborhood", "political"],
      ["Hong Kong Island", "Hong Kong Island", "administrative_area_level_1", "political"],
      ["Hong Kong", "HK", "country", "political"],
    ],
  },
];

/** Places that have every word typed, as a beginning of one of theirs; in the countries named, or anywhere. */
export function placesLike(input: string, countries: readonly string[]): readonly KnownPlace[] {
  const plain = (text: string) => text.normalize("NFKD").replace(/\p{M}/gu, "").replaceAll("ß", "ss").toLowerCase();
  const wanted = plain(input).match(/[\p{L}\p{N}]+/gu) ?? [];
  return knownPlaces.filter(({ main, secondary, parts }) => {
    const country = parts.find(([, , ...types]) => types.includes("country"))?.[1].toLowerCase() ?? "";
    if (countries.length > 0 && !countries.includes(country)) return false;
    const words = plain(`${main} ${secondary}`).match(/[\p{L}\p{N}]+/gu) ?? [];
    return wanted.length > 0 && wanted.every((one) => words.some((word) => word.startsWith(one)));
  });
}
