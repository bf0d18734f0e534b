/**
 * Why a wish was refused, in the domain's words. HTTP numbers live in `infrastructure/http/problem-details.ts`.
 *
 * - `not-found`: the thing does not exist, or belongs to somebody else.
 * - `conflict`: well-formed, but the state of the record forbids it now.
 * - `refused`: well-formed, but a business rule forbids it.
 * - `stale`: the client named a version that is no longer the record's (`If-Match`, or `version` in the body).
 * - `forbidden`: the account itself may not act (locked, erasure pending).
 * - `gone`, `too-many`, `payment`: expired, over a limit, declined by a payment provider.
 */
export type RejectionKind =
  | "not-found"
  | "conflict"
  | "refused"
  | "stale"
  | "forbidden"
  | "gone"
  | "too-many"
  | "payment";

/** The closed list of refusal codes; clients branch on them, so a code is never renamed or reused. */
export const rejectionCodes = [
  "ACCOUNT_LOCKED",
  "CUSTOMER_NOT_FOUND",
  "EMAIL_CHANGE_NEEDS_VERIFICATION",
  "METADATA_TOO_LARGE",
  "ORDER_NOT_FOUND",
  "PHOTO_NOT_USABLE",
  "PRECONDITION_FAILED",
  "PRODUCT_NOT_FOUND",
  "TRANSACTION_NOT_FOUND",
  "VERSION_CONFLICT",
  "WISHLIST_FULL",
  "WISHLIST_ITEM_NOT_FOUND",
] as const;

export type RejectionCode = (typeof rejectionCodes)[number];

/** A refusal: data, not an exception, so that a decision can return it beside the events it records. */
export type Rejection = {
  readonly kind: RejectionKind;
  readonly code: RejectionCode;
  /** Facts the client may need to mend the request (`currentVersion`, `limit`, …); never personal data. */
  readonly params?: Readonly<Record<string, unknown>>;
};

/** Builds a refusal. */
export function rejection(kind: RejectionKind, code: RejectionCode, params?: Record<string, unknown>): Rejection {
  return params === undefined ? { kind, code } : { kind, code, params };
}
