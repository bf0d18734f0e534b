import type { Request, Response } from "express";
import {
  createRemoteJWKSet,
  errors,
  type JWKSCacheInput,
  type JWTPayload,
  type JWTVerifyGetKey,
  jwksCache,
  jwtVerify,
} from "jose";
import type { OrgId, Owner } from "#domain/core/identifiers.js";
import type { Actor } from "#domain/core/recorded-event.js";
import type { OrgSetting, OrgSettings } from "../org-settings.js";
import { invalidField, Problem, unavailable } from "./problem-details.js";
import { Verdicts } from "./verdicts.js";

/** Who acts on whose record, as far as customers' routes are concerned. */
export type Principal = {
  readonly org: OrgId;
  readonly owner: Owner;
  readonly typ: "customer" | "user";
  readonly actor: Actor;
  /** Subject of the trusted proxy that brought the customer's token. */
  readonly via?: string;
  readonly claims: { readonly email?: string; readonly name?: string; readonly authTime?: number };
  readonly scope: readonly string[];
  /** What the client says of itself, JSON text, for the audit trail; never trusted. Absent on reads. */
  readonly client?: string;
};

/** A service of the platform on `/internal/*`. */
export type ServicePrincipal = {
  readonly org: OrgId;
  readonly actor: Actor;
  readonly scope: readonly string[];
  readonly client?: string;
};

/** The customer whose record the request is about. Throws when the route did not ask for one. */
export function principalOf(res: Response): Principal {
  const principal = res.locals.principal as Principal | undefined;
  if (!principal) throw new Error("the route has no customer principal");
  return principal;
}

/** What cannot be taken back lightly wants a sign-in not older than this. */
const recentSignInSeconds = 600;

/**
 * The customer whose record the request is about, when it has signed in (`auth_time`) within the last ten minutes.
 *
 * @throws Problem 403 `REAUTH_REQUIRED`, also when the token does not say
 */
export function recentlySignedIn(res: Response, now: Date): Principal {
  const principal = principalOf(res);
  const { authTime } = principal.claims;
  const age = authTime === undefined ? Number.POSITIVE_INFINITY : now.getTime() / 1_000 - authTime;
  // Clocks differ a little; a sign-in well in the future is none.
  if (age > recentSignInSeconds || age < -60) {
    throw new Problem(403, "REAUTH_REQUIRED", { params: { maxAgeSeconds: recentSignInSeconds } });
  }
  return principal;
}

/** The service that calls. Throws when the route did not ask for one. */
export function serviceOf(res: Response): ServicePrincipal {
  const service = res.locals.service as ServicePrincipal | undefined;
  if (!service) throw new Error("the route has no service principal");
  return service;
}

export type Authenticator = {
  /** Checks `orgid`, token and principal in this order; leaves the customer for {@link principalOf}. */
  readonly customer: (req: Request, res: Response) => Promise<Principal>;
  /** The same for a service; leaves it for {@link serviceOf}. */
  readonly service: (req: Request, res: Response) => Promise<ServicePrincipal>;
};

export type AuthenticatorOptions = {
  readonly orgSettings: OrgSettings;
  /**
   * How long a fetched key set may be used. The library has no stale-if-error, so this is also how long the issuer
   * may be away. Default 12 h.
   */
  readonly keysMaxAgeMs?: number;
  /** Least time between two fetches for an unknown key id; default 30 s. */
  readonly keysCooldownMs?: number;
};

/** An issuer's keys; `fetched.jwks` is another object after each fetch. */
type KeySet = { readonly keys: JWTVerifyGetKey; readonly fetched: JWKSCacheInput };

type Claims = {
  readonly subject: string;
  readonly typ: string;
  readonly customer: string | undefined;
  readonly scope: readonly string[];
  readonly email: string | undefined;
  readonly name: string | undefined;
  readonly authTime: number | undefined;
};

