import { expect } from "chai";
import type { RouteDefinition } from "#infrastructure/http/routes.js";
import { type Answer, sendRequest, startApi, type TestApi } from "../support/api.js";

/** A path with something in place of every parameter. */
const pathOf = (route: RouteDefinition) => route.path.replace(/[:*][A-Za-z]+/g, "x-1");

describe("contract: every mounted route", () => {
  let api: TestApi;
  let mounted: { base: string; route: RouteDefinition }[];

  before(async () => {
    api = await startApi();
    mounted = [
      ...api.commandRoutes.map((route) => ({ base: api.commandApi, route })),
      ...api.queryRoutes.map((route) => ({ base: api.queryApi, route })),
    ].filter(({ route }) => route.access !== "public");
  });
  after(() => api?.stop());

  async function each(headers: Record<string, string>, check: (answer: Answer, route: RouteDefinition) => void) {
    expect(mounted.length).to.be.greaterThan(0);
    for (const { base, route } of mounted) {
      const body = route.method === "get" ? undefined : "not json";
      const answer = await sendRequest(base, route.method.toUpperCase(), pathOf(route), { headers, body });
      const name = `${route.method} ${route.path}`;
      expect(answer.headers.get("content-type"), name).to.match(/^application\/problem\+json/);
      expect(answer.body.requestId, name).to.equal(answer.headers.get("x-request-id"));
      check(answer, route);
    }
  }

  it("answers 400 without orgid, whatever else is wrong", async () => {
    await each({}, ({ status, body }, route) => {
      expect([status, body.code], route.path).to.deep.equal([400, "ORG_REQUIRED"]);
    });
    await each({ orgid: "bad org!", authorization: "Bearer x" }, ({ body }) =>
      expect(body.code).to.equal("ORG_REQUIRED"),
    );
  });

  it("answers 401 without a valid token", async () => {
    const cases = [
      { orgid: api.org },
      { orgid: api.org, authorization: "Basic eDp5" },
      { orgid: api.org, authorization: "Bearer a.b.c" },
      { orgid: "nobody", authorization: `Bearer ${await api.issuer.token()}` },
    ];
    for (const headers of cases) {
      await each(headers, (answer, route) => {
        expect([answer.status, answer.body.code], route.path).to.deep.equal([401, "UNAUTHENTICATED"]);
        expect(answer.headers.get("www-authenticate")).to.match(/^Bearer /);
      });
    }
  });

  it("answers 403 to a token of another org, then to the wrong kind of principal, before looking at the body", async () => {
    const foreign = { orgid: api.otherOrg, authorization: `Bearer ${await api.issuer.token()}` };
    await each(foreign, ({ status, body }) => expect([status, body.code]).to.deep.equal([403, "ORG_MISMATCH"]));
    const { headers: customer } = await api.as("contract-1");
    const { headers: service } = await api.asService();
    for (const { base, route } of mounted) {
      const isInternal = route.access === "service";
      const { status, body } = await sendRequest(base, route.method.toUpperCase(), pathOf(route), {
        headers: isInternal ? customer : service,
        body: route.method === "get" ? undefined : "not json",
      });
      const code = isInternal ? "SERVICE_PRINCIPAL_REQUIRED" : "CUSTOMER_PRINCIPAL_REQUIRED";
      expect([status, body.code], route.path).to.deep.equal([403, code]);
    }
  });

  it("answers 405 with Allow to a method it does not know, and 404 to a path it does not know", async () => {
    for (const { base, route } of mounted) {
      const answer = await sendRequest(base, "PATCH", pathOf(route));
      expect([answer.status, answer.body.code], route.path).to.deep.equal([405, "METHOD_NOT_ALLOWED"]);
      expect(answer.headers.get("allow")?.split(", ")).to.include(route.method.toUpperCase());
    }
    for (const base of [api.commandApi, api.queryApi]) {
      const answer = await sendRequest(base, "GET", "/client-data/nowhere");
      expect([answer.status, answer.body.code]).to.deep.equal([404, "ROUTE_NOT_FOUND"]);
    }
  });

  it("stands in the OpenAPI document of its API, with its parameters and answers", async () => {
    for (const [base, routes] of [
      [api.commandApi, api.commandRoutes],
      [api.queryApi, api.queryRoutes],
    ] as const) {
      const { body } = await sendRequest(base, "GET", "/openapi.json");
      for (const route of routes) {
        const operation = body.paths[route.path.replace(/[:*]([A-Za-z]+)/g, "{$1}")]?.[route.method];
        expect(operation?.operationId, route.path).to.equal(route.operationId);
        const described = operation.parameters.filter((parameter: { in: string }) => parameter.in === "path");
        const inPath = route.path.match(/[:*][A-Za-z]+/g) ?? [];
        expect(described.map(({ name }: { name: string }) => name)).to.have.members(
          inPath.map((name) => name.slice(1)),
        );
        const answers = ["default", ...(route.method === "get" ? ["304"] : []), ...Object.keys(route.responses)];
        expect(Object.keys(operation.responses)).to.have.members(answers);
      }
      const ids = routes.map(({ operationId }) => operationId);
      expect(new Set(ids).size, "operation ids are unique").to.equal(ids.length);
    }
  });
});
