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
  "ADDRESS_IN_USE",
  "ADDRESS_LIMIT_REACHED",
  "ADDRESS_NOT_FOUND",
  "CANCEL_WINDOW_PASSED",
  "CARD_DECLINED",
  "CODE_EXPIRED",
  "CODE_INCORRECT",
  "CUSTOMER_NOT_FOUND",
  "DEFAULT_CANNOT_BE_UNSET",
  "DEFINITION_NOT_FOUND",
  "DESTINATION_NOT_SUPPORTED",
  "EMAIL_CHANGE_NEEDS_VERIFICATION",
  "EMAIL_IN_USE",
  "EMPTY_FILE",
  "EXPORT_NOT_FOUND",
  "FILE_EXISTS",
  "FILE_INFECTED",
  "FILE_IN_USE",
  "FILE_NOT_FOUND",
  "FILE_NOT_SCANNED",
  "FILE_NOT_USABLE",
  "HOLD_EXPIRED",
  "HOLD_NOT_FOUND",
  "METADATA_TOO_LARGE",
  "NO_EMAIL_ON_PROFILE",
  "NO_PENDING_VERIFICATION",
  "NO_PHONE_ON_PROFILE",
  "OPEN_OBLIGATIONS",
  "OPEN_RESERVATION_LIMIT",
  "ORDER_NOT_FOUND",
  "OVERLAPS_OWN_RESERVATION",
  "PARTY_TOO_LARGE",
  "PATH_INVALID",
  "PAYMENT_METHOD_IN_USE_ELSEWHERE",
  "PAYMENT_METHOD_LIMIT_REACHED",
  "PAYMENT_METHOD_NOT_ACTIVE",
  "PAYMENT_METHOD_NOT_FOUND",
  "PAYMENT_METHOD_REQUIRED",
  "PAYMENT_METHOD_TYPE_NOT_SUPPORTED",
  "PHOTO_NOT_USABLE",
  "PLACE_NOT_FOUND",
  "POSTAL_CODE_INVALID",
  "PRECONDITION_FAILED",
  "PRODUCT_NOT_FOUND",
  "QUOTA_EXCEEDED",
  "RATE_LIMITED",
  "REGION_REQUIRED",
  "RESCHEDULE_LIMIT_REACHED",
  "RESCHEDULE_WINDOW_PASSED",
  "RESEND_TOO_SOON",
  "RESERVATION_NOT_CHANGEABLE",
  "RESERVATION_NOT_FOUND",
  "RESOURCE_FIELD_FROZEN",
  "RESOURCE_NOT_FOUND",
  "SEND_LIMIT_REACHED",
  "SLOT_BLOCK_NOT_FOUND",
  "SLOT_NOT_OFFERED",
  "SLOT_TAKEN",
  "TOO_FAR",
  "TOO_MANY_ATTEMPTS",
  "TOO_SOON",
  "TRANSACTION_NOT_FOUND",
  "VERSION_CONFLICT",
  "WAITLIST_ENTRY_NOT_FOUND",
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
