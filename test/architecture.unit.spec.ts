import { execFileSync } from "node:child_process";
import { existsSync, readFileSync } from "node:fs";
import { dirname, join, normalize } from "node:path";
import { fileURLToPath } from "node:url";
import { expect } from "chai";
import { areas } from "#domain/core/identifiers.js";

const root = join(dirname(fileURLToPath(import.meta.url)), "../..");
const top = [
  ...["domain", "sagas", "infrastructure", "command-api", "query-api", "projectors", "gateway", "embedded", "test"],
];
const readSideOnly = ["dashboard", "all", "activity", "changes"];
const areaWords = new Set([...Object.keys(areas), ...readSideOnly]);

/** An import as the law sees it: who, and a path in this repository or the name of a package. */
type Import = { readonly from: string; readonly to: string; readonly typeOnly: boolean };

const sources = execFileSync("git", ["ls-files", "-co", "--exclude-standard", "*.ts"], { cwd: root, encoding: "utf8" })
  .split("\n")
  .filter((file) => file !== "" && existsSync(join(root, file)) && top.includes(file.split("/")[0] ?? ""));

const imports: Import[] = sources.flatMap((from) => {
  const text = readFileSync(join(root, from), "utf8");
  const statement =
    /(?:^|\n)\s*(?:import|export)\s+(type\s+)?(?:[\w*{}\s,$]+?\s+from\s+)?"([^"]+)"|\bimport\("([^"]+)"\)/g;
  return [...text.matchAll(statement)].map((match) => {
    const specifier = match[2] ?? match[3] ?? "";
    let to = specifier;
    if (specifier.startsWith("#")) to = specifier.slice(1);
    else if (specifier.startsWith(".")) to = normalize(join(dirname(from), specifier));
    return { from, to: to.replace(/\.js$/, ".ts"), typeOnly: match[1] !== undefined };
  });
});

const inside = (path: string) => top.includes(path.split("/")[0] ?? "") && path.includes("/");
const areaOf = (path: string) => {
  const folder = path.split("/")[1] ?? "";
  return areaWords.has(folder) ? folder : null;
};

/** Who breaks a rule, as "from -> to"; a rule names whom it holds for and what they may import. */
function breaches(holdsFor: (from: string) => boolean, allowed: (entry: Import) => boolean): string[] {
  return imports
    .filter((entry) => holdsFor(entry.from) && inside(entry.to) && !allowed(entry))
    .map((entry) => `${entry.from} -> ${entry.to}`);
}

const under = (folder: string) => (path: string) => path.startsWith(`${folder}/`);
const domainEvents = (path: string) => /^domain\/[a-z-]+\/[a-z-]+\.events\.ts$/.test(path);
/** Pure rules that deciders, projections and queries share. */
const rules = (path: string) => /^domain\/.*(\.policy|\/opening-hours)\.ts$/.test(path);
const document = (path: string) => /^projectors\/.*\.document\.ts$/.test(path);

