import type { Resource } from "#domain/reservations/resource.events.js";
import { defineDocument } from "#projectors/runner/projection.js";

/** A resource as the platform last told of it; owned by the org, its id is the resource's. */
export type ResourceDocument = Resource & { readonly resourceId: string };

export const resourceDocument = defineDocument<ResourceDocument>({ name: "resources", version: 1, indexes: [] });
