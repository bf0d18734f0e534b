import { z } from "zod";
import { defineEvent } from "./event-definition.js";

// Storage format: a shipped version is never edited, a new one is added.

/**
 * The person is gone: the data key is destroyed, every read model lets go. Last event of the profile stream. It
 * stands in the core because every area and the runner itself obey it.
 */
export const CustomerErased = defineEvent("privacy.CustomerErased.v1", {
  category: "profile",
  schema: z.object({}),
});
