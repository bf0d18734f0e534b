/**
 * A runner of the test projections in a process of its own, for tests that kill it. With DIE_AT_CURSOR=n it kills
 * itself at its nth attempt to move a cursor: what the batch wrote is stored, the cursor is not.
 */
import { Collection } from "mongodb";
import { createRunnerFixture, noteProjection, tallyProjection } from "./runner-fixture.js";

const dieAt = Number(process.env.DIE_AT_CURSOR ?? 0);
let moves = 0;
const { updateOne } = Collection.prototype;
Collection.prototype.updateOne = function (this: Collection, ...args: Parameters<typeof updateOne>) {
  const movesCursor = this.collectionName === "cursors" && "position" in args[0];
  if (movesCursor && ++moves === dieAt) process.kill(process.pid, "SIGKILL");
  return updateOne.apply(this, args);
};

const fixture = createRunnerFixture(process.env as Record<string, string>);
const { stop } = fixture.run([tallyProjection(), noteProjection]);
process.on("SIGTERM", () => {
  void stop().then(
    () => process.exit(0),
    () => process.exit(1),
  );
});
process.on("disconnect", () => process.exit(0));
