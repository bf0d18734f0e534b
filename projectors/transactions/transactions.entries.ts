import { lastPartOf } from "#domain/core/identifiers.js";
import { majorAmount } from "#domain/core/money.js";
import type { RecordedEvent } from "#domain/core/recorded-event.js";
import type { TransactionEvent } from "#domain/transactions/transactions.events.js";
import { type ActivityEntries, activityEntryOf } from "../activity-entry.js";

/** A newer message of the platform that says nothing new is no news to the customer. */
export type TransactionActivity = Exclude<TransactionEvent, { type: "transactions.Reconfirmed.v1" }>;

const about = (event: RecordedEvent<TransactionActivity>, what: string) =>
  activityEntryOf("transactions", lastPartOf(event.stream), what, titleOf(event.data));

export const transactionEntries: ActivityEntries<TransactionActivity> = {
  "transactions.Recorded.v1": (event) => {
    const { createdAt, status } = event.data;
    return { ...about(event, `transaction.${status}`), happenedAt: createdAt };
  },
  "transactions.Changed.v1": (event) => {
    const { status, previous } = event.data;
    const changes = (["status", "direction", "amountMinor", "currency"] as const)
      .filter((field) => event.data[field] !== previous[field])
      .map((field) => ({ field, from: previous[field], to: event.data[field] }));
    const what = status === previous.status ? "transaction.changed" : `transaction.${status}`;
    return { ...about(event, what), changes, news: status !== previous.status };
  },
};

function titleOf(data: { type?: string | undefined; status: string; amountMinor: number; currency: string }): string {
  const type = data.type ?? "transaction";
  const amount = `${majorAmount(data.amountMinor, data.currency)} ${data.currency}`;
  return `${type.charAt(0).toUpperCase()}${type.slice(1)} of ${amount} ${data.status}`;
}
