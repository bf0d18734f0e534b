import { setTimeout as delay } from "node:timers/promises";
import { expect } from "chai";
import type { Response } from "express";
import { Patience } from "#infrastructure/http/patience.js";
import { Problem } from "#infrastructure/http/problem-details.js";

const response = (headersSent = false) => ({ headersSent, on: () => {} }) as unknown as Response;
const never = new Promise<never>(() => {});
const outcomeOf = (task: Promise<unknown>) =>
  task.then(
    (value) => value,
    (error) => (error instanceof Problem ? `${error.status} ${error.code}` : error),
  );

describe("the patience of a client", () => {
  it("lets through what ends in time, and what it ends with", async () => {
    const patience = new Patience(10_000);
    expect(await patience.within(Promise.resolve("done"), response())).to.equal("done");
    const failure = new Error("failed");
    expect(await outcomeOf(patience.within(Promise.reject(failure), response()))).to.equal(failure);
  });

  it("ends over all tasks together", async () => {
    const patience = new Patience(500);
    expect(await outcomeOf(patience.within(delay(20), response()))).to.equal(undefined);
    const started = performance.now();
    expect(await outcomeOf(patience.within(never, response()))).to.equal("503 STORE_UNAVAILABLE");
    expect(performance.now() - started).to.be.lessThan(5_000);
    expect(performance.now()).to.be.at.least(patience.until);
  });

  it("is longer where the client asked to wait, also while it is waited for", async () => {
    const patience = new Patience(20);
    const { until } = patience;
    const outcome = outcomeOf(patience.within(never, response()));
    patience.prolong(150);
    expect(await outcome).to.equal("503 STORE_UNAVAILABLE");
    expect(performance.now()).to.be.at.least(until + 150);
  });

  it("does not cut an answer that has begun", async () => {
    const patience = new Patience(10);
    expect(await outcomeOf(patience.within(delay(60, "sent"), response(true)))).to.equal("sent");
  });
});
