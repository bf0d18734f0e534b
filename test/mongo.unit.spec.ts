import { once } from "node:events";
import { createRequire } from "node:module";
import { type AddressInfo, connect, createServer, type Server, type Socket } from "node:net";
import { expect } from "chai";
import { MongoNetworkError, MongoServerError } from "mongodb";
import { guardWrites } from "#infrastructure/mongo-write-guard.js";
import { isMongoUnavailable } from "#infrastructure/mongo.js";

describe("faults of MongoDB", () => {
  it("are told apart: away, and asked wrongly", () => {
    expect(isMongoUnavailable(new MongoNetworkError("connection 3 closed"))).to.equal(true);
    expect(isMongoUnavailable(new MongoServerError({ code: 2, message: "unknown operator" }))).to.equal(false);
    expect(isMongoUnavailable(new TypeError("undefined is not a function"))).to.equal(false);
  });

  it("count a broken connection that the driver lets through unwrapped as away", () => {
    for (const code of ["ECONNRESET", "EPIPE"]) {
      expect(isMongoUnavailable(Object.assign(new Error(`write ${code}`), { code, syscall: "write" })), code).to.equal(
        true,
      );
    }
  });
});

describe("a command on a connection to MongoDB that is closed", () => {
  const require = createRequire(import.meta.url);
  const { Connection } = require("mongodb/lib/cmap/connection.js");
  const { ns } = require("mongodb/lib/utils.js");
  let server: Server;
  let socket: Socket;

  beforeEach(async () => {
    guardWrites();
    // Accepts, and never reads.
    server = createServer({ pauseOnConnect: true }).listen(0, "127.0.0.1");
    await once(server, "listening");
    socket = connect((server.address() as AddressInfo).port, "127.0.0.1");
    await once(socket, "connect");
  });
  afterEach(() => {
    socket.destroy();
    server.close();
  });

  const connection = (options: object) =>
    new Connection(socket, { id: 1, generation: 0, tls: false, hostAddress: "127.0.0.1:1", ...options });
  const outcome = (command: Promise<unknown>) => command.then(() => "answered").catch((error) => error);

  it("ends, when the driver has not noticed yet that it was closed in good order", async () => {
    const closing = connection({});
    socket.destroy();
    expect(await outcome(closing.command(ns("admin.$cmd"), { ping: 1 }, {}))).to.be.instanceOf(MongoNetworkError);
  });

  it("ends, when it is given up while its server reads nothing", async () => {
    const stuck = connection({ socketTimeoutMS: 100 });
    const large = { insert: "large", documents: [{ text: "x".repeat(12_000_000) }] };
    expect(await outcome(stuck.command(ns("test.$cmd"), large, {}))).to.be.instanceOf(MongoNetworkError);
  });
});
