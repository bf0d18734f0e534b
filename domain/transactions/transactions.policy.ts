import { majorAmount } from "../core/money.js";
import type { LedgerEntry, TransactionDetails } from "./transactions.events.js";

export { transactionStatuses, transactionTypes } from "./transactions.events.js";

/** The payload of a ledger entry's record: amounts also in major units. */
export function transactionShown<Data extends LedgerEntry & TransactionDetails>(data: Data) {
  const { runningBalanceMinor, currency } = data;
  if (runningBalanceMinor === undefined) return data;
  return { ...data, runningBalance: majorAmount(runningBalanceMinor, currency) };
}
