import type { RecordedEvent } from "#domain/core/recorded-event.js";
import type { MethodDetails, PaymentMethodEvent } from "#domain/payment-methods/payment-methods.events.js";
import { expiresAt } from "#domain/payment-methods/payment-methods.policy.js";
import type { Projection } from "#projectors/runner/projection.js";
import { type PaymentMethodDocument, paymentMethodDocument } from "./payment-methods.document.js";

/** Facts about one method; the provider's customer of ours is nobody's record. */
type Consumed = Exclude<
  PaymentMethodEvent,
  { type: "payment-methods.CustomerAssigned.v1" | "payment-methods.CustomerLost.v1" }
>;

function begun(event: RecordedEvent<Consumed>, provider: PaymentMethodDocument["provider"]): PaymentMethodDocument {
  const unknown = { type: null, brand: null, last4: null, expMonth: null, expYear: null, expiresAt: null } as const;
  const unsaid = { funding: null, country: null, holderName: null, email: null, label: null } as const;
  const empty = { ...unknown, ...unsaid, failureCode: null, providerMethodId: null, isDefault: false };
  return touched({ ...empty, id: event.data.id, provider, status: "pending", addedAt: event.at }, event);
}

/** The document under the event's revision and time. */
function touched(
  document: Omit<PaymentMethodDocument, "version" | "modifiedAt" | "rank">,
  event: RecordedEvent<Consumed>,
  changes: Partial<PaymentMethodDocument> = {},
): PaymentMethodDocument {
  const after = { ...document, ...changes };
  const rank = `${after.isDefault ? 1 : 0} ${after.addedAt}`;
  return { ...after, rank, version: event.revision, modifiedAt: event.at };
}

function detailsOf(details: MethodDetails): Partial<PaymentMethodDocument> {
  const { providerMethodId, type, brand = null, last4 = null, expMonth = null, expYear = null } = details;
  const { funding = null, country = null, holderName = null, email = null } = details;
  const card = { brand, last4, expMonth, expYear, expiresAt: expiresAt({ expMonth, expYear }), funding, country };
  return { providerMethodId, type, ...card, holderName, email };
}

export const paymentMethodProjection: Projection<PaymentMethodDocument, Consumed> = {
  definition: paymentMethodDocument,
  idOf: ({ data }) => data.id,
  on: {
    "payment-methods.AttachRequested.v1": (_, event) => {
      const { provider, label = null } = event.data;
      return { ...begun(event, provider), label };
    },
    "payment-methods.Attached.v1": (document, event) => {
      const { id: _, provider, ...details } = event.data;
      return touched(document ?? begun(event, provider), event, { ...detailsOf(details), status: "active" });
    },
    "payment-methods.AttachMerged.v1": () => null,
    "payment-methods.AttachFailed.v1": (document, event) => {
      if (!document) return null;
      const { failureCode } = event.data;
      const status = document.status === "removed" ? "removed" : "failed";
      return touched(document, event, { status, failureCode });
    },
    "payment-methods.Refreshed.v1": (document, event) => {
      const { id: _, ...details } = event.data;
      return document && touched(document, event, { ...detailsOf(details), status: "active" });
    },
    "payment-methods.DefaultChanged.v1": (document, event) =>
      document && touched(document, event, { isDefault: event.data.isDefault }),
    "payment-methods.Removed.v1": (document, event) =>
      document && touched(document, event, { status: "removed", isDefault: false }),
    "payment-methods.Detached.v1": (document, event) => document && touched(document, event),
    "payment-methods.Expiring.v1": (document, event) => document && touched(document, event),
    "payment-methods.Expired.v1": (document, event) => document && touched(document, event, { status: "expired" }),
  },
};
