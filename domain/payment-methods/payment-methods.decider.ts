import { accept, type Decider, type Decision, type Placed, refuse, unreachable } from "../core/decider.js";
import { PersistentMap } from "../core/persistent-map.js";
import { rejection } from "../core/rejection.js";
import {
  Attached,
  AttachFailed,
  AttachMerged,
  AttachRequested,
  CustomerAssigned,
  CustomerLost,
  DefaultChanged,
  Detached,
  Expired,
  Expiring,
  type MethodDetails,
  type PaymentMethodEvent,
  type PaymentProviderName,
  Refreshed,
  Removed,
} from "./payment-methods.events.js";
import {
  expiresAt,
  expiringFrom,
  type PaymentMethodStatus,
  paymentMethodLimits,
  statusAt,
} from "./payment-methods.policy.js";

export type PaymentMethod = {
  readonly id: string;
  readonly provider: PaymentProviderName;
  readonly status: PaymentMethodStatus | "merged";
  /** What the provider's page gave; null where the provider reported the method. */
  readonly token: string | null;
  readonly label: string | null;
  readonly wantsDefault: boolean;
  /** Whether the provider's answer to the attempt is recorded. */
  readonly settled: boolean;
  readonly details: MethodDetails | null;
  readonly failureCode: string | null;
  readonly declineCode: string | null;
  /** The method it turned out to be. */
  readonly mergedInto: string | null;
  /** What the provider is still to let go of. */
  readonly letGo: string | null;
  readonly expiryAnnounced: boolean;
  readonly addedAt: string;
  readonly modifiedAt: string;
  /** Revision of the last event that touched this method. */
  readonly version: number;
};

export type PaymentMethodsState = {
  readonly methods: PersistentMap<PaymentMethod>;
  readonly defaultId: string | null;
  /** The provider's customer of ours. */
  readonly customers: { readonly [Name in PaymentProviderName]?: string };
  /** How many of them were lost. */
  readonly customersLost: { readonly [Name in PaymentProviderName]?: number };
};

export type PaymentMethodsCommand =
  | {
      readonly type: "RequestAttach";
      readonly id: string;
      readonly provider: PaymentProviderName;
      readonly token: string;
      readonly setAsDefault: boolean;
      readonly label?: string | undefined;
      readonly now: Date;
    }
  | { readonly type: "AssignCustomer"; readonly provider: PaymentProviderName; readonly providerCustomerId: string }
  /** The provider says that its customer is no more, and all that was attached to it. */
  | { readonly type: "LoseCustomer"; readonly provider: PaymentProviderName; readonly providerCustomerId: string }
  | { readonly type: "RecordAttached"; readonly id: string; readonly details: MethodDetails }
  | {
      readonly type: "RecordFailed";
      readonly id: string;
      readonly failureCode: string;
      readonly declineCode?: string | undefined;
    }
  | { readonly type: "Remove"; readonly id: string }
  | { readonly type: "RecordDetached"; readonly id: string }
  | { readonly type: "MakeDefault"; readonly id: string; readonly now: Date }
  /** The clock has passed one of a card's dates. */
  | { readonly type: "RecordExpiry"; readonly id: string; readonly now: Date }
  /** What the provider says of one of its objects; `found` null: it is gone, or attached to nobody. */
  | {
      readonly type: "Reconcile";
      /** Id of a record, should there be none of this object. */
      readonly id: string;
      readonly provider: PaymentProviderName;
      readonly providerMethodId: string;
      readonly found: MethodDetails | null;
    };

/** One customer's payment methods: stream `paymentMethods-<org>.<customer>`. */
export const paymentMethodsDecider: Decider<PaymentMethodsState, PaymentMethodsCommand, PaymentMethodEvent> = {
  initial: { methods: PersistentMap.empty(), defaultId: null, customers: {}, customersLost: {} },
  evolve,
  decide,
};

