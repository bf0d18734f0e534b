import type { AddressFields } from "#domain/addresses/addresses.events.js";
import { defineDocument } from "#projectors/runner/projection.js";

/** One address of a customer's address book. */
export type AddressDocument = {
  readonly addressId: string;
  /** Revision of the last event that touched it. */
  readonly version: number;
  readonly createdAt: string;
  readonly modifiedAt: string;
  readonly isDefaultShipping: boolean;
  readonly isDefaultBilling: boolean;
  /** What lists are sorted by: how many defaults it is, then when it was last modified. */
  readonly standing: string;
  readonly address: AddressFields;
};

/** No index of its own: nobody has more than fifty. */
export const addressDocument = defineDocument<AddressDocument>({ name: "addresses", version: 1, indexes: [] });
