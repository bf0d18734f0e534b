import { expect } from "chai";
import { sendRequest, startApi, type TestApi } from "../support/api.js";

describe("metrics and logs of the APIs", () => {
  let api: TestApi;
  before(async () => {
    api = await startApi({ projections: true, standIns: true });
  });
  after(() => api?.stop());

  const scrape = async (base: string): Promise<string> => (await sendRequest(base, "GET", "/metrics")).body;

  it("count commands by area and outcome, appends, requests by route, stale reads", async () => {
    const ada = await api.as("metrics-ada");
    const headers = { "idempotency-key": "key-1" };
    for (let index = 0; index < 2; index++) await ada.post("/client-data/wishlist/lamp-1", { headers });
    await ada.post("/client-data/wishlist/lamp-1", { body: { quantity: 0 } });
    await api.caughtUp();
    await ada.get("/client-data/wishlist", { headers: { "x-min-log-position": "another-store.1" } });
    const command = await scrape(api.commandApi);
    for (const [outcome, times] of [
      ["accepted", 1],
      ["replayed", 1],
      ["rejected", 1],
    ] as const) {
      expect(command).to.contain(`client_data_commands_total{area="wishlist",outcome="${outcome}"} ${times}`);
    }
    expect(command).to.match(/client_data_append_duration_seconds_count\{outcome="appended"\} [1-9]/);
    const route = 'route="/client-data/wishlist/:productId",status="201"';
    expect(command).to.contain(`client_data_http_request_duration_seconds_count{${route}} 2`);
    const query = await scrape(api.queryApi);
    expect(query).to.contain("client_data_stale_reads_total 1");
    expect(query).to.contain(
      'client_data_http_request_duration_seconds_count{route="/client-data/wishlist",status="200"} 1',
    );
  });

  it("time every call to an outside party, by how it ended", async () => {
    const ada = await api.as("metrics-ada");
    const added = await ada.post("/client-data/payment-methods", { body: { paymentMethodId: "pm_card_visa" } });
    expect(added.status).to.equal(201);
    const declined = { paymentMethodId: "pm_card_chargeDeclined" };
    expect((await ada.post("/client-data/payment-methods", { body: declined })).status).to.equal(402);
    const suggested = await ada.get("/client-data/addresses/autocomplete?input=Unter%20den%20Linden");
    expect(suggested.status, JSON.stringify(suggested.body)).to.equal(200);
    const count = "client_data_provider_request_duration_seconds_count";
    const command = await scrape(api.commandApi);
    expect(command).to.match(new RegExp(`${count}\\{provider="stripe",outcome="ok"\\} [1-9]`));
    expect(command).to.match(new RegExp(`${count}\\{provider="stripe",outcome="refused"\\} 1`));
    expect(await scrape(api.queryApi)).to.contain(`${count}{provider="google-places",outcome="ok"} 1`);
  });

  it("carry no id of a customer, an org or a request in any label", async () => {
    for (const text of [await scrape(api.commandApi), await scrape(api.queryApi)]) {
      expect(text).not.to.match(/metrics-ada|lamp-1|key-1/);
      expect(text).not.to.contain(api.org);
      const labels = new Set([...text.matchAll(/[{,]([a-z_]+)="/g)].map(([, name]) => name));
      const own = [...labels].filter(
        (name) => !["le", "version", "major", "minor", "patch", "space", "kind", "type"].includes(name ?? ""),
      );
      expect(own).to.have.members(
        own.filter((name) =>
          ["area", "outcome", "provider", "route", "status", "category", "service", "node"].includes(name ?? ""),
        ),
      );
    }
  });

  it("name the customer in no log line, and say how each command went", async () => {
    const mark = api.logLines.length;
    const { headers } = await (await api.as("metrics-bob")).post("/client-data/wishlist/lamp-2");
    const line = api.logLines.slice(mark).find((entry) => entry.includes('"msg":"request"'));
    const logged = JSON.parse(line ?? "{}");
    expect(logged).to.include({
      service: "command-api",
      area: "wishlist",
      orgId: api.org,
      requestId: headers.get("x-request-id"),
      route: "/client-data/wishlist/:productId",
      status: 201,
    });
    expect(logged.durationMs).to.be.a("number");
    expect(api.logLines.join("")).not.to.match(/metrics-bob|metrics-ada/);
  });
});
