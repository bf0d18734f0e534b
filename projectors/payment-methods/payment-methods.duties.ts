import type { RecordedEvent } from "#domain/core/recorded-event.js";
import type { PaymentMethodEvent } from "#domain/payment-methods/payment-methods.events.js";
import { expiresAt, expiringFrom } from "#domain/payment-methods/payment-methods.policy.js";
import type { AreaDuties } from "#projectors/runner/duties.js";
import type { DutyDocument } from "../due-work.document.js";

/** Finishes an attempt to attach whose outcome nobody recorded. */
export const settleDuty = "payment-methods-settle";
/** Detaches at the provider what is to be let go of. */
export const letGoDuty = "payment-methods-let-go";
/** Notes that a card expires soon, or has. */
export const expireDuty = "payment-methods-expire";

/** What was begun is finished by who began it; after this time it counts as left open. */
const leftOpenMs = 30_000;

type WithDuty = Extract<
  PaymentMethodEvent,
  {
    type:
      | "payment-methods.AttachRequested.v1"
      | "payment-methods.Attached.v1"
      | "payment-methods.AttachMerged.v1"
      | "payment-methods.AttachFailed.v1"
      | "payment-methods.Refreshed.v1"
      | "payment-methods.Removed.v1"
      | "payment-methods.Detached.v1"
      | "payment-methods.Expiring.v1"
      | "payment-methods.Expired.v1";
  }
>;

function row(event: RecordedEvent<WithDuty>, duty: string, dueAt: string | null): DutyDocument | null {
  return dueAt === null ? null : { duty, dueAt, stream: event.stream, subject: event.data.id };
}

function leftOpen(event: RecordedEvent<WithDuty>, duty: string): DutyDocument | null {
  return row(event, duty, new Date(Date.parse(event.at) + leftOpenMs).toISOString());
}

/** A method has one thing at a time that may fall due: its attempt, its card's dates, or what is left at the provider. */
export const paymentMethodDuties: AreaDuties<WithDuty> = {
  area: "payment-methods",
  idOf: ({ data }) => data.id,
  on: {
    "payment-methods.AttachRequested.v1": (_, event) => leftOpen(event, settleDuty),
    "payment-methods.Attached.v1": (_, event) => row(event, expireDuty, expiringFrom(event.data)),
    "payment-methods.AttachMerged.v1": (_, event) => (event.data.letGo ? leftOpen(event, letGoDuty) : null),
    "payment-methods.AttachFailed.v1": (_, event) => (event.data.providerMethodId ? leftOpen(event, letGoDuty) : null),
    "payment-methods.Refreshed.v1": (_, event) => row(event, expireDuty, expiringFrom(event.data)),
    "payment-methods.Removed.v1": (document, event) => {
      if (event.data.letGo) return leftOpen(event, letGoDuty);
      // Removed while the provider was asked: what it will have attached must be known, to be let go of.
      return document?.duty === settleDuty ? document : null;
    },
    "payment-methods.Detached.v1": () => null,
    "payment-methods.Expiring.v1": (_, event) => row(event, expireDuty, expiresAt(event.data)),
    "payment-methods.Expired.v1": () => null,
  },
};