function evolve(state: PaymentMethodsState, event: Placed<PaymentMethodEvent>): PaymentMethodsState {
  const { at, revision } = event;
  const put = (id: string, changes: Partial<PaymentMethod>): PaymentMethodsState => {
    const before = state.methods.get(id);
    if (!before) return state;
    return { ...state, methods: state.methods.set(id, { ...before, ...changes, modifiedAt: at, version: revision }) };
  };
  const begun = (id: string, provider: PaymentProviderName): PaymentMethod =>
    state.methods.get(id) ?? {
      ...{ id, provider, status: "pending", token: null, label: null, wantsDefault: false, settled: false },
      ...{ details: null, failureCode: null, declineCode: null, mergedInto: null, letGo: null, expiryAnnounced: false },
      ...{ addedAt: at, modifiedAt: at, version: revision },
    };
  switch (event.type) {
    case "payment-methods.AttachRequested.v1": {
      const { id, provider, token, setAsDefault, label = null } = event.data;
      const method = { ...begun(id, provider), token, label, wantsDefault: setAsDefault };
      return { ...state, methods: state.methods.set(id, method) };
    }
    case "payment-methods.CustomerAssigned.v1": {
      const { provider, providerCustomerId } = event.data;
      return { ...state, customers: { ...state.customers, [provider]: providerCustomerId } };
    }
    case "payment-methods.CustomerLost.v1": {
      const { [event.data.provider]: _, ...customers } = state.customers;
      const lost = (state.customersLost[event.data.provider] ?? 0) + 1;
      return { ...state, customers, customersLost: { ...state.customersLost, [event.data.provider]: lost } };
    }
    case "payment-methods.Attached.v1": {
      const { id, provider, ...details } = event.data;
      const touched = { status: "active", settled: true, details, modifiedAt: at, version: revision } as const;
      return { ...state, methods: state.methods.set(id, { ...begun(id, provider), ...touched }) };
    }
    case "payment-methods.AttachMerged.v1": {
      const { id, provider, into, providerMethodId, letGo } = event.data;
      const method = { ...begun(id, provider), status: "merged", settled: true, mergedInto: into } as const;
      const touched = { letGo: letGo ? providerMethodId : null, modifiedAt: at, version: revision };
      return { ...state, methods: state.methods.set(id, { ...method, ...touched }) };
    }
    case "payment-methods.AttachFailed.v1": {
      const { id, failureCode, declineCode = null, providerMethodId = null } = event.data;
      const status = state.methods.get(id)?.status === "removed" ? "removed" : "failed";
      return put(id, { status, settled: true, failureCode, declineCode, letGo: providerMethodId });
    }
    case "payment-methods.Refreshed.v1": {
      const { id, ...details } = event.data;
      return put(id, { status: "active", details, expiryAnnounced: false });
    }
    case "payment-methods.DefaultChanged.v1": {
      const { id, isDefault } = event.data;
      return { ...put(id, {}), defaultId: isDefault ? id : state.defaultId === id ? null : state.defaultId };
    }
    case "payment-methods.Removed.v1": {
      const { id, letGo } = event.data;
      const removed = put(id, {
        status: "removed",
        letGo: letGo ? (state.methods.get(id)?.details?.providerMethodId ?? null) : null,
      });
      return state.defaultId === id ? { ...removed, defaultId: null } : removed;
    }
    case "payment-methods.Detached.v1":
      return put(event.data.id, { letGo: null });
    case "payment-methods.Expiring.v1":
      return put(event.data.id, { expiryAnnounced: true });
    case "payment-methods.Expired.v1":
      return put(event.data.id, { status: "expired" });
    default:
      return unreachable(event);
  }
}

