import { z } from "zod";
import { addressData, addressDataSchema, placeIdPattern } from "#domain/addresses/addresses.policy.js";
import { countryCode } from "#domain/addresses/countries.policy.js";
import { addressOfPlace, placeDataSchema } from "#domain/addresses/place.policy.js";
import { bareId, ownerKey } from "#domain/core/identifiers.js";
import { answerList, listQuery } from "#infrastructure/http/paging.js";
import { principalOf } from "#infrastructure/http/principal.js";
import { Problem } from "#infrastructure/http/problem-details.js";
import { answerDocument } from "#infrastructure/http/reads.js";
import { type RecordBody, record, sendJson } from "#infrastructure/http/records.js";
import { listOf, recordOf } from "#infrastructure/http/response-schemas.js";
import type { RouteDefinition } from "#infrastructure/http/routes.js";
import { bcp47, id, parseParams, parseQuery, text } from "#infrastructure/http/validation.js";
import { type AddressDocument, addressDocument } from "#projectors/addresses/addresses.document.js";
import type { QueryDependencies } from "../dependencies.js";

const query = listQuery({
  // How many defaults an address is comes first, then how lately it was modified.
  sortable: { defaults: "standing", "data.label": "address.label", "data.city": "address.city" },
  defaultSort: "defaults",
});

const params = z.object({ addressId: id() });

const degrees = (most: number) =>
  z
    .string()
    .regex(/^-?\d{1,3}(\.\d{1,20})?$/, { message: "must be degrees such as 52.52" })
    .transform(Number)
    .refine((value) => Math.abs(value) <= most, { message: `must be from -${most} to ${most}` });

const sessionToken = z.uuid({ version: "v4", message: "must be a UUID of version 4" }).meta({
  description: "of the suggestions before; suggestions without one begin a session, a place looked up ends it",
});
const input = text(3, 200).meta({ description: "what was typed; `q` does as well" });

const suggestionsQuery = z
  .object({
    input: input.optional(),
    q: input.optional(),
    sessionToken: sessionToken.optional(),
    country: z
      .string()
      .max(50)
      .transform((value) => value.split(","))
      .pipe(z.array(countryCode).max(5))
      .optional()
      .meta({ description: "comma list of at most 5 ISO 3166-1 alpha-2 codes" }),
    language: bcp47().optional(),
    lat: degrees(90).optional(),
    lng: degrees(180).optional(),
  })
  .transform(({ input, q, lat, lng, ...rest }, context) => {
    const typed = input ?? q;
    if (typed === undefined) {
      context.addIssue({ code: "custom", path: ["input"], message: "is required", params: { code: "REQUIRED" } });
      return z.NEVER;
    }
    if ((lat === undefined) !== (lng === undefined)) {
      const missing = lat === undefined ? "lat" : "lng";
      const message = "is required with the other coordinate";
      context.addIssue({ code: "custom", path: [missing], message, params: { code: "REQUIRED" } });
    }
    return { ...rest, input: typed, near: lat === undefined || lng === undefined ? undefined : { lat, lng } };
  });

const placeParams = z.object({
  placeId: z.string().regex(placeIdPattern, { message: "must be 1 to 300 of A-Z a-z 0-9 _ -" }),
});
const placeQuery = z.object({ sessionToken: sessionToken.optional(), language: bcp47().optional() });

const suggestion = z.object({
  placeId: z.string(),
  description: z.string(),
  mainText: z.string(),
  secondaryText: z.string(),
});

/** Reads of the customer's address book, and help with typing an address. */
export function addressQueries(deps: QueryDependencies): RouteDefinition[] {
  return [
    {
      method: "get",
      path: "/client-data/addresses",
      summary: "The customer's addresses, the defaults first",
      operationId: "listAddresses",
      area: "addresses",
      request: { query },
      responses: { 200: { description: "A page of addresses", schema: listOf(addressDataSchema) } },
      problems: ["SORT_NOT_ALLOWED", "PAGE_TOO_DEEP"],
      handler: (req, res) => {
        const { org } = principalOf(res);
        return answerList(req, res, deps, {
          definition: addressDocument,
          query: parseQuery(query, req),
          toRecord: (document) => toRecord(document, org),
        });
      },
    },
    {
      method: "get",
      path: "/client-data/addresses/:addressId",
      summary: "One address, by pk or id",
      operationId: "getAddress",
      area: "addresses",
      request: { params },
      responses: { 200: { description: "The address", schema: recordOf(addressDataSchema) } },
      problems: ["ADDRESS_NOT_FOUND"],
      handler: (req, res) => {
        const { org } = principalOf(res);
        const { addressId } = parseParams(params, req);
        return answerDocument(req, res, deps, {
          definition: addressDocument,
          id: bareId("address", addressId),
          notFound: "ADDRESS_NOT_FOUND",
          body: (document) => (document ? toRecord(document, org) : undefined),
        });
      },
    },
    {
      method: "get",
      path: "/client-data/addresses/autocomplete",
      summary: "Suggests addresses for what was typed",
      operationId: "suggestAddresses",
      area: "addresses",
      limits: ["autocomplete", "autocomplete-daily"],
      limitCode: "AUTOCOMPLETE_QUOTA",
      request: { query: suggestionsQuery },
      responses: {
        200: {
          description: "At most five suggestions, and the token to go on with",
          schema: z.object({ data: z.array(suggestion), sessionToken: z.string() }),
        },
      },
      problems: ["AUTOCOMPLETE_QUOTA", "INTEGRATION_NOT_CONFIGURED", "PROVIDER_ERROR", "PROVIDER_UNAVAILABLE"],
      handler: async (req, res) => {
        const { country = [], sessionToken, ...typed } = parseQuery(suggestionsQuery, req);
        const { org, owner } = principalOf(res);
        const wish = { ...typed, countries: country };
        const answer = await deps.places.suggest(org, ownerKey(owner), wish, sessionToken);
        res.setHeader("Cache-Control", "no-store");
        sendJson(res, 200, JSON.stringify({ data: answer.suggestions, sessionToken: answer.sessionToken }));
      },
    },
    {
      method: "get",
      path: "/client-data/addresses/place/:placeId",
      summary: "The address of a place that was suggested",
      operationId: "getPlaceAddress",
      area: "addresses",
      limits: ["place"],
      request: { params: placeParams, query: placeQuery },
      responses: {
        200: { description: "Its address, as fields to post", schema: z.object({ data: placeDataSchema }) },
      },
      problems: ["INTEGRATION_NOT_CONFIGURED", "PLACE_NOT_FOUND", "PROVIDER_ERROR", "PROVIDER_UNAVAILABLE"],
      handler: async (req, res) => {
        const { placeId } = parseParams(placeParams, req);
        const { sessionToken, language } = parseQuery(placeQuery, req);
        const { org, owner } = principalOf(res);
        const place = await deps.places.find(org, ownerKey(owner), { placeId, language }, sessionToken);
        if (!place) throw new Problem(404, "PLACE_NOT_FOUND");
        res.setHeader("Cache-Control", "no-store");
        sendJson(res, 200, JSON.stringify({ data: addressOfPlace(place) }));
      },
    },
  ];
}

function toRecord(document: AddressDocument, org: string): RecordBody {
  const { addressId, version, createdAt, modifiedAt } = document;
  const data = addressData(document);
  return record({ datatype: "address", id: addressId, org, version, createdAt, modifiedAt, data });
}
