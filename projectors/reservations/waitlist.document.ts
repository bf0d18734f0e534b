import type { WaitlistEntry } from "#domain/reservations/reservations.policy.js";
import { defineDocument } from "#projectors/runner/projection.js";

/** A place in a waitlist; `joined` is its place in the log, so that whoever came first is first. */
export type WaitlistDocument = WaitlistEntry & { readonly joined: string };

export const waitlistDocument = defineDocument<WaitlistDocument>({
  name: "waitlist",
  version: 1,
  indexes: [{ key: { definitionId: 1, joined: 1 }, acrossOwners: true }],
});
