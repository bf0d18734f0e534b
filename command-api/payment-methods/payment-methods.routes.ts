import type { Request, Response } from "express";
import { z } from "zod";
import { bareId, type Owner, ownerKey, recordKey, streams } from "#domain/core/identifiers.js";
import { rejection } from "#domain/core/rejection.js";
import { awaitsPayment } from "#domain/orders/orders.policy.js";
import { hasCardData } from "#domain/payment-methods/card-data.policy.js";
import {
  type PaymentMethod,
  type PaymentMethodsState,
  paymentMethodsDecider,
  presentMethod,
} from "#domain/payment-methods/payment-methods.decider.js";
import { AttachRequested, DefaultChanged, paymentProviders } from "#domain/payment-methods/payment-methods.events.js";
import {
  failureRejection,
  paymentMethodData,
  paymentMethodDataSchema,
  paymentMethodLimits,
} from "#domain/payment-methods/payment-methods.policy.js";
import { providerCustomer } from "#sagas/payment-methods/payment-methods.saga.js";
import { CommandRejected, type Handled } from "#infrastructure/command-handler.js";
import { expectedVersion, versionGuard } from "#infrastructure/http/etags.js";
import { principalOf } from "#infrastructure/http/principal.js";
import { Problem, providerFailed } from "#infrastructure/http/problem-details.js";
import {
  type CommandAnswer,
  type RecordBody,
  record,
  sendCommandAnswer,
  sendRecord,
} from "#infrastructure/http/records.js";
import { recordOf } from "#infrastructure/http/response-schemas.js";
import type { RouteDefinition } from "#infrastructure/http/routes.js";
import { id, parseBody, parseParams, text, version } from "#infrastructure/http/validation.js";
import { live } from "#infrastructure/read-models.js";
import { orderDocument } from "#projectors/orders/orders.document.js";
import type { CommandDependencies } from "../dependencies.js";
import { awaitOutcome, letGoInTime, recall, requestHands, settleInTime } from "./payment-methods.saga.js";

const addBody = z
  .strictObject({
    provider: z.enum(paymentProviders).default("stripe"),
    paymentMethodId: z
      .string()
      .regex(/^pm_[A-Za-z0-9_]{1,250}$/, { message: "must be the id of a Stripe payment method (pm_…)" })
      .optional(),
    paypalToken: z
      .string()
      .regex(/^(BA-)?[A-Za-z0-9-]{5,100}$/, { message: "must be a PayPal setup token or billing agreement token" })
      .optional(),
    setAsDefault: z.boolean().default(false),
    label: text(0, paymentMethodLimits.label).nullish(),
  })
  .superRefine(({ provider, paymentMethodId, paypalToken }, context) => {
    const [wanted, given] =
      provider === "stripe" ? (["paymentMethodId", paymentMethodId] as const) : (["paypalToken", paypalToken] as const);
    const [other, otherGiven] =
      provider === "stripe" ? (["paypalToken", paypalToken] as const) : (["paymentMethodId", paymentMethodId] as const);
    const issue = (field: string, code: string, message: string) =>
      context.addIssue({ code: "custom", path: [field], message, params: { code } });
    if (given === undefined) issue(wanted, "REQUIRED", `is required for ${provider}`);
    if (otherGiven !== undefined) issue(other, "NOT_ALLOWED", `does not belong to ${provider}`);
  });

const setupBody = z.strictObject({ provider: z.enum(paymentProviders).default("stripe") }).prefault({});
const params = z.object({ paymentMethodId: id(80).meta({ description: "pk or id of a payment method" }) });
const removeBody = z.strictObject({ version: version().optional() }).prefault({});

const setupIntentSchema = z.object({
  data: z.object({ provider: z.enum(paymentProviders), clientSecret: z.string(), expiresAt: z.iso.datetime() }),
});
const recordSchema = recordOf(paymentMethodDataSchema);

