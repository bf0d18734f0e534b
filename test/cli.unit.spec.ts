import { expect } from "chai";
import { CommandFailed, table } from "#projectors/cli/output.js";
import { parseMoment } from "#projectors/cli/times.js";

const now = new Date("2026-03-02T12:00:00.000Z");

describe("the command's times", () => {
  const until = (text: string) => {
    const moment = parseMoment(text, now);
    return "until" in moment ? moment.until.toISOString() : moment;
  };

  it("reads an instant in any offset", () => {
    expect(until("2026-03-01T01:00:00+01:00")).to.equal("2026-03-01T00:00:00.000Z");
  });
  it("takes a date as its end, so that the day is in it", () => {
    expect(until("2026-03-01")).to.equal("2026-03-01T23:59:59.999Z");
  });
  it("counts back from now", () => {
    expect(until("-90m")).to.equal("2026-03-02T10:30:00.000Z");
    expect(until("-7d")).to.equal("2026-02-23T12:00:00.000Z");
  });
  it("reads a place in the log as answers carry it", () => {
    expect(until("a1b2c3d4.4711")).to.deep.equal({ epoch: "a1b2c3d4", position: "00000000000000004711" });
  });
  for (const wrong of ["", "yesterday", "2026-13-01", "2026-03-01T10:00:00", "-5", "12:00", "2026-02-30"]) {
    it(`refuses "${wrong}"`, () => {
      expect(() => parseMoment(wrong, now)).to.throw(CommandFailed, "is no time");
    });
  }
});

describe("the command's tables", () => {
  it("lines words up to the left and numbers to the right", () => {
    expect(
      table(
        ["name", "events"],
        [
          ["wishlist", 7],
          ["order", 1200],
        ],
      ),
    ).to.equal("name      events\nwishlist       7\norder       1200");
  });
});
