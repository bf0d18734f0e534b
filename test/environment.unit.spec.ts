import { mkdtempSync, renameSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect } from "chai";
import fc from "fast-check";
import { ConfigurationError, insecureEndpoint, readEnvironment } from "#infrastructure/environment.js";
import { createLogger, customerPseudonym, scrub } from "#infrastructure/log.js";
import { fixedOrgSettings, openOrgSettings, secretValue } from "#infrastructure/org-settings.js";
import { jobId } from "#infrastructure/queue.js";
import { createServerKey } from "#infrastructure/server-key.js";
import { childContext, formatTraceparent, parseTraceparent } from "#infrastructure/tracing.js";

function faultsOf(work: () => unknown): readonly string[] {
  try {
    work();
  } catch (error) {
    if (error instanceof ConfigurationError) return error.faults;
    throw error;
  }
  return [];
}

const key = Buffer.alloc(32, 7).toString("base64");

describe("environment", () => {
  it("gives a process its part, with defaults; an empty variable counts as missing", () => {
    const environment = readEnvironment(["MONGODB_URL", "MONGODB_DATABASE", "MASTER_KEYS", "PRODUCT_CATALOGUE_URL"], {
      MONGODB_URL: "mongodb://a:1,b:2/?replicaSet=rs0",
      MONGODB_DATABASE: "",
      MASTER_KEYS: `new:${key}, old:${key}`,
      PORT: "0",
      REDIS_URL: "not looked at",
    });
    expect(environment).to.deep.include({ MONGODB_DATABASE: "client-data", PORT: 0, NODE_ENV: "development" });
    expect(environment.MASTER_KEYS.map(({ id }) => id)).to.deep.equal(["new", "old"]);
    expect(environment.MASTER_KEYS[0]?.key).to.have.length(32);
    expect(environment).not.to.have.property("REDIS_URL");
  });

  it("lists every fault at once and never shows a value", () => {
    const faults = faultsOf(() =>
      readEnvironment(["MONGODB_URL", "REDIS_URL", "S3_ENDPOINT", "MASTER_KEYS", "EVENTSTORE_URL"], {
        MONGODB_URL: "postgres://secret@host",
        REDIS_URL: "redis//secret",
        MASTER_KEYS: "k:c2VjcmV0",
        NODE_ENV: "staging",
        PORT: "70000",
        LOG_LEVEL: "loud",
      }),
    );
    const names = [
      "NODE_ENV",
      "LOG_LEVEL",
      "PORT",
      "MONGODB_URL",
      "REDIS_URL",
      "S3_ENDPOINT",
      "MASTER_KEYS",
      "EVENTSTORE_URL",
    ];
    expect(faults.map((fault) => fault.split(" ")[0])).to.have.members(names);
    expect(faults).to.include("S3_ENDPOINT is required");
    expect(faults).to.include("NODE_ENV must be one of development, test, production");
    expect(faults.join()).not.to.match(/secret|c2VjcmV0/);
  });

  it("keeps stand-ins and unencrypted endpoints out of production, unless allowed by name", () => {
    const production = (more: Record<string, string>) =>
      faultsOf(() => readEnvironment(["PRODUCT_CATALOGUE_URL"], { NODE_ENV: "production", ...more }));
    expect(production({ PRODUCT_CATALOGUE_URL: "http://catalogue.example" })).to.deep.equal([
      "PRODUCT_CATALOGUE_URL must use https in production",
    ]);
    for (const host of ["localhost", "127.0.0.1", "127.1", "[::1]", "0.0.0.0", "api.localhost", "[::ffff:127.0.0.1]"]) {
      expect(insecureEndpoint(`https://${host}:1`), host).to.equal("must not point at this machine in production");
    }
    expect(production({ PRODUCT_CATALOGUE_URL: "https://catalogue.example" })).to.deep.equal([]);
    expect(
      production({ PRODUCT_CATALOGUE_URL: "http://catalogue", ALLOW_INSECURE_ENDPOINTS: "PRODUCT_CATALOGUE_URL" }),
    ).to.deep.equal([]);
    expect(
      faultsOf(() => readEnvironment(["PRODUCT_CATALOGUE_URL"], { PRODUCT_CATALOGUE_URL: "http://localhost" })),
    ).to.deep.equal([]);
  });
});

