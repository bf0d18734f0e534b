import { expect } from "chai";
import { type ProviderServer, serveStandIns } from "../embedded/providers/server.js";

/** A provider that counts: every POST adds one. */
let count = 0;
const counter = {
  name: "counter",
  mount: "/counter",
  handle: ({ method }: { method: string }) => {
    if (method === "POST") count++;
    return { status: 200, body: { count } };
  },
  actions: { reset: () => ({ count: (count = 0) }) },
};

describe("stand-ins of providers", () => {
  let server: ProviderServer;

  before(async () => {
    server = await serveStandIns([counter], 0);
  });
  after(() => server?.stop());
  beforeEach(() => {
    count = 0;
  });

  const post = (path: string, body?: object) =>
    fetch(`${server.url}${path}`, { method: "POST", ...(body ? { body: JSON.stringify(body) } : {}) });
  const plan = async (failure: object) =>
    expect((await post("/control/counter/failures", failure)).status).to.equal(204);
  const outcome = async () => {
    try {
      const answer = await fetch(`${server.url}/counter/things`, { method: "POST", signal: AbortSignal.timeout(200) });
      return answer.status;
    } catch (error) {
      return (error as Error).name === "TimeoutError" ? "silence" : "broken";
    }
  };

  for (const [mode, seen, done] of [
    ["answer", 429, 0],
    ["drop-before", "broken", 0],
    ["drop-after", "broken", 1],
    ["hang-before", "silence", 0],
    ["hang-after", "silence", 1],
  ] as const) {
    it(`plays ${mode} once, for the requests meant, and then goes on`, async () => {
      await plan({ match: "POST /things", mode, ...(mode === "answer" ? { status: 429 } : {}) });
      expect((await fetch(`${server.url}/counter/things`)).status).to.equal(200);
      expect(await outcome()).to.equal(seen);
      expect(count).to.equal(done);
      expect(await outcome()).to.equal(200);
      expect(count).to.equal(done + 1);
    });
  }

  it("tells what came, and does what it is asked besides", async () => {
    await post("/counter/things?x=1", { a: 1 });
    const requests = (await (await fetch(`${server.url}/control/counter/requests`)).json()) as object[];
    expect(requests.at(-1)).to.deep.equal({ method: "POST", path: "/things?x=1", body: '{"a":1}' });
    expect(await (await post("/control/counter/reset")).json()).to.deep.equal({ count: 0 });
  });

  it("refuses what is no failure, and what nobody plays", async () => {
    expect((await post("/control/counter/failures", { mode: "explode" })).status).to.equal(400);
    expect((await post("/control/nobody/failures", {})).status).to.equal(404);
    expect((await post("/elsewhere")).status).to.equal(404);
  });
});
