import { isDeepStrictEqual } from "node:util";
import { changesIn, type Patch, patched } from "../core/changes.js";
import { accept, type Decider, type Decision, type Placed, refuse, unreachable } from "../core/decider.js";
import { PersistentMap } from "../core/persistent-map.js";
import { rejection } from "../core/rejection.js";
import {
  Added,
  type AddressChanges,
  type AddressEvent,
  type AddressFields,
  Changed,
  DefaultChanged,
  Removed,
} from "./addresses.events.js";
import { addressLimits, countryFault } from "./addresses.policy.js";

export type AddressEntry = {
  readonly addressId: string;
  readonly address: AddressFields;
  readonly isDefaultShipping: boolean;
  readonly isDefaultBilling: boolean;
  readonly createdAt: string;
  readonly modifiedAt: string;
  /** Revision of the last event that touched this record. */
  readonly version: number;
  /** Revision at which the customer last added it, changed it or chose it as a default. */
  readonly usedAt: number;
};

export type AddressesState = {
  /** At most fifty; oldest first. */
  readonly entries: readonly AddressEntry[];
  /** Ids that once were the customer's. */
  readonly removed: PersistentMap<true>;
};

/** Which defaults an address is wished to be: absent = unchanged. */
export type DefaultsWish = {
  readonly isDefaultShipping?: boolean | undefined;
  readonly isDefaultBilling?: boolean | undefined;
};

export type AddressesCommand =
  /** Adds an address, unless the very same is there. The first one is both defaults. */
  | ({ readonly type: "AddAddress"; readonly addressId: string; readonly address: AddressFields } & DefaultsWish)
  | ({
      readonly type: "ChangeAddress";
      readonly addressId: string;
      readonly changes: Patch<AddressFields>;
    } & DefaultsWish)
  | { readonly type: "RemoveAddress"; readonly addressId: string };

/** One customer's address book: stream `addresses-<org>.<customer>`. */
export const addressesDecider: Decider<AddressesState, AddressesCommand, AddressEvent> = {
  initial: { entries: [], removed: PersistentMap.empty() },
  evolve,
  decide,
};

/** The entry that a command to add made, or found to be there already. */
export function entryFor(state: AddressesState, addressId: string, address: AddressFields): AddressEntry | undefined {
  return entryOf(state, addressId) ?? state.entries.find((entry) => isDeepStrictEqual(entry.address, address));
}

/** The entry with this id; undefined for one that was removed or never was the customer's. */
export function entryOf(state: AddressesState, addressId: string): AddressEntry | undefined {
  return state.entries.find((entry) => entry.addressId === addressId);
}

function evolve(state: AddressesState, event: Placed<AddressEvent>): AddressesState {
  const { at, revision } = event;
  const touch = (change: (entry: AddressEntry) => Partial<AddressEntry>): AddressesState => ({
    ...state,
    entries: state.entries.map((entry) =>
      entry.addressId === event.data.addressId
        ? { ...entry, modifiedAt: at, version: revision, ...change(entry) }
        : entry,
    ),
  });
  switch (event.type) {
    case "addresses.Added.v1": {
      const entry = { ...event.data, createdAt: at, modifiedAt: at, version: revision, usedAt: revision };
      return { ...state, entries: [...state.entries, entry] };
    }
    case "addresses.Changed.v1": {
      const { changes } = event.data;
      return touch(({ address }) => ({ address: patched(address, changes as Patch<AddressFields>), usedAt: revision }));
    }
    case "addresses.DefaultChanged.v1": {
      const { isDefaultShipping, isDefaultBilling } = event.data;
      // Losing a default to another address is no use of this one.
      const chosen = isDefaultShipping === true || isDefaultBilling === true;
      return touch((entry) => ({
        isDefaultShipping: isDefaultShipping ?? entry.isDefaultShipping,
        isDefaultBilling: isDefaultBilling ?? entry.isDefaultBilling,
        ...(chosen ? { usedAt: revision } : {}),
      }));
    }
    case "addresses.Removed.v1": {
      const { addressId } = event.data;
      const entries = state.entries.filter((entry) => entry.addressId !== addressId);
      return { entries, removed: state.removed.set(addressId, true) };
    }
    default:
      return unreachable(event);
  }
}

