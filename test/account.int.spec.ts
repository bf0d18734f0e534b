import { expect } from "chai";
import { streams } from "#domain/core/identifiers.js";
import { AccountLocked } from "#domain/core/account-standing.js";
import { CustomerErased } from "#domain/privacy/privacy.events.js";
import { createEventStore } from "#infrastructure/eventstoredb.js";
import { startApi, type TestApi } from "./support/api.js";

describe("the account behind a command", () => {
  let api: TestApi;
  before(async () => {
    api = await startApi();
  });
  after(() => api?.stop());

  const profileOf = (customer: string) => streams.profile({ org: api.org, customer });

  it("is registered by the first command, whatever its area, from the token's claims", async () => {
    const mark = await api.mark();
    const ada = await api.as("ada", { email: "Ada@Lovelace.EXAMPLE", name: "Ada Lovelace" });
    expect((await ada.post("/client-data/wishlist/lamp")).status).to.equal(201);
    expect((await ada.post("/client-data/wishlist/sofa")).status).to.equal(201);
    const registrations = await api.newEvents(mark, profileOf("ada"));
    expect(registrations.map(({ type }) => type)).to.deep.equal(["profile.Registered.v1"]);
    expect(registrations[0]?.data).to.deep.include({
      name: "Ada Lovelace",
      email: "Ada@lovelace.example",
      source: "claims",
    });
    expect(registrations[0]?.metadata.actor).to.deep.equal({ type: "customer", id: "ada" });
  });

  it("is registered once by many first commands at once, and an idempotency key stays the customer's", async () => {
    const mark = await api.mark();
    const bob = await api.as("bob");
    const answers = await Promise.all(
      Array.from({ length: 8 }, (_, index) =>
        bob.put("/client-data/profile", {
          body: { about: `at once ${index % 2}` },
          headers: { "idempotency-key": `k${index % 2}` },
        }),
      ),
    );
    for (const { status, body } of answers) expect(status, JSON.stringify(body)).to.equal(200);
    const types = (await api.newEvents(mark, profileOf("bob"))).map(({ type }) => type);
    expect(types.filter((type) => type === "profile.Registered.v1")).to.have.length(1);
    expect(types.filter((type) => type === "profile.Updated.v1").length).to.be.within(1, 2);
  });

  it("is not made by a read, nor by a service", async () => {
    const mark = await api.mark();
    await (await api.as("reader")).get("/client-data/profile");
    await (await api.asService()).put("/internal/ingest/orders/o1", { body: {} });
    expect(await api.newEvents(mark)).to.deep.equal([]);
  });

  it("is locked here as soon as the log tells of it, whichever process did so", async () => {
    const eve = await api.as("eve");
    expect((await eve.post("/client-data/wishlist/lamp")).status).to.equal(201);
    const elsewhere = createEventStore(api.environment.EVENTSTORE_URL ?? "");
    try {
      const metadata = {
        ...{ orgId: api.org, customerId: "eve", commandId: crypto.randomUUID() },
        ...{ actor: { type: "service", id: "platform" }, occurredAt: new Date().toISOString() },
      };
      const stream = await elsewhere.readStream(profileOf("eve"));
      const event = AccountLocked.create({ reason: "fraud" });
      await elsewhere.append(profileOf("eve"), stream.length - 1, [{ id: crypto.randomUUID(), ...event, metadata }]);
    } finally {
      await elsewhere.close();
    }
    // Unheard it would be noticed after ten seconds.
    const deadline = performance.now() + 8_000;
    const statuses: number[] = [];
    while (statuses.at(-1) !== 403 && performance.now() < deadline) {
      statuses.push((await eve.post("/client-data/wishlist/lamp")).status);
    }
    expect(statuses.at(-1), `${statuses.length} commands`).to.equal(403);
  });

  it("that is closed may do nothing", async () => {
    const mark = await api.mark();
    const event = CustomerErased.create({});
    const metadata = {
      orgId: api.org,
      customerId: "gone",
      commandId: crypto.randomUUID(),
      actor: { type: "system", id: "test" },
      occurredAt: new Date().toISOString(),
    };
    await api.eventStore.append(profileOf("gone"), "no-stream", [{ id: crypto.randomUUID(), ...event, metadata }]);
    const gone = await api.as("gone");
    for (const answer of [
      await gone.post("/client-data/wishlist/lamp"),
      await gone.put("/client-data/profile", { body: "not json" }),
      await gone.delete("/client-data/wishlist/lamp"),
    ]) {
      expect([answer.status, answer.body.code]).to.deep.equal([403, "ACCOUNT_LOCKED"]);
    }
    expect(await api.newEvents(mark)).to.have.length(1);
  });
});
