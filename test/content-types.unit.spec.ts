import { expect } from "chai";
import { agrees, contentTypeOf, TextCheck, textTypeOf } from "#infrastructure/content-types.js";
import { samples } from "./support/forms.js";

const isText = (...chunks: (string | Buffer)[]) => {
  const check = new TextCheck();
  for (const chunk of chunks) check.add(Buffer.from(chunk));
  check.end();
  return check.holds;
};

describe("content types", () => {
  it("are told by signature, not by what is claimed", async () => {
    const heic = Buffer.concat([Buffer.from([0, 0, 0, 24]), Buffer.from("ftypheic\0\0\0\0heicmif1")]);
    expect(await contentTypeOf(samples.png)).to.equal("image/png");
    expect(await contentTypeOf(samples.pdf)).to.equal("application/pdf");
    expect(await contentTypeOf(heic)).to.equal("image/heic");
    for (const text of [samples.text, samples.html]) expect(await contentTypeOf(Buffer.from(text))).to.equal(undefined);
    expect(await contentTypeOf(Buffer.from([0xff]))).to.equal(undefined);
  });

  it("may be called by their other names, or by nothing", () => {
    const fine = [
      ["image/jpg", "image/jpeg"],
      ["application/octet-stream", "image/png"],
      ["", "image/png"],
      ["IMAGE/PNG; q=1", "image/png"],
      ["text/plain", "text/csv"],
      ["application/zip", "application/vnd.openxmlformats-officedocument.wordprocessingml.document"],
      ["application/vnd.ms-excel", "text/csv"],
    ];
    const lies = [
      ["image/png", "application/pdf"],
      ["text/plain", "image/png"],
      ["application/pdf", "application/zip"],
      ["text/csv", "text/plain"],
    ];
    for (const [said = "", found = ""] of fine) expect(agrees(said, found), `${said} for ${found}`).to.equal(true);
    for (const [said = "", found = ""] of lies) expect(agrees(said, found), `${said} for ${found}`).to.equal(false);
  });

  it("of text: UTF-8 without control characters, wherever it is cut; markup is none", () => {
    const euro = Buffer.from("5 €\r\n");
    expect(isText(euro.subarray(0, 3), euro.subarray(3))).to.equal(true);
    expect(isText(euro.subarray(0, 3))).to.equal(false);
    expect([isText("a\u0000b"), isText(Buffer.from([0xe9])), isText("tab\tok\f")]).to.deep.equal([false, false, true]);
    expect(textTypeOf(Buffer.from("a;b\n"), "text/csv")).to.equal("text/csv");
    expect(textTypeOf(Buffer.from("a;b\n"), "text/html")).to.equal("text/plain");
    for (const markup of [samples.html, samples.svg, "\uFEFF  <?xml version='1.0'?>"]) {
      expect(textTypeOf(Buffer.from(markup), "text/plain")).to.equal(undefined);
    }
  });
});
