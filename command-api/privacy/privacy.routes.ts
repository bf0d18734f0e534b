import { z } from "zod";
import { lockReasons } from "#domain/core/account-standing.js";
import { type Owner, ownerKey, streams } from "#domain/core/identifiers.js";
import { type Export, privacyDecider } from "#domain/privacy/privacy.decider.js";
import { exportDataSchema, exportShown, openObligations } from "#domain/privacy/privacy.policy.js";
import { principalOf, recentlySignedIn } from "#infrastructure/http/principal.js";
import { type RecordBody, record, sendCommandAnswer, sendRecord } from "#infrastructure/http/records.js";
import { recordOf } from "#infrastructure/http/response-schemas.js";
import type { RouteDefinition } from "#infrastructure/http/routes.js";
import { customerId, parseBody, parseParams } from "#infrastructure/http/validation.js";
import { defaultRateLimits } from "#infrastructure/rate-limits.js";
import { live } from "#infrastructure/read-models.js";
import { dashboardDocument, dashboardDocumentId } from "#projectors/dashboard/dashboard.document.js";
import { documentId } from "#projectors/runner/projection.js";
import type { CommandDependencies } from "../dependencies.js";
import { commandIdOf } from "../idempotency.js";
import { internalRoutes } from "../internal.js";

const erasureSchema = z.object({ requestedAt: z.iso.datetime(), effectiveAt: z.iso.datetime() });

/** What a customer may ask of the data about it: to be erased, and that taken back. */
export function privacyRoutes(deps: CommandDependencies): RouteDefinition[] {
  return [
    {
      method: "post",
      path: "/client-data/privacy/erasure",
      summary: "Erases the customer in 14 days; until then the account is locked and the wish can be taken back",
      operationId: "requestErasure",
      area: "privacy",
      // A repeat finds the account locked by the first: the decider tells a repeat from a locked account.
      whileLocked: true,
      responses: { 202: { description: "When it takes effect", schema: z.object({ data: erasureSchema }) } },
      problems: ["OPEN_OBLIGATIONS", "REAUTH_REQUIRED"],
      handler: async (req, res) => {
        const now = deps.clock();
        const { owner } = recentlySignedIn(res, now);
        const obligations = openObligations(await affairsOf(owner, deps));
        const handled = await deps.commands.handle({
          decider: privacyDecider,
          stream: streams.profile(owner),
          command: { type: "RequestErasure", now: now.toISOString(), obligations },
          context: deps.idempotency(req, res),
        });
        const { erasure } = handled.state.standing;
        if (erasure === null) throw new Error("an erasure that was requested is pending");
        const { requestedAt, effectiveAt } = erasure;
        sendCommandAnswer(res, 202, { data: { requestedAt, effectiveAt } }, deps.answerOf(handled));
      },
    },
    {
      method: "delete",
      path: "/client-data/privacy/erasure",
      summary: "Takes the wish to be erased back; fine when there is none",
      operationId: "cancelErasure",
      area: "privacy",
      whileLocked: true,
      responses: {
        200: { description: "No erasure is pending", schema: z.object({ data: z.object({ erasure: z.null() }) }) },
      },
      handler: async (req, res) => {
        const handled = await deps.commands.handle({
          decider: privacyDecider,
          stream: streams.profile(principalOf(res).owner),
          command: { type: "CancelErasure" },
          context: deps.idempotency(req, res),
        });
        sendCommandAnswer(res, 200, { data: { erasure: null } }, deps.answerOf(handled));
      },
    },
    {
      method: "post",
      path: "/client-data/privacy/export",
      summary: "Makes a zip of all there is about the customer; once a day",
      operationId: "requestExport",
      area: "privacy",
      responses: { 202: { description: "The export, pending: poll it", schema: recordOf(exportDataSchema) } },
      problems: ["RATE_LIMITED", "REAUTH_REQUIRED"],
      handler: async (req, res) => {
        const now = deps.clock();
        const { org, owner } = recentlySignedIn(res, now);
        const context = deps.idempotency(req, res);
        const exportId = commandIdOf([context.commandId, "export"]);
        const limit = deps.orgSettings.of(org)?.rateLimits.exports ?? defaultRateLimits.exports;
        if (!limit) throw new Error("exports have a limit");
        const handled = await deps.commands.handle({
          decider: privacyDecider,
          stream: streams.profile(owner),
          command: { type: "RequestExport", exportId, now: now.toISOString(), limit },
          context,
        });
        const asked = handled.state.exports.find((one) => one.exportId === exportId);
        if (!asked) throw new Error("an export that was asked for is known");
        const location = `/client-data/privacy/export/${exportId}`;
        sendRecord(res, 202, toRecord(asked, org, now), { ...deps.answerOf(handled), location });
      },
    },
  ];
}

function toRecord(asked: Export, org: string, now: Date): RecordBody {
  const { exportId: id, version, requestedAt: createdAt, modifiedAt } = asked;
  const data = exportShown(asked, now.toISOString());
  return record({ datatype: "privacy", id, org, version, state: data.status, createdAt, modifiedAt, data });
}

/** What the read models know of a customer's orders and money: advice, looked at again when the erasure takes effect. */
function affairsOf(owner: Owner, { readModels }: Pick<CommandDependencies, "readModels">) {
  const _id = documentId(ownerKey(owner), dashboardDocumentId);
  return readModels.collection(dashboardDocument).findOne({ _id, ...live });
}

const params = z.object({ id: customerId() });
const lockBody = z.strictObject({ reason: z.enum(lockReasons).default("other") }).prefault({});
const lockSchema = z.object({
  data: z.object({
    locked: z.boolean(),
    reason: z.enum(lockReasons).optional(),
    since: z.iso.datetime().optional(),
  }),
});

/** `/internal/customers/:id/lock`: staff locks a customer out of every command, and opens the account again. */
export function lockRoutes(deps: CommandDependencies): RouteDefinition[] {
  const lock = (method: "put" | "delete"): RouteDefinition => ({
    method,
    path: "/internal/customers/:id/lock",
    summary: method === "put" ? "Locks a customer's account; reads go on" : "Opens a locked account again",
    operationId: method === "put" ? "lockAccount" : "unlockAccount",
    area: "privacy",
    request: method === "put" ? { params, body: lockBody } : { params },
    responses: { 200: { description: "How the account now stands", schema: lockSchema } },
    problems: ["ACCOUNT_LOCKED", "CUSTOMER_NOT_FOUND"],
    handler: async (req, res) => {
      const customer = parseParams(params, req).id;
      // What the calling service says of itself is no customer's data: left out.
      const { client: _, ...context } = deps.idempotency(req, res);
      const owner = { org: context.org, customer };
      const handled = await deps.commands.handle({
        decider: privacyDecider,
        stream: streams.profile(owner),
        command:
          method === "put"
            ? { type: "LockAccount", reason: parseBody(lockBody, req).reason }
            : { type: "UnlockAccount" },
        context: { ...context, owner },
      });
      const held = handled.state.standing.lock;
      sendCommandAnswer(res, 200, { data: { locked: held !== null, ...held } }, deps.answerOf(handled));
    },
  });
  return internalRoutes([lock("put"), lock("delete")]);
}
