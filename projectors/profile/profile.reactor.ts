import { bareId, type Owner, parseStreamName, streams } from "#domain/core/identifiers.js";
import { filesDecider } from "#domain/files/files.decider.js";
import { Removed } from "#domain/files/files.events.js";
import { profileDecider } from "#domain/profile/profile.decider.js";
import { Updated } from "#domain/profile/profile.events.js";
import { causeOf, reactionContext } from "../runner/command-context.js";
import type { Reactor } from "../runner/reactor.js";
import type { WorkerDependencies } from "../worker-dependencies.js";

const purpose = "let-go-of-photo";

/**
 * A photo that was chosen at the very moment its file was removed: each of the two commands looked before the other
 * had written. Whichever came second calls for another look at both streams, and the profile lets go of the photo.
 */
export function photoReactor(deps: WorkerDependencies): Reactor {
  const { commands } = deps;
  return {
    purpose,
    on: [Removed, Updated],
    async react(reaction) {
      const cause = await causeOf(deps, reaction);
      const owner = cause && ownerOf(cause.stream);
      if (!cause || !owner) return;
      if (cause.type === Updated.type && !(cause.data as { photo?: string | null }).photo) return;
      const stream = streams.profile(owner);
      const { state: account } = await commands.load({ decider: profileDecider, stream });
      const photo = account.status === "active" ? account.profile.photo : null;
      if (photo === null) return;
      const { state } = await commands.load({ decider: filesDecider, stream: streams.files(owner) });
      if (state.files.has(bareId("file", photo))) return;
      const context = reactionContext(cause, purpose, deps.clock());
      await commands.handle({ decider: profileDecider, stream, command: { type: "LetGoOfPhoto", photo }, context });
    },
  };
}

function ownerOf(stream: string): Owner | null {
  const identity = parseStreamName(stream);
  return identity?.customer === undefined ? null : { org: identity.org, customer: identity.customer };
}
