import { randomUUID } from "node:crypto";
import { expect } from "chai";
import type { FoundPlace, Suggestion } from "#infrastructure/providers/place-provider.js";
import { createPlaceSessions } from "#infrastructure/providers/place-sessions.js";

const wish = (input: string) => ({ input, countries: [] });
const suggestion: Suggestion = { placeId: "p", description: "d", mainText: "m", secondaryText: "s" };
const place: FoundPlace = { placeId: "p", formatted: "f", location: null, parts: [] };

describe("sessions of suggestions", () => {
  let now = 0;
  let asked: (string | undefined)[] = [];
  const sessions = () => createPlaceSessions(() => now);
  const suggest = async (token: string | undefined) => {
    asked.push(token);
    return [suggestion];
  };
  const find = async (token: string | undefined) => {
    asked.push(token);
    return place;
  };
  beforeEach(() => {
    now = 1_000;
    asked = [];
  });

  it("remember within their life, and forget when nobody has gone on for three minutes", async () => {
    const { suggest: ask } = sessions();
    const { sessionToken } = await ask("ada", wish("ora"), undefined, suggest);
    now += 170_000;
    await ask("ada", wish("ora"), sessionToken, suggest);
    now += 170_000;
    await ask("ada", wish("ora"), sessionToken, suggest);
    expect(asked).to.deep.equal([sessionToken]);
    now += 181_000;
    await ask("ada", wish("ora"), sessionToken, suggest);
    expect(asked).to.have.length(2);
  });

  it("take a token for the same in either case", async () => {
    const { suggest: ask } = sessions();
    const token = randomUUID();
    await ask("ada", wish("ora"), token, suggest);
    await ask("ada", wish("ora"), token.toUpperCase(), suggest);
    expect(asked).to.have.length(1);
  });

  it("remember the last twenty inputs of a session, and no failure", async () => {
    const { suggest: ask } = sessions();
    const token = randomUUID();
    for (let index = 0; index <= 20; index++) await ask("ada", wish(`in ${index}`), token, suggest);
    await ask("ada", wish("in 20"), token, suggest);
    expect(asked).to.have.length(21);
    await ask("ada", wish("in 0"), token, suggest);
    expect(asked).to.have.length(22);

    const failing = () => Promise.reject(new Error("away"));
    const error = await ask("ada", wish("new"), token, failing).catch((reason: Error) => reason.message);
    expect(error).to.equal("away");
    expect((await ask("ada", wish("new"), token, suggest)).suggestions).to.deep.equal([suggestion]);
  });

  it("stay within a bounded memory, whatever comes", async () => {
    const { suggest: ask } = sessions();
    const large = async (token: string | undefined) => {
      asked.push(token);
      return [{ ...suggestion, description: "x".repeat(1_000_000) }];
    };
    const tokens = Array.from({ length: 12 }, () => randomUUID());
    for (const token of tokens) await ask("ada", wish("ora"), token, large);
    // Eight of two megabytes each fit in sixteen, less what comes with them: the last ones are there, the first gone.
    asked = [];
    await ask("ada", wish("ora"), tokens.at(-1), large);
    expect(asked).to.deep.equal([]);
    await ask("ada", wish("ora"), tokens[0], large);
    expect(asked).to.deep.equal([tokens[0]]);
  });

  it("are closed by the first place found, once, also by two who ask at once", async () => {
    const { suggest: ask, find: look } = sessions();
    const token = randomUUID();
    await ask("ada", wish("ora"), token, suggest);
    asked = [];
    const both = await Promise.all([1, 2].map(() => look("ada", { placeId: "p" }, token, find)));
    expect([both, asked]).to.deep.equal([[place, place], [token]]);
    await look("ada", { placeId: "q" }, token, find);
    await look("ada", { placeId: "p" }, undefined, find);
    expect(asked).to.deep.equal([token, undefined, undefined]);
    const { sessionToken } = await ask("ada", wish("ora"), token, suggest);
    expect(sessionToken).not.to.equal(token);
    expect(asked.at(-1)).to.equal(sessionToken);
  });

  it("go on after a place that is none, and after one that could not be had", async () => {
    const { suggest: ask, find: look } = sessions();
    const token = randomUUID();
    expect(await look("ada", { placeId: "p" }, token, async () => null)).to.equal(null);
    const failing = () => Promise.reject(new Error("away"));
    expect(await look("ada", { placeId: "p" }, token, failing).catch(() => "away")).to.equal("away");
    expect((await ask("ada", wish("ora"), token, suggest)).sessionToken).to.equal(token);
    expect(await look("ada", { placeId: "p" }, token, find)).to.equal(place);
  });
});
