import { z } from "zod";
import type { Obligation } from "../core/account-standing.js";
import { encodePart, type Owner } from "../core/identifiers.js";

/** How long an erasure can be taken back. */
export const graceDays = 14;
/** How long an erasure that found something open waits before it looks again. */
export const postponedByDays = 1;
/** How long an export can be fetched. */
export const exportDays = 7;
/** Exports kept in mind: the newest, for their list and their limit. */
export const exportsKept = 20;

const dayMs = 86_400_000;

/** An instant some days later, RFC 3339 UTC with milliseconds. */
export function daysLater(instant: string, days: number): string {
  return new Date(Date.parse(instant) + days * dayMs).toISOString();
}

/** Orders in these statuses have not come to their end. */
export const unfinishedOrderStatuses: readonly string[] = ["new", "processing", "on-hold", "shipped"];

/** What of a customer's affairs tells whether it may go. */
export type Affairs = {
  readonly orders: { readonly byStatus: Readonly<Record<string, number>> };
  readonly wallets: Readonly<
    Record<string, { readonly balanceMinor: number; readonly pendingMinor: number; readonly heldMinor: number }>
  >;
};

/**
 * What is still open between the customer and the org: an order under way, or money that is the customer's in any
 * currency, also where it is not settled yet.
 *
 * @param affairs null for somebody who never ordered anything
 */
export function openObligations(affairs: Affairs | null): Obligation[] {
  if (affairs === null) return [];
  const isUnderway = unfinishedOrderStatuses.some((status) => (affairs.orders.byStatus[status] ?? 0) > 0);
  const hasMoney = Object.values(affairs.wallets).some(
    ({ balanceMinor, pendingMinor, heldMinor }) => balanceMinor > 0 || pendingMinor > 0 || heldMinor > 0,
  );
  return [...(isUnderway ? (["unfinished-order"] as const) : []), ...(hasMoney ? (["positive-wallet"] as const) : [])];
}

/** Whom an invoice went to. */
const invoiceAddress = ["name", "company", "line1", "line2", "city", "region", "postalCode", "country"].map(
  (member) => `billingAddress.${member}`,
);

/**
 * Everything of a person that outlives an erasure, by event: invoices and the books that refer to them, which the law
 * makes us keep (HGB §257, AO §147). It is sealed under the customer's second key and in no read model. A test holds
 * the events' own definitions to this list.
 */
export const keptByLaw: Readonly<Record<string, readonly string[]>> = {
  "orders.Placed": invoiceAddress,
  "orders.DetailsChanged": invoiceAddress,
  "transactions.Recorded": ["reference"],
  "transactions.Changed": ["reference"],
};

/** Where exports lie in the object store. */
export const exportKeys = {
  /** Everything of one owner. */
  folder: (owner: Owner) => `${encodePart(owner.org)}/exports/${encodePart(owner.customer)}/`,
  /** Everything that was ever begun of one export. */
  export: (owner: Owner, exportId: string) => `${exportKeys.folder(owner)}${exportId}/`,
  /** @param object fresh for each attempt, because two uploads of one key could mix their parts */
  archive: (owner: Owner, exportId: string, object: string) => `${exportKeys.export(owner, exportId)}${object}.zip`,
} as const;

/** The payload of an export's record. */
export const exportDataSchema = z.object({
  exportId: z.string(),
  status: z.enum(["pending", "ready", "expired"]),
  requestedAt: z.iso.datetime(),
  size: z.int().optional().meta({ description: "bytes" }),
  expiresAt: z.iso.datetime().optional(),
});
type ExportData = z.infer<typeof exportDataSchema>;

/** The payload of an export's record: expired on the minute, whenever the duty that removes it comes. */
export function exportShown(
  shown: Pick<ExportData, "exportId" | "status" | "requestedAt"> & {
    readonly ready?: { readonly size: number; readonly expiresAt: string };
  },
  now: string,
): ExportData {
  const { exportId, status, requestedAt, ready } = shown;
  const isOver = ready !== undefined && ready.expiresAt <= now;
  return {
    exportId,
    status: isOver ? "expired" : status,
    requestedAt,
    ...(ready === undefined ? {} : { size: ready.size, expiresAt: ready.expiresAt }),
  };
}
