import type { AddressEvent, AddressFields } from "#domain/addresses/addresses.events.js";
import { type Patch, patched } from "#domain/core/changes.js";
import type { Projection } from "#projectors/runner/projection.js";
import { type AddressDocument, addressDocument } from "./addresses.document.js";

export const addressProjection: Projection<AddressDocument, AddressEvent> = {
  definition: addressDocument,
  idOf: (event) => event.data.addressId,
  on: {
    "addresses.Added.v1": (_, { data, at, revision }) =>
      standing({ ...data, createdAt: at, modifiedAt: at, version: revision }),
    "addresses.Changed.v1": (document, { data, at, revision }) => {
      if (!document) return null;
      const address = patched(document.address, data.changes as Patch<AddressFields>);
      return standing({ ...document, address, modifiedAt: at, version: revision });
    },
    "addresses.DefaultChanged.v1": (document, { data, at, revision }) => {
      if (!document) return null;
      const { isDefaultShipping = document.isDefaultShipping, isDefaultBilling = document.isDefaultBilling } = data;
      return standing({ ...document, isDefaultShipping, isDefaultBilling, modifiedAt: at, version: revision });
    },
    "addresses.Removed.v1": () => null,
  },
};

function standing(document: Omit<AddressDocument, "standing">): AddressDocument {
  // Two defaults of one moment must not change places by their ids: where things are sent comes first.
  const defaults = 2 * Number(document.isDefaultShipping) + Number(document.isDefaultBilling);
  return { ...document, standing: `${defaults} ${document.modifiedAt}` };
}