function decide(command: PaymentMethodsCommand, state: PaymentMethodsState): Decision<PaymentMethodEvent> {
  switch (command.type) {
    case "RequestAttach":
      return requestAttach(command, state);
    case "AssignCustomer": {
      const { provider, providerCustomerId } = command;
      if (state.customers[provider] !== undefined) return accept();
      return accept(CustomerAssigned.create({ provider, providerCustomerId }));
    }
    case "LoseCustomer": {
      const { provider, providerCustomerId } = command;
      const gone = all(state, (method) => isLive(method) && method.details?.providerCustomerId === providerCustomerId);
      const events: PaymentMethodEvent[] = gone.map(({ id }) => Removed.create({ id, by: "provider", letGo: false }));
      const next = gone.some(({ id }) => id === state.defaultId) ? nextDefault(state, gone) : [];
      const lost = state.customers[provider] === providerCustomerId ? [CustomerLost.create({ provider })] : [];
      return accept(...events, ...next, ...lost);
    }
    case "RecordAttached": {
      const { id, details } = command;
      const method = state.methods.get(id);
      if (!method || method.settled) return accept();
      if (method.status !== "removed") return accept(...attached(state, method, details));
      // Removed before the provider had answered: what it has attached since is not wanted any more.
      const { providerMethodId } = details;
      const wanted = isWanted(state, providerMethodId, id);
      return accept(AttachFailed.create({ id, failureCode: "REMOVED", ...(wanted ? {} : { providerMethodId }) }));
    }
    case "RecordFailed": {
      const { id, failureCode, declineCode } = command;
      const method = state.methods.get(id);
      if (!method || method.settled) return accept();
      return accept(AttachFailed.create({ id, failureCode, ...(declineCode === undefined ? {} : { declineCode }) }));
    }
    case "Remove": {
      const method = state.methods.get(command.id);
      if (!method || method.status === "merged") return refuse(rejection("not-found", "PAYMENT_METHOD_NOT_FOUND"));
      return method.status === "removed" ? accept() : accept(...removed(state, method, "customer", isLive(method)));
    }
    case "RecordDetached": {
      const method = state.methods.get(command.id);
      return method?.letGo == null ? accept() : accept(Detached.create({ id: command.id }));
    }
    case "MakeDefault": {
      const method = state.methods.get(command.id);
      if (!method || method.status === "removed" || method.status === "merged") {
        return refuse(rejection("not-found", "PAYMENT_METHOD_NOT_FOUND"));
      }
      const status = statusAt({ ...method.details, status: method.status }, command.now);
      if (status !== "active") return refuse(rejection("conflict", "PAYMENT_METHOD_NOT_ACTIVE", { state: status }));
      return accept(...defaultMoves(state, command.id));
    }
    case "RecordExpiry":
      return recordExpiry(command, state);
    case "Reconcile":
      return reconcile(command, state);
    default:
      return unreachable(command);
  }
}

function requestAttach(
  command: Extract<PaymentMethodsCommand, { type: "RequestAttach" }>,
  state: PaymentMethodsState,
): Decision<PaymentMethodEvent> {
  const { id, provider, token, setAsDefault, label, now } = command;
  if (state.methods.has(id)) return accept();
  const present = presentMethod(state, provider, token);
  if (present) {
    const isActive = statusAt({ ...present.details, status: present.status }, now) === "active";
    return setAsDefault && isActive ? accept(...defaultMoves(state, present.id)) : accept();
  }
  // The provider never attaches again what it has let go of, and is about to let go of this.
  const isRemoved = ({ status, details }: PaymentMethod) => status === "removed" && details?.providerMethodId === token;
  if (all(state, isRemoved).length > 0) return refuse(rejection("not-found", "PAYMENT_METHOD_NOT_FOUND"));
  const limit = paymentMethodLimits.methods;
  const kept = all(state, (method) => isLive(method) || method.status === "pending");
  if (kept.length >= limit) return refuse(rejection("refused", "PAYMENT_METHOD_LIMIT_REACHED", { limit }));
  return accept(AttachRequested.create({ id, provider, token, setAsDefault, ...(label ? { label } : {}) }));
}

/**
 * The method that a request to attach means, when there is one already: saved under this very id of the provider, or
 * being attached from the same token. PayPal's tokens are used once, so there a saved one is known by its token.
 */
export function presentMethod(
  { methods }: Pick<PaymentMethodsState, "methods">,
  provider: PaymentProviderName,
  token: string,
): PaymentMethod | undefined {
  const own = [...methods.values()].filter((method) => method.provider === provider);
  const isSaved = (method: PaymentMethod) =>
    isLive(method) && (method.details?.providerMethodId === token || (provider === "paypal" && method.token === token));
  return own.find(isSaved) ?? own.find((method) => method.status === "pending" && method.token === token);
}

/** What becomes of an object that the provider has attached: a method of its own, or one that is there already. */
function attached(
  state: PaymentMethodsState,
  { id, provider, wantsDefault }: Pick<PaymentMethod, "id" | "provider" | "wantsDefault">,
  details: MethodDetails,
): PaymentMethodEvent[] {
  const { providerMethodId, fingerprint } = details;
  const live = all(state, (method) => isLive(method) && method.provider === provider);
  const same = live.find((method) => method.details?.providerMethodId === providerMethodId);
  const twin = same ?? live.find((method) => fingerprint !== undefined && method.details?.fingerprint === fingerprint);
  if (!twin?.details) {
    const isFirst = state.defaultId === null;
    return [Attached.create({ id, provider, ...details }), ...(wantsDefault || isFirst ? defaultMoves(state, id) : [])];
  }
  const refreshed: MethodDetails = {
    ...details,
    providerMethodId: twin.details.providerMethodId,
    providerCustomerId: twin.details.providerCustomerId,
  };
  return [
    AttachMerged.create({ id, provider, into: twin.id, providerMethodId, letGo: same === undefined }),
    ...(expiresAt(details) === expiresAt(twin.details) ? [] : [Refreshed.create({ id: twin.id, ...refreshed })]),
    ...(wantsDefault ? defaultMoves(state, twin.id) : []),
  ];
}

