import { createHash, randomBytes } from "node:crypto";
import { expect } from "chai";
import { createRemoteJWKSet, decodeJwt, jwtVerify } from "jose";
import {
  audience,
  createIssuerKey,
  type Issuer,
  type IssuerKey,
  signToken,
  startIssuer,
} from "../embedded/identity.js";

describe("local token issuer", () => {
  const people = [{ id: "cst-1", name: "Ada <b>", email: "ada@example.com" }];
  const redirectUri = "http://localhost:5173/signed-in";
  let key: IssuerKey;
  let issuer: Issuer;
  let endpoints: Record<string, string>;

  before(async () => {
    key = await createIssuerKey();
    issuer = await startIssuer({ key, port: 0, org: "acme", people });
    endpoints = (await (await fetch(`${issuer.url}/.well-known/openid-configuration`)).json()) as typeof endpoints;
  });
  after(() => issuer.stop());

  /** What a browser page does before it sends the person away, and the form the page then posts. */
  const signIn = async (changes: Record<string, string> = {}) => {
    const verifier = randomBytes(32).toString("base64url");
    const asked = new URLSearchParams({
      response_type: "code",
      client_id: "portal",
      redirect_uri: redirectUri,
      scope: "openid offline_access",
      state: "s-1",
      nonce: "n-1",
      code_challenge: createHash("sha256").update(verifier).digest("base64url"),
      code_challenge_method: "S256",
      ...changes,
    });
    const response = await fetch(endpoints.authorization_endpoint ?? "", {
      method: "POST",
      redirect: "manual",
      body: new URLSearchParams([...asked, ["customer", "cst-1"]]),
    });
    return { asked, verifier, response };
  };
  const exchange = async (body: Record<string, string>) => {
    const response = await fetch(endpoints.token_endpoint ?? "", { method: "POST", body: new URLSearchParams(body) });
    return { status: response.status, body: (await response.json()) as Record<string, string> };
  };
  const redeem = async (changes: Record<string, string> = {}) => {
    const { verifier, response } = await signIn();
    const target = new URL(response.headers.get("location") ?? "");
    const form = {
      grant_type: "authorization_code",
      code: target.searchParams.get("code") ?? "",
      redirect_uri: redirectUri,
      client_id: "portal",
      code_verifier: verifier,
      ...changes,
    };
    return { target, form, result: await exchange(form) };
  };

  it("names its endpoints under its own address", () => {
    expect(endpoints.issuer).to.equal(issuer.url);
    expect(endpoints.jwks_uri).to.equal(`${issuer.url}/jwks`);
  });

  it("publishes the public half of its key only", async () => {
    const { keys } = (await (await fetch(endpoints.jwks_uri ?? "")).json()) as { keys: Record<string, string>[] };
    expect(keys).to.have.length(1);
    expect(keys[0]).to.include({ kid: key.kid, alg: "ES256" });
    expect(keys[0]).to.not.have.property("d");
  });

  it("offers the sample customers on a page that runs nothing and escapes everything", async () => {
    const { asked } = await signIn();
    asked.set("state", '"><script>');
    const page = await fetch(`${endpoints.authorization_endpoint}?${asked}`);
    const html = await page.text();
    expect(html).to.contain("Continue as Ada &lt;b&gt;");
    expect(html).to.not.contain("<script>");
    expect(page.headers.get("content-security-policy")).to.contain("default-src 'none'");
  });

  it("signs a customer in by code with PKCE; the token has the claims that the APIs read", async () => {
    const { target, result } = await redeem();
    expect(`${target.origin}${target.pathname}`).to.equal(redirectUri);
    expect(target.searchParams.get("state")).to.equal("s-1");
    expect(result.status).to.equal(200);
    const keys = createRemoteJWKSet(new URL(endpoints.jwks_uri ?? ""));
    const { payload } = await jwtVerify(result.body.access_token ?? "", keys, { issuer: issuer.url, audience });
    expect(payload).to.include({
      org: "acme",
      typ: "customer",
      sub: "cst-1",
      name: "Ada <b>",
      email: "ada@example.com",
    });
    expect(payload.auth_time).to.be.closeTo(Date.now() / 1000, 60);
    const idToken = await jwtVerify(result.body.id_token ?? "", keys, { issuer: issuer.url, audience: "portal" });
    expect(idToken.payload.nonce).to.equal("n-1");
  });

  it("takes a code once, and only with its verifier, client and address", async () => {
    const { form } = await redeem();
    expect((await exchange(form)).body.error).to.equal("invalid_grant");
    for (const changes of [{ code_verifier: "wrong" }, { client_id: "other" }, { redirect_uri: "http://localhost/" }]) {
      expect((await redeem(changes)).result).to.deep.include({ status: 400 });
    }
  });

  it("sends nobody to another machine, and insists on PKCE", async () => {
    for (const changes of [
      { redirect_uri: "https://evil.example/" },
      { redirect_uri: "javascript:alert(1)" },
      { code_challenge_method: "plain" },
      { response_type: "token" },
    ]) {
      expect((await signIn(changes)).response.status, JSON.stringify(changes)).to.equal(400);
    }
    const away = await fetch(`${endpoints.end_session_endpoint}?post_logout_redirect_uri=https://evil.example/`);
    expect(away.status).to.equal(400);
  });

  it("renews by refresh token, which is no access token", async () => {
    const { result } = await redeem();
    const refreshToken = result.body.refresh_token ?? "";
    const renewed = await exchange({ grant_type: "refresh_token", refresh_token: refreshToken });
    expect(decodeJwt(renewed.body.access_token ?? "")).to.include({ sub: "cst-1", org: "acme" });
    expect(decodeJwt(refreshToken).aud).to.not.equal(audience);
    const misused = await exchange({ grant_type: "refresh_token", refresh_token: result.body.access_token ?? "" });
    expect(misused).to.deep.include({ status: 400 });
  });

  it("says login_required when it may not ask, and signs out to where the page wants", async () => {
    const { asked } = await signIn();
    asked.set("prompt", "none");
    const silent = await fetch(`${endpoints.authorization_endpoint}?${asked}`, { redirect: "manual" });
    expect(silent.headers.get("location")).to.contain("error=login_required");
    const out = await fetch(
      `${endpoints.end_session_endpoint}?${new URLSearchParams({ post_logout_redirect_uri: redirectUri, state: "x" })}`,
      { redirect: "manual" },
    );
    expect(out.headers.get("location")).to.equal(`${redirectUri}?state=x`);
  });

  it("lets a browser page of another origin read its answers", async () => {
    const preflight = await fetch(endpoints.token_endpoint ?? "", { method: "OPTIONS" });
    expect(preflight.status).to.equal(204);
    expect(preflight.headers.get("access-control-allow-origin")).to.equal("*");
  });

  it("signs users with their customer record, and services with their scope", async () => {
    const user = await signToken(key, issuer.url, { org: "acme", typ: "user", id: "cst-9" }, 60);
    expect(decodeJwt(user)).to.include({ typ: "user", customer_id: "cst-9", sub: "user-cst-9" });
    const service = await signToken(key, issuer.url, { org: "acme", typ: "service", id: "shop", scope: "a b" }, 60);
    expect(decodeJwt(service))
      .to.include({ typ: "service", sub: "shop", scope: "a b" })
      .and.not.have.property("customer_id");
  });
});
