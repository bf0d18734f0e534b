import type { Redis } from "ioredis";
import { LRUCache } from "lru-cache";
import { RateLimiterRedis, RateLimiterRes } from "rate-limiter-flexible";
import type { OrgSettings } from "./org-settings.js";

/** So many points per window, per customer; `exact` limits are counted point by point, for what is rare or dear. */
export type RateLimit = { readonly points: number; readonly windowSeconds: number; readonly exact?: boolean };

/** Limits where an org has not set its own. */
export const defaultRateLimits: Readonly<Record<string, RateLimit>> = {
  reads: { points: 240, windowSeconds: 60 },
  writes: { points: 60, windowSeconds: 60 },
  uploads: { points: 30, windowSeconds: 3_600 },
  autocomplete: { points: 60, windowSeconds: 60 },
  "autocomplete-daily": { points: 500, windowSeconds: 86_400 },
  place: { points: 30, windowSeconds: 60 },
  /** Stolen cards are tried out where cards can be added. */
  "payment-method-add": { points: 10, windowSeconds: 3_600 },
  "payment-setup": { points: 20, windowSeconds: 3_600 },
  slots: { points: 60, windowSeconds: 60 },
  /** Counted in the log, not here: an export is an event. */
  exports: { points: 1, windowSeconds: 86_400 },
  /** Codes to one destination, of all customers together: twice what one may send there, so that only crowds meet it. */
  destination: { points: 20, windowSeconds: 86_400, exact: true },
};

/** Whether a request may go on, with the numbers for the `RateLimit` headers. */
export type Verdict = {
  readonly name: string;
  readonly allowed: boolean;
  readonly limit: RateLimit;
  /** Points left, as far as this process knows. */
  readonly remaining: number;
  /** Seconds until the window ends. */
  readonly resetSeconds: number;
};

export type RateLimits = {
  /**
   * Spends one point of a customer's limit. Answers at once from points this process already holds; a promise only
   * when it must fetch some.
   *
   * @param owner owner key, or whatever else the limit counts by
   * @param own a limit that is kept elsewhere than among the org's rate limits
   */
  spend(name: string, org: string, owner: string, own?: RateLimit): Verdict | Promise<Verdict>;
};

/** Points of one customer's limit that this process has taken out of Redis and may spend by itself. */
type Purse = {
  left: number;
  remaining: number;
  until: number;
  /** Points of this window that were granted without Redis, which has yet to count them. */
  uncounted: number;
  fetching: Promise<void> | undefined;
};

/** A purse holds this part of a limit at most. */
const blocksPerLimit = 10;
const mostPurses = 50_000;
/** After a failure Redis is left alone for so long, lest every customer waits for its timeout. */
const awayMs = 1_000;

/**
 * Rate limits counted in Redis over all processes, in fixed windows.
 *
 * Exactness: points are taken out in blocks of a tenth of the limit, so most requests cost no round trip. What a
 * process holds when a window ends is lost to the customer: with P processes a customer may be refused up to
 * P × (limit / 10 - 1) requests early, never served more than the limit. Only while Redis is away does each process
 * count on by itself from what it knew, up to the limit, and tells Redis when it is back.
 *
 * @param redis a connection that fails fast: no offline queue, a command timeout
 */
export function createRateLimits(redis: Redis, orgSettings: OrgSettings): RateLimits {
  const limiters = new Map<string, RateLimiterRedis>();
  const purses = new LRUCache<string, Purse>({ max: mostPurses });
  let awayUntil = 0;

  function limiterOf(name: string, { points, windowSeconds }: RateLimit): RateLimiterRedis {
    const key = `${name}:${points}:${windowSeconds}`;
    let made = limiters.get(key);
    if (!made) {
      const limits = { keyPrefix: `client-data-limit:${name}`, points, duration: windowSeconds };
      made = new RateLimiterRedis({ ...limits, storeClient: redis, rejectIfRedisNotReady: true });
      limiters.set(key, made);
    }
    return made;
  }

  /** Counts points in Redis; undefined while it is away. */
  async function count(name: string, limit: RateLimit, owner: string, points: number) {
    if (performance.now() < awayUntil) return undefined;
    try {
      return await settled(limiterOf(name, limit).consume(owner, points));
    } catch {
      awayUntil = performance.now() + awayMs;
      return undefined;
    }
  }

  async function fetchPoints(name: string, limit: RateLimit, owner: string, purse: Purse): Promise<void> {
    if (purse.until <= performance.now()) {
      purse.remaining = limit.points;
      purse.uncounted = 0;
    }
    // A block that is refused would still be counted; near the end the blocks shrink to what is left.
    const largest = limit.exact ? 1 : Math.ceil(limit.points / blocksPerLimit);
    const block = Math.max(1, Math.min(largest, purse.remaining));
    const counted = await count(name, limit, owner, block + purse.uncounted);
    if (counted) {
      purse.left = counted.granted ? block : 0;
      purse.remaining = counted.answer.remainingPoints;
      purse.until = performance.now() + counted.answer.msBeforeNext;
      purse.uncounted = 0;
      return;
    }
    if (purse.until <= performance.now()) purse.until = performance.now() + limit.windowSeconds * 1_000;
    purse.left = Math.min(block, purse.remaining);
    purse.remaining -= purse.left;
    purse.uncounted += purse.left;
  }

  async function spendFetched(name: string, limit: RateLimit, owner: string, purse: Purse): Promise<Verdict> {
    for (;;) {
      purse.fetching ??= fetchPoints(name, limit, owner, purse).finally(() => {
        purse.fetching = undefined;
      });
      await purse.fetching;
      const verdict = spendHeld(name, limit, purse);
      if (verdict) return verdict;
    }
  }

  return {
    spend(name, org, owner, own) {
      const limit = own ?? orgSettings.of(org)?.rateLimits[name] ?? defaultRateLimits[name];
      if (!limit) throw new Error(`there is no rate limit named ${name}`);
      const key = `${name} ${owner}`;
      let purse = purses.get(key);
      if (!purse) {
        purse = { left: 0, remaining: 0, until: 0, uncounted: 0, fetching: undefined };
        purses.set(key, purse);
      }
      return spendHeld(name, limit, purse) ?? spendFetched(name, limit, owner, purse);
    },
  };
}

/** The library rejects with its result where points are missing, and with an Error where Redis is. */
async function settled(consuming: Promise<RateLimiterRes>): Promise<{ granted: boolean; answer: RateLimiterRes }> {
  try {
    return { granted: true, answer: await consuming };
  } catch (refusal) {
    if (refusal instanceof RateLimiterRes) return { granted: false, answer: refusal };
    throw refusal;
  }
}

/** Spends from the purse; undefined when it must be filled first. */
function spendHeld(name: string, limit: RateLimit, purse: Purse): Verdict | undefined {
  const rest = purse.until - performance.now();
  if (rest <= 0) return undefined;
  const allowed = purse.left > 0;
  if (!allowed && purse.remaining > 0) return undefined;
  if (allowed) purse.left--;
  const remaining = purse.left + purse.remaining;
  return { name, allowed, limit, remaining, resetSeconds: Math.ceil(rest / 1_000) };
}
