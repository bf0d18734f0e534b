import { exportJWK, generateKeyPair, SignJWT } from "jose";

/** All that is needed to verify an issuer's tokens. */
export type TokenCheck = { readonly jwks: { keys: object[] }; readonly issuer: string; readonly audience: string };

/** A token issuer for one run: an ES256 key pair and tokens signed ahead of the measured time. */
export type Issuer = {
  readonly org: string;
  /** The product gets it through its org settings; whoever else verifies the tokens takes it as it is. */
  readonly check: TokenCheck;
  /** Customer tokens, in the order of the ids. */
  readonly tokensOf: (customers: readonly string[]) => Promise<string[]>;
  /** A token of the platform's ingestion. */
  readonly serviceToken: () => Promise<string>;
};

const issuer = "https://issuer.example";
const audience = "client-data";
const keyId = "key-1";

/** Makes an issuer for one org. */
export async function createIssuer(org: string): Promise<Issuer> {
  const { publicKey, privateKey } = await generateKeyPair("ES256", { extractable: true });
  const jwk = { ...(await exportJWK(publicKey)), kid: keyId, alg: "ES256", use: "sig" };
  const sign = (subject: string, claims: Record<string, unknown>) =>
    new SignJWT({ org, ...claims })
      .setProtectedHeader({ alg: "ES256", kid: keyId })
      .setIssuer(issuer)
      .setAudience(audience)
      .setSubject(subject)
      .setIssuedAt()
      .setExpirationTime("12h")
      .sign(privateKey);
  return {
    org,
    check: { jwks: { keys: [jwk] }, issuer, audience },
    tokensOf: (customers) => Promise.all(customers.map((customer) => sign(customer, { typ: "customer" }))),
    serviceToken: () => sign("platform", { typ: "service", scope: "ingest" }),
  };
}
