import { changesIn, type Patch, patched, present } from "../core/changes.js";
import { accept, type Decider, type Decision, unreachable } from "../core/decider.js";
import { isNewer, type SourceRevision } from "../core/source-revision.js";
import {
  type LedgerEntry,
  TransactionChanged,
  type TransactionDetails,
  type TransactionEvent,
  TransactionReconfirmed,
  TransactionRecorded,
} from "./transactions.events.js";

/** Optional details may be cleared by null; what every entry has must always be said. */
export type IngestTransaction = {
  readonly type: "IngestTransaction";
  readonly sourceRevision: SourceRevision;
  readonly entry: LedgerEntry;
  readonly details: Patch<TransactionDetails> & Pick<TransactionDetails, "type" | "createdAt">;
};

export type TransactionState =
  | { readonly known: false }
  | {
      readonly known: true;
      readonly sourceRevision: SourceRevision;
      readonly entry: LedgerEntry;
      readonly details: TransactionDetails;
    };

function decide(
  { sourceRevision, entry, details }: IngestTransaction,
  state: TransactionState,
): Decision<TransactionEvent> {
  if (!state.known) {
    return accept(TransactionRecorded.create({ ...present<TransactionDetails>(details), ...entry, sourceRevision }));
  }
  if (!isNewer(sourceRevision, state.sourceRevision)) return accept();
  const changes = changesIn(state.details, details);
  const moved = Object.keys(changesIn(state.entry, entry)).length > 0;
  if (!moved && Object.keys(changes).length === 0) return accept(TransactionReconfirmed.create({ sourceRevision }));
  return accept(TransactionChanged.create({ ...changes, ...entry, previous: state.entry, sourceRevision }));
}

/**
 * One entry of the platform's ledger: guards repeats and late updates by the platform's revision. The balance is a
 * projection, because no rule of ours depends on it.
 */
export const transactionDecider: Decider<TransactionState, IngestTransaction, TransactionEvent> = {
  initial: { known: false },
  evolve(state, event): TransactionState {
    if (event.type === "transactions.Recorded.v1") {
      const { sourceRevision, status, direction, amountMinor, currency, ...details } = event.data;
      return { known: true, sourceRevision, entry: { status, direction, amountMinor, currency }, details };
    }
    if (!state.known) return state; // its first event was erased or lost: nothing to build on
    switch (event.type) {
      case "transactions.Changed.v1": {
        const { sourceRevision, previous: _, status, direction, amountMinor, currency, ...changes } = event.data;
        const details = patched(state.details, changes as Patch<TransactionDetails>);
        return { known: true, sourceRevision, entry: { status, direction, amountMinor, currency }, details };
      }
      case "transactions.Reconfirmed.v1":
        return { ...state, sourceRevision: event.data.sourceRevision };
      default:
        return unreachable(event);
    }
  },
  decide,
};
