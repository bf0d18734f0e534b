import type { Profile } from "#domain/profile/profile.policy.js";
import { defineDocument } from "#projectors/runner/projection.js";

/** The one profile of a customer. */
export type ProfileDocument = {
  /** Revision of the last event that touched it. */
  readonly version: number;
  readonly createdAt: string;
  readonly modifiedAt: string;
  readonly profile: Profile;
};

export const profileDocument = defineDocument<ProfileDocument>({ name: "profile", version: 1, indexes: [] });

/** Local id of the document: an owner has one. */
export const profileDocumentId = "profile";
