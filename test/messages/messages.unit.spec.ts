import { expect } from "chai";
import { languageOf, messageOf } from "#projectors/messages/message.js";
import { codeMail, codeSms, newAddressMail, oldAddressMail } from "#projectors/messages/verification.messages.js";

describe("messages", () => {
  it("are written in the customer's language where we have it, else in English", () => {
    expect(["de", "de-AT", "DE-ch"].map(languageOf)).to.deep.equal(["de", "de", "de"]);
    expect(["en-GB", "fr", "den", null, undefined].map(languageOf)).to.deep.equal(["en", "en", "en", "en", "en"]);
  });

  it("say the same in text and HTML, and take nothing put into them for markup", () => {
    const { subject, text, html } = messageOf(
      "For <b>you</b>\r\nBcc: eve@evil.example",
      ['Hello <Ada> & "co"', { standsOut: "<i>" }, { link: "https://x.example/?a=1&b='2'", label: "Open > here" }],
      "en",
    );
    expect(subject).to.equal("For <b>you</b> Bcc: eve@evil.example");
    expect(text).to.equal("Hello <Ada> & \"co\"\n\n    <i>\n\nOpen > here: https://x.example/?a=1&b='2'\n");
    expect(html).to.include("Hello &#60;Ada&#62; &#38; &#34;co&#34;").and.include('lang="en"');
    expect(html).to.include('href="https://x.example/?a=1&#38;b=&#39;2&#39;"').and.include("Open &#62; here");
    expect(html).to.not.match(/<i>|<b>|<Ada>/);
  });

  it("of verification carry the code once in each part, in both languages", () => {
    for (const language of ["en", "de"] as const) {
      for (const make of [codeMail, newAddressMail]) {
        const { subject, text, html } = make({ code: "048271", minutes: 10 }, language);
        expect(text.split("048271"), text).to.have.length(2);
        expect(html.split("048271"), html).to.have.length(2);
        expect(text).to.include("10");
        expect(subject).to.not.include("048271");
      }
      const sms = codeSms({ code: "048271", minutes: 10 }, language);
      expect(sms).to.match(/^048271 /);
      expect([...sms].length, "one SMS of the GSM alphabet").to.be.at.most(160);
      expect(oldAddressMail("a***@example.com", language).html).to.include("a***@example.com");
    }
    expect(codeMail({ code: "1", minutes: 10 }, "de").subject).to.not.equal(
      codeMail({ code: "1", minutes: 10 }, "en").subject,
    );
  });
});
