import { expect } from "chai";
import { dueWorkProjection } from "#projectors/due-work.js";
import { dutyContext } from "#projectors/runner/command-context.js";
import type { AreaDuties } from "#projectors/runner/duties.js";

const row = { duty: "chairs-expire", dueAt: "2026-01-01T00:00:00.000Z", stream: "wishlist-acme.ada", subject: "chair" };

/** An area whose rows are named after the product. */
function area(word: string, ...types: string[]): AreaDuties<any> {
  return {
    area: word,
    idOf: (event: { data: { productId: string | null } }) => event.data.productId,
    on: Object.fromEntries(types.map((type) => [type, () => row])),
  };
}

describe("due work of all areas", () => {
  const projection = dueWorkProjection([area("chairs", "chairs.Bought.v1"), area("lamps", "lamps.Lit.v1")]);
  const idOf = (type: string, productId: string | null) => projection.idOf({ type, data: { productId } } as never);

  it("keeps the rows of areas apart, whatever ids they choose", () => {
    expect(idOf("chairs.Bought.v1", "one")).to.equal("chairs.one");
    expect(idOf("lamps.Lit.v1", "one")).to.equal("lamps.one");
  });

  it("has no row for an event that begins and ends nothing", () => {
    expect(idOf("chairs.Bought.v1", null)).to.equal(null);
  });

  it("is told by the events of every area", () => {
    expect(Object.keys(projection.on)).to.have.members(["chairs.Bought.v1", "lamps.Lit.v1"]);
  });

  it("refuses two areas that want the same event", () => {
    const both = () => dueWorkProjection([area("chairs", "chairs.Bought.v1"), area("lamps", "chairs.Bought.v1")]);
    expect(both).to.throw("two areas have duties on chairs.Bought.v1");
  });
});

describe("the command of a duty", () => {
  const due = { ...row, rowId: "acme.ada.chairs.chair", owner: "acme.ada", position: "00000000000000000007" };
  const now = new Date("2026-01-02T00:00:00.000Z");

  it("is the same however often the duty is performed", () => {
    const again = dutyContext(due, new Date("2026-01-03T00:00:00.000Z"));
    expect(again.commandId).to.equal(dutyContext(due, now).commandId);
  });

  it("is another for the next duty of that row, though it fell due at the same moment", () => {
    const next = { ...due, position: "00000000000000000008" };
    expect(dutyContext(next, now).commandId).not.to.equal(dutyContext(due, now).commandId);
  });
});
