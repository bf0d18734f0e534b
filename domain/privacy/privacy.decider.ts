import {
  accept,
  type Decider,
  type Decision,
  type DomainEvent,
  type Placed,
  refuse,
  unreachable,
} from "../core/decider.js";
import { rejection } from "../core/rejection.js";
import {
  AccountLocked,
  AccountUnlocked,
  type AnnouncementOutcome,
  CustomerErased,
  ErasureAnnounced,
  ErasureBegun,
  ErasureCancelled,
  ErasurePostponed,
  ErasureRequested,
  ExportAnnounced,
  ExportExpired,
  ExportReady,
  ExportRequested,
  goodStanding,
  isPrivacyFact,
  type LockReason,
  mayAct,
  type Obligation,
  type PrivacyEvent,
  type Standing,
  standingAfter,
} from "./privacy.events.js";
import { daysLater, exportDays, exportsKept, graceDays, postponedByDays } from "./privacy.policy.js";

/** A copy of everything, asked for by the customer. */
export type Export = {
  readonly exportId: string;
  readonly status: "pending" | "ready" | "expired";
  /** Revision of the last event that touched it. */
  readonly version: number;
  readonly requestedAt: string;
  readonly modifiedAt: string;
  readonly ready?: { readonly object: string; readonly size: number; readonly expiresAt: string };
  /** The customer was told, or could not be. */
  readonly announced?: true;
};

export type PrivacyState = {
  /** Whether there is such a customer at all. */
  readonly known: boolean;
  readonly standing: Standing;
  /** When the erasure that the customer was told of last takes effect; null when there was none. */
  readonly announcedErasure: string | null;
  /** Oldest first, bounded. */
  readonly exports: readonly Export[];
};

/** The time is handed in with each command that needs it, RFC 3339 UTC with milliseconds. */
export type PrivacyCommand =
  | { readonly type: "LockAccount"; readonly reason: LockReason }
  | { readonly type: "UnlockAccount" }
  | { readonly type: "RequestErasure"; readonly now: string; readonly obligations: readonly Obligation[] }
  | { readonly type: "CancelErasure" }
  /** The grace period is over. */
  | { readonly type: "BeginErasure"; readonly now: string; readonly obligations: readonly Obligation[] }
  /** All that lies outside is gone. */
  | { readonly type: "CompleteErasure" }
  | {
      readonly type: "RequestExport";
      readonly exportId: string;
      readonly now: string;
      readonly limit: { readonly points: number; readonly windowSeconds: number };
    }
  | {
      readonly type: "CompleteExport";
      readonly exportId: string;
      readonly object: string;
      readonly size: number;
      readonly now: string;
    }
  | { readonly type: "ExpireExport"; readonly exportId: string }
  | { readonly type: "RecordErasureAnnounced"; readonly effectiveAt: string; readonly outcome: AnnouncementOutcome }
  | { readonly type: "RecordExportAnnounced"; readonly exportId: string; readonly outcome: AnnouncementOutcome };

/** The profile's own facts lie in the same stream; of them only counts that there is a customer. */
type FoldedEvent = PrivacyEvent | DomainEvent<`profile.${string}`>;

/**
 * Whether a customer may act, its erasure and its exports: stream `profile-<org>.<customer>`, so that a command of the
 * profile and a lock meet on one revision. A decider of its own beside the profile's, because neither needs to know
 * the other's state, and every command of every area asks this one first.
 */
export const privacyDecider: Decider<PrivacyState, PrivacyCommand, FoldedEvent> = {
  initial: { known: false, standing: goodStanding, announcedErasure: null, exports: [] },
  evolve,
  decide,
};

function evolve(state: PrivacyState, event: Placed<FoldedEvent>): PrivacyState {
  if (!isPrivacyFact(event)) return state.known ? state : { ...state, known: true };
  const { exports } = state;
  switch (event.type) {
    case "privacy.ExportRequested.v1": {
      const { exportId } = event.data;
      const times = { requestedAt: event.at, modifiedAt: event.at, version: event.revision };
      return { ...state, exports: bounded([...exports, { exportId, status: "pending" as const, ...times }]) };
    }
    case "privacy.ExportReady.v1": {
      const { exportId, ...ready } = event.data;
      return { ...state, exports: withExport(exports, exportId, event, { status: "ready", ready }) };
    }
    case "privacy.ExportAnnounced.v1":
      // The record stays what it was: that somebody was told of it is no change of it.
      return {
        ...state,
        exports: exports.map((one) => (one.exportId === event.data.exportId ? { ...one, announced: true } : one)),
      };
    case "privacy.ErasureAnnounced.v1":
      return { ...state, announcedErasure: event.data.effectiveAt };
    case "privacy.ExportExpired.v1":
      return { ...state, exports: withExport(exports, event.data.exportId, event, { status: "expired" }) };
    default:
      return { ...state, known: true, standing: standingAfter(state.standing, event) };
  }
}

