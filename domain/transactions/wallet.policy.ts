import type { LedgerEntry } from "./transactions.events.js";

/** A customer's money in one currency, integer minor units; a debit counts below zero in all three. */
export type Wallet = {
  readonly balanceMinor: number;
  /** Not settled yet. */
  readonly pendingMinor: number;
  /** Set aside. */
  readonly heldMinor: number;
};

const empty: Wallet = { balanceMinor: 0, pendingMinor: 0, heldMinor: 0 };

const buckets = { completed: "balanceMinor", pending: "pendingMinor", held: "heldMinor" } as const;

function add(wallet: Wallet, entry: LedgerEntry, sign: 1 | -1): Wallet {
  const bucket = (buckets as Partial<Record<LedgerEntry["status"], keyof Wallet>>)[entry.status];
  if (bucket === undefined) return wallet; // failed, refunded, cancelled: no money
  const amount = entry.direction === "credit" ? entry.amountMinor : -entry.amountMinor;
  return { ...wallet, [bucket]: wallet[bucket] + sign * amount };
}

/** Wallets by currency, in the order in which the currencies first appeared. */
export type Wallets = Readonly<Record<string, Wallet>>;

/**
 * Moves the wallets by one ledger entry: takes out what it was, puts in what it is. Completed entries make the
 * balance (a credit adds, a debit subtracts); pending and held ones are kept apart; no other status counts.
 *
 * @param previous the entry before, null when it is new
 */
export function moveWallets(wallets: Wallets, previous: LedgerEntry | null, entry: LedgerEntry): Wallets {
  const moved: Record<string, Wallet> = { ...wallets };
  if (previous) moved[previous.currency] = add(moved[previous.currency] ?? empty, previous, -1);
  moved[entry.currency] = add(moved[entry.currency] ?? empty, entry, 1);
  return moved;
}
