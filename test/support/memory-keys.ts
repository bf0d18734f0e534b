import { createHmac, createSecretKey, randomBytes } from "node:crypto";
import type { OwnerKeys, PersonalDataKeys } from "#infrastructure/personal-data-keys.js";

/**
 * Data keys of one process, for specifications that need no key database. Nothing is `cached` at first, so both the
 * synchronous and the asynchronous way are taken.
 */
export function memoryKeys(): PersonalDataKeys {
  const known = new Map<string, OwnerKeys>();
  const cache = new Map<string, OwnerKeys>();
  const fresh = (): OwnerKeys => ({
    customer: createSecretKey(randomBytes(32)),
    legal: createSecretKey(randomBytes(32)),
    hashing: createSecretKey(randomBytes(32)),
  });
  const keys: PersonalDataKeys = {
    cached: (owner) => cache.get(owner),
    async find(owner) {
      const found = known.get(owner);
      if (found) cache.set(owner, found);
      return found ?? null;
    },
    async findOrCreate(owner) {
      if (!known.has(owner)) known.set(owner, fresh());
      return (await keys.find(owner)) as OwnerKeys;
    },
    async destroy(owner) {
      known.set(owner, { ...(await keys.findOrCreate(owner)), customer: null, hashing: null });
      cache.delete(owner);
    },
    forget: (owner) => void cache.delete(owner),
    async hmac(owner, text) {
      const { hashing } = await keys.findOrCreate(owner);
      return hashing ? createHmac("sha256", hashing).update(text).digest("base64url") : undefined;
    },
    rewrap: async () => 0,
    check: async () => {},
  };
  return keys;
}
