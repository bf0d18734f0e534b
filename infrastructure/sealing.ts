import { createCipheriv, createDecipheriv, type KeyObject, randomFillSync } from "node:crypto";

/**
 * AES-256-GCM with a random 96-bit nonce (NIST SP 800-38D). Layout: nonce (12), ciphertext, tag (16).
 * A data key seals one customer's events and nothing else, far below the 2^32 messages a random nonce allows.
 */
const nonceLength = 12;
const tagLength = 16;

/** Random bytes are drawn in blocks: one call into OpenSSL for many nonces. */
const pool = Buffer.alloc(nonceLength * 512);
let poolUsed = pool.length;

function drawNonce(): Buffer {
  if (poolUsed === pool.length) {
    randomFillSync(pool);
    poolUsed = 0;
  }
  const nonce = Buffer.from(pool.subarray(poolUsed, poolUsed + nonceLength));
  poolUsed += nonceLength;
  return nonce;
}

/**
 * Seals bytes under a key.
 *
 * @param key 32 bytes
 * @param context what the bytes belong to; they open under the same context only
 */
export function seal(key: KeyObject, plain: Uint8Array, context: string): Buffer {
  const nonce = drawNonce();
  const cipher = createCipheriv("aes-256-gcm", key, nonce);
  cipher.setAAD(Buffer.from(context, "utf8"));
  return Buffer.concat([nonce, cipher.update(plain), cipher.final(), cipher.getAuthTag()]);
}

/**
 * Opens what {@link seal} made.
 *
 * @throws Error when the key or the context is another, or the bytes were changed
 */
export function open(key: KeyObject, sealed: Uint8Array, context: string): Buffer {
  if (sealed.length < nonceLength + tagLength) throw new Error("sealed bytes are cut short");
  const decipher = createDecipheriv("aes-256-gcm", key, sealed.subarray(0, nonceLength), { authTagLength: tagLength });
  decipher.setAAD(Buffer.from(context, "utf8"));
  decipher.setAuthTag(sealed.subarray(sealed.length - tagLength));
  const plain = decipher.update(sealed.subarray(nonceLength, sealed.length - tagLength));
  decipher.final();
  return plain;
}
