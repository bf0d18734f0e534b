import { z } from "zod";
import { bareId, type Owner, recordKey, streams } from "#domain/core/identifiers.js";
import { filesDecider, isUsablePhoto } from "#domain/files/files.decider.js";
import { profileDecider, type ProfileState, type ProfileWish } from "#domain/profile/profile.decider.js";
import { profileData, profileDataSchema, profileLimits } from "#domain/profile/profile.policy.js";
import { sourceRevisionSchema } from "#domain/core/source-revision.js";
import type { CommandHandler } from "#infrastructure/command-handler.js";
import { expectedVersion, versionGuard } from "#infrastructure/http/etags.js";
import { principalOf } from "#infrastructure/http/principal.js";
import { type FieldError, Problem } from "#infrastructure/http/problem-details.js";
import { type RecordBody, record, sendRecord } from "#infrastructure/http/records.js";
import { recordOf } from "#infrastructure/http/response-schemas.js";
import type { RouteDefinition } from "#infrastructure/http/routes.js";
import {
  bcp47,
  customerId,
  e164,
  emailAddress,
  ianaZone,
  jsonObject,
  parseBody,
  text,
  version,
} from "#infrastructure/http/validation.js";
import { isPossibleNumber } from "#infrastructure/phone-numbers.js";
import type { OrgSettings } from "#infrastructure/org-settings.js";
import type { CommandDependencies } from "../dependencies.js";
import { createIngestHandler, type IngestTarget } from "../ingest.js";

const consent = z.boolean().nullish();

/** Absent leaves a field as it is, null clears it. */
const fields = {
  name: text(1, profileLimits.name).nullish(),
  firstName: text(0, profileLimits.namePart).nullish(),
  lastName: text(0, profileLimits.namePart).nullish(),
  email: emailAddress().nullish(),
  phone: e164().nullish(),
  language: bcp47().nullish(),
  timezone: ianaZone().nullish(),
  about: text(0, profileLimits.about).nullish(),
  marketing: z.strictObject({ email: consent, sms: consent, push: consent }).nullish(),
  metadata: jsonObject(profileLimits.metadata).nullish(),
};

const update = z.strictObject({
  ...fields,
  phone: e164()
    .refine(isPossibleNumber, {
      message: "must have the length of a number of its country",
      params: { code: "PATTERN" },
    })
    .nullish(),
  photo: z.string().min(1).max(100).nullish().meta({ description: "pk of an own clean image file" }),
  version: version().optional(),
});

const ingested = z.strictObject({
  ...fields,
  emailVerified: z.boolean().optional(),
  sourceRevision: sourceRevisionSchema,
});

/** Changes of the customer's profile. */
export function profileRoutes(deps: CommandDependencies): RouteDefinition[] {
  return [
    {
      method: "put",
      path: "/client-data/profile",
      summary: "Changes the fields given; null clears one",
      operationId: "updateProfile",
      area: "profile",
      request: { body: update },
      responses: { 200: { description: "The profile as it now is", schema: recordOf(profileDataSchema) } },
      problems: [
        "EMPTY_UPDATE",
        "EMAIL_CHANGE_NEEDS_VERIFICATION",
        "METADATA_TOO_LARGE",
        "PHOTO_NOT_USABLE",
        "PRECONDITION_FAILED",
        "VERSION_CONFLICT",
      ],
      handler: async (req, res) => {
        const { owner } = principalOf(res);
        const { version: bodyVersion, photo: wishedPhoto, ...fields } = parseBody(update.prefault({}), req);
        const photo = wishedPhoto ? recordKey("file", bareId("file", wishedPhoto)) : wishedPhoto;
        const wish = { ...fields, photo };
        if (Object.values(wish).every((value) => value === undefined)) throw new Problem(400, "EMPTY_UPDATE");
        refuseUnknownKeys(wish.metadata, deps.orgSettings, owner.org);
        const guard = versionGuard(expectedVersion(req, bodyVersion), versionOf);
        const handled = await deps.commands.handle({
          decider: profileDecider,
          stream: streams.profile(owner),
          command: {
            type: "UpdateProfile",
            wish: wish as ProfileWish,
            photoUsable: photo ? await canBePhoto(deps, owner, photo) : false,
          },
          context: deps.idempotency(req, res),
          ...(guard ? { guard } : {}),
        });
        sendRecord(res, 200, profileRecord(handled.state, owner), deps.answerOf(handled));
      },
    },
  ];
}

/** `PUT /internal/ingest/customers/:id`: the platform gives birth to a customer, or tells what it knows anew. */
export function customerIngest(deps: {
  readonly commands: CommandHandler;
  readonly orgSettings: OrgSettings;
}): IngestTarget<z.output<typeof ingested>> {
  const ingest = createIngestHandler(deps.commands);
  return {
    segment: "customers",
    area: "profile",
    id: customerId(),
    body: ingested,
    async ingest(customer, { sourceRevision, ...wish }, contextFor) {
      const context = contextFor(customer);
      refuseUnknownKeys(wish.metadata, deps.orgSettings, context.org);
      return ingest({
        decider: profileDecider,
        stream: streams.profile({ org: context.org, customer }),
        command: { type: "IngestCustomer", sourceRevision, wish: wish as ProfileWish },
        context,
      });
    },
  };
}

/** Metadata has the keys its org allows; a key no longer allowed may still be cleared. */
function refuseUnknownKeys(metadata: Record<string, unknown> | null | undefined, settings: OrgSettings, org: string) {
  const allowed = settings.of(org)?.metadataKeys ?? [];
  const errors = Object.entries(metadata ?? {})
    .filter(([key, value]) => value !== null && !allowed.includes(key))
    .map(([key]): FieldError => {
      return { field: `metadata.${key.slice(0, 100)}`, code: "UNKNOWN_FIELD", message: "is not a key of this org" };
    });
  if (errors.length > 0) throw new Problem(400, "UNKNOWN_FIELD", { errors: errors.slice(0, 50) });
}

/**
 * Looked up before the decision, in another stream: a file removed at the same moment may be missed, and then the
 * profile lets go of it (`projectors/profile/profile.reactor.ts`).
 */
async function canBePhoto({ commands }: CommandDependencies, owner: Owner, photo: string): Promise<boolean> {
  const { state } = await commands.load({ decider: filesDecider, stream: streams.files(owner) });
  return isUsablePhoto(state.files.get(bareId("file", photo)));
}

function versionOf(state: ProfileState): number | undefined {
  return state.status === "active" ? state.version : undefined;
}

/** The record of a profile that took a command. */
export function profileRecord(state: ProfileState, { org, customer }: Owner): RecordBody {
  if (state.status !== "active") throw new Error("a profile that took a command is active");
  const { version, createdAt, modifiedAt, profile } = state;
  return record({
    datatype: "customer",
    id: customer,
    org,
    version,
    createdAt,
    modifiedAt,
    data: profileData(profile),
  });
}
