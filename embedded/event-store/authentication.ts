/** Who may call. Over TLS only the administrator; without TLS clients send no credentials, so everybody may. */

import { createHash, timingSafeEqual } from "node:crypto";
import { UNAUTHENTICATED } from "./status.js";
import type { Guard } from "./grpc.js";

export const allowEverybody: Guard = () => true;

/** Lets `admin` in with the password, in the `authorization: Basic ...` header that clients send over TLS. */
export function requireAdministrator(password: string): Guard {
  const expected = digest(`admin:${password}`);
  return (call) => {
    const [scheme, credentials = ""] = (call.header("authorization") ?? "").split(" ", 2);
    const given = Buffer.from(credentials, "base64").toString("utf8");
    // Digests are equally long and are compared in constant time: neither length nor prefix of the password leaks.
    if (scheme?.toLowerCase() === "basic" && timingSafeEqual(digest(given), expected)) return true;
    call.fail(UNAUTHENTICATED);
    return false;
  };
}

function digest(text: string): Buffer {
  return createHash("sha256").update(text).digest();
}