/** Verifies who calls: `orgid` (400) → token (401) → the token's org (403) → the principal (403). */
export function createAuthenticator(options: AuthenticatorOptions): Authenticator {
  const { orgSettings } = options;
  const keySets = new Map<string, KeySet>();
  const verdicts = new Verdicts<Claims>();

  function keySetOf(uri: string): KeySet {
    let keySet = keySets.get(uri);
    if (!keySet) {
      const fetched: JWKSCacheInput = {};
      const keys = createRemoteJWKSet(new URL(uri), {
        cacheMaxAge: options.keysMaxAgeMs ?? 12 * 3_600_000,
        cooldownDuration: options.keysCooldownMs ?? 30_000,
        timeoutDuration: 3_000,
        [jwksCache]: fetched,
      });
      keySet = { keys, fetched };
      keySets.set(uri, keySet);
    }
    return keySet;
  }

  async function verify(token: string, org: string, setting: OrgSetting): Promise<Claims> {
    const { keys, fetched } = keySetOf(setting.jwksUri);
    const known = verdicts.find(token, org, setting, fetched.jwks);
    if (known) return known;
    let payload: JWTPayload;
    try {
      ({ payload } = await jwtVerify(token, keys, verifyOptionsOf(setting)));
    } catch (error) {
      throw tokenProblem(error);
    }
    const names = setting.claims;
    if (payload[names.org] !== org) throw new Problem(403, "ORG_MISMATCH");
    const subject = payload[names.subject];
    if (!isUsableId(subject)) throw unauthenticated("the token names no usable subject", "invalid_token");
    const customer = payload[names.customer];
    const authTime = payload[names.authTime];
    const claims: Claims = {
      subject,
      typ: String(payload[names.typ] ?? ""),
      customer: isUsableId(customer) ? customer : undefined,
      scope: scopesOf(payload[names.scope]),
      email: textClaim(payload[names.email], 254),
      name: textClaim(payload[names.name], 200),
      authTime: typeof authTime === "number" && Number.isFinite(authTime) ? authTime : undefined,
    };
    verdicts.keep(token, org, setting, fetched.jwks, payload.exp ?? 0, claims);
    return claims;
  }

  /** The claims of `Authorization`, once the org is known. */
  async function bearerOf(req: Request, org: string): Promise<{ claims: Claims; setting: OrgSetting }> {
    const { authorization } = req.headers;
    if (authorization === undefined) {
      // A key without a token is a member of staff at the wrong door, not somebody who forgot to sign in.
      if (req.headers["x-api-key"] !== undefined) throw new Problem(403, "CUSTOMER_PRINCIPAL_REQUIRED");
      throw unauthenticated("the Authorization header is missing");
    }
    const token = bearerToken(authorization);
    const setting = orgSettings.of(org);
    if (!setting) throw unauthenticated("the token is not valid", "invalid_token");
    return { claims: await verify(token, org, setting), setting };
  }

  return {
    async customer(req, res) {
      const org = orgOf(req);
      const { claims: bearer, setting } = await bearerOf(req, org);
      let claims = bearer;
      let via: string | undefined;
      const forwarded = req.headers["x-client-authorization"];
      if (forwarded !== undefined) {
        if (bearer.typ !== "service" || !bearer.scope.includes("act-for-customer")) {
          throw new Problem(403, "CUSTOMER_PRINCIPAL_REQUIRED");
        }
        via = bearer.subject;
        claims = await verify(bearerToken(String(forwarded)), org, setting);
      }
      const principal = customerPrincipal(req, org, claims, via);
      res.locals.principal = principal;
      return principal;
    },

    async service(req, res) {
      const org = orgOf(req);
      const { claims } = await bearerOf(req, org);
      if (claims.typ !== "service") throw new Problem(403, "SERVICE_PRINCIPAL_REQUIRED");
      const client = clientOf(req);
      const service: ServicePrincipal = {
        org,
        actor: { type: "system", id: claims.subject },
        scope: claims.scope,
        ...(client === undefined ? {} : { client }),
      };
      res.locals.service = service;
      return service;
    },
  };
}

/** The `orgid` header. Throws 400 `ORG_REQUIRED` when it is missing or not a name of an org. */
export function orgOf(req: Request): OrgId {
  const org = req.headers.orgid;
  if (typeof org !== "string" || !/^[A-Za-z0-9._-]{1,64}$/.test(org)) throw new Problem(400, "ORG_REQUIRED");
  return org;
}

