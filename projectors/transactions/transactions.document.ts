import type { LedgerEntry, TransactionDetails } from "#domain/transactions/transactions.events.js";
import { defineDocument } from "#projectors/runner/projection.js";

/** One ledger entry as its customer sees it. */
export type TransactionDocument = {
  readonly id: string;
  /** Revision of the last event that touched it. */
  readonly version: number;
  readonly createdAt: string;
  readonly modifiedAt: string;
  /** `amount` stands beside the truth `amountMinor` because amounts are filtered across currencies of unlike decimals. */
  readonly data: LedgerEntry & TransactionDetails & { readonly amount: number };
  /** The customer is gone: what comes later loses its personal parts too. */
  readonly erased?: true;
};

export const transactionDocument = defineDocument<TransactionDocument>({
  name: "transactions",
  version: 1,
  indexes: [{ key: { "data.createdAt": -1, _id: -1 } }, { key: { modifiedAt: -1, _id: -1 } }],
});
