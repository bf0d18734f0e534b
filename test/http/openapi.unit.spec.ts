import { Validator } from "@seriousme/openapi-schema-validator";
import { expect } from "chai";
import { openApiDocument } from "#infrastructure/http/openapi.js";
import type { RouteDefinition } from "#infrastructure/http/routes.js";
import { commandRoutes } from "../../command-api/application.js";
import type { CommandDependencies } from "../../command-api/dependencies.js";
import { queryRoutes } from "../../query-api/application.js";
import type { QueryDependencies } from "../../query-api/dependencies.js";

// Routes are only described here, never called: nothing of their dependencies is used.
const documents: Record<string, RouteDefinition[]> = {
  "command API": commandRoutes({} as CommandDependencies),
  "query API": queryRoutes({} as QueryDependencies),
};

describe("OpenAPI documents", () => {
  for (const [name, routes] of Object.entries(documents)) {
    it(`of the ${name} are valid OpenAPI 3.1`, async () => {
      const document = openApiDocument(routes, { title: name, version: "1.0.0" });
      const { valid, errors } = await new Validator().validate(structuredClone(document));
      expect(errors ?? [], JSON.stringify(errors)).to.deep.equal([]);
      expect(valid).to.equal(true);
    });

    it(`of the ${name} say what each route takes and gives`, () => {
      const document = openApiDocument(routes, { title: name, version: "1.0.0" });
      const paths = document.paths as Record<string, Record<string, Record<string, never>>>;
      for (const route of routes) {
        const operation = paths[route.path.replace(/[:*]([A-Za-z]+)/g, "{$1}")]?.[route.method];
        expect(operation, route.path).to.include({ operationId: route.operationId, summary: route.summary });
        expect(operation?.tags).to.deep.equal([route.area]);
        expect("requestBody" in (operation ?? {}), route.path).to.equal(
          [route.request?.body, route.request?.raw, route.request?.form].some((body) => body !== undefined),
        );
        for (const [status, answer] of Object.entries(operation?.responses ?? {})) {
          if (status.startsWith("2")) expect((answer as { headers: object }).headers).to.include.keys("X-Log-Position");
        }
        expect("304" in (operation?.responses ?? {}), route.path).to.equal(route.method === "get");
      }
    });
  }

  it("ask for a body only where there must be one, for a version only where it counts", () => {
    const document = openApiDocument(Object.values(documents).flat(), { title: "both", version: "1.0.0" });
    type Operation = {
      requestBody?: { required: boolean; content: Record<string, { schema: object }> };
      parameters: { name: string }[];
    };
    const paths = document.paths as Record<string, Record<string, Operation>>;
    expect(paths["/client-data/wishlist/{productId}"]?.post?.requestBody?.required).to.equal(false);
    expect(paths["/client-data/wishlist"]?.post?.requestBody?.required).to.equal(true);
    expect(paths["/client-data/profile"]?.put?.requestBody?.required).to.equal(true);
    const optional = paths["/client-data/wishlist/{productId}"]?.post?.requestBody?.content["application/json"];
    expect(optional?.schema).to.not.have.property("default");
    expect(JSON.stringify(document)).to.not.match(/"format":"date-time","pattern"|9007199254740991/);
    const headersOf = (operation?: Operation) => operation?.parameters.map(({ name }) => name);
    expect(headersOf(paths["/client-data/profile"]?.put)).to.include("If-Match");
    expect(headersOf(paths["/internal/ingest/orders/{id}"]?.put)).not.to.include("If-Match");
  });
});
