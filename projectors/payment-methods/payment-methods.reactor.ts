import { type Owner, ownerOfKey, streams } from "#domain/core/identifiers.js";
import { type PaymentMethodsState, paymentMethodsDecider } from "#domain/payment-methods/payment-methods.decider.js";
import { type PaymentProviderName, paymentProviders } from "#domain/payment-methods/payment-methods.events.js";
import { letGo, type SagaHands, sagaHands, settleAttach } from "#sagas/payment-methods/payment-methods.saga.js";
import { IntegrationNotConfigured, ProviderFault } from "#infrastructure/providers/provider-call.js";
import { dutyContext } from "../runner/command-context.js";
import type { CustomerCleanup } from "../runner/customer-cleanup.js";
import type { DueDuty, DutyPerformer } from "../runner/duties.js";
import type { WorkerDependencies } from "../worker-dependencies.js";
import { expireDuty, letGoDuty, settleDuty } from "./payment-methods.duties.js";

type Dependencies = Pick<WorkerDependencies, "commands" | "payments" | "clock">;

/** Finishes what a crash or a lost answer left open with a provider, and keeps the dates of cards. */
export function paymentMethodPerformers(deps: Dependencies): readonly DutyPerformer[] {
  const { commands, payments, clock } = deps;
  const handsFor = (due: DueDuty): SagaHands => {
    const owner = ownerOfKey(due.owner);
    if (owner === null) throw new Error("payment methods belong to a customer");
    const context = () => dutyContext(due, clock());
    return sagaHands({ owner, commands, payments, context, isFault: (error) => error instanceof ProviderFault });
  };
  return [
    {
      duty: settleDuty,
      async perform(due) {
        const hands = handsFor(due);
        await settleAttach(hands, due.subject);
        await letGo(hands, due.subject);
      },
    },
    {
      duty: letGoDuty,
      perform: (due) => letGo(handsFor(due), due.subject),
    },
    {
      duty: expireDuty,
      async perform(due) {
        const now = clock();
        await commands.handle({
          decider: paymentMethodsDecider,
          stream: due.stream,
          command: { type: "RecordExpiry", id: due.subject, now },
          context: dutyContext(due, now),
        });
      },
    },
  ];
}

/** Payment providers forget an erased customer. */
export function paymentMethodCleanup({ commands, payments }: Dependencies): CustomerCleanup {
  return {
    name: "payment-providers",
    async cleanUp(owner) {
      const stream = streams.paymentMethods(owner);
      const { state } = await commands.load({ decider: paymentMethodsDecider, stream });
      for (const name of paymentProviders) await forget(payments, name, owner, state);
    },
  };
}

async function forget(
  payments: WorkerDependencies["payments"],
  name: PaymentProviderName,
  owner: Owner,
  state: PaymentMethodsState,
): Promise<void> {
  const own = [...state.methods.values()].filter(({ provider }) => provider === name);
  const customers = own.flatMap(({ details }) => details?.providerCustomerId ?? []);
  const methods = own
    .flatMap(({ details, letGo: left }) => [details?.providerMethodId, left])
    .filter((one) => one != null);
  const current = state.customers[name];
  try {
    const known = { customers: current === undefined ? customers : [...customers, current], methods };
    await payments(name, owner.org).forget(owner, known);
  } catch (error) {
    // An org that has no such provider any more has nothing to forget there that we could reach.
    if (!(error instanceof IntegrationNotConfigured)) throw error;
  }
}
