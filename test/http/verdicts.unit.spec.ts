import { expect } from "chai";
import { Verdicts } from "#infrastructure/http/verdicts.js";

describe("verdicts on tokens", () => {
  const setting = {};
  const keys = {};
  const claims = { subject: "customer-1" };
  let now = 1_000_000_000_000;
  const verdicts = new Verdicts<typeof claims>(() => now);
  const inSeconds = (seconds: number) => now / 1_000 + seconds;

  it("are good for the same token, org, settings and keys only", () => {
    verdicts.keep("token", "acme", setting, keys, inSeconds(3_600), claims);
    expect(verdicts.find("token", "acme", setting, keys)).to.equal(claims);
    expect(verdicts.find("tokem", "acme", setting, keys)).to.equal(undefined);
    expect(verdicts.find("token", "other", setting, keys)).to.equal(undefined);
    expect(verdicts.find("token", "acme", {}, keys), "settings were reloaded").to.equal(undefined);
    expect(verdicts.find("token", "acme", setting, {}), "keys were fetched anew").to.equal(undefined);
  });

  it("do not outlive the token", () => {
    verdicts.keep("short", "acme", setting, keys, inSeconds(5), claims);
    now += 4_999;
    expect(verdicts.find("short", "acme", setting, keys)).to.equal(claims);
    now += 1;
    expect(verdicts.find("short", "acme", setting, keys)).to.equal(undefined);
  });

  it("are taken anew after five minutes, though the token goes on", () => {
    verdicts.keep("long", "acme", setting, keys, inSeconds(3_600), claims);
    now += 299_999;
    expect(verdicts.find("long", "acme", setting, keys)).to.equal(claims);
    now += 1;
    expect(verdicts.find("long", "acme", setting, keys)).to.equal(undefined);
  });
});
