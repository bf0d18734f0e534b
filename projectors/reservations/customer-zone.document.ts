import { defineDocument } from "#projectors/runner/projection.js";

/** The time zone a customer has named; absent until then. */
export type CustomerZoneDocument = { readonly timezone: string };

export const customerZoneDocument = defineDocument<CustomerZoneDocument>({
  name: "customer-zones",
  version: 1,
  indexes: [],
});

/** Local id of the document: an owner has one. */
export const customerZoneDocumentId = "zone";