describe("org settings", () => {
  const acme = { issuer: "http://127.0.0.1:1", jwksUri: "http://127.0.0.1:1/jwks", audience: "client-data" };
  let folder: string;
  let file: string;
  beforeEach(() => {
    folder = mkdtempSync(join(tmpdir(), "client-data-settings-"));
    file = join(folder, "orgs.json");
  });
  afterEach(() => rmSync(folder, { recursive: true, force: true }));

  it("have defaults, and know no org that is not named", () => {
    const settings = fixedOrgSettings({ orgs: { acme } });
    expect(settings.of("acme")).to.deep.include({ algorithms: ["ES256", "RS256", "EdDSA"], corsOrigins: [] });
    expect(settings.of("acme")?.claims.customer).to.equal("customer_id");
    for (const org of ["other", "__proto__", "constructor", ""]) expect(settings.of(org)).to.equal(undefined);
  });

  it("list every fault, at start and by name", () => {
    writeFileSync(file, JSON.stringify({ orgs: { acme: { ...acme, issuer: "x", algorithms: ["HS256"], typo: 1 } } }));
    const faults = faultsOf(() => openOrgSettings(file));
    for (const name of ["issuer", "algorithms", "typo"]) expect(faults.join("\n")).to.contain(name);
    writeFileSync(file, "{");
    expect(faultsOf(() => openOrgSettings(file))).to.deep.equal(["ORG_SETTINGS_FILE is not valid JSON"]);
    expect(faultsOf(() => openOrgSettings(join(folder, "none")))).to.deep.equal([
      "ORG_SETTINGS_FILE cannot be read (ENOENT)",
    ]);
    writeFileSync(file, JSON.stringify({ orgs: { acme } }));
    expect(faultsOf(() => openOrgSettings(file, { production: true }))).to.have.length(2);
  });

  it("name secrets by the environment's variables, which the process that uses them must have", () => {
    const providers = {
      stripe: { secretKey: "ACME_STRIPE", webhookSecret: "ACME_HOOK" },
      googlePlaces: { apiKey: "ACME_GOOGLE" },
    };
    writeFileSync(file, JSON.stringify({ orgs: { acme: { ...acme, providers } } }));
    const open = (uses: ("stripe" | "googlePlaces")[], secrets: Record<string, string>) =>
      openOrgSettings(file, { uses, secrets }).close();
    expect(faultsOf(() => open(["stripe"], { ACME_STRIPE: "sk_secret" }))).to.deep.equal([
      "ORG_SETTINGS_FILE orgs.acme.providers.stripe.webhookSecret: ACME_HOOK is not set",
    ]);
    expect(faultsOf(() => open(["googlePlaces"], { ACME_GOOGLE: "key" }))).to.deep.equal([]);
    expect(secretValue("ACME_GOOGLE", { ACME_GOOGLE: "key" })).to.equal("key");
    expect(faultsOf(() => secretValue("ACME_GOOGLE", {}))).to.deep.equal(["ACME_GOOGLE is required"]);
  });

  it("are read again when the file changes or is swapped; a wrong one leaves the last good", async () => {
    writeFileSync(file, JSON.stringify({ orgs: { acme } }));
    const told: string[] = [];
    const log = { info: () => void told.push("reloaded"), error: () => void told.push("kept") };
    const settings = openOrgSettings(file, { pollMs: 10, log: log as never });
    const next = async (count: number) => {
      const deadline = Date.now() + 30_000;
      while (told.length < count) {
        if (Date.now() > deadline) throw new Error("the change was not noticed");
        await new Promise((resolve) => setTimeout(resolve, 5));
      }
    };
    try {
      writeFileSync(join(folder, "next"), JSON.stringify({ orgs: { acme, second: acme } }));
      renameSync(join(folder, "next"), file);
      await next(1);
      expect(settings.orgs()).to.deep.equal(["acme", "second"]);
      writeFileSync(join(folder, "next"), '{"orgs": {"third": {}}}');
      renameSync(join(folder, "next"), file);
      await next(2);
      expect(settings.orgs()).to.deep.equal(["acme", "second"]);
      expect(told).to.deep.equal(["reloaded", "kept"]);
    } finally {
      settings.close();
    }
  });
});

