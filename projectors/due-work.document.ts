import { defineDocument } from "#projectors/runner/projection.js";

/** One duty that falls due with nobody calling: a deadline, or the end of what was begun and left open. */
export type DutyDocument = {
  /** Who performs it; kebab-case, in the words of its area: `payment-methods-expire`. */
  readonly duty: string;
  /** RFC 3339 UTC with milliseconds: string order is time order. */
  readonly dueAt: string;
  /** The stream it is about. */
  readonly stream: string;
  /** What in that stream: an id of the area's own. Never personal data. */
  readonly subject: string;
};

export const dueWorkDocument = defineDocument<DutyDocument>({
  name: "due-work",
  version: 1,
  indexes: [{ key: { dueAt: 1, _id: 1 }, acrossOwners: true }],
});
