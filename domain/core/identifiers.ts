/**
 * Who owns what, and what things are called: the one encoder, every stream name, and the table that ties an area to
 * its stream category and record datatype.
 */

/** The company whose customers these are. */
export type OrgId = string & { readonly __brand?: "OrgId" };
/** A customer, opaque: it stands in stream names, so it must carry no personal data. */
export type CustomerId = string & { readonly __brand?: "CustomerId" };

/** The owner of customer-scoped streams and documents. */
export type Owner = { readonly org: OrgId; readonly customer: CustomerId };

/** `<org>.<customer>`, both encoded: prefix of stream names and of document ids; `<org>` for what belongs to no customer. */
export type OwnerKey = string & { readonly __brand?: "OwnerKey" };

/** area ↔ stream category (of the area's own records) ↔ record datatype; the only place where the three meet. */
export const areas = {
  profile: { category: "profile", datatype: "customer" },
  verification: { category: "verification", datatype: "verification" },
  orders: { category: "order", datatype: "order" },
  "payment-methods": { category: "paymentMethods", datatype: "payment_method" },
  addresses: { category: "addresses", datatype: "address" },
  tickets: { category: "ticket", datatype: "ticket" },
  conversations: { category: "conversation", datatype: "conversation" },
  notifications: { category: "notification", datatype: "notification" },
  wishlist: { category: "wishlist", datatype: "wishlist_item" },
  reservations: { category: "reservations", datatype: "reservation" },
  files: { category: "files", datatype: "file" },
  benefits: { category: "benefits", datatype: "enrollment" },
  transactions: { category: "transaction", datatype: "transaction" },
  privacy: { category: "profile", datatype: "privacy" },
} as const;

export type Area = keyof typeof areas;
export type Datatype = (typeof areas)[Area]["datatype"];

/**
 * Categories of streams that belong to an org, not to a customer: what the platform's catalogue feeds, the claims of
 * an e-mail address, the capacity of a resource's day. An erasure must leave nothing personal in them.
 */
export const orgCategories = ["product", "definition", "resource", "slotbook", "emailClaim"] as const;

export type Category = (typeof areas)[Area]["category"] | (typeof orgCategories)[number];

/**
 * Makes a part safe inside a stream name or document id: letters, digits, `_` and `-` stand for themselves, every
 * other byte of the UTF-8 form becomes `~hh`. Injective, so no two owners share a name; ASCII, so it may travel in
 * gRPC trailers.
 */
export function encodePart(part: string): string {
  if (/^[A-Za-z0-9_-]*$/.test(part)) return part;
  let encoded = "";
  for (const byte of Buffer.from(part, "utf8")) {
    const character = String.fromCharCode(byte);
    encoded += /[A-Za-z0-9_-]/.test(character) ? character : `~${byte.toString(16).padStart(2, "0")}`;
  }
  return encoded;
}

/** Reverses {@link encodePart}. */
export function decodePart(encoded: string): string {
  if (!encoded.includes("~")) return encoded;
  const bytes: number[] = [];
  for (let index = 0; index < encoded.length; index++) {
    if (encoded[index] === "~") {
      bytes.push(Number.parseInt(encoded.slice(index + 1, index + 3), 16));
      index += 2;
    } else bytes.push(encoded.charCodeAt(index));
  }
  return Buffer.from(bytes).toString("utf8");
}

/** Key of an owner: `<org>.<customer>`. */
export function ownerKey(owner: Owner): OwnerKey {
  return `${encodePart(owner.org)}.${encodePart(owner.customer)}`;
}

/** Key of what belongs to an org and to no customer (catalogue entries): `<org>`. */
export function orgKey(org: OrgId): OwnerKey {
  return encodePart(org);
}

/** What a verification challenge is about. */
export type VerificationChannel = "email" | "phone" | "email-change";

