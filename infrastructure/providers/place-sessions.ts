import { randomUUID } from "node:crypto";
import { LRUCache } from "lru-cache";
import type { FoundPlace, PlaceWish, Suggestion, SuggestionWish } from "./place-provider.js";

/** A session that nobody has gone on with for so long is over, and what it knew is forgotten. */
const idleMs = 3 * 60_000;
const mostBytes = 16 * 1024 * 1024;
/** About what a session takes that knows nothing. */
const emptyBytes = 200;
/** Inputs whose suggestions one session remembers: who deletes a letter is answered at once. */
const mostInputs = 20;

type Session = {
  readonly suggestions: Map<string, Promise<readonly Suggestion[]>>;
  /** The place whose details closed it. */
  closing?: { readonly key: string; readonly place: Promise<FoundPlace | null> };
  bytes: number;
};

export type PlaceSessions = ReturnType<typeof createPlaceSessions>;

/**
 * Google's billing sessions: one token from the first letter typed to the details of the place chosen. A token serves
 * once, so after the details a client that goes on typing is given a new one. The provider's terms forbid to keep its
 * answers: they are remembered within the life of their session, in this process, in bounded memory, so that a
 * repeated request costs no second call. Another copy of the process merely asks the provider again.
 *
 * @param now milliseconds of a monotonic clock
 */
export function createPlaceSessions(now: () => number = () => performance.now()) {
  const sessions = new LRUCache<string, Session>({
    maxSize: mostBytes,
    sizeCalculation: ({ bytes }) => bytes,
    ttl: idleMs,
    updateAgeOnGet: true,
    perf: { now },
    // The clock is ours, so the library must not keep what it read from it a moment ago.
    ttlResolution: 0,
  });

  function remember(key: string, session: Session, bytes: number): void {
    session.bytes += bytes;
    if (sessions.has(key) && sessions.peek(key) !== session) return;
    // The library counts bytes anew only for what it does not hold.
    sessions.delete(key);
    sessions.set(key, session);
  }

  return {
    async suggest(
      owner: string,
      wish: SuggestionWish,
      sessionToken: string | undefined,
      ask: (token: string) => Promise<readonly Suggestion[]>,
    ): Promise<{ suggestions: readonly Suggestion[]; sessionToken: string }> {
      let token = sessionToken ?? randomUUID();
      let session = sessions.get(keyOf(owner, token));
      if (session?.closing) {
        token = randomUUID();
        session = undefined;
      }
      const key = keyOf(owner, token);
      if (!session) {
        session = { suggestions: new Map(), bytes: emptyBytes };
        sessions.set(key, session);
      }
      const { suggestions } = session;
      const input = JSON.stringify([wish.input, [...wish.countries].sort(), wish.language, wish.near]);
      let answer = suggestions.get(input);
      if (!answer) {
        answer = ask(token);
        suggestions.set(input, answer);
        answer.then(
          (found) => remember(key, session, bytesOf([input, found])),
          () => suggestions.delete(input),
        );
        for (const oldest of suggestions.keys()) {
          if (suggestions.size <= mostInputs) break;
          suggestions.delete(oldest);
        }
      }
      return { suggestions: await answer, sessionToken: token };
    },

    async find(
      owner: string,
      wish: PlaceWish,
      sessionToken: string | undefined,
      ask: (token: string | undefined) => Promise<FoundPlace | null>,
    ): Promise<FoundPlace | null> {
      if (sessionToken === undefined) return ask(undefined);
      const key = keyOf(owner, sessionToken);
      const session: Session = sessions.get(key) ?? { suggestions: new Map(), bytes: emptyBytes };
      const wanted = JSON.stringify([wish.placeId, wish.language]);
      if (session.closing) return session.closing.key === wanted ? session.closing.place : ask(undefined);
      const place = ask(sessionToken);
      session.closing = { key: wanted, place };
      session.suggestions.clear();
      session.bytes = 0;
      remember(key, session, emptyBytes);
      try {
        const found = await place;
        if (found) remember(key, session, bytesOf(found));
        // Nothing was chosen: the session goes on.
        else delete session.closing;
        return found;
      } catch (error) {
        delete session.closing;
        throw error;
      }
    },
  };
}

function keyOf(owner: string, token: string): string {
  return `${owner}\n${token.toLowerCase()}`;
}

/** About what it takes in memory. */
function bytesOf(value: unknown): number {
  return JSON.stringify(value).length * 2;
}
