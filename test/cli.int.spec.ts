import { spawn } from "node:child_process";
import { mkdtemp, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { expect } from "chai";
import { streams } from "#domain/core/identifiers.js";
import { startApi, type TestApi } from "./support/api.js";

const program = join(dirname(fileURLToPath(import.meta.url)), "../projectors/cli/main.js");

describe("the operator's command", function () {
  // Every step starts a process or two.
  this.timeout(120_000);
  let api: TestApi;
  let early: string;
  const customer = "cli-ada";
  const secret = "Quentin Sealed";

  before(async () => {
    api = await startApi({ projections: true });
    const ada = await api.as(customer, { name: secret, email: "quentin@example.com" });
    const added = await ada.post("/client-data/wishlist/first", { body: { quantity: 2 } });
    early = added.headers.get("x-log-position") ?? "";
    await ada.post("/client-data/wishlist/second");
    await ada.put("/client-data/profile", { body: { about: secret } });
    await api.caughtUp();
  });
  after(() => api?.stop());

  async function run(...args: string[]) {
    const child = spawn(process.execPath, [program, ...args], {
      env: { PATH: process.env.PATH, ...api.environment },
      stdio: ["ignore", "pipe", "pipe"],
    });
    let stdout = "";
    let stderr = "";
    child.stdout.on("data", (chunk) => {
      stdout += chunk;
    });
    child.stderr.on("data", (chunk) => {
      stderr += chunk;
    });
    const exit = await new Promise<number | null>((resolve) => child.on("close", resolve));
    return { exit, stdout, stderr };
  }

  async function json(...args: string[]) {
    const { exit, stdout, stderr } = await run("--json", ...args);
    const lines = stdout.trim().split("\n");
    expect(lines, stderr).to.have.length(1);
    return { exit, ...JSON.parse(lines[0] ?? "") };
  }

  const wishlist = () => streams.wishlist({ org: api.org, customer });

  it("answers with one object that says version, command, status, data and problems", async () => {
    const answer = await json("projections", "list");
    expect(answer).to.include({ exit: 0, v: 1, command: "projections list", status: "ok" });
    expect(answer.problems).to.deep.equal([]);
    expect(answer.data.projections.map((row: { state: string }) => row.state)).to.satisfy((states: string[]) =>
      states.every((state) => state === "live"),
    );
  });

  it("tells a wrong call from a wrong system: exit 2 and a sentence", async () => {
    expect((await run("streams", "show")).exit).to.equal(2);
    expect((await run("nonsense")).exit).to.equal(2);
    const unknown = await json("projections", "rebuild", "nothing");
    expect(unknown).to.include({ exit: 2, status: "error" });
    expect(unknown.problems[0]).to.match(/"nothing" is no projection; there are: .*wishlist/);
  });

  it("says which service is unreachable with exit 3", async () => {
    const child = spawn(process.execPath, [program, "--json", "streams", "list"], {
      env: { PATH: process.env.PATH, ...api.environment, EVENTSTORE_URL: "esdb://127.0.0.1:1?tls=false" },
      stdio: ["ignore", "pipe", "ignore"],
    });
    let stdout = "";
    child.stdout.on("data", (chunk) => {
      stdout += chunk;
    });
    expect(await new Promise((resolve) => child.on("close", resolve))).to.equal(3);
    expect(JSON.parse(stdout).problems[0]).to.contain("event store");
  });

  it("lists the streams of a customer with their events", async () => {
    const { data } = await json("streams", "list", "--org", api.org, "--customer", customer);
    const events = Object.fromEntries(
      data.streams.map((row: { stream: string; events: number }) => [row.stream, row.events]),
    );
    expect(events[wishlist()]).to.equal(2);
    expect(Object.keys(events)).to.have.length(2);
  });

  it("masks personal fields, and opens them only with a reason that is recorded first", async () => {
    const profile = streams.profile({ org: api.org, customer });
    const masked = await run("--json", "streams", "show", profile);
    expect(masked.exit).to.equal(0);
    expect(masked.stdout).to.contain("•••").and.not.contain(secret);

    const refused = await json("streams", "show", profile, "--reveal");
    expect(refused).to.include({ exit: 4, status: "error" });

    const open = await run("--json", "streams", "show", profile, "--reveal", "--reason", "ticket 4711 of the customer");
    expect(open.stdout).to.contain(secret);
    const [record] = await api.eventStore.readStream(`operations-${api.org}`);
    expect(record?.data).to.include({ subject: profile, reason: "ticket 4711 of the customer" });
  });

  it("replays a stream and a customer to a position, and shows the later state without one", async () => {
    const then = await json("replay", "stream", wishlist(), "--at", early);
    const now = await json("replay", "stream", wishlist());
    expect(then.data.revision).to.equal(0);
    expect(now.data.revision).to.equal(1);

    const customerThen = await json("replay", "customer", customer, "--org", api.org, "--at", early);
    expect(customerThen.data.readModels.wishlist).to.have.length(1);
    const customerNow = await run("--json", "replay", "customer", customer, "--org", api.org);
    expect(JSON.parse(customerNow.stdout).data.readModels.wishlist).to.have.length(2);
    expect(customerNow.stdout).to.not.contain(secret);
  });

  it("refuses a position of another store", async () => {
    expect(await json("replay", "stream", wishlist(), "--at", "0123abcd4567.99")).to.include({ exit: 4 });
  });

  it("writes a replayed projection as a whole file", async () => {
    const folder = await mkdtemp(join(tmpdir(), "client-data-cli-"));
    try {
      const { data } = await json("replay", "projection", "wishlist", "--to", folder);
      const lines = (await readFile(data.file, "utf8")).trim().split("\n");
      expect(lines).to.have.length(data.documents);
      expect(data.documents).to.be.at.least(2);
    } finally {
      await rm(folder, { recursive: true });
    }
  });

  it("follows new events as NDJSON until it has seen enough", async () => {
    const { exit, stdout } = await run("streams", "tail", wishlist(), "--since", "-1h", "--count", "2");
    expect(exit).to.equal(0);
    const types = stdout
      .trim()
      .split("\n")
      .filter((line) => line.startsWith("{"))
      .map((line) => JSON.parse(line).type);
    expect(types).to.deep.equal(["wishlist.ProductAdded.v1", "wishlist.ProductAdded.v1"]);
  });

  it("verifies that the live documents are what the log says, and finds a planted fault by its field", async () => {
    const clean = await json("projections", "verify");
    expect(clean, JSON.stringify(clean)).to.include({ exit: 0, status: "ok" });
    expect(clean.data.projections.some((row: { documents: number }) => row.documents > 0)).to.equal(true);

    const wishlists = api.database.collection<{ _id: string; quantity: number }>("wishlist.v1.g1");
    const planted = await wishlists.findOneAndUpdate({ quantity: 2 }, { $set: { quantity: 77 } });
    try {
      const found = await json("projections", "verify", "wishlist");
      expect(found).to.include({ exit: 1, status: "found" });
      const [difference] = found.data.projections[0].differences;
      expect(difference).to.include({ id: planted?._id, path: "/quantity", live: 77, expected: 2 });
    } finally {
      await wishlists.updateOne({ _id: planted?._id ?? "" }, { $set: { quantity: 2 } });
    }
  });

  it("says what a rebuild would do, then does it beside the live generation", async () => {
    const dry = await json("projections", "rebuild", "wishlist", "--dry-run");
    expect(dry.data.dryRun).to.equal(true);
    const before = await json("projections", "list");
    const generation = (answer: typeof before) =>
      answer.data.projections.find((row: { projection: string }) => row.projection === "wishlist").live;

    const done = await json("projections", "rebuild", "wishlist", "--wait", "30");
    expect(done, JSON.stringify(done)).to.include({ exit: 0 });
    expect(generation(await json("projections", "list"))).to.equal(generation(before) + 1);
    expect(await json("projections", "verify", "wishlist")).to.include({ exit: 0 });
  });

  it("restarts the reactors at the end of the log only when told so", async () => {
    const rows = api.database.collection<{ _id: string; position: string; storeEpoch: string }>("reactor-cursors");
    await rows.insertOne({ _id: "reactors", position: "00000000000000000007", storeEpoch: "another" });
    expect((await json("reactors", "list")).data.cursors).to.have.length(1);
    expect(await json("reactors", "restart", "--dry-run")).to.include({ exit: 0 });
    expect(await rows.countDocuments()).to.equal(1);
    expect((await json("reactors", "restart")).data).to.deep.equal({ forgotten: 1 });
    expect(await rows.countDocuments()).to.equal(0);
  });

  it("is sure of what it operates: nothing parked, no lag, and a doctor that sees every service", async () => {
    expect(await json("projections", "parked", "list")).to.include({ exit: 0 });
    expect(await json("projections", "lag", "--max", "0")).to.include({ exit: 0 });
    const { data } = await json("doctor");
    const checks = data.checks.map((check: { name: string }) => check.name);
    expect(checks).to.include.members(["configuration", "event store", "mongodb", "redis", "object store", "cursor"]);
    expect(data.checks.filter((check: { name: string }) => check.name === "cursor")).to.satisfy(
      (cursors: { status: string }[]) => cursors.every(({ status }) => status === "ok"),
    );
  });
});