describe("architecture: who may import whom", () => {
  it("finds the sources it judges", () => {
    expect(sources.length).to.be.greaterThan(10);
    expect(imports.length).to.be.greaterThan(10);
  });

  it("keeps the domain pure: its core, its own area, zod, uuid, luxon and what of Node does no I/O", () => {
    const packages = imports
      .filter(
        (entry) =>
          under("domain")(entry.from) &&
          !inside(entry.to) &&
          !/^(zod|uuid|luxon|node:util|node:crypto)$/.test(entry.to),
      )
      .map((entry) => `${entry.from} -> ${entry.to}`);
    expect(packages).to.deep.equal([]);
    const crossing = breaches(
      (from) => under("domain")(from) && from !== "domain/stored-events.ts",
      ({ from, to }) => under("domain/core")(to) || (under("domain")(to) && areaOf(to) === areaOf(from)),
    );
    expect(crossing).to.deep.equal([]);
  });

  it("lets infrastructure know the domain's core only, and the shape of a projection as a type", () => {
    const found = breaches(under("infrastructure"), ({ to, typeOnly }) => {
      if (under("infrastructure")(to) || under("domain/core")(to)) return true;
      return typeOnly && to === "projectors/runner/projection.ts";
    });
    expect(found).to.deep.equal([]);
  });

  it("lets a projection consume facts, with the rules that queries show too, and nothing else", () => {
    const found = breaches(
      (from) => /^projectors\/.*\.(projection|duties|entries)\.ts$/.test(from),
      ({ from, to }) =>
        under("domain/core")(to) ||
        domainEvents(to) ||
        rules(to) ||
        to === "projectors/runner/projection.ts" ||
        to === "projectors/runner/duties.ts" ||
        to === "projectors/due-work.document.ts" ||
        // What an event says to the customer: the audit trail and the dashboard tell it in the same words.
        to === "projectors/activity-entry.ts" ||
        to === "projectors/activity/activity.entries.ts" ||
        (from === "projectors/activity/activity.entries.ts" && /\.entries\.ts$/.test(to)) ||
        (document(to) && areaOf(to) === areaOf(from)),
    );
    expect(found).to.deep.equal([]);
  });

  it("never shows the read side a decider, and shows an area its own documents only", () => {
    const found = breaches(under("query-api"), ({ from, to }) => {
      if (under("infrastructure")(to) || under("domain/core")(to) || rules(to)) return true;
      if (document(to)) return areaOf(from) === "all" || areaOf(from) === areaOf(to) || areaOf(from) === null;
      if (to === "projectors/runner/projection.ts") return true;
      return under("query-api")(to) && (areaOf(from) === null || areaOf(to) === null || areaOf(to) === areaOf(from));
    });
    expect(found).to.deep.equal([]);
  });

  it("lets the write side see documents only to locate or advise, never projections or queries", () => {
    const found = breaches(
      under("command-api"),
      ({ to }) =>
        under("command-api")(to) ||
        under("infrastructure")(to) ||
        under("domain")(to) ||
        under("sagas")(to) ||
        document(to) ||
        to === "projectors/runner/projection.ts",
    );
    expect(found).to.deep.equal([]);
  });

  it("keeps sagas to deciders, plumbing and documents: whoever runs them is not their business", () => {
    const found = breaches(
      under("sagas"),
      ({ from, to }) =>
        under("domain/core")(to) ||
        (under("domain")(to) && areaOf(to) === areaOf(from)) ||
        (under("sagas")(to) && areaOf(to) === areaOf(from)) ||
        under("infrastructure")(to) ||
        document(to) ||
        to === "projectors/runner/projection.ts",
    );
    expect(found).to.deep.equal([]);
  });

  it("lets the worker share with the command API what both run, the sagas, and nothing else", () => {
    const found = breaches(under("projectors"), ({ to }) => !under("command-api")(to) && !under("query-api")(to));
    expect(found).to.deep.equal([]);
  });

  it("keeps test and embedded out of the product, and the event store server apart from everything", () => {
    const found = breaches(
      (from) => !under("test")(from) && !under("embedded")(from),
      ({ to }) => !under("test")(to) && !under("embedded")(to),
    );
    expect(found).to.deep.equal([]);
    const server = breaches(under("embedded/event-store"), ({ to }) => under("embedded/event-store")(to));
    const entering = breaches(
      (from) => under("embedded")(from) && !under("embedded/event-store")(from),
      ({ to }) => !under("embedded/event-store")(to),
    );
    expect([...server, ...entering]).to.deep.equal([]);
  });

  it("lets one adapter know each backing service's driver", () => {
    const owners: Record<string, RegExp> = {
      "@eventstore/db-client": /^(infrastructure\/eventstoredb|test\/)/,
      ioredis: /^(infrastructure\/|test\/|embedded\/)/,
      bullmq: /^(infrastructure\/queue|projectors\/|test\/)/,
      minio: /^(infrastructure\/object-storage|test\/)/,
      jose: /^(infrastructure\/http\/principal|embedded\/|test\/)/,
      stripe: /^(infrastructure\/providers\/|embedded\/providers\/|test\/)/,
      "@googlemaps/google-maps-services-js": /^(infrastructure\/providers\/|test\/)/,
      nodemailer: /^(infrastructure\/providers\/|test\/)/,
      clamscan: /^(infrastructure\/providers\/|test\/)/,
      cockatiel: /^infrastructure\/providers\//,
      express: /^(infrastructure\/http\/|command-api\/|query-api\/|gateway\/|embedded\/|test\/)/,
    };
    const found = imports
      .filter(({ from, to, typeOnly }) => {
        const owner = owners[to];
        return owner !== undefined && !typeOnly && !owner.test(from);
      })
      .map((entry) => `${entry.from} -> ${entry.to}`);
    expect(found).to.deep.equal([]);
  });
});

describe("architecture: one word finds the whole feature", () => {
  it("spells the area the same in every folder", () => {
    const technical = new Set(["core", "runner", "cli", "http", "providers", "messages"]);
    const strange = sources
      .filter((file) => /^(domain|sagas|command-api|query-api|projectors)\/[^/]+\//.test(file))
      .filter((file) => areaOf(file) === null && !technical.has(file.split("/")[1] ?? ""));
    expect(strange).to.deep.equal([]);
  });

  it("says a file's role in its name inside an area, and never names a file index", () => {
    const role =
      /\.(events|decider|policy|routes|queries|document|projection|entries|reactor|duties|export|worker|saga|lookup)\.ts$|opening-hours|verification-code/;
    const strange = sources.filter((file) => areaOf(file) !== null && !role.test(file) && !under("test")(file));
    expect([...strange, ...sources.filter((file) => /(^|\/)index\.ts$/.test(file))]).to.deep.equal([]);
  });
});
