import { readFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { expect } from "chai";
import { pino } from "pino";
import { listen } from "#infrastructure/http/server.js";
import { createGateway } from "../gateway/application.js";
import { startApi, type TestApi } from "./support/api.js";

/** One request of an `.http` file: its title names the status expected, `Title -> 201`. */
type WrittenRequest = {
  readonly title: string;
  readonly status: number;
  readonly method: string;
  readonly url: string;
  readonly headers: Record<string, string>;
  readonly body: string | undefined;
};

const file = join(fileURLToPath(import.meta.url), "../../../test/requests.http");

/** Reads an `.http` file; `variables` go before those that the file itself sets. */
function parseRequests(text: string, variables: Readonly<Record<string, string>>): WrittenRequest[] {
  const [head = "", ...blocks] = text.split(/^### /m);
  const own = Object.fromEntries([...head.matchAll(/^@(\w+) = (.*)$/gm)].map(([, name, value]) => [name, value]));
  const known: Record<string, string | undefined> = { ...own, ...variables };
  const filled = (part: string) =>
    part.replace(/\{\{(\w+)\}\}/g, (_, name: string) => {
      const value = known[name];
      if (value === undefined) throw new Error(`the variable ${name} is not set`);
      return value;
    });
  return blocks.map((block) => {
    const [request = "", ...body] = filled(block).trimEnd().split("\n\n");
    const [titleLine = "", requestLine = "", ...headerLines] = request.split("\n");
    const [, title = "", status] = /^(.*) -> (\d{3})$/.exec(titleLine) ?? [];
    const [method = "", url = ""] = requestLine.split(" ");
    const headers = Object.fromEntries(headerLines.map((line) => line.split(/: (.*)/).slice(0, 2)));
    return { title, status: Number(status), method, url, headers, body: body.join("\n\n") || undefined };
  });
}

describe("requests.http, through the gateway", () => {
  let api: TestApi;
  let host: string;
  const closing: (() => Promise<unknown>)[] = [];

  before(async () => {
    api = await startApi({ projections: true, standIns: true });
    const { commandApi, queryApi } = api;
    const gateway = createGateway({ commandApi, queryApi, log: pino({ level: "silent" }) });
    const front = await listen(gateway.handle, { host: "127.0.0.1", port: 0 });
    host = front.url;
    closing.push(
      () => front.close(0),
      () => gateway.close(),
    );
  });
  after(async () => {
    for (const close of closing) await close();
    await api?.stop();
  });

  it("answers every request as its title says", async () => {
    const auth_time = Math.floor(Date.now() / 1_000);
    const token = await api.issuer.token({ sub: "requests-http", email: "ada@example.com", auth_time });
    const serviceToken = await api.issuer.token({ sub: "platform", typ: "service" });
    const variables = { host, org: api.org, customer: "requests-http", token, serviceToken, internal: api.commandApi };
    const requests = parseRequests(readFileSync(file, "utf8"), variables);
    expect(requests.length).to.be.greaterThan(15);
    const answers: string[] = [];
    for (const { title, method, url, headers, body } of requests) {
      // As an editor sends it: the file's headers and nothing else.
      const response = await fetch(url, { method, headers, ...(body === undefined ? {} : { body }) });
      await response.arrayBuffer();
      answers.push(`${title} -> ${response.status}`);
    }
    expect(answers).to.deep.equal(requests.map(({ title, status }) => `${title} -> ${status}`));
  });

  it("takes the documented call of a browser page verbatim", async () => {
    const orgId = api.org;
    const token = await api.issuer.token({ sub: "browser" });
    const page = (input: string, init: RequestInit) => fetch(`${host}${input}`, init);

    const response = await page("/api/client-data/profile", {
      method: "PUT",
      headers: {
        orgid: orgId,
        Authorization: `Bearer ${token}`,
      },
      body: JSON.stringify({
        name: "Ada Lovelace",
        phone: "+4930123456",
        language: "en",
        timezone: "Europe/London",
      }),
    });

    expect(response.status).to.equal(200);
    const { data } = (await response.json()) as { data: object };
    expect(data).to.include({ name: "Ada Lovelace", phone: "+4930123456", language: "en", timezone: "Europe/London" });
  });
});
