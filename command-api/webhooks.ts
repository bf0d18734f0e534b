import type { Request, Response } from "express";
import { z } from "zod";
import { type Owner, ownerOfKey, streams } from "#domain/core/identifiers.js";
import { type PaymentMethodsCommand, paymentMethodsDecider } from "#domain/payment-methods/payment-methods.decider.js";
import { paymentProviders, type PaymentProviderName } from "#domain/payment-methods/payment-methods.events.js";
import { CommandRejected } from "#infrastructure/command-handler.js";
import { Problem, unavailable } from "#infrastructure/http/problem-details.js";
import { sendCommandAnswer } from "#infrastructure/http/records.js";
import { requestIdOf } from "#infrastructure/http/request-id.js";
import type { RouteDefinition } from "#infrastructure/http/routes.js";
import { parseParams } from "#infrastructure/http/validation.js";
import { type WebhookReport, WebhookRefused } from "#infrastructure/providers/payment-provider.js";
import { IntegrationNotConfigured } from "#infrastructure/providers/provider-call.js";
import { live } from "#infrastructure/read-models.js";
import { paymentMethodDocument } from "#projectors/payment-methods/payment-methods.document.js";
import type { CommandDependencies } from "./dependencies.js";
import { commandIdOf } from "./idempotency.js";

const params = z.object({ org: z.string().regex(/^[A-Za-z0-9._-]{1,64}$/) });
const limitBytes = 256 * 1024;
/** When the provider is to deliver again what cannot be told apart from an attempt that is under way. */
const askAgainSeconds = 30;

/**
 * Where payment providers tell what happened at theirs. An event is a hint: its signature is verified over the raw
 * body, its object is fetched again, and what the provider then says is commanded. So neither order nor repeats matter.
 */
export function webhookRoutes(deps: CommandDependencies): RouteDefinition[] {
  return paymentProviders.map((provider) => ({
    method: "post",
    path: `/webhooks/${provider}/:org`,
    summary: `Events of ${provider === "stripe" ? "Stripe" : "PayPal"}, signed by it`,
    operationId: `${provider}Webhook`,
    area: "payment-methods",
    access: "public",
    request: { params, raw: { contentType: "application/json", limitBytes } },
    responses: {
      200: { description: "Taken note of", schema: z.object({ data: z.object({ received: z.boolean() }) }) },
    },
    problems: ["PROVIDER_UNAVAILABLE", "WEBHOOK_SIGNATURE_INVALID"],
    handler: async (req, res) => {
      const { org } = parseParams(params, req);
      const report = await reportOf(deps, provider, org, req);
      if (report) await command(deps, provider, org, report, res);
      sendCommandAnswer(res, 200, { data: { received: true } });
    },
  }));
}

async function reportOf(
  { payments, clock }: CommandDependencies,
  provider: PaymentProviderName,
  org: string,
  req: Request,
): Promise<WebhookReport | null> {
  const body = Buffer.isBuffer(req.body) ? req.body : Buffer.alloc(0);
  try {
    return await payments(provider, org).webhook({ body, headers: req.headers, now: clock() });
  } catch (error) {
    // An org that we do not know, or that has no such provider, is no more told than a wrong signature is.
    if (!(error instanceof WebhookRefused || error instanceof IntegrationNotConfigured)) throw error;
    throw new Problem(400, "WEBHOOK_SIGNATURE_INVALID");
  }
}

async function command(
  deps: CommandDependencies,
  provider: PaymentProviderName,
  org: string,
  report: WebhookReport,
  res: Response,
): Promise<void> {
  const { eventId, about } = report;
  const owner = report.owner ?? (await locate(deps, org, report));
  if (!owner) {
    deps.log.info({ provider, eventId, orgId: org }, "webhook about nobody we know");
    return;
  }
  const commandId = commandIdOf(["webhook", provider, org, eventId]);
  const wish: PaymentMethodsCommand =
    "lostCustomer" in about
      ? { type: "LoseCustomer", provider, providerCustomerId: about.lostCustomer }
      : {
          ...{ type: "Reconcile", id: commandId, provider },
          providerMethodId: about.providerMethodId,
          found: about.method,
        };
  const requestId = requestIdOf(res);
  try {
    await deps.commands.handle({
      decider: paymentMethodsDecider,
      stream: streams.paymentMethods(owner),
      command: wish,
      context: {
        ...{ commandId, idempotent: true, owner, org, actor: { type: "provider", id: provider } },
        ...{ requestId, correlationId: requestId, causationId: commandId, now: deps.clock() },
      },
    });
  } catch (error) {
    if (!(error instanceof CommandRejected)) throw error;
    // The customer is gone meanwhile: nothing is kept of it, and the provider need not try again.
    if (error.rejection.code === "ACCOUNT_LOCKED") return;
    throw unavailable("PROVIDER_UNAVAILABLE", askAgainSeconds);
  }
}

/** Whose method it is by our own books, where the provider does not say. */
async function locate(
  { readModels }: CommandDependencies,
  org: string,
  { about }: WebhookReport,
): Promise<Owner | undefined> {
  if ("lostCustomer" in about) return undefined;
  const found = await readModels
    .collection(paymentMethodDocument)
    .find({ providerMethodId: about.providerMethodId, ...live })
    .limit(10)
    .toArray();
  return found.flatMap((document) => ownerOfKey(document.owner) ?? []).find((owner) => owner.org === org);
}
