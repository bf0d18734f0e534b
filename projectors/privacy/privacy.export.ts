import { addressData } from "#domain/addresses/addresses.policy.js";
import { type Owner, orgKey } from "#domain/core/identifiers.js";
import { fileData, objectKeys } from "#domain/files/files.policy.js";
import { orderShown } from "#domain/orders/orders.policy.js";
import { paymentMethodData } from "#domain/payment-methods/payment-methods.policy.js";
import { profileData } from "#domain/profile/profile.policy.js";
import { reservationData, shown } from "#domain/reservations/reservation-record.policy.js";
import { waitlistData } from "#domain/reservations/waitlist-record.policy.js";
import { transactionShown } from "#domain/transactions/transactions.policy.js";
import { entryId, wishlistData } from "#domain/wishlist/wishlist.policy.js";
import { record } from "#infrastructure/http/records.js";
import { live, type ReadModels } from "#infrastructure/read-models.js";
import { activityDocument } from "../activity/activity.document.js";
import { addressDocument } from "../addresses/addresses.document.js";
import { fileDocument } from "../files/files.document.js";
import type { Language } from "../messages/message.js";
import { orderDocument } from "../orders/orders.document.js";
import { paymentMethodDocument } from "../payment-methods/payment-methods.document.js";
import { profileDocument } from "../profile/profile.document.js";
import { reservationDocument } from "../reservations/reservations.document.js";
import { waitlistDocument } from "../reservations/waitlist.document.js";
import { type DocumentDefinition, documentId, type Stored } from "../runner/projection.js";
import { transactionDocument } from "../transactions/transactions.document.js";
import { verificationDocument } from "../verification/verification.document.js";
import { productDocument } from "../wishlist/product.document.js";
import { wishlistDocument } from "../wishlist/wishlist.document.js";

/** A file of the customer's own that goes into the package as it is. */
export type ExportedFile = {
  /** In the package, under `files/`. */
  readonly path: string;
  /** In the object store. */
  readonly key: string;
};

/** What of one read model goes into a package: `data/<name>.json`, a list of records as the API answers them. */
export type ExportSection = {
  readonly name: string;
  readonly title: Readonly<Record<Language, string>>;
  readonly definition: DocumentDefinition<unknown>;
  /** By an index of the read model; default by id. */
  readonly sort?: Readonly<Record<string, 1 | -1>>;
  /** Null for a document that the customer is not shown. */
  readonly toRecord: (document: never, from: ExportSource) => unknown;
  /** The customer's own file that a document stands for; null when it cannot be handed out. */
  readonly toFile?: (document: never, owner: Owner) => ExportedFile | null;
};

export type ExportSource = { readonly owner: Owner; readonly readModels: ReadModels; readonly now: Date };

/** Ties a section's functions to the type of its documents. */
function section<Document>(
  definition: DocumentDefinition<Document>,
  rest: Omit<ExportSection, "definition" | "toRecord" | "toFile"> & {
    readonly toRecord: (document: Stored<Document>, from: ExportSource) => unknown;
    readonly toFile?: (document: Stored<Document>, owner: Owner) => ExportedFile | null;
  },
): ExportSection {
  return { definition, ...rest };
}

