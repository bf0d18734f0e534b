import { createHash, randomBytes } from "node:crypto";
import { createServer, type IncomingMessage, type Server, type ServerResponse } from "node:http";
import { calculateJwkThumbprint, exportJWK, generateKeyPair, importJWK, type JWK, jwtVerify, SignJWT } from "jose";

/**
 * The local token issuer: OpenID Connect, code flow with PKCE, ES256. It stands in for the organisation's own sign-in,
 * so that a newcomer and the tests have tokens; it asks for no password, so it belongs on one machine: it redirects nowhere else.
 */

/** Kind of principal a token speaks for. A `user` acts for its linked customer record. */
export type PrincipalType = "customer" | "user" | "service";

export type TokenSubject = {
  readonly org: string;
  readonly typ: PrincipalType;
  /** The customer the token acts for; for a service token its own name. */
  readonly id: string;
  readonly name?: string;
  readonly email?: string;
  /** Space-separated, as in OAuth. */
  readonly scope?: string;
};

export type IssuerKey = JWK & { readonly kid: string };

export const audience = "client-data";
export const algorithm = "ES256";
const accessTokenSeconds = 3600;
const codeSeconds = 60;
const refreshTokenSeconds = 14 * 24 * 3600;
const refreshAudience = "client-data-refresh";
const mostCodes = 1_000;
const mostBodyBytes = 16 * 1024;

/** Makes a signing key, as a private JWK whose key id is its thumbprint. */
export async function createIssuerKey(): Promise<IssuerKey> {
  const { privateKey } = await generateKeyPair(algorithm, { extractable: true });
  const jwk = await exportJWK(privateKey);
  return { ...jwk, alg: algorithm, use: "sig", kid: await calculateJwkThumbprint(jwk) };
}

/**
 * Signs an access token with the claims that the APIs read.
 *
 * @param issuer the issuer's base URL, as it stands in the `iss` claim
 * @param lifetimeSeconds from now
 */
export async function signToken(
  key: IssuerKey,
  issuer: string,
  subject: TokenSubject,
  lifetimeSeconds: number,
): Promise<string> {
  const now = Math.floor(Date.now() / 1000);
  const { org, typ, id, name, email, scope } = subject;
  return new SignJWT({
    org,
    typ,
    ...(typ === "user" ? { customer_id: id } : {}),
    ...(scope ? { scope } : {}),
    ...(name ? { name } : {}),
    ...(email ? { email } : {}),
    auth_time: now,
  })
    .setProtectedHeader({ alg: algorithm, kid: key.kid, typ: "JWT" })
    .setIssuer(issuer)
    .setAudience(audience)
    .setSubject(typ === "user" ? `user-${id}` : id)
    .setIssuedAt(now)
    .setExpirationTime(now + lifetimeSeconds)
    .sign(await importJWK(key, algorithm));
}

export type Issuer = { readonly url: string; stop(): Promise<void> };

export type IssuerOptions = {
  readonly key: IssuerKey;
  /** 0 for any free one. */
  readonly port: number;
  /** Default 127.0.0.1. */
  readonly host?: string;
  /** Its address as browsers see it, when that is another than the one it listens on. */
  readonly url?: string;
  readonly org: string;
  /** Whom the sign-in page offers to continue as. */
  readonly people: readonly { readonly id: string; readonly name: string; readonly email: string }[];
};

/** Starts the issuer. */
export async function startIssuer(options: IssuerOptions): Promise<Issuer> {
  const server = createServer();
  await new Promise<void>((resolve, reject) => {
    server.once("error", reject);
    server.listen(options.port, options.host ?? "127.0.0.1", resolve);
  });
  const url = options.url ?? `http://127.0.0.1:${(server.address() as { port: number }).port}`;
  const routes = issuerRoutes(url, options);
  server.on("request", (request, response) => {
    answer(routes, url, request, response).catch((error: unknown) => {
      const known = error instanceof OAuthError;
      if (!response.headersSent) {
        sendJson(response, known ? error.status : 500, {
          error: known ? error.code : "server_error",
          ...(known ? { error_description: error.message } : {}),
        });
      }
    });
  });
  return { url, stop: () => close(server) };
}

