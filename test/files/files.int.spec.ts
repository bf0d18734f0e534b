import { createHash, randomUUID } from "node:crypto";
import { expect } from "chai";
import sharp from "sharp";
import { streams } from "#domain/core/identifiers.js";
import { filesDecider } from "#domain/files/files.decider.js";
import { Uploaded } from "#domain/files/files.events.js";
import { objectKeys } from "#domain/files/files.policy.js";
import { readEnvironment } from "#infrastructure/environment.js";
import { createLogger } from "#infrastructure/log.js";
import { createRegistry } from "#infrastructure/metrics.js";
import { createObjectStorage, objectStorageEnvironment } from "#infrastructure/object-storage.js";
import { commandEnvironment, openCommandDependencies } from "../../command-api/dependencies.js";
import { eicar } from "../../embedded/providers/clamav.js";
import { type Answer, type Caller, startApi, type TestApi } from "../support/api.js";
import { type FormFile, postForm, samples } from "../support/forms.js";

const wide = { points: 1_000_000, windowSeconds: 60 };
const upload = "/client-data/files/upload";

describe("files over HTTP", () => {
  let api: TestApi;
  let aheadMs = 0;
  let ada: Caller;
  let customer = 0;

  before(async () => {
    const settings = { rateLimits: { reads: wide, writes: wide, uploads: wide } };
    const clock = () => new Date(Date.now() + aheadMs);
    api = await startApi({ projections: true, worker: true, standIns: true, settings, clock });
  });
  after(() => api?.stop());
  beforeEach(async () => {
    customer += 1;
    ada = await api.as(`ada-${customer}`);
  });

  const owner = () => ({ org: api.org, customer: `ada-${customer}` });
  const factsSince = async (since: string) =>
    (await api.newEvents(since, streams.files(owner()))).map(({ type }) => type);
  const put = (files: FormFile | FormFile[], fields = {}, headers = {}) =>
    postForm(ada, upload, Array.isArray(files) ? files : [files], fields, headers);
  const scanned = async (answer: Answer): Promise<string> => {
    expect(answer.status, JSON.stringify(answer.body)).to.equal(201);
    await api.settled();
    return answer.body.pk;
  };
  const letter = { name: "letter.txt", bytes: samples.text, type: "text/plain" };

  it("takes a file, and gives it back byte for byte once it is scanned", async () => {
    const since = await api.mark();
    const bytes = Buffer.concat([samples.pdf, Buffer.alloc(300_000, "x")]);
    const answer = await put(
      { name: "Rechnung März.pdf", bytes, type: "application/pdf" },
      { location: "/bills/2026/" },
    );
    expect(answer.status, JSON.stringify(answer.body)).to.equal(201);
    const { pk, data } = answer.body;
    expect(answer.headers.get("location")).to.equal(`/client-data/files/${pk.slice("file-".length)}`);
    expect(data).to.deep.equal({
      path: "bills/2026/Rechnung März.pdf",
      name: "Rechnung März.pdf",
      size: bytes.length,
      contentType: "application/pdf",
      purpose: "general",
      sha256: createHash("sha256").update(bytes).digest("hex"),
      scan: "pending",
      uploadedAt: answer.body.createdate,
    });
    await api.settled();
    expect(await factsSince(since)).to.deep.equal(["files.Uploaded.v1", "files.Scanned.v1"]);

    for (const path of ["bills/2026/Rechnung%20M%C3%A4rz.pdf", "bills%2F2026%2FRechnung%20M%C3%A4rz.pdf", pk]) {
      const redirect = await ada.get(`/client-data/files/${path}`, { headers: { accept: "image/*" } });
      expect(redirect.status, path).to.equal(302);
      expect(redirect.headers.get("cache-control")).to.equal("no-store");
      const got = await fetch(redirect.headers.get("location") ?? "");
      expect(got.headers.get("content-type")).to.equal("application/pdf");
      expect(got.headers.get("content-disposition")).to.match(
        /^attachment; .*filename\*=UTF-8''Rechnung%20M%C3%A4rz.pdf$/,
      );
      expect(Buffer.from(await got.arrayBuffer()).equals(bytes)).to.equal(true);
    }
    const json = await ada.get(`/client-data/files/${pk}?json=1&inline=1`);
    expect(json.status).to.equal(200);
    expect(Date.parse(json.body.data.expiresAt) - Date.now()).to.be.within(50_000, 61_000);
    const shown = await fetch(json.body.data.url, { headers: { range: "bytes=0-3" } });
    expect([shown.status, await shown.text()]).to.deep.equal([206, "%PDF"]);
    expect(shown.headers.get("content-disposition")).to.match(/^inline; /);
    const head = await ada.head(`/client-data/files/${pk}`);
    expect(head.status).to.equal(302);
    const headed = await fetch(head.headers.get("location") ?? "", { method: "HEAD" });
    expect([headed.status, headed.headers.get("content-length")]).to.deep.equal([200, String(bytes.length)]);
  });

  it("draws thumbnails of a picture", async () => {
    const noise = Buffer.alloc(900 * 600 * 3).map((_, index) => (index * 7919) % 251);
    const picture = await sharp(noise, { raw: { width: 900, height: 600, channels: 3 } })
      .jpeg()
      .toBuffer();
    const pk = await scanned(await put({ name: "me.jpg", bytes: picture, type: "image/jpeg" }, { purpose: "photo" }));
    const { body } = await ada.get("/client-data/files");
    const [file] = body.data;
    expect(file.data.scan).to.equal("clean");
    expect(file.data.thumbnails.map(({ size }: { size: number }) => size)).to.deep.equal([128, 512]);
    for (const { size, url } of file.data.thumbnails) {
      const drawn = await fetch(url);
      expect([drawn.status, drawn.headers.get("content-type")]).to.deep.equal([200, "image/webp"]);
      const { format, width } = await sharp(Buffer.from(await drawn.arrayBuffer())).metadata();
      expect([format, width]).to.deep.equal(["webp", size]);
    }
    expect(pk).to.equal(file.pk);
  });

  it("never serves an infected file, and removes its bytes", async () => {
    const since = await api.mark();
    const pk = await scanned(await put({ name: "bad.txt", bytes: `hello\n${eicar}`, type: "text/plain" }));
    expect(await factsSince(since)).to.deep.equal(["files.Uploaded.v1", "files.Scanned.v1", "files.BlobDeleted.v1"]);
    const got = await ada.get(`/client-data/files/${pk}`);
    expect([got.status, got.body.code]).to.deep.equal([422, "FILE_INFECTED"]);
  });

  it("refuses what it does not take", async () => {
    const cases: [FormFile, Record<string, string>, number, string][] = [
      [{ name: "a.html", bytes: samples.html, type: "text/html" }, {}, 415, "FILE_TYPE_NOT_ALLOWED"],
      [{ name: "a.svg", bytes: samples.svg, type: "image/svg+xml" }, {}, 415, "FILE_TYPE_NOT_ALLOWED"],
      [{ name: "a.png", bytes: samples.pdf, type: "image/png" }, {}, 415, "CONTENT_TYPE_MISMATCH"],
      [{ name: "a.bin", bytes: Buffer.from([1, 2, 3]) }, {}, 415, "FILE_TYPE_NOT_ALLOWED"],
      [{ name: "a.txt", bytes: "" }, {}, 422, "EMPTY_FILE"],
      [letter, { location: "../x" }, 422, "PATH_INVALID"],
      [letter, { location: "a//b" }, 422, "PATH_INVALID"],
      [{ ...letter, name: "a:b.txt" }, {}, 422, "PATH_INVALID"],
      [letter, { purpose: "photo" }, 415, "FILE_TYPE_NOT_ALLOWED"],
      [letter, { purpose: "nonsense" }, 400, "VALIDATION_FAILED"],
      [letter, { metadata: "{" }, 400, "VALIDATION_FAILED"],
      [letter, { customerId: "x" }, 400, "UNKNOWN_FIELD"],
      [{ ...letter, field: "picture" }, {}, 400, "UNKNOWN_FIELD"],
    ];
    const since = await api.mark();
    for (const [file, fields, status, code] of cases) {
      const answer = await put(file, fields);
      expect([answer.status, answer.body.code], `${file.name} ${JSON.stringify(fields)}`).to.deep.equal([status, code]);
    }
    expect(await factsSince(since)).to.deep.equal([]);
  });

  it("takes several files at once, all of them or none", async () => {
    const since = await api.mark();
    const two = ["a.txt", "b.txt"].map((name) => ({ ...letter, name, field: "files" }));
    const answer = await put(two, { location: "box", metadata: '{"box":7}' });
    expect(answer.status).to.equal(201);
    expect(
      answer.body.data.map(({ data }: { data: { path: string; metadata: object } }) => [data.path, data.metadata]),
    ).to.deep.equal([
      ["box/a.txt", { box: 7 }],
      ["box/b.txt", { box: 7 }],
    ]);
    const clash = await put(
      [
        { ...letter, name: "c.txt" },
        { ...letter, name: "b.txt" },
      ],
      { location: "box" },
    );
    expect([clash.status, clash.body.code, clash.body.index]).to.deep.equal([409, "FILE_EXISTS", 1]);
    const many = await put(Array.from({ length: 11 }, (_, index) => ({ ...letter, name: `${index}`, field: "files" })));
    expect([many.status, many.body.code]).to.deep.equal([422, "TOO_MANY_FILES"]);
    const none = await put([], { location: "box" });
    expect([none.status, none.body.code]).to.deep.equal([400, "VALIDATION_FAILED"]);
    expect(await factsSince(since)).to.have.length.at.most(4); // two uploads, perhaps scanned by now
  });

  it("lists them by folder, purpose and verdict, sorted", async () => {
    await put(
      [
        { ...letter, name: "b.txt" },
        { ...letter, name: "a.txt", bytes: "longer than the other, a little" },
      ],
      { location: "x/y" },
    );
    await scanned(
      await put({ name: "p.png", bytes: samples.png, type: "image/png" }, { purpose: "photo", location: "x+(1)" }),
    );
    const paths = async (query: string) =>
      (await ada.get(`/client-data/files?${query}`)).body.data.map(({ data }: { data: { path: string } }) => data.path);
    expect(await paths("prefix=x/&s=data.name&st=asc")).to.deep.equal(["x/y/a.txt", "x/y/b.txt"]);
    expect(await paths("prefix=x/&s=size&st=asc")).to.deep.equal(["x/y/a.txt", "x/y/b.txt"]);
    expect(await paths("prefix=x%2B(1)")).to.deep.equal(["x+(1)/p.png"]);
    expect(await paths("purpose=photo")).to.deep.equal(["x+(1)/p.png"]);
    expect(await paths("scan=clean&count=false")).to.have.length(3);
    expect(await paths("scan=infected")).to.deep.equal([]);
    const first = await ada.get("/client-data/files?s=createdate");
    const again = await ada.get("/client-data/files?s=createdate", {
      headers: { "if-none-match": first.headers.get("etag") ?? "" },
    });
    expect(again.status).to.equal(304);
    for (const query of ["scan=lost", "purpose=x", `prefix=${"x".repeat(301)}`]) {
      expect((await ada.get(`/client-data/files?${query}`)).body.code).to.equal("INVALID_QUERY");
    }
    expect((await ada.get("/client-data/files?s=data.path")).body.code).to.equal("SORT_NOT_ALLOWED");
  });

  it("refuses a name that is taken, unless the file shall take its place", async () => {
    const pk = await scanned(await put(letter));
    const taken = await put(letter);
    expect([taken.status, taken.body.code]).to.deep.equal([409, "FILE_EXISTS"]);
    const since = await api.mark();
    const replaced = await put({ ...letter, bytes: "other" }, { overwrite: "true" });
    await scanned(replaced);
    expect((await factsSince(since)).sort()).to.deep.equal([
      "files.BlobDeleted.v1",
      "files.Removed.v1",
      "files.Scanned.v1",
      "files.Uploaded.v1",
    ]);
    expect((await ada.get(`/client-data/files/${pk}`)).status).to.equal(404);
    const { body } = await ada.get("/client-data/files/letter.txt?json=1");
    expect(await (await fetch(body.data.url)).text()).to.equal("other");
  });

  it("gives the first answer again to a repeat, and notices other bytes under the same key", async () => {
    const key = { "idempotency-key": "upload-1" };
    const since = await api.mark();
    const first = await put(letter, { location: "x" }, key);
    const again = await put(letter, { location: "x" }, key);
    expect([again.status, again.headers.get("idempotency-replayed"), again.body]).to.deep.equal([
      201,
      "true",
      first.body,
    ]);
    const other = await put({ ...letter, bytes: "other" }, { location: "x" }, key);
    expect([other.status, other.body.code]).to.deep.equal([422, "IDEMPOTENCY_KEY_REUSED"]);
    await api.settled();
    expect(await factsSince(since)).to.deep.equal(["files.Uploaded.v1", "files.Scanned.v1"]);
    expect(await objectsOf(owner())).to.deep.equal([`${api.org}/customers/ada-${customer}/${first.body.pk.slice(5)}`]);
  });

  it("removes a file and all its objects, once nothing needs it; somebody else's is not there", async () => {
    const bob = await api.as(`bob-${customer}`);
    const answer = await put({ name: "p.png", bytes: samples.png, type: "image/png" }, { purpose: "photo" });
    const pk = await scanned(answer);
    for (const path of [pk, "p.png"]) {
      expect((await bob.get(`/client-data/files/${path}`)).body.code).to.equal("FILE_NOT_FOUND");
      expect((await bob.delete(`/client-data/files/${path}`)).body.code).to.equal("FILE_NOT_FOUND");
    }
    expect(await objectsOf(owner())).to.have.length(3);
    const stale = await ada.delete("/client-data/files/p.png", { headers: { "if-match": '"7"' } });
    expect([stale.status, stale.body.code]).to.deep.equal([412, "PRECONDITION_FAILED"]);
    expect((await ada.delete("/client-data/files/p.png", { headers: { "if-match": '"1"' } })).status).to.equal(204);
    expect((await ada.delete("/client-data/files/p.png")).body.code).to.equal("FILE_NOT_FOUND");
    await api.settled();
    expect(await objectsOf(owner())).to.deep.equal([]);
    expect((await ada.get("/client-data/files")).body.total).to.equal(0);
    const { body } = await ada.get("/client-data/activity");
    expect(body.data.map(({ what }: { what: string }) => what)).to.include.members([
      "file.uploaded",
      "file.clean",
      "file.removed",
    ]);
  });

  it("keeps a file unread while the scanner is away or fails, and scans it as soon as it can", async () => {
    const scans = (mode: string) =>
      fetch(`${api.providers}/control/clamav/play`, { method: "POST", body: JSON.stringify({ mode }) });
    for (const mode of ["error", "drop"]) {
      await scans(mode);
      const pk = await scanned(await put({ ...letter, name: `${mode}.txt` }));
      const unread = await ada.get(`/client-data/files/${pk}`);
      expect([unread.status, unread.body.code], mode).to.deep.equal([409, "FILE_NOT_SCANNED"]);
      aheadMs += 31_000;
      await api.settled();
      expect((await ada.get(`/client-data/files/${pk}`)).status, mode).to.equal(302);
    }
  });

  it("makes a photo of an own clean picture and of nothing else, and keeps it from being removed", async () => {
    const picture = await sharp({ create: { width: 600, height: 400, channels: 3, background: "#a52" } })
      .png()
      .toBuffer();
    const photo = await scanned(await put({ name: "me.png", bytes: picture, type: "image/png" }, { purpose: "photo" }));
    const general = await scanned(await put({ name: "g.png", bytes: picture, type: "image/png" }));
    // It says that it is a picture, and nobody can read it.
    const broken = await scanned(
      await put({ name: "b.png", bytes: picture.subarray(0, 60), type: "image/png" }, { purpose: "photo" }),
    );
    const bob = await api.as(`bob-${customer}`);
    for (const [who, pk] of [
      [ada, general],
      [ada, broken],
      [ada, "file-none"],
      [bob, photo],
    ] as const) {
      const refused = await who.put("/client-data/profile", { body: { photo: pk } });
      expect([refused.status, refused.body.code]).to.deep.equal([422, "PHOTO_NOT_USABLE"]);
    }
    const chosen = await ada.put("/client-data/profile", { body: { photo } });
    expect([chosen.status, chosen.body.data.photo]).to.deep.equal([200, photo]);
    await api.settled();
    const profile = await ada.get("/client-data/profile");
    const [large, small] = await Promise.all([
      fetch(profile.body.data.photoUrl),
      fetch(profile.body.data.thumbnailUrl),
    ]);
    expect(Buffer.from(await large.arrayBuffer()).equals(picture)).to.equal(true);
    expect([large.headers.get("content-type"), small.headers.get("content-type")]).to.deep.equal([
      "image/png",
      "image/webp",
    ]);
    const again = await ada.get("/client-data/profile", {
      headers: { "if-none-match": profile.headers.get("etag") ?? "" },
    });
    expect(again.status).to.equal(304);

    const needed = await ada.delete(`/client-data/files/${photo}`);
    expect([needed.status, needed.body.code]).to.deep.equal([409, "FILE_IN_USE"]);
    const over = await put(
      { name: "me.png", bytes: picture, type: "image/png" },
      { purpose: "photo", overwrite: "true" },
    );
    expect([over.status, over.body.code]).to.deep.equal([409, "FILE_IN_USE"]);
    expect((await ada.put("/client-data/profile", { body: { photo: null } })).body.data).not.to.have.property(
      "photoUrl",
    );
    expect((await ada.delete(`/client-data/files/${photo}`)).status).to.equal(204);
  });

  it("ends a race between choosing a photo and removing its file with no photo of a file that is gone", async () => {
    const picture = await sharp({ create: { width: 60, height: 40, channels: 3, background: "#a52" } })
      .png()
      .toBuffer();
    for (let round = 0; round < 3; round++) {
      const photo = await scanned(
        await put({ name: `${round}.png`, bytes: picture, type: "image/png" }, { purpose: "photo" }),
      );
      await Promise.all([
        ada.put("/client-data/profile", { body: { photo } }),
        ada.delete(`/client-data/files/${photo}`),
      ]);
      await api.settled();
      const chosen = (await ada.get("/client-data/profile")).body.data.photo;
      const there = (await ada.get(`/client-data/files/${photo}`)).status;
      expect([chosen === photo, there]).to.be.deep.oneOf([
        [true, 302],
        [false, 404],
      ]);
    }
  });

  it("lets exactly as many through as fit, however many come at once", async () => {
    // 168 MiB by an event alone, so that 32 are left.
    const blob = "none";
    const there = Uploaded.create({ ...pretended, fileId: "big", path: "big.pdf", size: 168 * 1024 * 1024, blob });
    await appendFact(there);
    const bytes = Buffer.concat([samples.pdf, Buffer.alloc(5 * 1024 * 1024, "x")]);
    const part = bytes.subarray(0, 5 * 1024 * 1024);
    const answers = await Promise.all(
      Array.from({ length: 9 }, (_, number) =>
        put({ name: `late-${number}.pdf`, bytes: part, type: "application/pdf" }),
      ),
    );
    const codes = answers.map(({ status, body }) => body.code ?? status);
    expect(codes.filter((code) => code === 201)).to.have.length(6);
    expect(codes.filter((code) => code === "QUOTA_EXCEEDED")).to.have.length(3);
    await api.settled();
    expect(await objectsOf(owner())).to.have.length(6);
  });

  const pretended = { contentType: "application/pdf", purpose: "general", sha256: "00" } as const;

  /** Appends a fact of the customer's files as a command of another process would. */
  async function appendFact(event: ReturnType<typeof Uploaded.create>): Promise<void> {
    const closing: (() => unknown)[] = [];
    const { commands } = await openCommandDependencies(readEnvironment(commandEnvironment, api.environment), {
      log: createLogger({ service: "test", level: "silent" }),
      registry: createRegistry("test", "test"),
      onStop: (_, close) => void closing.push(close),
    });
    const { data } = event;
    const command = { type: "AddFiles", files: [data], overwrite: false, inUse: [] } as const;
    const commandId = randomUUID();
    await commands.handle({
      decider: filesDecider,
      stream: streams.files(owner()),
      command,
      context: {
        ...{ commandId, idempotent: false, owner: owner(), org: api.org, now: new Date() },
        ...{ actor: { type: "system", id: "test" }, correlationId: commandId, causationId: commandId },
      },
    });
    for (const close of closing.reverse()) await close();
  }

  async function objectsOf(who: { org: string; customer: string }): Promise<string[]> {
    const storage = createObjectStorage(readEnvironment(objectStorageEnvironment, api.environment));
    const keys: string[] = [];
    for (const folder of [objectKeys.folder(who), objectKeys.quarantineFolder(who)]) {
      for await (const { key } of storage.list(folder)) keys.push(key);
    }
    return keys;
  }
});