function removed(
  state: PaymentMethodsState,
  method: PaymentMethod,
  by: "customer" | "provider",
  letGo: boolean,
): PaymentMethodEvent[] {
  const next = state.defaultId === method.id ? nextDefault(state, [method]) : [];
  return [Removed.create({ id: method.id, by, letGo }), ...next];
}

/** The newest active one becomes the default when the default goes. */
function nextDefault(state: PaymentMethodsState, gone: readonly PaymentMethod[]): PaymentMethodEvent[] {
  const isLeft = (method: PaymentMethod) => method.status === "active" && !gone.some(({ id }) => id === method.id);
  const [newest] = all(state, isLeft).sort((one, other) => (one.addedAt < other.addedAt ? 1 : -1));
  return newest ? [DefaultChanged.create({ id: newest.id, isDefault: true })] : [];
}

function defaultMoves({ defaultId }: PaymentMethodsState, id: string): PaymentMethodEvent[] {
  if (defaultId === id) return [];
  const before = defaultId === null ? [] : [DefaultChanged.create({ id: defaultId, isDefault: false })];
  return [...before, DefaultChanged.create({ id, isDefault: true })];
}

function recordExpiry(
  { id, now }: Extract<PaymentMethodsCommand, { type: "RecordExpiry" }>,
  state: PaymentMethodsState,
): Decision<PaymentMethodEvent> {
  const method = state.methods.get(id);
  const { expMonth, expYear } = method?.details ?? {};
  if (method?.status !== "active" || expMonth === undefined || expYear === undefined) return accept();
  const time = now.toISOString();
  const [end, soon] = [expiresAt({ expMonth, expYear }), expiringFrom({ expMonth, expYear })];
  if (end !== null && end <= time) return accept(Expired.create({ id, expMonth, expYear }));
  if (soon === null || soon > time || method.expiryAnnounced) return accept();
  return accept(Expiring.create({ id, expMonth, expYear }));
}

function reconcile(
  { id, provider, providerMethodId, found }: Extract<PaymentMethodsCommand, { type: "Reconcile" }>,
  state: PaymentMethodsState,
): Decision<PaymentMethodEvent> {
  const known = all(state, (method) => method.provider === provider).filter(
    (method) => method.details?.providerMethodId === providerMethodId || method.letGo === providerMethodId,
  );
  const method = known.find(isLive) ?? known[0];
  if (method) {
    if (!isLive(method)) {
      return method.letGo === providerMethodId && found === null
        ? accept(Detached.create({ id: method.id }))
        : accept();
    }
    if (found === null) return accept(...removed(state, method, "provider", false));
    return sameDetails(method.details, found) ? accept() : accept(Refreshed.create({ id: method.id, ...found }));
  }
  if (found === null) return accept();
  const pending = all(state, (one) => one.provider === provider && !one.settled);
  if (pending.some(({ token }) => token === providerMethodId)) return accept();
  // It may be what one of the open attempts has just attached, which then says so itself: to be asked again later.
  if (pending.length > 0) return refuse(rejection("conflict", "PAYMENT_METHOD_NOT_ACTIVE"));
  return accept(...attached(state, { id, provider, wantsDefault: false }, found));
}

function sameDetails(one: MethodDetails | null, other: MethodDetails): boolean {
  const names = [...new Set([...Object.keys(one ?? {}), ...Object.keys(other)])] as (keyof MethodDetails)[];
  return names.every((name) => one?.[name] === other[name]);
}

/** Whether it is saved with the provider and shown to the customer. */
function isLive({ status }: PaymentMethod): boolean {
  return status === "active" || status === "expired";
}

/** Whether an object of the provider belongs to a method other than this one, or is about to. */
export function isWanted(state: PaymentMethodsState, providerMethodId: string, besides: string): boolean {
  const wants = (method: PaymentMethod) =>
    (isLive(method) && method.details?.providerMethodId === providerMethodId) ||
    (method.status === "pending" && method.token === providerMethodId);
  return all(state, (method) => method.id !== besides && wants(method)).length > 0;
}

function all({ methods }: PaymentMethodsState, matches: (method: PaymentMethod) => boolean): PaymentMethod[] {
  return [...methods.values()].filter(matches);
}
