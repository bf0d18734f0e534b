import { createHmac, timingSafeEqual } from "node:crypto";

/** What a code looks like: six digits, the first may be 0. */
export const codePattern = /^\d{6}$/;

/**
 * The code of a challenge: HMAC-SHA-256 under the server's key for codes, as six digits. It is derived whenever it is
 * needed, so it stands in no event, table, queue or log, and a message sent twice carries the same one.
 *
 * @param key 32 bytes
 */
export function verificationCode(key: Uint8Array, challengeId: string): string {
  const digest = createHmac("sha256", key).update(challengeId).digest();
  // 64 bits over a million values: no code is likelier than another by more than one in 10^13.
  return String(digest.readBigUInt64BE(0) % 1_000_000n).padStart(6, "0");
}

/** Whether a guess is the code of a challenge, in a time that does not tell how much of it is right. */
export function isCodeOf(key: Uint8Array, challengeId: string, guess: string): boolean {
  const code = Buffer.from(verificationCode(key, challengeId), "ascii");
  const guessed = Buffer.from(guess, "ascii");
  return guessed.length === code.length && timingSafeEqual(guessed, code);
}
