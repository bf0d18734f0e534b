import { createHash, randomUUID } from "node:crypto";
import { Readable } from "node:stream";
import { expect } from "chai";
import type { ObjectStorage } from "#infrastructure/object-storage.js";

const MiB = 1024 * 1024;

/** What this system asks of an object store, whoever made it. `holdsPolicies`: it enforces what a form allows. */
export async function checkObjectStorage(storage: ObjectStorage, { holdsPolicies }: { holdsPolicies: boolean }) {
  const folder = `~quarantine/acme.${randomUUID()}/`;
  const key = (name: string) => `${folder}${name}`;
  const text = async (url: string, init?: RequestInit) => {
    const response = await fetch(url, init);
    return { status: response.status, headers: response.headers, text: await response.text() };
  };

  await Promise.all([storage.ensureBucket(), storage.ensureBucket()]);
  await storage.ping();

  // Put, stat, read, copy, list, remove.
  await storage.put(key("a"), Buffer.from("hello"), "text/plain");
  expect(await storage.stat(key("a"))).to.deep.equal({ size: 5, contentType: "text/plain" });
  expect(await storage.stat(key("none"))).to.equal(null);
  expect(await storage.read(key("none"))).to.equal(null);
  expect(await storage.copy(key("a"), "acme/customers/x/b")).to.equal(true);
  expect(await storage.copy(key("none"), "acme/customers/x/c")).to.equal(false);
  expect(await storage.stat("acme/customers/x/b")).to.deep.equal({ size: 5, contentType: "text/plain" });
  const listed: string[] = [];
  for await (const found of storage.list(folder)) {
    listed.push(found.key);
    expect(Math.abs(Date.now() - found.modifiedAt.getTime())).to.be.below(60_000);
  }
  expect(listed).to.deep.equal([key("a")]);
  await storage.remove(["acme/customers/x/b", "acme/customers/x/none"]);
  expect(await storage.stat("acme/customers/x/b")).to.equal(null);

  // Unknown numbers of bytes: less than a part, exactly one, and several.
  for (const size of [1, 5 * MiB, 12 * MiB + 7]) {
    const bytes = Buffer.alloc(size, "0123456789abcde");
    const name = key(`upload-${size}`);
    const stored = await storage.upload(name, pieces(bytes), () => "application/pdf");
    expect(stored).to.equal(size);
    expect(await storage.stat(name)).to.deep.equal({ size, contentType: "application/pdf" });
    const back = await storage.read(name);
    const hash = createHash("sha256");
    for await (const chunk of back ?? Readable.from([])) hash.update(chunk as Buffer);
    expect(hash.digest("hex")).to.equal(createHash("sha256").update(bytes).digest("hex"));
    await storage.remove([name]);
  }
  // One that breaks off leaves nothing.
  const broken = storage.upload(
    key("broken"),
    (async function* () {
      yield* pieces(Buffer.alloc(7 * MiB));
      throw new Error("cut");
    })(),
    () => "application/pdf",
  );
  expect(await broken.catch((error: Error) => error.message)).to.equal("cut");
  expect(await storage.stat(key("broken"))).to.equal(null);
  expect(await storage.abandonUploads(folder, new Date(Date.now() + 60_000))).to.equal(0);

  // Signed links: ranges, what the answer says of itself, one method each, nothing forged.
  const disposition = "attachment; filename=\"M_rz.txt\"; filename*=UTF-8''M%C3%A4rz%20%28%27%29.txt";
  const link = await storage.link(key("a"), 60, { contentType: "text/csv", disposition });
  const whole = await text(link.url);
  expect([whole.status, whole.text, whole.headers.get("content-type")]).to.deep.equal([200, "hello", "text/csv"]);
  expect(whole.headers.get("content-disposition")).to.equal(disposition);
  const range = await text(link.url, { headers: { range: "bytes=1-2" } });
  expect([range.status, range.text]).to.deep.equal([206, "el"]);
  const head = await storage.link(key("a"), 60, { method: "HEAD" });
  expect((await text(head.url, { method: "HEAD" })).headers.get("content-length")).to.equal("5");
  const forged = link.url.replace(/Signature=.{8}/, "Signature=00000000");
  expect((await text(forged)).status).to.equal(403);
  expect((await text(link.url.replace("text%2Fcsv", "text%2Fhtml"))).status).to.equal(403);
  expect((await text((await storage.steadyLink(key("a"))).url)).status).to.equal(200);
  expect(await storage.steadyLink(key("a"))).to.deep.equal(await storage.steadyLink(key("a")));

  // A form stores one object of the key and type agreed on, of so many bytes at most.
  const post = async (size: number, change: Record<string, string> = {}) => {
    const name = key(randomUUID());
    const { url, fields } = await storage.postForm(name, { contentType: "application/pdf", maxBytes: 10, seconds: 60 });
    const form = new FormData();
    for (const [field, value] of Object.entries({ ...fields, ...change })) form.append(field, value);
    form.append("file", new Blob(["x".repeat(size)]), "x");
    const { status } = await text(url, { method: "POST", body: form });
    return { accepted: status < 300, stored: await storage.stat(name) };
  };
  expect(await post(10)).to.deep.equal({ accepted: true, stored: { size: 10, contentType: "application/pdf" } });
  if (holdsPolicies) {
    expect(await post(10, { key: key("other") })).to.deep.equal({ accepted: false, stored: null });
    expect(await post(11)).to.deep.equal({ accepted: false, stored: null });
    expect(await post(0)).to.deep.equal({ accepted: false, stored: null });
    expect(await post(10, { "Content-Type": "text/html" })).to.deep.equal({ accepted: false, stored: null });
  }
}

async function* pieces(bytes: Buffer): AsyncGenerator<Buffer> {
  for (let start = 0; start < bytes.length; start += 64 * 1024) yield bytes.subarray(start, start + 64 * 1024);
}
