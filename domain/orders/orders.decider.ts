import { changesIn, type Patch, patched, present } from "../core/changes.js";
import { accept, type Decider, type Decision, unreachable } from "../core/decider.js";
import { isNewer, type SourceRevision } from "../core/source-revision.js";
import {
  OrderDetailsChanged,
  type OrderDetails,
  type OrderEvent,
  OrderPlaced,
  OrderReconfirmed,
  type OrderStatus,
  OrderStatusChanged,
} from "./orders.events.js";

/** Optional details may be cleared by null; what every order has must always be said. */
export type IngestOrder = {
  readonly type: "IngestOrder";
  readonly sourceRevision: SourceRevision;
  readonly status: OrderStatus;
  /** When it came into this status, by the platform; RFC 3339 UTC. */
  readonly statusAt?: string | undefined;
  /** Why, for the timeline. */
  readonly statusNote?: string | undefined;
  readonly details: Patch<OrderDetails> &
    Pick<OrderDetails, "orderNumber" | "placedAt" | "currency" | "items" | "totalMinor">;
  /** RFC 3339 UTC. */
  readonly now: string;
};

export type OrderState =
  | { readonly known: false }
  | {
      readonly known: true;
      readonly sourceRevision: SourceRevision;
      readonly status: OrderStatus;
      readonly details: OrderDetails;
    };

function decide(command: IngestOrder, state: OrderState): Decision<OrderEvent> {
  const { sourceRevision, status, details } = command;
  const statedAt = command.statusAt ?? details.timeline?.findLast((entry) => entry.status === status)?.at;
  if (!state.known) {
    const statusAt = statedAt ?? details.placedAt;
    return accept(OrderPlaced.create({ ...present<OrderDetails>(details), sourceRevision, status, statusAt }));
  }
  if (!isNewer(sourceRevision, state.sourceRevision)) return accept();

  const events: OrderEvent[] = [];
  const changes = changesIn(state.details, details);
  if (Object.keys(changes).length > 0) events.push(OrderDetailsChanged.create({ ...changes, sourceRevision }));
  if (status !== state.status) {
    events.push(
      OrderStatusChanged.create({
        sourceRevision,
        status,
        previousStatus: state.status,
        statusAt: statedAt ?? command.now,
        ...(command.statusNote === undefined ? {} : { note: command.statusNote }),
      }),
    );
  }
  return accept(...(events.length > 0 ? events : [OrderReconfirmed.create({ sourceRevision })]));
}

/** One order: guards repeats and late updates by the platform's revision. Every status may follow every other one. */
export const orderDecider: Decider<OrderState, IngestOrder, OrderEvent> = {
  initial: { known: false },
  evolve(state, event): OrderState {
    if (event.type === "orders.Placed.v1") {
      const { sourceRevision, status, statusAt: _, ...details } = event.data;
      return { known: true, sourceRevision, status, details };
    }
    if (!state.known) return state; // its first event was erased or lost: nothing to build on
    const { sourceRevision } = event.data;
    switch (event.type) {
      case "orders.StatusChanged.v1":
        return { ...state, sourceRevision, status: event.data.status };
      case "orders.DetailsChanged.v1": {
        const { sourceRevision: _, ...changes } = event.data;
        return { ...state, sourceRevision, details: patched(state.details, changes as Patch<OrderDetails>) };
      }
      case "orders.Reconfirmed.v1":
        return { ...state, sourceRevision };
      default:
        return unreachable(event);
    }
  },
  decide,
};
