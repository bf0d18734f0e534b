import { expect } from "chai";
import { MongoNetworkError, MongoServerError } from "mongodb";
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
