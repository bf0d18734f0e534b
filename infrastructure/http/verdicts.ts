import { hash } from "node:crypto";
import { LRUCache } from "lru-cache";

/** A verdict is taken anew after this time at the latest. */
const longestMs = 5 * 60_000;
const mostVerdicts = 20_000;

type Verdict<Claims> = {
  readonly claims: Claims;
  readonly setting: object;
  readonly keys: unknown;
  readonly until: number;
};

/**
 * Verdicts on tokens that were verified a moment ago. A page sends one token with many requests, and to verify its
 * signature costs more than all else that a read does.
 *
 * Only good verdicts are kept, never beyond the token's own end, and only under the very settings and the very set of
 * keys they were made with. Tokens are known by their SHA-256: what is kept here opens no door to whoever reads it.
 */
export class Verdicts<Claims> {
  readonly #known = new LRUCache<string, Verdict<Claims>>({ max: mostVerdicts });
  readonly #now: () => number;

  /** @param now milliseconds since the epoch */
  constructor(now: () => number = Date.now) {
    this.#now = now;
  }

  /**
   * What was found when this token was last verified for this org; undefined when it must be verified.
   *
   * @param setting the org's settings as they are now, and `keys` its issuer's; compared by identity
   */
  find(token: string, org: string, setting: object, keys: unknown): Claims | undefined {
    const verdict = this.#known.get(keyOf(token, org));
    if (!verdict || verdict.setting !== setting || verdict.keys !== keys) return undefined;
    return verdict.until > this.#now() ? verdict.claims : undefined;
  }

  /**
   * Keeps a good verdict.
   *
   * @param expires the token's `exp`: seconds since the epoch
   */
  keep(token: string, org: string, setting: object, keys: unknown, expires: number, claims: Claims): void {
    const until = Math.min(expires * 1_000, this.#now() + longestMs);
    this.#known.set(keyOf(token, org), { claims, setting, keys, until });
  }
}

function keyOf(token: string, org: string): string {
  return hash("sha256", `${org}\n${token}`, "base64url");
}
