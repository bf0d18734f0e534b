import { z } from "zod";
import type { Patch } from "#domain/core/changes.js";
import { streams } from "#domain/core/identifiers.js";
import { currencySchema, minorSchema } from "#domain/core/money.js";
import { type IngestTransaction, transactionDecider } from "#domain/transactions/transactions.decider.js";
import {
  type TransactionDetails,
  transactionStatuses,
  transactionTypes,
} from "#domain/transactions/transactions.events.js";
import { sourceRevisionSchema } from "#domain/core/source-revision.js";
import type { CommandHandler } from "#infrastructure/command-handler.js";
import { customerId, id, instant, text } from "#infrastructure/http/validation.js";
import { createIngestHandler, type IngestTarget } from "../ingest.js";
import { withoutAbsent } from "../ingest-body.js";

/** A ledger entry as the platform has it. Of the optional fields, absent leaves what is known and null clears it. */
const body = z.strictObject({
  sourceRevision: sourceRevisionSchema,
  customerId: customerId(),
  type: z.enum(transactionTypes),
  status: z.enum(transactionStatuses),
  amountMinor: minorSchema.min(0),
  direction: z.enum(["credit", "debit"]),
  currency: currencySchema,
  createdAt: instant(),
  reference: text(0, 200).nullish(),
  description: text(0, 500).nullish(),
  paymentMethod: z
    .strictObject({
      pk: id(90).nullish(),
      type: text(1, 40),
      brand: text(0, 40).nullish(),
      last4: text(0, 4).nullish(),
    })
    .nullish(),
  orderId: id(80).nullish(),
  runningBalanceMinor: minorSchema.nullish(),
  failureReason: text(0, 200).nullish(),
});
type Body = z.infer<typeof body>;

function commandOf({ sourceRevision, customerId: _, status, direction, amountMinor, currency, ...rest }: Body) {
  return {
    type: "IngestTransaction",
    sourceRevision,
    entry: { status, direction, amountMinor, currency },
    details: withoutAbsent(rest) as Patch<TransactionDetails> & TransactionDetails,
  } satisfies IngestTransaction;
}

/** `PUT /internal/ingest/transactions/:id`: customers cannot change their ledger, the platform tells us of it. */
export function transactionIngest(deps: { readonly commands: CommandHandler }): IngestTarget<Body> {
  const ingest = createIngestHandler(deps.commands);
  return {
    segment: "transactions",
    area: "transactions",
    body,
    ingest(transactionId, transaction, contextFor) {
      const context = contextFor(transaction.customerId);
      const stream = streams.transaction({ org: context.org, customer: transaction.customerId }, transactionId);
      const command = commandOf(transaction);
      return ingest({ decider: transactionDecider, stream, command, context });
    },
  };
}
