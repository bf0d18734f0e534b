import { type Patch, patched } from "#domain/core/changes.js";
import { parseStreamName } from "#domain/core/identifiers.js";
import { majorAmount } from "#domain/core/money.js";
import type { TransactionDetails, TransactionEvent } from "#domain/transactions/transactions.events.js";
import type { Projection } from "#projectors/runner/projection.js";
import { type TransactionDocument, transactionDocument } from "./transactions.document.js";

type Consumed = Exclude<TransactionEvent, { type: "transactions.Reconfirmed.v1" }>;

/** The entry stays, the person goes: no free text, no card. What the law keeps stands in the log alone. */
function withoutPersonalParts(document: TransactionDocument): TransactionDocument {
  const { description: _d, paymentMethod: _p, failureReason: _f, reference: _r, ...data } = document.data;
  return { ...document, data, erased: true };
}

export const transactionProjection: Projection<TransactionDocument, Consumed> = {
  definition: transactionDocument,
  idOf: (event) => parseStreamName(event.stream)?.id ?? null,
  on: {
    "transactions.Recorded.v1": (_, event) => {
      const { sourceRevision: _revision, ...entry } = event.data;
      return {
        id: parseStreamName(event.stream)?.id ?? "",
        version: event.revision,
        createdAt: event.at,
        modifiedAt: event.at,
        data: { ...entry, amount: majorAmount(entry.amountMinor, entry.currency) },
      };
    },
    "transactions.Changed.v1": (document, event) => {
      if (!document) return null;
      const { sourceRevision: _r, previous: _p, status, direction, amountMinor, currency, ...changes } = event.data;
      const details = patched<TransactionDetails>(document.data, changes as Patch<TransactionDetails>);
      const amount = majorAmount(amountMinor, currency);
      const data = { ...details, status, direction, amountMinor, currency, amount };
      const after = { ...document, version: event.revision, modifiedAt: event.at, data };
      return document.erased ? withoutPersonalParts(after) : after;
    },
  },
  onErased: withoutPersonalParts,
};
