import type { Owner } from "#domain/core/identifiers.js";
import { photoKeys } from "#domain/files/files.policy.js";
import { emailOfClaim, emptyProfile, profileData, profileDataSchema } from "#domain/profile/profile.policy.js";
import { type Principal, principalOf } from "#infrastructure/http/principal.js";
import { answerDocument } from "#infrastructure/http/reads.js";
import { record } from "#infrastructure/http/records.js";
import { recordOf } from "#infrastructure/http/response-schemas.js";
import type { RouteDefinition } from "#infrastructure/http/routes.js";
import { steadyLinkPeriod } from "#infrastructure/object-storage.js";
import { type ProfileDocument, profileDocument, profileDocumentId } from "#projectors/profile/profile.document.js";
import type { QueryDependencies } from "../dependencies.js";

/** Reads of the customer's profile. */
export function profileQueries(deps: QueryDependencies): RouteDefinition[] {
  return [
    {
      method: "get",
      path: "/client-data/profile",
      summary: "The customer's profile; before the first command, what the token says",
      operationId: "getProfile",
      area: "profile",
      responses: { 200: { description: "The profile", schema: recordOf(profileDataSchema) } },
      handler: (req, res) =>
        answerDocument(req, res, deps, {
          definition: profileDocument,
          id: profileDocumentId,
          tag: steadyLinkPeriod,
          body: (document, now) => toRecord(deps, document ?? unregistered(principalOf(res), now), principalOf(res)),
        }),
    },
  ];
}

async function toRecord(deps: QueryDependencies, document: ProfileDocument, { org, owner }: Principal) {
  const { version, createdAt, modifiedAt, profile } = document;
  const data = profileData(profile, await photoLinks(deps, owner, profile.photo));
  return record({ datatype: "customer", id: owner.customer, org, version, createdAt, modifiedAt, data });
}

/** Both are there: a profile takes a photo only when it has been scanned and drawn in small. */
async function photoLinks({ objectStorage }: QueryDependencies, owner: Owner, photo: string | null) {
  if (photo === null) return {};
  const keys = photoKeys(owner, photo);
  const [large, small] = await Promise.all([
    objectStorage.steadyLink(keys.photo, { disposition: "inline" }),
    objectStorage.steadyLink(keys.thumbnail, { disposition: "inline" }),
  ]);
  return { photoUrl: large.url, thumbnailUrl: small.url };
}

/** The profile as the customer's first command will register it: version 0, so that an `If-Match` made of it holds. */
function unregistered({ claims }: Principal, now: Date): ProfileDocument {
  const email = claims.email === undefined ? null : emailOfClaim(claims.email);
  const at = now.toISOString();
  return {
    version: 0,
    createdAt: at,
    modifiedAt: at,
    profile: { ...emptyProfile, email, name: claims.name ?? null },
  };
}