/** Changes of the customer's payment methods. */
export function paymentMethodRoutes(deps: CommandDependencies): RouteDefinition[] {
  const to = (owner: Owner) => ({ decider: paymentMethodsDecider, stream: streams.paymentMethods(owner) });

  /** Answers an attempt by the stream as of its outcome, or as of the request when that is not known yet. */
  function answerAttempt(
    res: Response,
    owner: Owner,
    attemptId: string,
    handled: Handled<PaymentMethodsState>,
    replayed: boolean,
  ): void {
    const method = methodIn(handled.state, attemptId);
    const answer = { ...deps.answerOf(handled), ...(replayed ? { replayed } : { replayed: false }) };
    if (method.status === "merged") {
      const twin = methodIn(handled.state, method.mergedInto ?? "");
      return sendRecord(res, 200, toRecord(twin, handled.state, owner, deps.clock()), answer);
    }
    if (method.failureCode !== null) throw failure(method);
    const location = `/client-data/payment-methods/${recordKey("payment_method", attemptId)}`;
    const status = method.status === "pending" ? 202 : 201;
    sendRecord(res, status, toRecord(method, handled.state, owner, deps.clock()), { ...answer, location });
  }

  /** Answers a request for what is there already, or is being attached by another request. */
  async function answerPresent(
    res: Response,
    owner: Owner,
    present: PaymentMethod,
    handled: Handled<PaymentMethodsState>,
  ): Promise<void> {
    let { state } = handled;
    if (present.status === "pending") {
      const settled = async () => {
        const loaded = await deps.commands.load(to(owner));
        return loaded.state.methods.get(present.id)?.settled ? loaded.state : undefined;
      };
      state = (await awaitOutcome(deps, present.addedAt, settled)) ?? state;
    }
    const method = methodIn(state, present.id);
    if (method.failureCode !== null) throw failure(method);
    const shown = method.status === "merged" ? methodIn(state, method.mergedInto ?? "") : method;
    const status = shown.status === "pending" ? 202 : 200;
    sendRecord(res, status, toRecord(shown, state, owner, deps.clock()), deps.answerOf(handled));
  }

  return [
    {
      method: "post",
      path: "/client-data/payment-methods",
      summary: "Saves a payment method that the provider's own page has collected",
      operationId: "addPaymentMethod",
      area: "payment-methods",
      limits: ["writes", "payment-method-add"],
      request: { body: addBody },
      responses: {
        200: { description: "It is saved already", schema: recordSchema },
        201: { description: "The new payment method", schema: recordSchema },
        202: { description: "The provider has not answered yet: poll the list", schema: recordSchema },
      },
      problems: [
        "CARD_DECLINED",
        "INTEGRATION_NOT_CONFIGURED",
        "PAYMENT_METHOD_IN_USE_ELSEWHERE",
        "PAYMENT_METHOD_LIMIT_REACHED",
        "PAYMENT_METHOD_NOT_FOUND",
        "PAYMENT_METHOD_TYPE_NOT_SUPPORTED",
        "PROVIDER_ERROR",
        "PROVIDER_UNAVAILABLE",
        "RAW_CARD_DATA_REFUSED",
      ],
      handler: async (req, res) => {
        refuseCardData(req);
        const { org, owner } = principalOf(res);
        const { provider, paymentMethodId, paypalToken, setAsDefault, label } = parseBody(addBody, req);
        const token = paymentMethodId ?? paypalToken ?? "";
        deps.payments(provider, org); // throws where the org has none, before anything is recorded
        const context = deps.idempotency(req, res);
        const { commandId: attemptId, now } = context;
        const requested = await deps.commands.handle({
          ...to(owner),
          command: {
            ...{ type: "RequestAttach", id: attemptId, provider, token, setAsDefault, now },
            ...(label ? { label } : {}),
          },
          context,
        });
        if (!requested.events.some(({ type }) => type === AttachRequested.type)) {
          const present = presentMethod(requested.state, provider, token);
          if (!present) throw new Error("what was not requested is there already");
          return answerPresent(res, owner, present, requested);
        }
        const { replayed } = requested;
        const outcome = replayed
          ? await awaitOutcome(deps, methodIn(requested.state, attemptId).addedAt, () =>
              recall(deps, owner, context, attemptId),
            )
          : await settleInTime(deps, owner, context, attemptId);
        answerAttempt(res, owner, attemptId, outcome ?? requested, replayed);
      },
    },
    {
      method: "post",
      path: "/client-data/payment-methods/setup-intent",
      summary: "What the provider's page needs to collect a payment method, with the bank's checks",
      operationId: "createSetupIntent",
      area: "payment-methods",
      limits: ["writes", "payment-setup"],
      request: { body: setupBody },
      responses: { 201: { description: "A secret for the provider's page alone", schema: setupIntentSchema } },
      problems: [
        "INTEGRATION_NOT_CONFIGURED",
        "PAYMENT_METHOD_LIMIT_REACHED",
        "PROVIDER_ERROR",
        "PROVIDER_UNAVAILABLE",
        "RAW_CARD_DATA_REFUSED",
      ],
      handler: async (req, res) => {
        refuseCardData(req);
        const { org, owner } = principalOf(res);
        const { provider } = parseBody(setupBody, req);
        const client = deps.payments(provider, org);
        const context = deps.idempotency(req, res);
        const { state } = await deps.commands.load(to(owner));
        const limit = paymentMethodLimits.methods;
        const kept = [...state.methods.values()].filter(({ status }) =>
          ["pending", "active", "expired"].includes(status),
        );
        if (kept.length >= limit) {
          throw new CommandRejected(rejection("refused", "PAYMENT_METHOD_LIMIT_REACHED", { limit }));
        }
        const hands = requestHands(deps, owner, () => ({ ...context, idempotent: true }));
        const { customer } = await providerCustomer(hands, state, provider);
        const intent = await client.setupIntent(owner, customer, context.commandId, context.now);
        sendCommandAnswer(res, 201, { data: { provider, ...intent } });
      },
    },
    {
      method: "delete",
      path: "/client-data/payment-methods/:paymentMethodId",
      summary: "Removes a payment method; `X-New-Default` names the one that is the default now",
      operationId: "removePaymentMethod",
      area: "payment-methods",
      request: { params, body: removeBody },
      responses: { 204: { description: "It is not saved any more" } },
      problems: ["PAYMENT_METHOD_NOT_FOUND", "PAYMENT_METHOD_REQUIRED", "PRECONDITION_FAILED", "VERSION_CONFLICT"],
      handler: async (req, res) => {
        const { owner } = principalOf(res);
        const methodId = idInPath(req);
        const expected = expectedVersion(req, parseBody(removeBody, req).version);
        const guard = versionGuard(expected, ({ methods }: PaymentMethodsState) => methods.get(methodId)?.version);
        const { state } = await deps.commands.load(to(owner));
        await refuseIfNeeded(deps, owner, state.methods.get(methodId));
        const context = deps.idempotency(req, res);
        const handled = await deps.commands.handle({
          ...to(owner),
          command: { type: "Remove", id: methodId },
          context,
          ...(guard ? { guard } : {}),
        });
        if (!handled.replayed) await letGoInTime(deps, owner, context, methodId);
        const next = handled.events.find(({ type }) => type === DefaultChanged.type)?.data as
          | { id: string }
          | undefined;
        if (next) res.setHeader("X-New-Default", recordKey("payment_method", next.id));
        sendCommandAnswer(res, 204, undefined, deps.answerOf(handled));
      },
    },
    {
      method: "put",
      path: "/client-data/payment-methods/:paymentMethodId/default",
      summary: "Makes a payment method the default one",
      operationId: "makePaymentMethodDefault",
      area: "payment-methods",
      request: { params },
      responses: { 200: { description: "The payment method", schema: recordSchema } },
      problems: ["PAYMENT_METHOD_NOT_ACTIVE", "PAYMENT_METHOD_NOT_FOUND", "PRECONDITION_FAILED"],
      handler: async (req, res) => {
        const { owner } = principalOf(res);
        const methodId = idInPath(req);
        const guard = versionGuard(
          expectedVersion(req),
          ({ methods }: PaymentMethodsState) => methods.get(methodId)?.version,
        );
        const context = deps.idempotency(req, res);
        const handled = await deps.commands.handle({
          ...to(owner),
          command: { type: "MakeDefault", id: methodId, now: context.now },
          context,
          ...(guard ? { guard } : {}),
        });
        const made = methodIn(handled.state, methodId);
        sendRecord(res, 200, toRecord(made, handled.state, owner, deps.clock()), deps.answerOf(handled));
      },
    },
  ];
}

