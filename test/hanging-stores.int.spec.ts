import { setTimeout as delay } from "node:timers/promises";
import { expect } from "chai";
import { type Answer, type Caller, startApi, type TestApi } from "./support/api.js";
import { type BackingServices, startBackingServices } from "./support/stack.js";

/** A client is answered by then, whatever hangs, with four seconds to spare for a slow machine. */
const boundMs = 12_000;

describe("a store that hangs", () => {
  let services: BackingServices;
  let api: TestApi;
  let known: Caller[];
  before(async () => {
    services = await startBackingServices({ services: ["eventStore", "mongodb"] });
    api = await startApi({ env: services.env });
    known = await Promise.all(["ada", "bob"].map((customer) => api.as(customer)));
    for (const customer of known) expect((await customer.post("/client-data/wishlist/lamp")).status).to.equal(201);
  });
  after(async () => {
    await api?.stop();
    await services?.stop();
  });

  for (const hanging of ["mongodb", "eventStore"] as const) {
    it(`keeps no command waiting, however many are behind each other: ${hanging}`, async function () {
      this.timeout(120_000);
      const strangers = await Promise.all(["c", "d"].map((customer) => api.as(`${customer}-${hanging}`)));
      services.kill(hanging, "SIGSTOP");
      let slowest = 0;
      const ask = async (customer: Caller, index: number) => {
        const started = performance.now();
        const answer = await customer.post(`/client-data/wishlist/${hanging}-${index}`);
        slowest = Math.max(slowest, performance.now() - started);
        return answer;
      };
      // One after the other to the same few streams: each waits for those before it, and then for the store itself. For
      // some, keys must be made first.
      const asked: Promise<Answer>[] = [];
      for (let index = 0; index < 8; index++) {
        asked.push(...[...known, ...strangers].map((customer) => ask(customer, index)));
        await delay(600);
      }
      const answers = await Promise.all(asked);
      expect(slowest).to.be.lessThan(boundMs);
      services.kill(hanging, "SIGCONT");
      for (const { status, headers } of answers) {
        expect(status).to.be.oneOf([201, 503]);
        if (status === 503) expect(headers.get("retry-after")).to.match(/^\d+$/);
      }
      expect(answers.some(({ status }) => status === 503)).to.equal(true);
      for (const customer of [...known, ...strangers]) {
        let status = 0;
        // Connections that were given up are replaced at the next try.
        while (status !== 201) ({ status } = await customer.post(`/client-data/wishlist/after-${hanging}`));
      }
    });
  }
});
