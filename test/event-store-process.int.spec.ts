/** The event store as a process: how it starts, refuses to start, authenticates and stops. */
import { randomBytes } from "node:crypto";
import { mkdir, open, readFile, writeFile } from "node:fs/promises";
import { createServer } from "node:net";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { EventStoreDBClient, jsonEvent, START } from "@eventstore/db-client";
import { expect } from "chai";
import Database from "libsql";
import { clientOf, collect, refusedStart, startEventStore, temporaryFolder } from "./support/event-store-server.js";
import { rawCall } from "./support/raw-call.js";

const written = () => jsonEvent({ type: "process.Written.v1", data: { text: "x".repeat(500) } });
const fixture = (name: string) => fileURLToPath(new URL(`../../test/support/tls/${name}`, import.meta.url));

describe("event store process", () => {
  let folder: Awaited<ReturnType<typeof temporaryFolder>>;
  beforeEach(async () => {
    folder = await temporaryFolder();
  });
  afterEach(() => folder.remove());

  /** Refuses with one sentence: no stack trace, a non-zero exit code. */
  const expectRefusal = async (args: readonly string[], reason: RegExp, env: NodeJS.ProcessEnv = {}) => {
    const { code, stderr } = await refusedStart(args, env);
    expect(stderr).to.match(reason);
    expect(stderr).to.not.match(/\n {4}at /);
    expect(code).to.equal(1);
  };

  describe("refuses", () => {
    it("a database file of another kind, and leaves it as it was", async () => {
      const file = join(folder.path, "events.db");
      const contents = randomBytes(8192);
      await writeFile(file, contents);
      await expectRefusal(["--db", folder.path, "--http-port", "0"], /is not a database of this event store/);
      expect((await readFile(file)).equals(contents)).to.equal(true);
    });

    it("another application's SQLite database, and leaves it as it was", async () => {
      const file = join(folder.path, "events.db");
      const other = new Database(file);
      other.exec("CREATE TABLE invoices (id INTEGER PRIMARY KEY)");
      other.close();
      const contents = await readFile(file);
      await expectRefusal(["--db", folder.path, "--http-port", "0"], /is a database of another application/);
      expect((await readFile(file)).equals(contents)).to.equal(true);
    });

    it("a damaged database", async () => {
      const server = await startEventStore(["--db", folder.path]);
      const client = clientOf(server);
      for (let n = 0; n < 40; n++) await client.appendToStream("process-1", [written(), written(), written()]);
      await client.dispose();
      await server.stop();
      const file = await open(join(folder.path, "events.db"), "r+");
      const { size } = await file.stat();
      expect(size).to.be.greaterThan(40_000);
      await file.write(randomBytes(size - 12_288), 0, size - 12_288, 8192);
      await file.close();
      await expectRefusal(["--db", folder.path, "--http-port", "0"], /events\.db is damaged/);
    });

    it("a database of a newer version", async () => {
      await (await startEventStore(["--db", folder.path])).stop();
      const database = new Database(join(folder.path, "events.db"));
      database.exec("PRAGMA user_version = 99");
      database.close();
      await expectRefusal(["--db", folder.path, "--http-port", "0"], /newer version/);
    });

    it("a folder that another process uses", async () => {
      const server = await startEventStore(["--db", folder.path]);
      await expectRefusal(["--db", folder.path, "--http-port", "0"], /in use by another event store process/);
      await server.stop();
      await (await startEventStore(["--db", folder.path])).stop();
    });

    it("a folder that cannot be", async () => {
      const file = join(folder.path, "file");
      await writeFile(file, "");
      await expectRefusal(["--db", join(file, "db"), "--http-port", "0"], /cannot be created/);
      await mkdir(join(folder.path, "events.db"));
      await expectRefusal(["--db", folder.path, "--http-port", "0"], /cannot be opened/);
    });

    it("a port that is taken", async () => {
      const other = createServer().listen(0, "127.0.0.1");
      await new Promise((resolve) => other.once("listening", resolve));
      const { port } = other.address() as { port: number };
      await expectRefusal(
        ["--mem-db", "--http-port", `${port}`],
        new RegExp(`Port ${port} on 127.0.0.1 is already in use`),
      );
      other.close();
    });

    it("a production environment, unless told to accept a single node", async () => {
      const env = { NODE_ENV: "production" };
      await expectRefusal(["--mem-db", "--http-port", "0"], /--i-accept-single-node/, env);
      await (await startEventStore(["--mem-db", "--i-accept-single-node"], env)).stop();
    });

    it("a command line that makes no sense", async () => {
      await expectRefusal([], /--db DIR or --mem-db/);
      await expectRefusal(["--db", folder.path, "--mem-db"], /--db DIR or --mem-db/);
      await expectRefusal(["--mem-db", "--http-port", "70000"], /not a port/);
      await expectRefusal(["--mem-db", "--port", "1"], /Usage/);
      await expectRefusal(["--mem-db", "--certificate-file", "x"], /belong together/);
      await expectRefusal(
        ["--mem-db", "--certificate-file", "/nowhere", "--certificate-private-key-file", "/nowhere"],
        /cannot be read/,
      );
    });
  });

  describe("over TLS", () => {
    const tls = [
      "--certificate-file",
      fixture("localhost.pem"),
      "--certificate-private-key-file",
      fixture("localhost.key"),
    ];
    const connect = (port: number, credentials: string) =>
      EventStoreDBClient.connectionString(
        `esdb://${credentials}localhost:${port}?tls=true&tlsCAFile=${encodeURIComponent(fixture("localhost.pem"))}`,
      );
    const attempts = (client: EventStoreDBClient): (() => Promise<unknown>)[] => [
      () => client.appendToStream("process-tls", written()),
      () => collect(client.readAll({ maxCount: 1 })),
      () => client.deleteStream("process-tls"),
      () => collect(client.subscribeToAll({ fromPosition: START }), 1),
    ];

    it("lets the administrator in, and nobody else", async () => {
      const server = await startEventStore(["--mem-db", ...tls, "--default-admin-password", "s3cret:x"]);
      const admin = connect(server.port, "admin:s3cret%3Ax@");
      for (const attempt of attempts(admin)) await attempt();
      await admin.dispose();
      for (const credentials of ["admin:changeit@", "ops:s3cret%3Ax@", ""]) {
        const client = connect(server.port, credentials);
        for (const attempt of attempts(client)) {
          const error = await attempt().then(
            () => expect.fail(`"${credentials}" was let in`),
            (failure) => failure,
          );
          expect(error.type).to.equal("access-denied");
        }
        await client.dispose();
      }
      await server.stop();
    });
  });

  it("stops with one sentence when the disk takes no more, and has every acknowledged event afterwards", async function () {
    if (process.platform === "win32") this.skip();
    const server = await startEventStore(["--db", folder.path], {}, { maxFileKilobytes: 600 });
    const client = clientOf(server);
    let acknowledged = 0;
    const writing = async () => {
      for (;;) {
        await client.appendToStream("process-full", Array.from({ length: 50 }, written));
        acknowledged += 50;
      }
    };
    const error = await writing().catch((failure) => failure);
    expect(error.code).to.equal(14);
    const { code, stderr } = await server.ended;
    await client.dispose();
    expect(code).to.equal(1);
    expect(stderr).to.match(/^The event store stops: The disk with .* \S+\.\n$/);
    const again = await startEventStore(["--db", folder.path]);
    const reader = clientOf(again);
    expect((await collect(reader.readStream("process-full"))).length).to.be.within(acknowledged, acknowledged + 50);
    expect(acknowledged).to.be.greaterThan(100);
    await reader.dispose();
    await again.stop();
  });

  it("is found through gossip", async () => {
    const server = await startEventStore(["--mem-db"]);
    const client = EventStoreDBClient.connectionString(`esdb+discover://127.0.0.1:${server.port}?tls=false`);
    await client.appendToStream("process-gossip", written());
    await client.dispose();
    await server.stop();
  });

  it("is known in gossip by the name it was called by: it may listen at all addresses", async () => {
    const server = await startEventStore(["--mem-db", "--host", "0.0.0.0"]);
    const gossip = "/event_store.client.gossip.Gossip/Read";
    const { body } = await rawCall(`http://localhost:${server.port}`, gossip, Buffer.alloc(0));
    expect(body.toString("latin1")).to.include("localhost").and.not.include("0.0.0.0");
    await server.stop();
  });

  it("keeps everything over a restart, and continues positions and revisions", async () => {
    const first = await startEventStore(["--db", folder.path]);
    const before = clientOf(first);
    const { position } = await before.appendToStream("process-restart", [written(), written()]);
    await before.dispose();
    expect(await first.stop()).to.include({ code: 0, stderr: "" });
    const second = await startEventStore(["--db", folder.path]);
    const after = clientOf(second);
    const next = await after.appendToStream("process-restart", written(), { expectedRevision: 1n });
    expect(next.nextExpectedRevision).to.equal(2n);
    expect(next.position?.commit).to.satisfy((commit: bigint) => commit > (position?.commit as bigint));
    expect(await collect(after.readStream("process-restart"))).to.have.length(3);
    await after.dispose();
    await second.stop();
  });

  it("ends open calls with CANCELLED when it is told to stop, and is gone within five seconds", async () => {
    const server = await startEventStore(["--mem-db"]);
    const client = clientOf(server);
    await client.appendToStream("process-stop", written());
    const subscription = client.subscribeToAll();
    const ended = new Promise<{ type: string }>((resolve) => subscription.once("error", resolve as never));
    await new Promise((resolve) => subscription.once("caughtUp", resolve));
    const started = Date.now();
    expect(await server.stop()).to.include({ code: 0 });
    expect(Date.now() - started).to.be.lessThan(5_000);
    expect((await ended).type).to.equal("cancelled");
    await client.dispose();
  });
});
