import { v5 as uuidV5 } from "uuid";
import { z } from "zod";
import {
  addressesDecider,
  type AddressEntry,
  type AddressesState,
  entryFor,
  entryOf,
} from "#domain/addresses/addresses.decider.js";
import type { AddressFields } from "#domain/addresses/addresses.events.js";
import { addressData, addressDataSchema, addressLimits, placeIdPattern } from "#domain/addresses/addresses.policy.js";
import { countryCode, normalPostalCode } from "#domain/addresses/countries.policy.js";
import { type Patch, present } from "#domain/core/changes.js";
import { bareId, type Owner, streams } from "#domain/core/identifiers.js";
import { expectedVersion, type ExpectedVersion, versionGuard } from "#infrastructure/http/etags.js";
import { principalOf } from "#infrastructure/http/principal.js";
import { type RecordBody, record, sendCommandAnswer, sendRecord } from "#infrastructure/http/records.js";
import { recordOf } from "#infrastructure/http/response-schemas.js";
import type { RouteDefinition } from "#infrastructure/http/routes.js";
import { e164, id, parseBody, parseParams, text, version } from "#infrastructure/http/validation.js";
import type { CommandDependencies } from "../dependencies.js";

/** Text that may be left empty, which clears it. */
const optionalText = (max: number) =>
  text(0, max)
    .nullish()
    .transform((value) => (value === "" ? null : value));

const coordinate = (most: number) =>
  z
    .number()
    .min(-most)
    .max(most)
    .overwrite((value) => value + 0); // no -0

const needed = {
  line1: text(1, addressLimits.line),
  city: text(1, addressLimits.city),
  country: countryCode.meta({ description: "ISO 3166-1 alpha-2", examples: ["DE"] }),
};

/** Absent leaves a field as it is, null clears it. */
const optional = {
  label: optionalText(addressLimits.label),
  name: optionalText(addressLimits.name),
  company: optionalText(addressLimits.company),
  line2: optionalText(addressLimits.line),
  region: optionalText(addressLimits.region),
  postalCode: optionalText(addressLimits.postalCode).transform((value) => value && normalPostalCode(value)),
  phone: e164().nullish(),
  instructions: optionalText(addressLimits.instructions),
  location: z.strictObject({ lat: coordinate(90), lng: coordinate(180) }).nullish(),
  placeId: z.string().regex(placeIdPattern, { message: "must be 1 to 300 of A-Z a-z 0-9 _ -" }).nullish(),
};
const defaults = { isDefaultShipping: z.boolean().optional(), isDefaultBilling: z.boolean().optional() };

const addBody = z.strictObject({ ...needed, ...optional, ...defaults, version: version().optional() });
const changeBody = z.strictObject({
  id: id().meta({ description: "id or pk of the address to change" }),
  ...z.object(needed).partial().shape,
  ...optional,
  ...defaults,
  version: version().optional(),
});

const params = z.object({ addressId: id() });
const removeBody = z.strictObject({ version: version().optional() }).prefault({});

/** Namespace of address ids; drawn once. */
const addressNamespace = "3d1c8a57-0c86-4b0e-8d5b-9e4f0a1f6b21";

/** Changes of the customer's address book. */
export function addressRoutes(deps: CommandDependencies): RouteDefinition[] {
  return [
    {
      method: "post",
      path: "/client-data/addresses",
      summary: "Adds an address, or with `id` changes the fields given; null clears one",
      operationId: "upsertAddress",
      area: "addresses",
      request: { body: z.union([addBody, changeBody]) },
      responses: {
        200: {
          description: "The address as it now is; the very same one was there already",
          schema: recordOf(addressDataSchema),
        },
        201: { description: "The new address", schema: recordOf(addressDataSchema) },
      },
      problems: [
        "ADDRESS_LIMIT_REACHED",
        "ADDRESS_NOT_FOUND",
        "DEFAULT_CANNOT_BE_UNSET",
        "POSTAL_CODE_INVALID",
        "PRECONDITION_FAILED",
        "REGION_REQUIRED",
        "VERSION_CONFLICT",
      ],
      handler: async (req, res) => {
        const { owner } = principalOf(res);
        const context = deps.idempotency(req, res);
        const stream = streams.addresses(owner);
        if (namesAnAddress(req.body)) {
          const { id, version, isDefaultShipping, isDefaultBilling, ...changes } = parseBody(changeBody, req);
          const addressId = bareId("address", id);
          const guard = guardOf(addressId, expectedVersion(req, version));
          const handled = await deps.commands.handle({
            decider: addressesDecider,
            stream,
            command: {
              type: "ChangeAddress",
              ...{ addressId, isDefaultShipping, isDefaultBilling },
              changes: changes as Patch<AddressFields>,
            },
            context,
            ...(guard ? { guard } : {}),
          });
          sendRecord(res, 200, toRecord(entryOf(handled.state, addressId), owner), deps.answerOf(handled));
          return;
        }
        const { version, isDefaultShipping, isDefaultBilling, ...fields } = parseBody(addBody, req);
        const addressId = uuidV5(context.commandId, addressNamespace);
        const address = present(fields as Patch<AddressFields>);
        // A version of what is not there yet is none that could hold.
        const guard = versionGuard<AddressesState>(expectedVersion(req, version), () => undefined);
        const handled = await deps.commands.handle({
          decider: addressesDecider,
          stream,
          command: { type: "AddAddress", addressId, address, isDefaultShipping, isDefaultBilling },
          context,
          ...(guard ? { guard } : {}),
        });
        const entry = entryFor(handled.state, addressId, address);
        const created = entry?.addressId === addressId;
        sendRecord(res, created ? 201 : 200, toRecord(entry, owner), {
          ...deps.answerOf(handled),
          ...(created ? { location: `/client-data/addresses/${addressId}` } : {}),
        });
      },
    },
    {
      method: "delete",
      path: "/client-data/addresses/:addressId",
      summary: "Removes an address; the one last used takes over what it was the default for",
      operationId: "removeAddress",
      area: "addresses",
      request: { params, body: removeBody },
      responses: { 204: { description: "It is not in the address book" } },
      problems: ["ADDRESS_IN_USE", "ADDRESS_NOT_FOUND", "PRECONDITION_FAILED", "VERSION_CONFLICT"],
      handler: async (req, res) => {
        const { owner } = principalOf(res);
        const addressId = bareId("address", parseParams(params, req).addressId);
        const guard = guardOf(addressId, expectedVersion(req, parseBody(removeBody, req).version));
        const handled = await deps.commands.handle({
          decider: addressesDecider,
          stream: streams.addresses(owner),
          command: { type: "RemoveAddress", addressId },
          context: deps.idempotency(req, res),
          ...(guard ? { guard } : {}),
        });
        sendCommandAnswer(res, 204, undefined, deps.answerOf(handled));
      },
    },
  ];
}

function namesAnAddress(body: unknown): boolean {
  return typeof body === "object" && body !== null && "id" in body;
}

/** Whether the version holds; of an address that is not there the decider has the better word. */
function guardOf(addressId: string, expected: ExpectedVersion | undefined) {
  const guard = versionGuard<AddressesState>(expected, (state) => entryOf(state, addressId)?.version);
  return guard && ((state: AddressesState) => (entryOf(state, addressId) ? guard(state) : undefined));
}

function toRecord(entry: AddressEntry | undefined, { org }: Owner): RecordBody {
  if (!entry) throw new Error("an address that took a command is in the address book");
  const { addressId, version, createdAt, modifiedAt } = entry;
  return record({ datatype: "address", id: addressId, org, version, createdAt, modifiedAt, data: addressData(entry) });
}
