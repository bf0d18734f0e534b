import { createHash } from "node:crypto";
import { expect } from "chai";
import { streams } from "#domain/core/identifiers.js";
import { type Answer, type Caller, startApi, type TestApi } from "../support/api.js";
import { samples } from "../support/forms.js";

const ask = "/client-data/files/upload-url";
const complete = `${ask}/complete`;
const wide = { points: 1_000_000, windowSeconds: 60 };

describe("direct uploads", () => {
  let api: TestApi;
  let ada: Caller;
  let customer = 0;
  let aheadMs = 0;

  before(async () => {
    const settings = { rateLimits: { reads: wide, writes: wide, uploads: wide } };
    const clock = () => new Date(Date.now() + aheadMs);
    api = await startApi({ projections: true, worker: true, standIns: true, settings, clock });
  });
  after(() => api?.stop());
  beforeEach(async () => {
    customer += 1;
    aheadMs = 0;
    ada = await api.as(`ada-${customer}`);
  });

  const pdf = samples.pdf;
  const wish = { name: "contract.pdf", size: pdf.length, contentType: "application/pdf" };
  const facts = async (since: string) =>
    (await api.newEvents(since, streams.files({ org: api.org, customer: `ada-${customer}` }))).map(({ type }) => type);

  /** As a browser posts a form: the fields first, the file last. */
  async function post({ body }: Answer, bytes: Buffer | string, more: Record<string, string> = {}): Promise<number> {
    const form = new FormData();
    for (const [name, value] of Object.entries({ ...body.data.fields, ...more })) form.append(name, value as string);
    form.append("file", new Blob([typeof bytes === "string" ? bytes : new Uint8Array(bytes)]), "x");
    return (await fetch(body.data.url, { method: "POST", body: form })).status;
  }
  const begin = async (more: object = {}) => {
    const answer = await ada.post(ask, { body: { ...wish, ...more } });
    expect(answer.status, JSON.stringify(answer.body)).to.equal(200);
    return answer;
  };

  it("make a file of what was posted, once; a repeat is told of that file", async () => {
    const since = await api.mark();
    const form = await begin({
      location: "deals",
      metadata: { deal: 7 },
      sha256: createHash("sha256").update(pdf).digest("hex"),
    });
    expect(form.body.data.maxBytes).to.equal(pdf.length);
    expect(await facts(since)).to.deep.equal([]);
    expect(await post(form, pdf)).to.be.oneOf([200, 201, 204]);
    const { upload } = form.body.data;
    const file = await ada.post(complete, { body: { upload } });
    expect([file.status, file.body.data?.path, file.body.data?.metadata]).to.deep.equal([
      201,
      "deals/contract.pdf",
      { deal: 7 },
    ]);
    const again = await ada.post(complete, { body: { upload } });
    expect([again.status, again.body.pk]).to.deep.equal([200, file.body.pk]);

    // Until the form expires it takes other bytes; they reach nobody.
    await post(form, Buffer.from("%PDF-evil".padEnd(pdf.length)));
    await api.settled();
    const link = await ada.get(`/client-data/files/${file.body.pk}?json=1`);
    expect(Buffer.from(await (await fetch(link.body.data.url)).arrayBuffer()).equals(pdf)).to.equal(true);
    expect(await facts(since)).to.deep.equal(["files.Uploaded.v1", "files.Scanned.v1"]);
  });

  it("are checked again when they are completed: size, type and digest", async () => {
    const since = await api.mark();
    const short = await begin({ size: pdf.length + 1 });
    await post(short, pdf);
    const long = await begin({ size: pdf.length - 1 });
    await post(long, pdf);
    const picture = await begin({ size: samples.png.length });
    await post(picture, samples.png);
    const page = await begin({ size: samples.html.length });
    await post(page, samples.html);
    const digest = await begin({ sha256: "0".repeat(64) });
    await post(digest, pdf);
    const nothing = await begin();
    const codes: string[] = [];
    for (const { body } of [short, long, picture, page, digest, nothing]) {
      codes.push((await ada.post(complete, { body: { upload: body.data.upload } })).body.code);
    }
    expect(codes).to.deep.equal([
      "VALIDATION_FAILED",
      // s3rver does not hold the policy's limits, a real store refuses the post itself.
      "FILE_TOO_LARGE",
      "CONTENT_TYPE_MISMATCH",
      "FILE_TYPE_NOT_ALLOWED",
      "VALIDATION_FAILED",
      "FILE_NOT_FOUND",
    ]);
    expect(await facts(since)).to.deep.equal([]);
  });

  it("are refused before they begin where they could never be completed", async () => {
    const cases: [object, number, string][] = [
      [{ size: 0 }, 422, "EMPTY_FILE"],
      [{ size: 25 * 1024 * 1024 + 1 }, 413, "FILE_TOO_LARGE"],
      [{ purpose: "photo", contentType: "image/png", size: 5 * 1024 * 1024 + 1 }, 413, "FILE_TOO_LARGE"],
      [{ purpose: "photo" }, 415, "FILE_TYPE_NOT_ALLOWED"],
      [{ contentType: "text/html" }, 415, "FILE_TYPE_NOT_ALLOWED"],
      [{ name: "a/../b" }, 422, "PATH_INVALID"],
      [{ sha256: "abc" }, 400, "VALIDATION_FAILED"],
      [{ owner: "x" }, 400, "UNKNOWN_FIELD"],
    ];
    for (const [more, status, code] of cases) {
      const { status: got, body } = await ada.post(ask, { body: { ...wish, ...more } });
      expect([got, body.code], JSON.stringify(more)).to.deep.equal([status, code]);
    }
  });

  it("can be completed by the customer who began them only, unchanged and in time", async () => {
    const form = await begin();
    await post(form, pdf);
    const { upload } = form.body.data;
    const bob = await api.as(`bob-${customer}`);
    const [payload = "", mac = ""] = upload.split(".");
    const forged = Buffer.from(payload, "base64url").toString().replace('"general"', '"photo"');
    for (const [who, text] of [
      [bob, upload],
      [ada, `${Buffer.from(forged).toString("base64url")}.${mac}`],
      [ada, payload],
    ] as const) {
      const { status, body } = await who.post(complete, { body: { upload: text } });
      expect([status, body.code]).to.deep.equal([400, "LINK_INVALID"]);
    }
    aheadMs = 31 * 60_000;
    expect((await ada.post(complete, { body: { upload } })).body.code).to.equal("LINK_INVALID");
    aheadMs = 0;
    expect((await ada.post(complete, { body: { upload } })).status).to.equal(201);
  });
});
