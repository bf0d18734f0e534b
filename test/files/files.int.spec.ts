import { createHash } from "node:crypto";
import { expect } from "chai";
import sharp from "sharp";
import { streams } from "#domain/core/identifiers.js";
import { eicar } from "../../embedded/providers/clamav.js";
import { type Answer, type Caller, startApi, type TestApi } from "../support/api.js";
import { type FormFile, postForm, samples } from "../support/forms.js";

const wide = { points: 1_000_000, windowSeconds: 60 };
const upload = "/client-data/files/upload";

describe("files over HTTP", () => {
  let api: TestApi;
  let ada: Caller;
  let customer = 0;

  before(async () => {
    const settings = { rateLimits: { reads: wide, writes: wide, uploads: wide } };
    api = await startApi({ projections: true, worker: true, standIns: true, settings });
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
});
