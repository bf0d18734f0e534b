import { randomBytes } from "node:crypto";
import { expect } from "chai";
import { readEnvironment } from "#infrastructure/environment.js";
import { createObjectStorage } from "#infrastructure/object-storage.js";
import { backingServices } from "./support/stack.js";

describe("object storage", () => {
  it("makes its bucket once, keeps what is put there, and says when it cannot", async () => {
    const services = await backingServices();
    try {
      const names = ["S3_ENDPOINT", "S3_ACCESS_KEY", "S3_SECRET_KEY", "S3_BUCKET", "S3_REGION"] as const;
      const environment = readEnvironment(names, services.env);
      const storage = createObjectStorage(environment);
      await Promise.all([storage.ensureBucket(), storage.ensureBucket()]);
      await storage.ping();
      const name = `test/${randomBytes(6).toString("hex")}`;
      await storage.client.putObject(storage.bucket, name, "bytes");
      expect((await storage.client.statObject(storage.bucket, name)).size).to.equal(5);
      await storage.client.removeObject(storage.bucket, name);
      const away = createObjectStorage({ ...environment, S3_BUCKET: "no-such-bucket-here" });
      const refusal = await away.ping().then(
        () => undefined,
        (error: unknown) => error,
      );
      expect(refusal).to.be.instanceOf(Error);
    } finally {
      await services.stop();
    }
  });
});
