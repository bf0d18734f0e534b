import { expect } from "chai";
import { fold } from "#domain/core/decider.js";
import { type Owner, streams } from "#domain/core/identifiers.js";
import { paymentMethodsDecider } from "#domain/payment-methods/payment-methods.decider.js";
import type { PaymentMethodEvent } from "#domain/payment-methods/payment-methods.events.js";
import { logStart } from "#infrastructure/event-store.js";
import type { RecordedEvent } from "#domain/core/recorded-event.js";
import type { TestApi } from "../support/api.js";
import type { Control } from "../support/control.js";

/** What Stripe has of one of our customers, and how often it has attached something to it. */
export async function atStripe(stripe: Control, { org, customer }: Owner) {
  const { customers, methods } = await stripe.act("objects");
  const { events } = await stripe.act("events");
  const own = customers.filter(({ metadata }: any) => metadata.orgId === org && metadata.customerId === customer) as {
    id: string;
  }[];
  const isOwn = (id: unknown) => own.some((one) => one.id === id);
  return {
    customers: own.map(({ id }) => id),
    attached: methods.filter((one: any) => isOwn(one.customer)).map((one: any) => one.id) as string[],
    attachments: events.filter(
      ({ type, data }: any) => type === "payment_method.attached" && isOwn(data.object.customer),
    ).length as number,
  };
}

/** The customer's payment methods as our log has them. */
export async function inOurLog(api: TestApi, owner: Owner) {
  const events = (await api.newEvents(logStart, streams.paymentMethods(owner))) as RecordedEvent<PaymentMethodEvent>[];
  return [...fold(paymentMethodsDecider, paymentMethodsDecider.initial, events).methods.values()];
}

/** In the end our record and the provider's state agree, whatever happened: nothing is open, nothing is doubled. */
export async function expectAgreement(api: TestApi, stripe: Control, owner: Owner): Promise<void> {
  const methods = await inOurLog(api, owner);
  const { customers, attached } = await atStripe(stripe, owner);
  const live = methods.filter(({ status }) => status === "active" || status === "expired");
  expect(
    methods.filter(({ settled }) => !settled),
    `open attempts of ${owner.customer}`,
  ).to.deep.equal([]);
  expect(
    methods.filter(({ letGo }) => letGo !== null),
    `left with the provider by ${owner.customer}`,
  ).to.deep.equal([]);
  expect(
    live.map(({ details }) => details?.providerMethodId),
    owner.customer,
  ).to.have.members(attached);
  expect(customers.length, `customer objects of ${owner.customer}`).to.be.at.most(1);
}