function close(server: Server): Promise<void> {
  return new Promise((resolve) => {
    server.close(() => resolve());
    server.closeAllConnections();
  });
}

class OAuthError extends Error {
  constructor(
    readonly code: string,
    message: string,
    readonly status = 400,
  ) {
    super(message);
  }
}

type Handler = (parameters: URLSearchParams, response: ServerResponse) => void | Promise<void>;

async function answer(routes: Map<string, Handler>, url: string, request: IncomingMessage, response: ServerResponse) {
  const { pathname, searchParams } = new URL(request.url ?? "/", url);
  // Any page of this machine may sign in here: there are no cookies, so an origin gains nothing.
  response.setHeader("access-control-allow-origin", "*");
  response.setHeader("cache-control", "no-store");
  if (request.method === "OPTIONS") {
    const allowed = { "access-control-allow-methods": "GET, POST", "access-control-allow-headers": "*, authorization" };
    response.writeHead(204, { ...allowed, "access-control-max-age": "600" }).end();
    return;
  }
  const method = request.method === "HEAD" ? "GET" : request.method;
  const handler = routes.get(`${method} ${pathname}`);
  if (!handler) throw new OAuthError("not_found", "no such page", 404);
  await handler(method === "POST" ? new URLSearchParams(await readBody(request)) : searchParams, response);
}

async function readBody(request: IncomingMessage): Promise<string> {
  let body = "";
  for await (const chunk of request.setEncoding("utf8")) {
    body += chunk;
    if (body.length > mostBodyBytes) throw new OAuthError("invalid_request", "the request is too large", 413);
  }
  return body;
}

function sendJson(response: ServerResponse, status: number, value: unknown): void {
  response.writeHead(status, { "content-type": "application/json" }).end(JSON.stringify(value));
}

function sendPage(response: ServerResponse, title: string, body: string): void {
  response.writeHead(200, {
    "content-type": "text/html; charset=utf-8",
    "content-security-policy": "default-src 'none'; style-src 'unsafe-inline'; frame-ancestors 'none'",
  });
  response.end(
    `<!doctype html><html lang="en"><meta charset="utf-8"><meta name="viewport" content="width=device-width">` +
      `<title>${title}</title><style>body{font:16px/1.5 system-ui;max-width:24rem;margin:4rem auto;padding:0 1rem}` +
      "button,input{font:inherit;display:block;width:100%;box-sizing:border-box;padding:.6rem;margin:.5rem 0}</style>" +
      `<h1>${title}</h1>${body}</html>`,
  );
}