function customerPrincipal(req: Request, org: OrgId, claims: Claims, via: string | undefined): Principal {
  const { typ } = claims;
  if (typ !== "customer" && typ !== "user") throw new Problem(403, "CUSTOMER_PRINCIPAL_REQUIRED");
  const customer = typ === "customer" ? claims.subject : claims.customer;
  if (customer === undefined) throw new Problem(403, "NO_CUSTOMER_RECORD");
  const client = req.method === "GET" || req.method === "HEAD" ? undefined : clientOf(req);
  return {
    org,
    owner: { org, customer },
    typ,
    actor: { type: "customer", id: customer },
    claims: {
      ...(claims.email === undefined ? {} : { email: claims.email }),
      ...(claims.name === undefined ? {} : { name: claims.name }),
      ...(claims.authTime === undefined ? {} : { authTime: claims.authTime }),
    },
    scope: claims.scope,
    ...(via === undefined ? {} : { via }),
    ...(client === undefined ? {} : { client }),
  };
}

function bearerToken(authorization: string): string {
  const match = /^Bearer +([A-Za-z0-9_=-]+\.[A-Za-z0-9_=-]+\.[A-Za-z0-9_=-]+) *$/i.exec(authorization);
  if (!match?.[1]) throw unauthenticated("the Authorization header holds no bearer token", "invalid_token");
  return match[1];
}

const verifyOptions = new WeakMap<OrgSetting, Parameters<typeof jwtVerify>[2]>();

function verifyOptionsOf(setting: OrgSetting): Parameters<typeof jwtVerify>[2] {
  let made = verifyOptions.get(setting);
  if (!made) {
    const { issuer, audience, algorithms, clockToleranceSeconds } = setting;
    made = { issuer, audience, algorithms, clockTolerance: clockToleranceSeconds, requiredClaims: ["exp"] };
    verifyOptions.set(setting, made);
  }
  return made;
}

/** 401 for a bad token; 503 when the issuer's keys could not be fetched, because then nobody can tell. */
function tokenProblem(error: unknown): Problem {
  if (error instanceof errors.JOSEError && error.code !== "ERR_JOSE_GENERIC" && error.code !== "ERR_JWKS_TIMEOUT") {
    if (error.code === "ERR_JWKS_INVALID") return unavailable("PROVIDER_UNAVAILABLE", 5);
    const detail = error.code === "ERR_JWT_EXPIRED" ? "the token has expired" : "the token is not valid";
    return unauthenticated(detail, "invalid_token");
  }
  return unavailable("PROVIDER_UNAVAILABLE", 5);
}

/** RFC 6750 §3: no error code when no token came. */
function unauthenticated(detail: string, error?: string): Problem {
  const challenge = `Bearer realm="client-data"${error ? `, error="${error}", error_description="${detail}"` : ""}`;
  return new Problem(401, "UNAUTHENTICATED", { detail, headers: { "WWW-Authenticate": challenge } });
}

/** Ids stand in stream names and document ids: bounded, and nothing that cannot be written as UTF-8. */
function isUsableId(value: unknown): value is string {
  return typeof value === "string" && value.length >= 1 && value.length <= 64 && !/[\p{Cc}\p{Cs}]/u.test(value);
}

function scopesOf(value: unknown): readonly string[] {
  if (typeof value === "string") return value === "" ? [] : value.split(" ");
  return Array.isArray(value) ? value.filter((scope): scope is string => typeof scope === "string") : [];
}

function textClaim(value: unknown, maxLength: number): string | undefined {
  if (typeof value !== "string" || value.length > maxLength || /[\p{Cc}\p{Cs}]/u.test(value)) return undefined;
  return value.trim() === "" ? undefined : value.trim();
}

/** `x-client-info`, `x-client-host` and where the request came from, as JSON text of bounded size. */
function clientOf(req: Request): string | undefined {
  const info = req.headers["x-client-info"];
  const host = req.headers["x-client-host"];
  let parsedInfo: unknown;
  if (info !== undefined) {
    if (info.length > 2_048) throw invalidField("x-client-info", "TOO_LONG", "must be at most 2048 bytes");
    try {
      parsedInfo = JSON.parse(String(info));
    } catch {
      throw invalidField("x-client-info", "PATTERN", "must be JSON");
    }
  }
  if (host !== undefined && host.length > 255) {
    throw invalidField("x-client-host", "TOO_LONG", "must be at most 255 characters");
  }
  return JSON.stringify({
    info: parsedInfo,
    host,
    address: req.socket.remoteAddress,
    forwardedFor: req.get("x-forwarded-for")?.slice(0, 256),
  });
}
