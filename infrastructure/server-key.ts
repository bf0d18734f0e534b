import { hkdfSync } from "node:crypto";

/** What keys are derived for. A purpose is never renamed: what was made under its key would no longer be recognised. */
export type KeyPurpose = "verification-code" | "email-claim" | "signed-link";

/** Gives the key of a purpose: 32 bytes, the same in every process and for ever. */
export type ServerKey = (purpose: KeyPurpose) => Buffer;

/**
 * Derives keys from the installation's one secret (HKDF-SHA-256, RFC 5869), so that none of them tells of another.
 *
 * @param secret `SERVER_KEY`, 32 bytes. It is not rotated: the claims of e-mail addresses are named with it.
 */
export function createServerKey(secret: Buffer): ServerKey {
  const derived = new Map<KeyPurpose, Buffer>();
  return (purpose) => {
    let key = derived.get(purpose);
    if (!key) {
      key = Buffer.from(hkdfSync("sha256", secret, Buffer.alloc(0), `client-data ${purpose}`, 32));
      derived.set(purpose, key);
    }
    return key;
  };
}