const escapes: Record<string, string> = { "&": "&amp;", "<": "&lt;", ">": "&gt;", '"': "&quot;", "'": "&#39;" };
const escapeHtml = (text: string) => text.replace(/[&<>"']/g, (character) => escapes[character] ?? "");

/** A sign-in that was asked for: what the code will be exchanged against. */
type Grant = {
  readonly clientId: string;
  readonly redirectUri: string;
  readonly challenge: string;
  readonly scope: string;
  readonly nonce: string | null;
  readonly subject: TokenSubject;
  readonly expiresAt: number;
};

function issuerRoutes(url: string, { key, org, people }: IssuerOptions): Map<string, Handler> {
  const codes = new Map<string, Grant>();

  const subjectOf = (id: string): TokenSubject => {
    const person = people.find((candidate) => candidate.id === id);
    return { org, typ: "customer", id, ...(person ? { name: person.name, email: person.email } : {}) };
  };

  /** Redirects stay on this machine. */
  const checkRedirect = (address: string): URL => {
    const target = URL.canParse(address) ? new URL(address) : undefined;
    if (!target || !/^https?:$/.test(target.protocol) || !/^(localhost|127\.0\.0\.1|\[::1\])$/.test(target.hostname)) {
      throw new OAuthError("invalid_request", "the redirect must go to an address of this machine");
    }
    return target;
  };

  /** The checks of RFC 6749 §4.1.1 and RFC 7636 §4.3. */
  const checkRequest = (parameters: URLSearchParams) => {
    const need = (name: string) => {
      const value = parameters.get(name);
      if (!value) throw new OAuthError("invalid_request", `${name} is missing`);
      return value;
    };
    const redirectUri = need("redirect_uri");
    checkRedirect(redirectUri);
    if (need("response_type") !== "code") throw new OAuthError("unsupported_response_type", "only code is offered");
    if (need("code_challenge_method") !== "S256") throw new OAuthError("invalid_request", "PKCE needs S256");
    return { clientId: need("client_id"), redirectUri, challenge: need("code_challenge") };
  };

  const authorizePage: Handler = (parameters, response) => {
    checkRequest(parameters);
    if (parameters.get("prompt") === "none") {
      return redirect(response, parameters, { error: "login_required" });
    }
    const hidden = [...parameters]
      .filter(([name]) => name !== "customer")
      .map(([name, value]) => `<input type="hidden" name="${escapeHtml(name)}" value="${escapeHtml(value)}">`)
      .join("");
    const buttons = people
      .map(
        ({ id, name }) => `<button name="customer" value="${escapeHtml(id)}">Continue as ${escapeHtml(name)}</button>`,
      )
      .join("");
    sendPage(
      response,
      "Sign in",
      `<form method="post" action="/authorize">${hidden}${buttons}</form>` +
        `<form method="post" action="/authorize">${hidden}<label>Another customer id ` +
        `<input name="customer" required maxlength="64" pattern="[A-Za-z0-9._\\-]+"></label><button>Continue</button></form>`,
    );
  };

  const authorize: Handler = (parameters, response) => {
    const asked = checkRequest(parameters);
    const customer = parameters.get("customer") ?? "";
    if (!/^[A-Za-z0-9._-]{1,64}$/.test(customer)) throw new OAuthError("invalid_request", "choose a customer");
    for (const [code, grant] of codes) {
      if (grant.expiresAt < Date.now() || codes.size >= mostCodes) codes.delete(code);
    }
    const code = randomBytes(24).toString("base64url");
    codes.set(code, {
      ...asked,
      scope: parameters.get("scope") ?? "openid",
      nonce: parameters.get("nonce"),
      subject: subjectOf(customer),
      expiresAt: Date.now() + codeSeconds * 1000,
    });
    redirect(response, parameters, { code });
  };

  const redirect = (response: ServerResponse, parameters: URLSearchParams, result: Record<string, string>) => {
    const target = new URL(parameters.get("redirect_uri") ?? "");
    for (const [name, value] of Object.entries(result)) target.searchParams.set(name, value);
    const state = parameters.get("state");
    if (state !== null) target.searchParams.set("state", state);
    target.searchParams.set("iss", url);
    response.writeHead(303, { location: target.href }).end();
  };

  const token: Handler = async (parameters, response) => {
    const grantType = parameters.get("grant_type");
    if (grantType === "authorization_code") {
      const grant = redeem(parameters);
      return sendTokens(response, grant.clientId, grant.subject, grant.scope, grant.nonce);
    }
    if (grantType === "refresh_token") {
      const { clientId, subject, scope } = await openRefreshToken(parameters.get("refresh_token") ?? "");
      return sendTokens(response, clientId, subject, scope, null);
    }
    throw new OAuthError("unsupported_grant_type", "only authorization_code and refresh_token are offered");
  };

  /** A code works once, within a minute, for the client and address it was given to, with the PKCE verifier. */
  const redeem = (parameters: URLSearchParams): Grant => {
    const code = parameters.get("code") ?? "";
    const grant = codes.get(code);
    codes.delete(code);
    const verifier = createHash("sha256")
      .update(parameters.get("code_verifier") ?? "")
      .digest("base64url");
    const matches =
      grant !== undefined &&
      grant.expiresAt >= Date.now() &&
      grant.challenge === verifier &&
      grant.redirectUri === parameters.get("redirect_uri") &&
      grant.clientId === parameters.get("client_id");
    if (!matches) throw new OAuthError("invalid_grant", "the code is not valid for this request");
    return grant;
  };

  const sendTokens = async (
    response: ServerResponse,
    clientId: string,
    subject: TokenSubject,
    scope: string,
    nonce: string | null,
  ) => {
    const privateKey = await importJWK(key, algorithm);
    const sign = (claims: Record<string, unknown>, tokenAudience: string, seconds: number) =>
      new SignJWT(claims)
        .setProtectedHeader({ alg: algorithm, kid: key.kid, typ: "JWT" })
        .setIssuer(url)
        .setAudience(tokenAudience)
        .setSubject(subject.id)
        .setIssuedAt()
        .setExpirationTime(`${seconds} s`)
        .sign(privateKey);
    const { name, email } = subject;
    const idClaims = {
      ...(name ? { name } : {}),
      ...(email ? { email } : {}),
      ...(nonce ? { nonce } : {}),
      auth_time: Math.floor(Date.now() / 1000),
    };
    sendJson(response, 200, {
      access_token: await signToken(key, url, { ...subject, scope }, accessTokenSeconds),
      token_type: "Bearer",
      expires_in: accessTokenSeconds,
      scope,
      id_token: await sign(idClaims, clientId, accessTokenSeconds),
      ...(scope.split(" ").includes("offline_access")
        ? { refresh_token: await sign({ client_id: clientId, scope }, refreshAudience, refreshTokenSeconds) }
        : {}),
    });
  };

  const openRefreshToken = async (refreshToken: string) => {
    try {
      const { payload } = await jwtVerify(refreshToken, await importJWK(publicKey, algorithm), {
        issuer: url,
        audience: refreshAudience,
        algorithms: [algorithm],
      });
      const subject = subjectOf(String(payload.sub));
      return { clientId: String(payload.client_id), subject, scope: String(payload.scope) };
    } catch {
      throw new OAuthError("invalid_grant", "the refresh token is not valid");
    }
  };

  const logout: Handler = (parameters, response) => {
    const target = parameters.get("post_logout_redirect_uri");
    if (!target) return sendPage(response, "Signed out", "<p>You are signed out.</p>");
    const address = checkRedirect(target);
    const state = parameters.get("state");
    if (state !== null) address.searchParams.set("state", state);
    response.writeHead(303, { location: address.href }).end();
  };

  const { d: _private, ...publicKey } = key;
  const discovery = {
    issuer: url,
    authorization_endpoint: `${url}/authorize`,
    token_endpoint: `${url}/token`,
    jwks_uri: `${url}/jwks`,
    end_session_endpoint: `${url}/logout`,
    response_types_supported: ["code"],
    response_modes_supported: ["query"],
    grant_types_supported: ["authorization_code", "refresh_token"],
    subject_types_supported: ["public"],
    id_token_signing_alg_values_supported: [algorithm],
    token_endpoint_auth_methods_supported: ["none"],
    code_challenge_methods_supported: ["S256"],
    scopes_supported: ["openid", "profile", "email", "offline_access"],
    authorization_response_iss_parameter_supported: true,
  };

  return new Map<string, Handler>([
    ["GET /.well-known/openid-configuration", (_parameters, response) => sendJson(response, 200, discovery)],
    ["GET /jwks", (_parameters, response) => sendJson(response, 200, { keys: [publicKey] })],
    ["GET /authorize", authorizePage],
    ["POST /authorize", authorize],
    ["POST /token", token],
    ["GET /logout", logout],
    ["POST /logout", logout],
  ]);
}
