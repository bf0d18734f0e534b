import { z } from "zod";
import { defineEvent, type EventOf } from "../core/event-definition.js";
import { filePurposes } from "./files.policy.js";

// Storage format: a shipped version is never edited, a new one is added.

/**
 * A file came to be: its bytes lie in quarantine, under a key that only this event names. The digest identifies a
 * file that others may know, so it is sealed like the name.
 */
export const Uploaded = defineEvent("files.Uploaded.v1", {
  category: "files",
  schema: z.object({
    fileId: z.string(),
    /** With the name as its last segment. */
    path: z.string(),
    size: z.int(),
    /** What the bytes are. */
    contentType: z.string(),
    purpose: z.enum(filePurposes),
    sha256: z.string(),
    metadata: z.record(z.string(), z.json()).optional(),
    /** Last part of the quarantine object's key. */
    blob: z.string(),
    /** The upload address it came by, where it did not come through us: one address makes one file. */
    uploadId: z.string().optional(),
  }),
  personal: ["path", "sha256", "metadata"],
});

/**
 * The scanner's verdict. A clean file now lies where it is served from, with thumbnails of these sizes; `error` is a
 * file that the scanner answered it cannot scan, and that is served as little as an infected one.
 */
export const Scanned = defineEvent("files.Scanned.v1", {
  category: "files",
  schema: z.object({
    fileId: z.string(),
    scan: z.enum(["clean", "infected", "error"]),
    /** Name of what was found. */
    signature: z.string().optional(),
    thumbnails: z.array(z.int()),
  }),
});

/** The file is gone for the customer; its bytes go next. */
export const Removed = defineEvent("files.Removed.v1", {
  category: "files",
  schema: z.object({ fileId: z.string(), reason: z.enum(["customer", "overwritten"]) }),
});

/** Nothing is left in the object store of a file that was removed or refused by the scanner. */
export const BlobDeleted = defineEvent("files.BlobDeleted.v1", {
  category: "files",
  schema: z.object({ fileId: z.string() }),
});

export const fileEvents = [Uploaded, Scanned, Removed, BlobDeleted] as const;
export type FileEvent = EventOf<(typeof fileEvents)[number]>;
