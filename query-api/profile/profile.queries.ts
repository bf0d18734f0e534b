import { emailOfClaim, emptyProfile, profileData, profileDataSchema } from "#domain/profile/profile.policy.js";
import { type Principal, principalOf } from "#infrastructure/http/principal.js";
import { answerDocument, type ReadDependencies } from "#infrastructure/http/reads.js";
import { record } from "#infrastructure/http/records.js";
import { recordOf } from "#infrastructure/http/response-schemas.js";
import type { RouteDefinition } from "#infrastructure/http/routes.js";
import { type ProfileDocument, profileDocument, profileDocumentId } from "#projectors/profile/profile.document.js";

/** Reads of the customer's profile. */
export function profileQueries(deps: ReadDependencies): RouteDefinition[] {
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
          body: (document, now) => toRecord(document ?? unregistered(principalOf(res), now), principalOf(res)),
        }),
    },
  ];
}

function toRecord({ version, createdAt, modifiedAt, profile }: ProfileDocument, { org, owner }: Principal) {
  const data = profileData(profile);
  return record({ datatype: "customer", id: owner.customer, org, version, createdAt, modifiedAt, data });
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
