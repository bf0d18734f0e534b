import { isWanted, type PaymentMethodsCommand, type PaymentMethodsState } from "./payment-methods.decider.js";
import type { MethodDetails, PaymentProviderName } from "./payment-methods.events.js";

/**
 * What is done outside the log, step by step. The log is the memory: each step begins by looking at the stream, so a
 * route, a duty and a repeat of either can all go on from wherever the last one was stopped. Every call to a provider
 * is keyed by the method's id, so a call whose answer was lost is made again and changes nothing more.
 */
export type SagaHands = {
  /** The stream as it now is. */
  readonly load: () => Promise<PaymentMethodsState>;
  /** Records how a step ended; the stream as it then is. */
  readonly record: (step: SagaStep, command: PaymentMethodsCommand) => Promise<PaymentMethodsState>;
  readonly provider: (name: PaymentProviderName) => SagaProvider;
};

/** Steps of one command on the stream, 0 being the command itself. A number is never given to another step. */
export const sagaSteps = { outcome: 1, customer: 2, customerLost: 3, detached: 4 } as const;
export type SagaStep = keyof typeof sagaSteps;

/** What the saga asks of a payment provider. */
export type SagaProvider = {
  /** The provider's customer of ours: one for ever, unless that was lost (`lost` times). */
  readonly customer: (lost: number) => Promise<string | null>;
  readonly attach: (token: string, providerCustomerId: string | null, key: string) => Promise<AttachOutcome>;
  readonly detach: (providerMethodId: string, key: string) => Promise<void>;
  readonly updateExpiry: (
    providerMethodId: string,
    expiry: { expMonth: number; expYear: number },
    key: string,
  ) => Promise<void>;
};

export type AttachOutcome =
  | { readonly kind: "attached"; readonly method: MethodDetails }
  | { readonly kind: "declined"; readonly declineCode: string }
  | { readonly kind: "unknown" | "elsewhere" | "not-supported" | "fault" | "no-customer" };

/** Asks the provider to attach what was requested and records its answer; nothing when that is recorded already. */
export async function settleAttach(hands: SagaHands, id: string): Promise<void> {
  const state = await hands.load();
  const method = state.methods.get(id);
  if (!method || method.settled || method.token === null) return;
  const { provider: name, token } = method;
  const provider = hands.provider(name);
  let { customer, state: now } = await providerCustomer(hands, state, name);
  let outcome = await provider.attach(token, customer, id);
  if (outcome.kind === "no-customer" && customer !== null) {
    // Removed at the provider since we made it.
    now = await hands.record("customerLost", { type: "LoseCustomer", provider: name, providerCustomerId: customer });
    ({ customer, state: now } = await providerCustomer(hands, now, name));
    outcome = await provider.attach(token, customer, `${id}-${now.customersLost[name] ?? 0}`);
  }
  await hands.record("outcome", outcomeCommand(id, outcome));
}

/** The provider's customer of ours, recorded when it was new. */
export async function providerCustomer(
  hands: SagaHands,
  state: PaymentMethodsState,
  name: PaymentProviderName,
): Promise<{ customer: string | null; state: PaymentMethodsState }> {
  const known = state.customers[name];
  if (known !== undefined) return { customer: known, state };
  const made = await hands.provider(name).customer(state.customersLost[name] ?? 0);
  if (made === null) return { customer: null, state };
  const after = await hands.record("customer", { type: "AssignCustomer", provider: name, providerCustomerId: made });
  return { customer: after.customers[name] ?? made, state: after };
}

/** Lets the provider let go of what a removal, a merger or a failure has left with it; nothing when that is done. */
export async function letGo(hands: SagaHands, id: string): Promise<void> {
  const state = await hands.load();
  const method = state.methods.get(id);
  if (!method?.letGo) return;
  const provider = hands.provider(method.provider);
  const kept = method.mergedInto === null ? undefined : state.methods.get(method.mergedInto);
  const { providerMethodId, expMonth, expYear } = kept?.details ?? {};
  if (kept?.status === "active" && providerMethodId && expMonth !== undefined && expYear !== undefined) {
    // The object kept is the older one: it learns how long the card is good now.
    await provider.updateExpiry(providerMethodId, { expMonth, expYear }, `${id}-${expYear}-${expMonth}`);
  }
  if (!isWanted(state, method.letGo, id)) await provider.detach(method.letGo, id);
  await hands.record("detached", { type: "RecordDetached", id });
}

const failureCodes = {
  unknown: "PAYMENT_METHOD_NOT_FOUND",
  elsewhere: "PAYMENT_METHOD_IN_USE_ELSEWHERE",
  "not-supported": "PAYMENT_METHOD_TYPE_NOT_SUPPORTED",
  fault: "PROVIDER_ERROR",
  "no-customer": "PROVIDER_ERROR",
} as const;

function outcomeCommand(id: string, outcome: AttachOutcome): PaymentMethodsCommand {
  if (outcome.kind === "attached") return { type: "RecordAttached", id, details: outcome.method };
  if (outcome.kind !== "declined") return { type: "RecordFailed", id, failureCode: failureCodes[outcome.kind] };
  return { type: "RecordFailed", id, failureCode: "CARD_DECLINED", declineCode: outcome.declineCode };
}