/** Without the oldest of those that have expired, once there are many. */
function bounded(exports: readonly Export[]): readonly Export[] {
  const gone = exports.length > exportsKept ? exports.findIndex(({ status }) => status === "expired") : -1;
  return gone < 0 ? exports : exports.toSpliced(gone, 1);
}

function withExport(
  exports: readonly Export[],
  exportId: string,
  { at, revision }: Placed<DomainEvent>,
  changes: Partial<Export>,
): Export[] {
  return exports.map((one) =>
    one.exportId === exportId ? { ...one, ...changes, modifiedAt: at, version: revision } : one,
  );
}

const locked = () => refuse(rejection("forbidden", "ACCOUNT_LOCKED"));

function decide(command: PrivacyCommand, state: PrivacyState): Decision<PrivacyEvent> {
  const { known, standing, exports } = state;
  const { lock, erasure, erased } = standing;
  switch (command.type) {
    case "LockAccount":
      if (!known) return refuse(rejection("not-found", "CUSTOMER_NOT_FOUND"));
      if (erased) return locked();
      return lock?.reason === command.reason ? accept() : accept(AccountLocked.create({ reason: command.reason }));
    case "UnlockAccount":
      if (!known) return refuse(rejection("not-found", "CUSTOMER_NOT_FOUND"));
      if (erased) return locked();
      return lock === null ? accept() : accept(AccountUnlocked.create({}));
    case "RequestErasure": {
      if (erased || lock !== null) return locked();
      if (erasure !== null) return accept();
      const { now, obligations } = command;
      if (obligations.length > 0) return refuse(rejection("conflict", "OPEN_OBLIGATIONS", { obligations }));
      return accept(ErasureRequested.create({ effectiveAt: daysLater(now, graceDays) }));
    }
    case "CancelErasure":
      if (erased || erasure?.begun) return locked();
      return erasure === null ? accept() : accept(ErasureCancelled.create({}));
    case "BeginErasure": {
      // A staff lock holds nothing back: the person's right does not end with an account's quarrel.
      const { now, obligations } = command;
      if (erasure === null || erasure.begun || now < erasure.effectiveAt) return accept();
      if (obligations.length === 0) return accept(ErasureBegun.create({}));
      const effectiveAt = daysLater(now, postponedByDays);
      return accept(ErasurePostponed.create({ effectiveAt, obligations: [...obligations] }));
    }
    case "CompleteErasure":
      return erasure?.begun ? accept(CustomerErased.create({})) : accept();
    case "RequestExport": {
      const { exportId, now, limit } = command;
      if (!mayAct(standing)) return locked();
      if (exports.some((one) => one.exportId === exportId)) return accept();
      const windowMs = limit.windowSeconds * 1_000;
      const recent = exports.filter(({ requestedAt }) => Date.parse(now) - Date.parse(requestedAt) < windowMs);
      const live = exports.filter(({ status }) => status !== "expired");
      const oldest = live.length >= exportsKept ? live[0] : recent.at(-limit.points);
      if (oldest) {
        const waitMs = Date.parse(oldest.requestedAt) + windowMs - Date.parse(now);
        const retryAfterSeconds = Math.max(60, Math.ceil(waitMs / 1_000));
        return refuse(rejection("too-many", "RATE_LIMITED", { retryAfterSeconds }));
      }
      return accept(ExportRequested.create({ exportId }));
    }
    case "CompleteExport": {
      const { exportId, object, size, now } = command;
      if (erased || erasure?.begun) return locked();
      const asked = exports.find((one) => one.exportId === exportId);
      if (!asked) return refuse(rejection("not-found", "EXPORT_NOT_FOUND"));
      if (asked.status !== "pending") return accept();
      return accept(ExportReady.create({ exportId, object, size, expiresAt: daysLater(now, exportDays) }));
    }
    case "ExpireExport": {
      const ready = exports.find((one) => one.exportId === command.exportId)?.status === "ready";
      return ready ? accept(ExportExpired.create({ exportId: command.exportId })) : accept();
    }
    case "RecordErasureAnnounced": {
      const { effectiveAt, outcome } = command;
      const isDue = erasure?.effectiveAt === effectiveAt && state.announcedErasure !== effectiveAt;
      return isDue ? accept(ErasureAnnounced.create({ effectiveAt, outcome })) : accept();
    }
    case "RecordExportAnnounced": {
      const { exportId, outcome } = command;
      const told = exports.find((one) => one.exportId === exportId);
      if (!told?.ready || told.announced) return accept();
      return accept(ExportAnnounced.create({ exportId, expiresAt: told.ready.expiresAt, outcome }));
    }
    default:
      return unreachable(command);
  }
}