/** One function per stream kind; nothing else builds a stream name. */
export const streams = {
  profile: (owner: Owner) => `profile-${ownerKey(owner)}`,
  wishlist: (owner: Owner) => `wishlist-${ownerKey(owner)}`,
  order: (owner: Owner, orderId: string) => `order-${ownerKey(owner)}.${encodePart(orderId)}`,
  transaction: (owner: Owner, transactionId: string) => `transaction-${ownerKey(owner)}.${encodePart(transactionId)}`,
  product: (org: OrgId, productId: string) => `product-${encodePart(org)}.${encodePart(productId)}`,
  paymentMethods: (owner: Owner) => `paymentMethods-${ownerKey(owner)}`,
  addresses: (owner: Owner) => `addresses-${ownerKey(owner)}`,
  files: (owner: Owner) => `files-${ownerKey(owner)}`,
  reservations: (owner: Owner) => `reservations-${ownerKey(owner)}`,
  /** Proof that a destination is the customer's; `email-change` proves an address before it becomes the profile's. */
  verification: (owner: Owner, channel: VerificationChannel) => `verification-${ownerKey(owner)}.${channel}`,
  /** One account per address; `addressHash` is an HMAC, so that the name tells nothing. */
  emailClaim: (org: OrgId, addressHash: string) => `emailClaim-${encodePart(org)}.${encodePart(addressHash)}`,
  definition: (org: OrgId, definitionId: string) => `definition-${encodePart(org)}.${encodePart(definitionId)}`,
  resource: (org: OrgId, resourceId: string) => `resource-${encodePart(org)}.${encodePart(resourceId)}`,
  /** The capacity of a resource on one of its business days, `YYYY-MM-DD`. */
  slotbook: (org: OrgId, resourceId: string, businessDay: string) =>
    `slotbook-${encodePart(org)}.${encodePart(resourceId)}.${encodePart(businessDay)}`,
} as const;

/** A stream name taken apart. `customer` is absent for an org's own streams (catalogue entries). */
export type StreamIdentity = {
  readonly category: string;
  readonly org: OrgId;
  readonly customer?: CustomerId;
  readonly id?: string;
  /** Third part of a slotbook's name. */
  readonly businessDay?: string;
};

/**
 * Takes a stream name apart.
 *
 * @returns null for a name this system did not make (system streams, foreign streams)
 */
export function parseStreamName(name: string): StreamIdentity | null {
  const match = /^([a-z][A-Za-z]*)-([A-Za-z0-9_~-]+)\.([A-Za-z0-9_~-]+)(?:\.([A-Za-z0-9_~-]+))?$/.exec(name);
  if (!match) return null;
  const [, category = "", org = "", second = "", third] = match;
  if ((orgCategories as readonly string[]).includes(category)) {
    const identity = { category, org: decodePart(org), id: decodePart(second) };
    return third === undefined ? identity : { ...identity, businessDay: decodePart(third) };
  }
  const identity = { category, org: decodePart(org), customer: decodePart(second) };
  return third === undefined ? identity : { ...identity, id: decodePart(third) };
}

/**
 * Owner part of a stream name, still encoded: `<org>.<customer>`, or `<org>` for an org's own streams.
 *
 * @returns null for a name this system did not make
 */
export function ownerOfStream(name: string): OwnerKey | null {
  const dash = name.indexOf("-");
  const dot = name.indexOf(".", dash + 1);
  if (dash <= 0 || dot < 0) return null;
  if ((orgCategories as readonly string[]).includes(name.slice(0, dash))) return name.slice(dash + 1, dot);
  const end = name.indexOf(".", dot + 1);
  return end < 0 ? name.slice(dash + 1) : name.slice(dash + 1, end);
}

/** The owner behind a key `<org>.<customer>`; null for an org's own. */
export function ownerOfKey(key: OwnerKey): Owner | null {
  const [org = "", customer] = key.split(".");
  return customer === undefined ? null : { org: decodePart(org), customer: decodePart(customer) };
}

/** Last part of a stream's name, decoded: the record's id, or the customer's where there is one record per customer. */
export function lastPartOf(name: string): string {
  return decodePart(name.slice(name.lastIndexOf(".") + 1));
}

/** Public key of a record: `<datatype>-<id>`. */
export function recordKey(datatype: Datatype, id: string): string {
  return `${datatype}-${id}`;
}

/** Bare id of a path parameter that may be a `pk` or the id itself. */
export function bareId(datatype: Datatype, pkOrId: string): string {
  const prefix = `${datatype}-`;
  return pkOrId.startsWith(prefix) ? pkOrId.slice(prefix.length) : pkOrId;
}
