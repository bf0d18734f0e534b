import type { AddressEvent } from "#domain/addresses/addresses.events.js";
import { type ActivityEntries, activityEntryOf } from "../activity-entry.js";

const about = ({ addressId }: { addressId: string }, what: string, title: string) =>
  activityEntryOf("addresses", addressId, what, title);

export const addressEntries: ActivityEntries<AddressEvent> = {
  "addresses.Added.v1": ({ data }) => about(data, "address.added", "Address added"),
  "addresses.Changed.v1": ({ data }) => {
    const changes = Object.entries(data.changes).map(([field, to]) => ({ field, to }));
    return { ...about(data, "address.changed", "Address changed"), changes };
  },
  "addresses.DefaultChanged.v1": ({ data }) => {
    const { addressId: _, ...to } = data;
    const changes = Object.entries(to).map(([field, is]) => ({ field, from: !is, to: is }));
    // The address that the default moved to is the news.
    const news = Object.values(to).some(Boolean);
    return { ...about(data, "address.default-changed", "Default address changed"), changes, news };
  },
  "addresses.Removed.v1": ({ data }) => about(data, "address.removed", "Address removed"),
};
