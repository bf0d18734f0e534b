import { type Owner, streams } from "#domain/core/identifiers.js";
import {
  isWanted,
  type PaymentMethodsCommand,
  type PaymentMethodsState,
  paymentMethodsDecider,
} from "#domain/payment-methods/payment-methods.decider.js";
import type { MethodDetails, PaymentProviderName } from "#domain/payment-methods/payment-methods.events.js";

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
  /** Whether an error means that the provider refuses what we ask, and always will. */
  readonly isFault: (error: unknown) => boolean;
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

/** Where the saga is run: in a request, in a duty. */
export type SagaSurroundings<Context extends object> = {
  readonly owner: Owner;
  readonly commands: {
    load(request: { decider: typeof paymentMethodsDecider; stream: string }): Promise<{ state: PaymentMethodsState }>;
    handle(request: {
      decider: typeof paymentMethodsDecider;
      stream: string;
      command: PaymentMethodsCommand;
      context: Context & { step: number };
    }): Promise<{ state: PaymentMethodsState }>;
  };
  /** Of the command that a step is recorded under. */
  readonly context: () => Context;
  readonly payments: (
    name: PaymentProviderName,
    org: string,
  ) => Omit<SagaProvider, "customer"> & { customerOf(owner: Owner, lost: number): Promise<string | null> };
  readonly isFault: (error: unknown) => boolean;
};

/** The saga's hands on one customer's stream and that customer's org's providers. */
export function sagaHands<Context extends object>(surroundings: SagaSurroundings<Context>): SagaHands {
  const { owner, commands, context, payments, isFault } = surroundings;
  const to = { decider: paymentMethodsDecider, stream: streams.paymentMethods(owner) };
  return {
    load: async () => (await commands.load(to)).state,
    record: async (step, command) => {
      const handled = await commands.handle({ ...to, command, context: { ...context(), step: sagaSteps[step] } });
      return handled.state;
    },
    provider: (name) => {
      const provider = payments(name, owner.org);
      return { ...provider, customer: (lost) => provider.customerOf(owner, lost) };
    },
    isFault,
  };
}

/** Asks the provider to attach what was requested and records its answer; nothing when that is recorded already. */
export async function settleAttach(hands: SagaHands, id: string): Promise<void> {
  const state = await hands.load();
  const method = state.methods.get(id);
  if (!method || method.settled || method.token === null) return;
  const { provider, token } = method;
  const outcome = await attach(hands, state, { id, provider, token }).catch((error: unknown): AttachOutcome => {
    if (hands.isFault(error)) return { kind: "fault" };
    throw error;
  });
  await hands.record("outcome", outcomeCommand(id, outcome));
}

async function attach(
  hands: SagaHands,
  state: PaymentMethodsState,
  { id, provider: name, token }: { id: string; provider: PaymentProviderName; token: string },
): Promise<AttachOutcome> {
  const provider = hands.provider(name);
  const known = await providerCustomer(hands, state, name);
  const outcome = await provider.attach(token, known.customer, id);
  if (outcome.kind !== "no-customer" || known.customer === null) return outcome;
  // Removed at the provider since we made it: what is keyed by it is asked anew.
  const providerCustomerId = known.customer;
  const lost = await hands.record("customerLost", { type: "LoseCustomer", provider: name, providerCustomerId });
  const next = await providerCustomer(hands, lost, name);
  return provider.attach(token, next.customer, `${id}-${next.state.customersLost[name] ?? 0}`);
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