function decide(command: AddressesCommand, state: AddressesState): Decision<AddressEvent> {
  switch (command.type) {
    case "AddAddress": {
      const { addressId, address } = command;
      const present = entryFor(state, addressId, address);
      // A form sends `false` for what was not ticked: nobody who adds an address means to unset a default by it.
      if (present) return accept(...chosen(state, present.addressId, command));
      if (state.entries.length >= addressLimits.addresses) {
        return refuse(rejection("refused", "ADDRESS_LIMIT_REACHED", { limit: addressLimits.addresses }));
      }
      const fault = countryFault(address);
      if (fault) return refuse(fault);
      const isFirst = state.entries.length === 0;
      const defaults = {
        isDefaultShipping: isFirst || command.isDefaultShipping === true,
        isDefaultBilling: isFirst || command.isDefaultBilling === true,
      };
      return accept(Added.create({ addressId, address, ...defaults }), ...lost(state, addressId, defaults));
    }
    case "ChangeAddress": {
      const { addressId } = command;
      const present = entryOf(state, addressId);
      if (!present) return refuse(rejection("not-found", "ADDRESS_NOT_FOUND"));
      for (const which of defaultKinds) {
        if (command[which] === false && present[which]) {
          return refuse(rejection("refused", "DEFAULT_CANNOT_BE_UNSET", { field: which }));
        }
      }
      const changes = changesIn(present.address, command.changes);
      // What was fine when it was saved stays so until it is touched, though our rules may have grown stricter.
      if (postalFields.some((field) => field in changes)) {
        const fault = countryFault(patched(present.address, changes));
        if (fault) return refuse(fault);
      }
      const changed =
        Object.keys(changes).length === 0 ? [] : [Changed.create({ addressId, changes: changes as AddressChanges })];
      return accept<AddressEvent>(...changed, ...chosen(state, addressId, command));
    }
    case "RemoveAddress": {
      const { addressId } = command;
      const present = entryOf(state, addressId);
      if (!present) {
        return state.removed.has(addressId) ? accept() : refuse(rejection("not-found", "ADDRESS_NOT_FOUND"));
      }
      const rest = state.entries.filter((entry) => entry !== present);
      const heir = rest.reduce<AddressEntry | undefined>(
        (latest, entry) => (latest === undefined || entry.usedAt > latest.usedAt ? entry : latest),
        undefined,
      );
      const inherited = heir && (present.isDefaultShipping || present.isDefaultBilling);
      return accept<AddressEvent>(
        ...(inherited ? [defaultChanged(heir.addressId, true, (which) => present[which])] : []),
        Removed.create({ addressId }),
      );
    }
    default:
      return unreachable(command);
  }
}

const defaultKinds = ["isDefaultShipping", "isDefaultBilling"] as const;
const postalFields = ["country", "region", "postalCode"] as const;

/** Makes an address the defaults it is wished to be and is not yet. */
function chosen(state: AddressesState, addressId: string, wish: DefaultsWish): AddressEvent[] {
  const present = entryOf(state, addressId);
  const isNew = (which: (typeof defaultKinds)[number]) => wish[which] === true && present?.[which] !== true;
  if (!defaultKinds.some(isNew)) return [];
  const gained = { isDefaultShipping: isNew("isDefaultShipping"), isDefaultBilling: isNew("isDefaultBilling") };
  return [defaultChanged(addressId, true, isNew), ...lost(state, addressId, gained)];
}

/** What the other addresses lose when one gains defaults: one event per address. */
function lost(state: AddressesState, addressId: string, gained: Required<DefaultsWish>): AddressEvent[] {
  return state.entries
    .filter((entry) => entry.addressId !== addressId && defaultKinds.some((which) => gained[which] && entry[which]))
    .map((entry) => defaultChanged(entry.addressId, false, (which) => gained[which] === true && entry[which]));
}

function defaultChanged(addressId: string, is: boolean, concerns: (which: (typeof defaultKinds)[number]) => boolean) {
  return DefaultChanged.create({
    addressId,
    ...(concerns("isDefaultShipping") ? { isDefaultShipping: is } : {}),
    ...(concerns("isDefaultBilling") ? { isDefaultBilling: is } : {}),
  });
}
