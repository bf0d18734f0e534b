import type { FileEvent } from "#domain/files/files.events.js";
import { nameOf } from "#domain/files/files.policy.js";
import { type ActivityEntries, activityEntryOf } from "../activity-entry.js";

/** That nothing is left of a file in the object store is a step of ours. */
export type FileActivity = Exclude<FileEvent, { type: "files.BlobDeleted.v1" }>;

const about = ({ fileId }: FileActivity["data"], what: string, title: string) =>
  activityEntryOf("files", fileId, what, title);

export const fileEntries: ActivityEntries<FileActivity> = {
  "files.Uploaded.v1": ({ data }) => about(data, "file.uploaded", `${nameOf(data.path)} uploaded`),
  "files.Scanned.v1": ({ data }) => {
    if (data.scan === "infected") return about(data, "file.infected", "A file was found to be infected");
    const title = data.scan === "clean" ? "A file was scanned and is clean" : "A file could not be scanned";
    return { ...about(data, `file.${data.scan}`, title), news: data.scan === "error" };
  },
  "files.Removed.v1": ({ data }) => {
    const removed = about(data, "file.removed", "A file was removed");
    // The upload that took its place is the news.
    return { ...removed, news: data.reason === "customer" };
  },
};
