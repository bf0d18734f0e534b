import { type OwnerKey, streams, ownerOfKey } from "#domain/core/identifiers.js";
import { type FilesState, filesDecider, isNamed } from "#domain/files/files.decider.js";
import { objectKeys, quarantinedBlob } from "#domain/files/files.policy.js";
import type { PeriodicTask } from "../runner/periodic.js";
import type { WorkerDependencies } from "../worker-dependencies.js";

/** An upload is over long before this: what no event names by then, none ever will. */
const orphanAfterMs = 24 * 3_600_000;
const everyMs = 3_600_000;

type SweepDependencies = Pick<WorkerDependencies, "commands" | "objectStorage" | "orgSettings" | "clock">;

/** Looks for orphans once an hour. */
export function orphanSweep(deps: WorkerDependencies): PeriodicTask {
  return {
    name: "files-orphans",
    everyMs,
    async run() {
      const swept = await sweepOrphans(deps);
      if (swept > 0) deps.log.info({ swept }, "removed objects that no file names");
    },
  };
}

/**
 * Removes quarantine objects that no event names: of uploads that were killed between the object and its event, of
 * direct uploads that nobody completed, and what a quick hand did not clear away. Unfinished multipart uploads too.
 *
 * @returns how many went
 */
export async function sweepOrphans({
  commands,
  objectStorage,
  orgSettings,
  clock,
}: SweepDependencies): Promise<number> {
  const before = new Date(clock().getTime() - orphanAfterMs);
  let swept = 0;
  let known: { readonly owner: OwnerKey; readonly state: FilesState } | undefined;
  for await (const { key, modifiedAt } of objectStorage.list(objectKeys.quarantineFolder())) {
    const found = quarantinedBlob(key);
    const owner = found && ownerOfKey(found.owner);
    // A bucket may be shared by mistake: what belongs to another installation is not ours to judge.
    if (!found || !owner || modifiedAt >= before || orgSettings.of(owner.org) === undefined) continue;
    if (known?.owner !== found.owner) {
      // Keys come in order, so each customer's stream is read once.
      const { state } = await commands.load({ decider: filesDecider, stream: streams.files(owner) });
      known = { owner: found.owner, state };
    }
    if (isNamed(known.state, found.blob)) continue;
    await objectStorage.remove([key]);
    swept++;
  }
  return swept + (await objectStorage.abandonUploads(objectKeys.quarantineFolder(), before));
}
