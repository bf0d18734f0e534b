import { expect } from "chai";
import { type Caller, startApi, type TestApi } from "./support/api.js";
import { type BackingServices, startBackingServices } from "./support/stack.js";

/** A client is answered by then, whatever hangs, with some seconds to spare for a slow machine. */
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
    it(`keeps no command waiting, however many there are: ${hanging}`, async function () {
      this.timeout(60_000);
      const strangers = await Promise.all(["c", "d"].map((customer) => api.as(`${customer}-${hanging}`)));
      services.kill(hanging, "SIGSTOP");
      const started = performance.now();
      // Several for one stream, each of which would wait for those before it; for some, keys must be made first.
      const answers = await Promise.all(
        [...known, ...strangers].flatMap((customer) =>
          Array.from({ length: 6 }, (_, index) => customer.post(`/client-data/wishlist/${hanging}-${index}`)),
        ),
      );
      expect(performance.now() - started).to.be.lessThan(boundMs);
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