/** Everything a package holds. A new area is one entry here; a test asks for it. */
export const exportSections: readonly ExportSection[] = [
  section(profileDocument, {
    name: "profile",
    title: { en: "Profile and consents", de: "Profil und Einwilligungen" },
    toRecord: ({ version, createdAt, modifiedAt, profile }, { owner: { org, customer } }) => ({
      ...record({
        datatype: "customer",
        id: customer,
        ...{ org, version, createdAt, modifiedAt, data: profileData(profile) },
      }),
      // Since when, and where it was given: the API shows only whether.
      consents: profile.marketing,
    }),
  }),
  section(verificationDocument, {
    name: "verification",
    title: { en: "Verified destinations", de: "Bestätigte Erreichbarkeiten" },
    toRecord: ({ email, phone }) =>
      Object.fromEntries(
        Object.entries({ email, phone }).map(([channel, { destination, verified, verifiedAt }]) => [
          channel,
          { destination, verified, verifiedAt },
        ]),
      ),
  }),
  section(addressDocument, {
    name: "addresses",
    title: { en: "Addresses", de: "Adressen" },
    toRecord: (document, { owner: { org } }) => {
      const { addressId: id, version, createdAt, modifiedAt } = document;
      const data = addressData(document);
      return record({ datatype: "address", id, org, version, createdAt, modifiedAt, data });
    },
  }),
  section(paymentMethodDocument, {
    name: "payment-methods",
    title: { en: "Payment methods", de: "Zahlungsarten" },
    toRecord: (document, { owner: { org }, now }) => {
      const { id, version, addedAt: createdAt, modifiedAt } = document;
      const data = paymentMethodData(document, now);
      return record({
        ...{ datatype: "payment_method", id, org, version, state: data.status, createdAt, modifiedAt, data },
      });
    },
  }),
  section(orderDocument, {
    name: "orders",
    title: { en: "Orders", de: "Bestellungen" },
    toRecord: ({ id, version, createdAt, modifiedAt, data, timeline }, { owner: { org } }) => {
      const shown = orderShown(data, timeline);
      return record({ datatype: "order", id, org, version, state: data.status, createdAt, modifiedAt, data: shown });
    },
  }),
  section(transactionDocument, {
    name: "transactions",
    title: { en: "Transactions", de: "Umsätze" },
    toRecord: ({ id, version, createdAt, modifiedAt, data }, { owner: { org } }) => {
      const state = data.status;
      const shown = transactionShown(data);
      return record({ datatype: "transaction", id, org, version, state, createdAt, modifiedAt, data: shown });
    },
  }),
  section(reservationDocument, {
    name: "reservations",
    title: { en: "Reservations", de: "Reservierungen" },
    toRecord: (document, { owner: { org } }) => {
      const reservation = shown(document);
      if (!reservation) return null; // nothing came of it
      const { reservationId: id, version, createdAt, modifiedAt, status } = reservation;
      // Its calendar's link would be a key to more than this copy.
      const { icsUrl: _, ...data } = reservationData(reservation, "");
      return record({ datatype: "reservation", id, org, version, state: status, createdAt, modifiedAt, data });
    },
  }),
  section(waitlistDocument, {
    name: "waitlist",
    title: { en: "Waiting lists", de: "Wartelisten" },
    toRecord: (entry, { now }) => waitlistData(entry, now.getTime()),
  }),
  section(wishlistDocument, {
    name: "wishlist",
    title: { en: "Wishlist", de: "Wunschliste" },
    toRecord: async (entry, { owner: { org }, readModels }) => {
      const { version, addedAt: createdAt, modifiedAt } = entry;
      const known = await readModels
        .collection(productDocument)
        .findOne({ _id: documentId(orgKey(org), entry.productId), ...live });
      const { _id, owner: _o, _pos, _deletedAt, productId: _p, ...product } = known ?? ({} as never);
      const data = wishlistData(entry, known ? product : null);
      const id = entryId(entry.productId, entry.variantId ?? undefined);
      return record({ datatype: "wishlist_item", id, org, version, createdAt, modifiedAt, data });
    },
  }),
  section(fileDocument, {
    name: "files",
    title: { en: "Files", de: "Dateien" },
    toRecord: (document, { owner: { org } }) => {
      const { id, version, createdAt, modifiedAt, data: stored } = document;
      const data = fileData({ ...stored, uploadedAt: createdAt }, []);
      return record({ datatype: "file", id, org, version, state: data.scan, createdAt, modifiedAt, data });
    },
    // As the API: what is not scanned, or was found infected, is not handed out.
    toFile: ({ id, data }, owner) =>
      data.scan === "clean" ? { path: data.path, key: objectKeys.file(owner, id) } : null,
  }),
  section(activityDocument, {
    name: "activity",
    title: { en: "What happened on the account", de: "Was im Konto geschah" },
    sort: { at: -1, _id: -1 },
    toRecord: ({ _id, owner: _, _pos, _deletedAt, ...line }) => line,
  }),
];

/** Read models that hold nothing of a customer's own, or nothing that stands nowhere else; each with its why. */
export const notExported: Readonly<Record<string, string>> = {
  products: "the org's catalogue",
  definitions: "the org's",
  resources: "the org's",
  slotbooks: "the org's; whose a place is stands in the reservations",
  "slot-blocks": "the org's",
  "reservation-holds": "a place kept for five minutes",
  "customer-zones": "repeats the profile's time zone",
  dashboard: "counts of what the other sections hold",
  "due-work": "the system's own reminders",
  privacy: "the packages themselves; that they were asked for stands among the activity",
};
