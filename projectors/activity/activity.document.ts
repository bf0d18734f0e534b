import type { Actor } from "#domain/core/recorded-event.js";
import { defineDocument } from "#projectors/runner/projection.js";

/** One line of a customer's audit trail: one event of its own streams. */
export type ActivityDocument = {
  /** Id of the event. */
  readonly id: string;
  readonly at: string;
  readonly what: string;
  readonly area: string;
  readonly ref: { readonly datatype: string; readonly pk: string };
  readonly actor: { readonly type: Actor["type"] };
  readonly changes?: readonly { readonly field: string; readonly from?: unknown; readonly to?: unknown }[];
  /** The trusted proxy that acted for the customer. */
  readonly via?: string;
};

export const activityDocument = defineDocument<ActivityDocument>({
  name: "activity",
  version: 1,
  indexes: [{ key: { at: -1, _id: -1 } }],
});