describe("the server's key", () => {
  it("gives each purpose a key of its own, the same in every process", () => {
    const one = createServerKey(Buffer.alloc(32, 1));
    expect(one("signed-link")).to.deep.equal(createServerKey(Buffer.alloc(32, 1))("signed-link"));
    expect(one("signed-link")).to.have.length(32);
    expect(one("signed-link")).not.to.deep.equal(one("verification-code"));
    expect(one("signed-link")).not.to.deep.equal(createServerKey(Buffer.alloc(32, 2))("signed-link"));
  });

  it("must be 32 bytes", () => {
    for (const value of ["short", key.slice(0, 20), `${key}AAAA`]) {
      expect(faultsOf(() => readEnvironment(["SERVER_KEY"], { SERVER_KEY: value }))).to.deep.equal([
        "SERVER_KEY must be base64 of 32 bytes",
      ]);
    }
    expect(readEnvironment(["SERVER_KEY"], { SERVER_KEY: key }).SERVER_KEY).to.have.length(32);
  });
});

describe("logs", () => {
  const logged = (write: (log: ReturnType<typeof createLogger>) => void) => {
    let line = "";
    write(createLogger({ service: "test", version: "1", destination: { write: (text) => void (line += text) } }));
    return line;
  };

  it("are JSON lines with a time, a level and a service", () => {
    const line = JSON.parse(logged((log) => log.info({ orgId: "acme" }, "request")));
    expect(line).to.include({ level: "info", service: "test", version: "1", orgId: "acme", msg: "request" });
    expect(line.time).to.match(/^\d{4}-\d\d-\d\dT[\d:.]+Z$/);
  });

  it("hold no secrets: by field name, and by shape inside errors", () => {
    const line = logged((log) =>
      log.error(
        {
          token: "hunter2",
          request: { authorization: "hunter2", email: "hunter2" },
          err: new Error("failed", { cause: new Error("mongodb://u:hunter2@h eyJh.eyJz.hunter2 a.hunter2@b.example") }),
        },
        "oops",
      ),
    );
    expect(line).not.to.contain("hunter2");
    expect(line).to.contain("[redacted]");
    expect(scrub("Authorization: Bearer hunter2")).not.to.contain("hunter2");
    expect(customerPseudonym("acme.c-1")).to.equal(customerPseudonym("acme.c-1"));
    expect(customerPseudonym("acme.c-1")).not.to.contain("c-1");
  });
});

describe("trace context", () => {
  const trace = "4bf92f3577b34da6a3ce929d0e0e4736";
  const span = "00f067aa0ba902b7";

  it("is read from a traceparent and goes on under it", () => {
    const parent = parseTraceparent(`00-${trace}-${span}-01`);
    expect(parent).to.deep.equal({ traceId: trace, spanId: span, sampled: true });
    const child = childContext(parent);
    expect(child).to.include({ traceId: trace, sampled: true });
    expect(child.spanId).not.to.equal(span);
    expect(parseTraceparent(formatTraceparent(child))).to.deep.equal(child);
    expect(parseTraceparent(formatTraceparent(childContext(undefined)))?.sampled).to.equal(false);
  });

  it("is ignored when it is not one", () => {
    const bad = [
      undefined,
      "",
      `ff-${trace}-${span}-01`,
      `00-${"0".repeat(32)}-${span}-01`,
      `00-${trace}-${"0".repeat(16)}-01`,
      `00-${trace}-${span}-01-more`,
      `00-${trace.toUpperCase()}-${span}-01`,
    ];
    for (const header of bad) expect(parseTraceparent(header), String(header)).to.equal(undefined);
    expect(parseTraceparent(`01-${trace}-${span}-01-more`)?.traceId).to.equal(trace);
    fc.assert(fc.property(fc.string(), (header) => parseTraceparent(header) === undefined));
  });
});

describe("job ids", () => {
  it("say cause and purpose without running into one another, in the form the queue takes", () => {
    expect(jobId("e6b9", "send-push")).to.equal("send-push-e6b9");
    for (const [cause, purpose] of [
      ["a:b", "x"],
      ["", "x"],
      ["a", "Send"],
      ["a", "1"],
    ]) {
      expect(() => jobId(cause ?? "", purpose ?? "")).to.throw();
    }
  });
});