/** Before anything else looks at the body: an error would name what it holds. */
function refuseCardData(req: Request): void {
  if (!hasCardData(req.body)) return;
  const detail = "send card data to the payment provider, and its id of the payment method here";
  throw new Problem(400, "RAW_CARD_DATA_REFUSED", { detail });
}

function idInPath(req: Request): string {
  return bareId("payment_method", parseParams(params, req).paymentMethodId);
}

function methodIn(state: PaymentMethodsState, methodId: string): PaymentMethod {
  const method = state.methods.get(methodId);
  if (!method) throw new Error("a payment method that was written is in the stream");
  return method;
}

function failure({ failureCode, declineCode }: PaymentMethod): Error {
  const refused = failureRejection(failureCode ?? "", declineCode);
  return refused ? new CommandRejected(refused) : providerFailed();
}

/** Advice of the orders' read model: an order known to be unpaid that names this card keeps it. */
async function refuseIfNeeded(
  { readModels }: CommandDependencies,
  owner: Owner,
  method: PaymentMethod | undefined,
): Promise<void> {
  const { type, brand, last4 } = method?.details ?? {};
  if (!method || method.status === "removed" || last4 === undefined) return;
  const orders = await readModels
    .collection(orderDocument)
    .find({ owner: ownerKey(owner), "data.paymentMethod.last4": last4, ...live })
    .toArray();
  const isPaidWith = ({ data: { paymentMethod: named } }: (typeof orders)[number]) =>
    named?.type === type && (named?.brand === undefined || named.brand.toLowerCase() === brand);
  if (orders.some((order) => isPaidWith(order) && awaitsPayment(order.data))) {
    throw new CommandRejected(rejection("conflict", "PAYMENT_METHOD_REQUIRED"));
  }
}

function toRecord(method: PaymentMethod, state: PaymentMethodsState, { org }: Owner, now: Date): RecordBody {
  const { id, version, addedAt, modifiedAt, provider, status, label, failureCode, details } = method;
  if (status === "merged") throw new Error("what was merged is not shown");
  const { type = null, brand = null, last4 = null, expMonth = null, expYear = null } = details ?? {};
  const { funding = null, country = null, holderName = null, email = null } = details ?? {};
  const card = { type, brand, last4, expMonth, expYear, funding, country };
  const isDefault = state.defaultId === id;
  const shown = { provider, ...card, holderName, email, label, isDefault, status, failureCode, addedAt };
  const data = paymentMethodData(shown, now);
  return record({
    ...{ datatype: "payment_method", id, org, version, state: data.status },
    ...{ createdAt: addedAt, modifiedAt, data },
  });
}
