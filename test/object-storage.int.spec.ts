import { randomBytes } from "node:crypto";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect } from "chai";
import { readEnvironment } from "#infrastructure/environment.js";
import { createObjectStorage, objectStorageEnvironment } from "#infrastructure/object-storage.js";
import { pickPorts } from "../embedded/ports.js";
import { checkObjectStorage } from "./support/object-storage-checks.js";
import { serve, versitygw } from "./support/outside-programs.js";
import { backingServices } from "./support/stack.js";

describe("object storage", () => {
  it("does what is asked of it, on the local stand-in", async () => {
    const services = await backingServices();
    try {
      const environment = readEnvironment(objectStorageEnvironment, {
        ...services.env,
        S3_BUCKET: `storage-${randomBytes(5).toString("hex")}`,
      });
      await checkObjectStorage(createObjectStorage(environment), { holdsPolicies: false });
      const away = createObjectStorage({ ...environment, S3_BUCKET: "no-such-bucket-here" });
      const refusal = await away.ping().catch((error: unknown) => error);
      expect(refusal).to.be.instanceOf(Error);
    } finally {
      await services.stop();
    }
  });

  it("does the same on a server of other makers, versitygw", async function () {
    this.timeout(280_000);
    const program = await versitygw();
    if (program === undefined) {
      console.log("    skipped: versitygw needs Go (go install) or a versitygw in the cache, and there is neither");
      return;
    }
    const folder = await mkdtemp(join(tmpdir(), "client-data-versitygw-"));
    const { s3: port } = await pickPorts(["s3"]);
    const keys = ["--access", "outside", "--secret", "outside-secret"];
    // A sidecar for what it knows of objects: not every file system here has extended attributes.
    const sidecar = await mkdtemp(join(tmpdir(), "client-data-versitygw-meta-"));
    const args = ["--port", `127.0.0.1:${port}`, ...keys, "--quiet", "posix", "--sidecar", sidecar, folder];
    const stop = await serve(program, args, { port });
    try {
      const storage = createObjectStorage({
        S3_ENDPOINT: `http://127.0.0.1:${port}`,
        S3_ACCESS_KEY: "outside",
        S3_SECRET_KEY: "outside-secret",
        S3_BUCKET: "outside",
        S3_REGION: "us-east-1",
      });
      await checkObjectStorage(storage, { holdsPolicies: true });
    } finally {
      await stop();
      await rm(folder, { recursive: true, force: true });
      await rm(sidecar, { recursive: true, force: true });
    }
  });

  it("signs links for the address that devices reach it at", async () => {
    const storage = createObjectStorage({
      S3_ENDPOINT: "http://s3.internal:7070",
      S3_PUBLIC_ENDPOINT: "https://files.acme.example",
      S3_ACCESS_KEY: "a",
      S3_SECRET_KEY: "b",
      S3_BUCKET: "bucket",
      S3_REGION: "eu-central-1",
    });
    const { url } = await storage.link("acme/customers/x/y", 60);
    expect(url).to.match(/^https:\/\/files\.acme\.example\/bucket\/acme\/customers\/x\/y\?/);
    const form = await storage.postForm("k", { contentType: "image/png", maxBytes: 1, seconds: 60 });
    expect(form.url).to.match(/^https:\/\/files\.acme\.example\/bucket\/?$/);
  });
});
